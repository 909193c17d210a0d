//! The processes of the demo: service, its load, and hogs, with the pipe to the load generator.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use super::machine::{busy_time, cpu_time};
use super::role::{Role, Session};
use super::summary::Summary;
use super::{Args, Error, Targets};
use crate::paths::Surroundings;

/// A private directory, removed with everything in it when dropped.
#[derive(Debug)]
struct Directory(PathBuf);

/// The service and its load, running.
#[derive(Debug)]
pub struct Stage {
    // Ended in this order: a client whose service is gone would complain.
    load: Role,
    service: Role,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    hogs: Vec<Role>,
    // Last: removed after the processes that use it are gone.
    directory: Directory,
}

/// CPU time used so far, and when it was read.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    at: Instant,
    protected: Duration,
    hogs: Duration,
    machine: Duration,
}

// === impl Stage ===

impl Stage {
    /// Starts service and load.
    ///
    /// # Errors
    /// When one of them cannot be started.
    pub fn set(args: &Args) -> Result<Self, Error> {
        let directory = Directory::create()?;
        let socket = directory.0.join("service.sock");
        let option = |name: &str, value: OsString| [name.into(), value];

        let mut command = Role::command("demo-service", option("--socket", socket.clone().into()));
        command.args(option("--work-us", args.work_us.to_string().into())).stdout(Stdio::piped());
        let mut service = start("demo-service", &mut command, Session::Shared)?;
        let mut ready = String::new();
        // Kept open until it has spoken, not longer: it never says anything else.
        let stdout = service.child().stdout.take();
        stdout
            .map_or(Ok(0), |stdout| BufReader::new(stdout).read_line(&mut ready))
            .map_err(|source| Error::Talk { role: "demo-service", source })?;

        let mut command = Role::command("demo-load", option("--socket", socket.into()));
        command.args(option("--rate", args.rate.to_string().into()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut load = start("demo-load", &mut command, Session::Shared)?;
        let pipes = (load.child().stdin.take(), load.child().stdout.take());
        let (Some(commands), Some(answers)) = pipes else {
            let source = io::ErrorKind::BrokenPipe.into();
            return Err(Error::Talk { role: "demo-load", source });
        };
        let answers = BufReader::new(answers);
        Ok(Self { load, service, commands, answers, hogs: Vec::new(), directory })
    }

    /// Where the sidecar may put its files; removed at the end.
    pub fn directory(&self) -> &Path {
        &self.directory.0
    }

    /// Starts `count` hogs.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn release_hogs(&mut self, count: u32, session: Session) -> Result<(), Error> {
        for _ in 0..count {
            let mut command = Role::command("demo-hog", []);
            self.hogs.push(start("demo-hog", &mut command, session)?);
        }
        Ok(())
    }

    /// Kills the hogs, and waits until requests are answered without a backlog again.
    ///
    /// # Errors
    /// When service or load are gone.
    pub fn remove_hogs(&mut self) -> Result<(), Error> {
        self.hogs.clear();
        self.begin()?;
        std::thread::sleep(Duration::from_millis(100));
        // Answered in order: when these are, nothing older is waiting.
        self.end().map(drop)
    }

    /// Who is who, for a governor.
    pub fn targets(&self) -> Targets {
        Targets {
            protected: vec![self.service.pid(), self.load.pid()],
            best_effort: self.hogs.iter().map(Role::pid).collect(),
            ancestor: std::process::id(),
            directory: self.directory().to_owned(),
        }
    }

    /// An error if one of the processes has ended.
    ///
    /// # Errors
    /// See above.
    pub fn check(&mut self) -> Result<(), Error> {
        self.service.check()?;
        self.load.check()?;
        self.hogs.iter_mut().try_for_each(Role::check)
    }

    /// Reads everybody's CPU time.
    ///
    /// # Errors
    /// When one of the processes is gone.
    pub fn usage(&self) -> Result<Usage, Error> {
        let used = |role: &Role| {
            let pid = role.pid();
            cpu_time(pid).map_err(|source| Error::CpuTime { pid, source })
        };
        let protected = used(&self.service)? + used(&self.load)?;
        let hogs = self.hogs.iter().map(used).sum::<Result<Duration, Error>>()?;
        let machine = busy_time().map_err(|source| Error::MachineTime { source })?;
        Ok(Usage { at: Instant::now(), protected, hogs, machine })
    }

    /// Opens a window of measurement.
    ///
    /// # Errors
    /// When the load generator is gone.
    pub fn begin(&mut self) -> Result<(), Error> {
        self.tell("begin")
    }

    /// The open window so far.
    ///
    /// # Errors
    /// When the load generator is gone.
    pub fn peek(&mut self) -> Result<Summary, Error> {
        self.tell("peek")?;
        self.hear()
    }

    /// Closes the window; waits for its last responses.
    ///
    /// # Errors
    /// When the load generator is gone.
    pub fn end(&mut self) -> Result<Summary, Error> {
        self.tell("end")?;
        self.hear()
    }

    fn tell(&mut self, command: &str) -> Result<(), Error> {
        writeln!(self.commands, "{command}").map_err(lost)
    }

    fn hear(&mut self) -> Result<Summary, Error> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(lost)?;
        serde_json::from_str(&line).map_err(|error| lost(error.into()))
    }
}

