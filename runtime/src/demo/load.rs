//! The open-loop load generator: requests arrive when the schedule says, whatever happens.
//!
//! Latency is measured from the *scheduled* arrival, so a service (or a generator) that stalls is
//! charged for every request that became due meanwhile: no coordinated omission.
//!
//! The generator is a process of its own and belongs to the protected workload, like the service.
//! It stands for the service's clients; starved, it would send late and read late, and since the
//! schedule does not wait, its own waiting for a CPU would be charged to the service. It has one
//! thread and one connection, and does not check what the service computed, only the order.
//! What it says is a [`Protocol`]'s business.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::protocol::Protocol;
use super::summary::{Latencies, Summary};

/// How long after the end of a window its last responses are waited for. What is missing then is
/// counted as unanswered.
const GRACE: Duration = Duration::from_secs(2);
/// Bytes received at once; many responses of any [`Protocol`].
const BUFFER: usize = 1024;

/// Arguments of the hidden subcommand `demo-load`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Unix socket of the service.
    #[arg(long)]
    pub socket: PathBuf,
    /// Arrivals per second, evenly spaced.
    #[arg(long, default_value_t = super::RATE)]
    pub rate: u32,
    /// What the service understands.
    #[arg(long, value_enum, default_value_t)]
    pub protocol: Protocol,
}

/// Sends requests until standard input ends.
///
/// Commands, one per line: `begin` opens a window, `peek` asks for the window so far, `end` closes
/// it. `peek` and `end` are answered with one line of JSON, a [`Summary`].
///
/// # Errors
/// When the service cannot be reached or hangs up, or standard input or output fails.
pub fn run(args: &Args) -> io::Result<()> {
    // A label, and wake-ups without the 50 us of slack that the kernel adds by default; where
    // either is missing the figures are a little worse, in every phase alike.
    let _ = fs::write("/proc/self/comm", "demo-load");
    let _ = fs::write("/proc/self/timerslack_ns", "1");
    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let client = Client::connect(&args.socket, args.rate, args.protocol)?;
    converse(client, input, &mut io::stdout())
}

fn converse(mut client: Client, mut input: File, output: &mut impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        if let Some(summary) = client.advance()? {
            writeln!(output, "{}", serde_json::to_string(&summary)?)?;
            output.flush()?;
        }
        if !client.wait(input.as_raw_fd())? {
            continue;
        }
        let mut bytes = [0; 64];
        let count = input.read(&mut bytes)?;
        if count == 0 {
            return Ok(());
        }
        for &byte in &bytes[..count] {
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            match line.as_slice() {
                b"begin" => client.begin(),
                b"end" => client.end(),
                b"peek" => {
                    writeln!(output, "{}", serde_json::to_string(&client.peek())?)?;
                    output.flush()?;
                }
                other => {
                    let unknown = String::from_utf8_lossy(other).into_owned();
                    return Err(io::Error::new(ErrorKind::InvalidInput, unknown));
                }
            }
            line.clear();
        }
    }
}

/// One connection, its schedule, and what is on the way. All times count from `start`.
struct Client {
    stream: UnixStream,
    protocol: Protocol,
    start: Instant,
    period: Duration,
    /// Number of the next request to become due.
    next: u32,
    /// When each request on the way was due, oldest first. The service answers in order.
    waiting: VecDeque<Duration>,
    /// Bytes the socket did not take yet.
    unsent: Vec<u8>,
    /// Bytes received; the first `held` are the beginning of a response.
    received: [u8; BUFFER],
    held: usize,
    window: Option<Window>,
}

/// The requests that became due from `from` until `until`.
struct Window {
    from: Duration,
    until: Option<Duration>,
    latencies: Latencies,
}

// === impl Client ===

