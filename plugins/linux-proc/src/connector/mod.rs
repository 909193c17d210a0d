//! The kernel's process events (`CONFIG_PROC_EVENTS`): forks, execs, renames and exits, by
//! netlink.
//!
//! Events say only *that* something happened; what is so now is read from `/proc`. Nothing here
//! waits: a sweep drains what has come meanwhile. If more came than the socket holds, the kernel
//! drops the rest and says so, and the caller lists `/proc` instead.

mod event;

pub(crate) use event::Event;

use event::{CHANNEL, CONNECTOR_HEADER, NETLINK_HEADER, parse};
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// `enum proc_cn_mcast_op` in `include/uapi/linux/cn_proc.h`.
const LISTEN: u32 = 1;
const IGNORE: u32 = 2;
/// Bytes of the longest datagram: `comm` carries 16 bytes of name.
const DATAGRAM: usize = 128;
/// Datagrams taken by one system call.
const BATCH: usize = 64;
/// Most batches of one drain: a fork bomb must not hold up the sweep for ever.
const BATCHES: usize = 512;
/// Bytes the socket may hold if we may ask for so much. The kernel doubles it, and takes nearly a
/// kilobyte for an event: about 10,000.
static ROOM: libc::c_int = 4 << 20;
/// How long the self-test waits for its own event.
const PATIENCE: Duration = Duration::from_millis(100);

/// Whether a drain got everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Yes.
    All,
    /// The kernel dropped events.
    Lost,
}

/// A subscription to process events.
#[derive(Debug)]
pub(crate) struct Connector {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Connector {
    /// Subscribes, and proves that events come and name processes as we see them.
    ///
    /// # Errors
    /// The kernel has no such events here (`ECONNREFUSED` outside the first network namespace),
    /// does not let us listen (`EPERM`), or tells other numbers than ours (a pid namespace).
    pub(crate) fn open() -> io::Result<Self> {
        let mut connector = Self { socket: subscribe()?, buffer: vec![0; BATCH * DATAGRAM] };
        connector.test()?;
        Ok(connector)
    }

    /// Puts what has happened since the last call into `events`.
    ///
    /// # Errors
    /// The socket is unusable.
    pub(crate) fn drain(&mut self, events: &mut Vec<Event>) -> io::Result<Drained> {
        let mut drained = Drained::All;
        for _ in 0..BATCHES {
            match self.receive(events) {
                Ok(BATCH) => {}
                Ok(_) => break,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => break,
                    Some(libc::EINTR) => {}
                    Some(libc::ENOBUFS) => drained = Drained::Lost,
                    _ => return Err(error),
                },
            }
        }
        Ok(drained)
    }

