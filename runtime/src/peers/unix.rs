//! Pairs of connected unix sockets, which only `sock_diag(7)` tells: `/proc/net/unix` does not.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::FromRawFd;

/// `SOCK_DIAG_BY_FAMILY` of `linux/sock_diag.h`.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `UDIAG_SHOW_PEER` of `linux/unix_diag.h`.
const SHOW_PEER: u32 = 4;
/// `UNIX_DIAG_PEER` of `linux/unix_diag.h`.
const PEER: u16 = 2;
/// Bytes of `struct nlmsghdr`, and of `struct unix_diag_msg` after it.
const HEADER: usize = 16;
const MESSAGE: usize = 16;
/// Most the kernel puts into one answer.
const BUFFER: usize = 32 * 1024;

/// Numbers of connected unix sockets of our network namespace, each with that of its other end.
///
/// # Errors
/// The kernel was built without `unix_diag`, or refuses.
pub(super) fn pairs() -> io::Result<Vec<(u64, u64)>> {
    // SAFETY: takes three numbers and answers a descriptor or -1.
    let socket = unsafe {
        libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_SOCK_DIAG)
    };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was opened just now and is nobody else's.
    let mut socket = unsafe { File::from_raw_fd(socket) };
    socket.write_all(&request())?;
    let (mut pairs, mut buffer) = (Vec::new(), vec![0; BUFFER]);
    loop {
        let length = socket.read(&mut buffer)?;
        if length == 0 || !take(&buffer[..length], &mut pairs)? {
            return Ok(pairs);
        }
    }
}

fn request() -> Vec<u8> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let mut request = Vec::new();
    request.extend(40u32.to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(flags.to_ne_bytes());
    // Sequence and sender, then family, protocol and padding.
    request.extend([0; 8]);
    request.extend([libc::AF_UNIX as u8, 0, 0, 0]);
    // All states, any number, the peer please, any cookie.
    for word in [u32::MAX, 0, SHOW_PEER, 0, 0] {
        request.extend(word.to_ne_bytes());
    }
    request
}

/// Takes in one answer; says whether more will come.
fn take(mut answer: &[u8], pairs: &mut Vec<(u64, u64)>) -> io::Result<bool> {
    while let (Some(length), Some(kind)) = (word(answer, 0), half(answer, 4)) {
        let length = length as usize;
        if length < HEADER || length > answer.len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        match i32::from(kind) {
            libc::NLMSG_DONE => return Ok(false),
            libc::NLMSG_ERROR => {
                let code = word(answer, HEADER).map_or(0, u32::cast_signed);
                return Err(io::Error::from_raw_os_error(-code));
            }
            _ => pairs.extend(pair(&answer[HEADER..length])),
        }
        answer = answer.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(true)
}

/// One socket's number and its peer's, if it has one.
fn pair(message: &[u8]) -> Option<(u64, u64)> {
    let own = word(message, 4)?;
    let mut attributes = message.get(MESSAGE..)?;
    while let (Some(length), Some(kind)) = (half(attributes, 0), half(attributes, 2)) {
        if kind == PEER {
            return Some((own.into(), word(attributes, 4)?.into()));
        }
        attributes = attributes.get(usize::from(length).max(4).next_multiple_of(4)..)?;
    }
    None
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
