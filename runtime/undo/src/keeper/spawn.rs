//! Starting a keeper, and letting it go, from the sidecar.

use crate::host;
use crate::journal::file;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Until it says that it is ready. Generous: the machine may be in the state we are here for.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// Until it has ended after it was dismissed.
const END_PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(2);

/// A running keeper. Dropping the handle leaves the keeper at its work.
#[derive(Debug)]
pub struct KeeperHandle {
    child: Child,
    dir: PathBuf,
}

/// Starts `exe keeper --state-dir DIR --owner PID:START` for this process and waits until it is
/// ready. That command must do nothing but call [`super::main`], before any thread is made.
///
/// # Errors
/// It could not be started, or did not become ready.
pub fn spawn(exe: &Path, dir: &Path) -> io::Result<KeeperHandle> {
    let owner = host::own_task().map_err(io::Error::other)?;
    file::prepare(dir).map_err(io::Error::other)?;
    let dir = dir.canonicalize()?;
    let mut command = Command::new(exe);
    command
        .args(["keeper", "--state-dir"])
        .arg(&dir)
        .args(["--owner", &format!("{}:{}", owner.pid, owner.start)]);
    start(command, dir)
}

pub(super) fn start(mut command: Command, dir: PathBuf) -> io::Result<KeeperHandle> {
    // Its working directory must not keep a file system busy.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).current_dir("/");
    // SAFETY: setsid(2) is async-signal-safe and touches nothing of ours. A forked child leads no
    // process group, so it cannot fail.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            Ok(())
        });
    }
    let mut child = command.spawn()?;
    let ready =
        child.stdout.take().ok_or_else(|| io::Error::other("no pipe")).and_then(await_ready);
    if let Err(error) = ready {
        let _ = child.kill();
        let _ = child.wait();
        return Err(error);
    }
    Ok(KeeperHandle { child, dir })
}

fn await_ready(mut out: ChildStdout) -> io::Result<()> {
    let started = Instant::now();
    let mut said = Vec::new();
    loop {
        let left = START_PATIENCE.saturating_sub(started.elapsed()).as_millis() as libc::c_int;
        let mut watched = libc::pollfd { fd: out.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one descriptor is watched and `watched` is one.
        match unsafe { libc::poll(&raw mut watched, 1, left) } {
            0 => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the keeper did not become ready",
                ));
            }
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => continue,
                error => return Err(error),
            },
            _ => {}
        }
        let mut bytes = [0u8; 256];
        match out.read(&mut bytes)? {
            0 => return Err(io::Error::other("the keeper ended before it was ready")),
            length => said.extend_from_slice(&bytes[..length]),
        }
        if said.split(|byte| *byte == b'\n').any(|line| line == b"ready") {
            return Ok(());
        }
    }
}

impl KeeperHandle {
    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is still there. If not, another must be started before anything more is changed.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Lets the keeper go, after everything was put back and the journal removed. If the journal
    /// is still there the keeper stays, and tries again once this process has ended; `false`.
    ///
    /// # Errors
    /// It does not end; it is left alone, since it does no harm.
    pub fn dismiss(&mut self) -> io::Result<bool> {
        if file::journal(&self.dir).exists() {
            return Ok(false);
        }
        if self.is_alive() {
            // Not reaped yet, so the number is still its own.
            // SAFETY: takes two integers.
            unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
        }
        let started = Instant::now();
        while self.is_alive() {
            if started.elapsed() > END_PATIENCE {
                let text = format!("the keeper (process {}) does not end", self.child.id());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(true)
    }
}

/// The owner as `--owner` names it, `PID:START`.
impl std::str::FromStr for crate::Task {
    type Err = OwnerError;

    fn from_str(text: &str) -> Result<Self, OwnerError> {
        let wrong = || OwnerError(text.to_owned());
        let (pid, start) = text.split_once(':').ok_or_else(wrong)?;
        Ok(Self {
            pid: pid.parse().map_err(|_| wrong())?,
            tid: 0,
            start: start.parse().map_err(|_| wrong())?,
        })
    }
}

/// Not of the form `PID:START`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a process and its start time, such as 812:45061")]
pub struct OwnerError(String);