    /// Starts a thread, which is enough to cause an event: a child process would give the host a
    /// `SIGCHLD` it did not ask for.
    fn test(&mut self) -> io::Result<()> {
        let tid = std::thread::Builder::new()
            .name("outrigger-test".into())
            // SAFETY: takes nothing and cannot fail.
            .spawn(|| unsafe { libc::gettid() } as u32)?
            .join()
            .map_err(|_| io::Error::other("the self-test's thread panicked"))?;
        let expected = Event::Fork { pid: std::process::id(), tid };
        let deadline = Instant::now() + PATIENCE;
        let mut events = Vec::new();
        loop {
            events.clear();
            self.drain(&mut events)?;
            if events.contains(&expected) {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::other("process events do not name our own threads"));
            }
            wait(&self.socket, left)?;
        }
    }

    /// One batch; the number of datagrams in it.
    fn receive(&mut self, events: &mut Vec<Event>) -> io::Result<usize> {
        // SAFETY: all of these are plain C structures for which zeros are valid.
        let (mut messages, mut senders, mut parts): (
            [libc::mmsghdr; BATCH],
            [libc::sockaddr_nl; BATCH],
            [libc::iovec; BATCH],
        ) = unsafe { (zeroed(), zeroed(), zeroed()) };
        for (index, datagram) in self.buffer.chunks_exact_mut(DATAGRAM).enumerate() {
            parts[index] =
                libc::iovec { iov_base: datagram.as_mut_ptr().cast(), iov_len: DATAGRAM };
            let header = &mut messages[index].msg_hdr;
            header.msg_name = (&raw mut senders[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
            header.msg_iov = &raw mut parts[index];
            header.msg_iovlen = 1;
        }
        // SAFETY: every header points at its own sender, part and datagram, all of which live
        // until after the call.
        let count = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                messages.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for index in 0..count {
            // Any process may send to our address; the kernel's own is 0.
            if senders[index].nl_pid == 0 {
                let start = index * DATAGRAM;
                let length = (messages[index].msg_len as usize).min(DATAGRAM);
                events.extend(parse(&self.buffer[start..start + length]));
            }
        }
        Ok(count)
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        // Older kernels count listeners and do not notice that one went away by itself.
        let _ = ask(&self.socket, IGNORE);
    }
}

fn subscribe() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointers.
    let socket = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_CONNECTOR) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call just made it and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: a plain C structure for which zeros are valid.
    let mut address: libc::sockaddr_nl = unsafe { zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address.nl_groups = CHANNEL;
    // SAFETY: `address` is a complete netlink address of the length told.
    let bound = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_nl>() as libc::socklen_t,
        )
    };
    if bound < 0 {
        return Err(io::Error::last_os_error());
    }
    make_room(&socket);
    ask(&socket, LISTEN)?;
    Ok(socket)
}

/// Enlarges the socket's buffer as far as we may. Less room only means more listings.
fn make_room(socket: &OwnedFd) {
    for option in [libc::SO_RCVBUFFORCE, libc::SO_RCVBUF] {
        // SAFETY: the option's value is an int of the length told.
        let set = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const ROOM).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if set == 0 {
            return;
        }
    }
}

/// Sends a `proc_cn_mcast_op`.
fn ask(socket: &OwnedFd, operation: u32) -> io::Result<()> {
    const LENGTH: usize = NETLINK_HEADER + CONNECTOR_HEADER + 4;
    let mut message = [0u8; LENGTH];
    let mut put = |at: usize, bytes: &[u8]| message[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &(LENGTH as u32).to_ne_bytes());
    put(4, &(libc::NLMSG_DONE as u16).to_ne_bytes());
    put(NETLINK_HEADER, &CHANNEL.to_ne_bytes());
    put(NETLINK_HEADER + 4, &CHANNEL.to_ne_bytes());
    put(NETLINK_HEADER + 16, &4u16.to_ne_bytes());
    put(NETLINK_HEADER + CONNECTOR_HEADER, &operation.to_ne_bytes());
    // SAFETY: the pointer and the length are those of `message`.
    let sent = unsafe { libc::send(socket.as_raw_fd(), message.as_ptr().cast(), LENGTH, 0) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Waits until something can be received, or `time` has passed.
fn wait(socket: &OwnedFd, time: Duration) -> io::Result<()> {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid structure, and the count says so.
    let ready = unsafe { libc::poll(&mut poll, 1, time.as_millis() as libc::c_int + 1) };
    match ready {
        -1 if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted => {
            Err(io::Error::last_os_error())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_full_socket_says_so_and_works_again() {
        let mut connector = match Connector::open() {
            Ok(connector) => connector,
            Err(error) => {
                return outrigger_skip::skip(&format!("no process events here: {error}"));
            }
        };
        let least: libc::c_int = 0;
        // SAFETY: the option's value is an int of the length told.
        let set = unsafe {
            libc::setsockopt(
                connector.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVBUF,
                (&raw const least).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        assert_eq!(set, 0);
        for _ in 0..64 {
            std::thread::spawn(|| ()).join().unwrap();
        }
        let mut events = Vec::new();
        assert_eq!(connector.drain(&mut events).unwrap(), Drained::Lost);
        connector.test().unwrap();
    }
}