impl Client {
    fn connect(socket: &PathBuf, rate: u32, protocol: Protocol) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            protocol,
            start: Instant::now(),
            period: Duration::from_secs(1) / rate.max(1),
            next: 0,
            waiting: VecDeque::new(),
            unsent: Vec::new(),
            received: [0; BUFFER],
            held: 0,
            window: None,
        })
    }

    fn begin(&mut self) {
        let from = self.start.elapsed();
        self.window = Some(Window { from, until: None, latencies: Latencies::new() });
    }

    fn end(&mut self) {
        let now = self.start.elapsed();
        // Without a window, `end` still has to be answered.
        self.window
            .get_or_insert_with(|| Window { from: now, until: None, latencies: Latencies::new() })
            .until = Some(now);
    }

    fn peek(&self) -> Summary {
        self.window.as_ref().map(|window| window.latencies.summary()).unwrap_or_default()
    }

    /// Sends what is due, receives what is there, and closes the window when it is complete.
    fn advance(&mut self) -> io::Result<Option<Summary>> {
        self.send()?;
        self.receive()?;
        Ok(self.close())
    }

    fn due(&self, number: u32) -> Duration {
        self.period * number
    }

    fn send(&mut self) -> io::Result<()> {
        let now = self.start.elapsed();
        while self.due(self.next) <= now {
            self.waiting.push_back(self.due(self.next));
            self.protocol.ask(self.next, &mut self.unsent);
            self.next += 1;
        }
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<()> {
        let length = self.protocol.response();
        loop {
            let count = match self.stream.read(&mut self.received[self.held..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let now = self.start.elapsed();
            let filled = self.held + count;
            for response in self.received[..filled].chunks(length) {
                if !self.protocol.is_response(response) {
                    let refused = String::from_utf8_lossy(response).into_owned();
                    return Err(io::Error::new(ErrorKind::InvalidData, refused));
                }
            }
            self.held = filled % length;
            self.received.copy_within(filled - self.held..filled, 0);
            for _ in 0..filled / length {
                let Some(due) = self.waiting.pop_front() else {
                    return Err(io::Error::new(ErrorKind::InvalidData, "a response to nothing"));
                };
                if let Some(window) = &mut self.window
                    && window.contains(due)
                {
                    window.latencies.answered(now.saturating_sub(due));
                }
            }
        }
    }

    fn close(&mut self) -> Option<Summary> {
        let window = self.window.as_ref()?;
        let until = window.until?;
        let now = self.start.elapsed();
        let complete = self.waiting.front().is_none_or(|&due| due >= until);
        if !complete && now < until + GRACE {
            return None;
        }
        let mut window = self.window.take()?;
        for &due in &self.waiting {
            if window.contains(due) {
                window.latencies.unanswered(now.saturating_sub(due));
            }
        }
        Some(window.latencies.summary())
    }

    /// Sleeps until something can be done. True if a command can be read from `input`.
    fn wait(&self, input: RawFd) -> io::Result<bool> {
        let sleep = self.due(self.next).saturating_sub(self.start.elapsed());
        let timeout = libc::timespec {
            tv_sec: sleep.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: sleep.subsec_nanos().into(),
        };
        let writing = if self.unsent.is_empty() { 0 } else { libc::POLLOUT };
        let mut files = [
            libc::pollfd {
                fd: self.stream.as_raw_fd(),
                events: libc::POLLIN | writing,
                revents: 0,
            },
            libc::pollfd { fd: input, events: libc::POLLIN, revents: 0 },
        ];
        // SAFETY: `files` is a valid array of two and `timeout` a valid time for the whole call; a
        // null signal mask means "leave it".
        let ready = unsafe { libc::ppoll(files.as_mut_ptr(), 2, &timeout, std::ptr::null()) };
        if ready < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == ErrorKind::Interrupted { Ok(false) } else { Err(error) };
        }
        Ok(files[1].revents != 0)
    }
}

impl Window {
    fn contains(&self, due: Duration) -> bool {
        due >= self.from && self.until.is_none_or(|until| due < until)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::demo::service;

    fn until<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(found) = attempt() {
                return found;
            }
            assert!(Instant::now() < deadline, "nothing happened in time");
        }
    }

    #[test]
    fn every_request_due_in_the_window_is_counted_once() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        service::serve_on_thread(listener, Duration::from_micros(1));
        let mut client = Client::connect(&socket, 10_000, Protocol::Echo).unwrap();

        client.begin();
        until(|| {
            client.advance().unwrap();
            (client.next > 200).then_some(())
        });
        client.end();
        let window = client.window.as_ref().unwrap();
        let (from, to) = (window.from, window.until.unwrap());
        let summary = until(|| client.advance().unwrap());

        let due = (0..client.next).map(|number| client.due(number));
        let due = due.filter(|due| (from..to).contains(due)).count();
        assert!(due > 0);
        assert_eq!((summary.arrivals, summary.unanswered), (due as u64, 0));
    }

    #[test]
    fn a_service_that_stalls_is_charged_for_all_that_became_due() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        // It accepts (the kernel does that) and never answers.
        let _listener = UnixListener::bind(&socket).unwrap();
        let mut client = Client::connect(&socket, 1000, Protocol::Echo).unwrap();

        client.begin();
        until(|| {
            client.advance().unwrap();
            (client.next >= 50).then_some(())
        });
        client.end();
        let summary = until(|| client.advance().unwrap());

        assert!(summary.arrivals >= 49, "{summary:?}");
        assert_eq!(summary.unanswered, summary.arrivals);
        assert!(summary.p50_us >= GRACE.as_micros() as f64 * 0.99, "{summary:?}");
    }

    #[test]
    fn responses_that_come_in_pieces_are_put_together() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let mut client = Client::connect(&socket, 1000, Protocol::Redis).unwrap();
        let (mut service, _) = listener.accept().unwrap();
        until(|| {
            client.advance().unwrap();
            (client.next >= 3).then_some(())
        });
        let asked = client.waiting.len();

        service.write_all(b"$8\r\n12345678\r\n$8\r\n1234").unwrap();
        client.receive().unwrap();
        assert_eq!(client.waiting.len(), asked - 1);
        service.write_all(b"5678\r\n").unwrap();
        client.receive().unwrap();
        assert_eq!((client.waiting.len(), client.held), (asked - 2, 0));

        service.write_all(b"-ERR no\r\n").unwrap();
        let error = client.receive().unwrap_err();
        assert_eq!((error.kind(), &*error.to_string()), (ErrorKind::InvalidData, "-ERR no\r\n"));
    }

    #[test]
    fn a_service_that_hangs_up_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let mut client = Client::connect(&socket, 1000, Protocol::Echo).unwrap();

        drop(listener.accept().unwrap());
        drop(listener);

        let error = until(|| client.advance().err());
        assert!(
            matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            ),
            "{error}"
        );
    }
}
