//! Somebody to protect: the demo's service and its client, placed where a test wants them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

use outrigger::demo::Summary;
use tempfile::TempDir;

use crate::hogs::cpu_time;
use crate::{Hogs, program};

/// A service under open-loop load; both processes end when it is dropped.
#[derive(Debug)]
pub struct Service {
    service: Child,
    load: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    _directory: TempDir,
}

/// What was seen in one stretch of time.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// What the service's client saw.
    pub latency: Summary,
    /// Of the CPU that service and client left free, the share that the hogs used.
    pub kept_ratio: f64,
}

// === impl Service ===

impl Service {
    /// Starts service and load in the session of the test; inside the cgroup directory `group`
    /// if one is given.
    ///
    /// # Panics
    /// When they cannot be started, or moved.
    pub fn start(group: Option<&Path>) -> Self {
        let directory = TempDir::new().expect("the temporary directory can be written");
        let socket = directory.path().join("socket");
        let spawn = |role: &str| {
            let mut command = Command::new(program());
            command.arg(role).arg("--socket").arg(&socket);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            // SAFETY: prctl is async-signal-safe and touches no memory.
            unsafe {
                command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                });
            }
            let child = command.spawn().expect("the program can be started");
            if let Some(group) = group {
                fs::write(group.join("cgroup.procs"), child.id().to_string())
                    .unwrap_or_else(|error| panic!("cannot enter {}: {error}", group.display()));
            }
            child
        };
        let mut service = spawn("demo-service");
        let mut ready = String::new();
        let stdout = service.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut ready).expect("a pipe can be read");
        assert_eq!(ready, "ready\n");
        let mut load = spawn("demo-load");
        let commands = load.stdin.take().expect("it is piped");
        let answers = BufReader::new(load.stdout.take().expect("it is piped"));
        Self { service, load, commands, answers, _directory: directory }
    }

    /// Process numbers of service and client.
    pub fn pids(&self) -> [u32; 2] {
        [self.service.id(), self.load.id()]
    }

    /// Looks on for `time`.
    ///
    /// # Panics
    /// When service or client are gone.
    pub fn watch(&mut self, time: Duration, hogs: Option<&Hogs>) -> Usage {
        let used = |pids: [u32; 2]| pids.map(cpu_time).into_iter().sum::<Duration>();
        let hogs_used = || hogs.map(Hogs::cpu_time).unwrap_or_default();
        let (begun, own, theirs) = (Instant::now(), used(self.pids()), hogs_used());
        self.tell("begin");
        // The one sleep that is no waiting: the length of the measurement.
        sleep(time);
        let offered = begun.elapsed() * available_parallelism().map_or(1, usize::from) as u32;
        let free = offered.saturating_sub(used(self.pids()).saturating_sub(own));
        let kept = hogs_used().saturating_sub(theirs);
        self.tell("end");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("a pipe can be read");
        let latency = serde_json::from_str(&line).expect("the client answers with a summary");
        Usage { latency, kept_ratio: kept.as_secs_f64() / free.as_secs_f64() }
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.commands, "{command}").expect("the client listens");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        for child in [&mut self.load, &mut self.service] {
            // Both fail only if it was reaped already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