fn start(
    name: &'static str,
    command: &mut std::process::Command,
    session: Session,
) -> Result<Role, Error> {
    Role::start(name, command, session, libc::SIGKILL)
}

fn lost(source: io::Error) -> Error {
    Error::Talk { role: "demo-load", source }
}

// === impl Usage ===

impl Usage {
    /// Of the CPU that the protected left free between `before` and now on `cpus` CPUs, the share
    /// that the hogs used. Everything else on the machine, the sidecar included, counts against
    /// it.
    pub fn kept_since(&self, before: &Self, cpus: usize) -> f64 {
        let seconds =
            |later: Duration, earlier: Duration| later.saturating_sub(earlier).as_secs_f64();
        let offered = self.at.duration_since(before.at).as_secs_f64() * cpus as f64;
        let free = offered - seconds(self.protected, before.protected);
        seconds(self.hogs, before.hogs) / free.max(f64::MIN_POSITIVE)
    }

    /// CPUs that everything else used between `before` and now: other programs, a hypervisor's
    /// other guests, the sidecar.
    pub fn others_since(&self, before: &Self) -> f64 {
        let all = self.machine.saturating_sub(before.machine);
        let ours = (self.protected + self.hogs).saturating_sub(before.protected + before.hogs);
        all.saturating_sub(ours).as_secs_f64() / self.since(before).as_secs_f64()
    }

    /// Wall time between `before` and now.
    pub fn since(&self, before: &Self) -> Duration {
        self.at.duration_since(before.at)
    }
}

// === impl Directory ===

impl Directory {
    /// Beside the state of real sidecars, on a tmpfs where there is one: the journal that the
    /// demo's sidecar keeps in it is not for a disk. Else in the temporary directory.
    fn create() -> Result<Self, Error> {
        let name = format!("outrigger-demo-{}", std::process::id());
        let state = Surroundings::of_process().state_dir();
        if let Some(beside) = state.parent().map(|parent| parent.join(&name))
            && DirBuilder::new().mode(0o700).create(&beside).is_ok()
        {
            return Ok(Self(beside));
        }
        let path = std::env::temp_dir().join(name);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(Error::Directory { path: path.display().to_string(), source }),
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed is a few kilobytes in the temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_is_the_share_of_what_the_protected_left() {
        let at = Instant::now();
        let seconds = Duration::from_secs;
        let before = Usage { at, protected: seconds(0), hogs: seconds(1), machine: seconds(100) };
        let after = Usage {
            at: at + seconds(4),
            protected: seconds(2),
            hogs: seconds(4),
            machine: seconds(107),
        };

        assert_eq!(after.kept_since(&before, 2), 0.5);
        assert_eq!(after.others_since(&before), 0.5);
    }
}
