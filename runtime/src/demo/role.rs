//! The demo's own processes: this executable again, in another role.
//!
//! Every one of them dies with the demo, however the demo ends: by the guard when it returns or
//! panics, by the kernel's parent-death signal when it is killed.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Error;

/// How often an exit that has no event to wait for is looked for.
const POLL: Duration = Duration::from_millis(10);

/// Which session, and so which autogroup, a process is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// The demo's, in a process group of its own: Ctrl-C reaches the demo alone, which then ends
    /// its processes in order.
    Shared,
    /// A new one.
    Own,
}

/// A process of the demo; killed and reaped when dropped.
#[derive(Debug)]
pub struct Role {
    name: &'static str,
    child: Child,
}

// === impl Role ===

impl Role {
    /// A command that runs this executable with subcommand `name`, to be given to
    /// [`Role::start`].
    pub fn command(name: &'static str, args: impl IntoIterator<Item = OsString>) -> Command {
        // The link, not where it points to: it still works after a new build replaced the file.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("outrigger").arg(name).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Starts `command`. `last_words` is the signal it gets if the demo dies first.
    ///
    /// Call it from a thread that lives as long as the process is to live: the parent-death
    /// signal follows the thread, not the process.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(
        name: &'static str,
        command: &mut Command,
        session: Session,
        last_words: libc::c_int,
    ) -> Result<Self, Error> {
        if session == Session::Shared {
            command.process_group(0);
        }
        let parent = std::process::id();
        let prepare = move || {
            // SAFETY: prctl, setsid and getppid are async-signal-safe and touch no memory.
            let prepared = unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, last_words) == 0
                    && (session == Session::Shared || libc::setsid() >= 0)
            };
            if !prepared {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: as above. The demo may have died before the signal was asked for.
            if unsafe { libc::getppid() }.cast_unsigned() != parent {
                return Err(io::ErrorKind::NotFound.into());
            }
            Ok(())
        };
        // SAFETY: the closure runs between fork and exec: it allocates nothing and takes no lock.
        unsafe { command.pre_exec(prepare) };
        let child = command.spawn().map_err(|source| Error::Start { role: name, source })?;
        Ok(Self { name, child })
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// An error if the process has ended, which none may before it is told to.
    ///
    /// # Errors
    /// When it has ended.
    pub fn check(&mut self) -> Result<(), Error> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Error::Ended { role: self.name, status }),
            Err(source) => Err(Error::Talk { role: self.name, source }),
        }
    }

    /// Sends `signal` and waits until the process has ended, at most `patience`.
    ///
    /// # Errors
    /// When it has not ended by then (it is killed when dropped), or ended with a failure.
    pub fn stop(mut self, signal: libc::c_int, patience: Duration) -> Result<(), Error> {
        self.check()?;
        let pid = self.pid().cast_signed();
        // SAFETY: kill touches no memory. The number is the child's: it was not reaped just now,
        // and nobody but us reaps it.
        unsafe { libc::kill(pid, signal) };
        let deadline = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(Error::Ended { role: self.name, status }),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(POLL),
                Ok(None) => return Err(Error::Stuck { role: self.name, patience }),
                Err(source) => return Err(Error::Talk { role: self.name, source }),
            }
        }
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // Both fail only if it has been reaped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
