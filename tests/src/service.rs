//! Somebody to protect: a service and its client. The demo's own, placed where a test wants it,
//! or a real one.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

use outrigger::demo::{Summary, busy_time};
use tempfile::TempDir;

use crate::hogs::cpu_time;
use crate::{Hogs, program, until};

/// How long a service may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(30);

/// A service under open-loop load; both processes end when it is dropped.
#[derive(Debug)]
pub struct Service {
    // Dropped in this order: the client before what it talks to.
    load: Process,
    service: Process,
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
    /// CPUs that everything else on the machine used, the sidecar included.
    pub others_cpus: f64,
}

/// A process, killed and reaped when dropped.
#[derive(Debug)]
struct Process(Child);

// === impl Service ===

impl Service {
    /// Starts service and load in the session of the test; inside the cgroup directory `group`
    /// if one is given.
    ///
    /// # Panics
    /// When they cannot be started, or moved.
    pub fn start(group: Option<&Path>) -> Self {
        let directory = TempDir::new().expect("the temporary directory can be written");
        let mut command = role("demo-service", directory.path());
        let mut service = Process::start(&mut command, group);
        let mut ready = String::new();
        let stdout = service.0.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut ready).expect("a pipe can be read");
        assert_eq!(ready, "ready\n");
        let mut command = role("demo-load", directory.path());
        // Where CPUs are emulated the usual rate is too much for them.
        if let Some(rate) = std::env::var_os("OUTRIGGER_TEST_RATE") {
            command.arg("--rate").arg(rate);
        }
        let load = Process::start(&mut command, group);
        Self::under(load, service, directory)
    }

    /// Starts a real service under the same load, 2,000 requests a second: `redis-server` on a
    /// Unix socket of its own, without persistence, in the session and the cgroups of the test.
    ///
    /// # Panics
    /// When it cannot be started; ask [`crate::installed`] first.
    pub fn redis() -> Self {
        let directory = TempDir::new().expect("the temporary directory can be written");
        let socket = socket(directory.path());
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--dir"]);
        command.arg(directory.path()).arg("--unixsocket").arg(&socket);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let service = Process::start(&mut command, None);
        until("redis keeps the value that is asked for", PATIENCE, || set_value(&socket));
        let mut command = role("demo-load", directory.path());
        let load = Process::start(command.args(["--protocol", "redis"]), None);
        Self::under(load, service, directory)
    }

    fn under(mut load: Process, service: Process, directory: TempDir) -> Self {
        let commands = load.0.stdin.take().expect("it is piped");
        let answers = BufReader::new(load.0.stdout.take().expect("it is piped"));
        Self { load, service, commands, answers, _directory: directory }
    }

    /// Process numbers of service and client.
    pub fn pids(&self) -> [u32; 2] {
        [self.service.0.id(), self.load.0.id()]
    }

    /// CPU time of both so far.
    pub fn cpu_time(&self) -> Duration {
        self.pids().map(cpu_time).into_iter().sum()
    }

    /// Looks on for `time`.
    ///
    /// # Panics
    /// When service or client are gone.
    pub fn watch(&mut self, time: Duration, hogs: Option<&Hogs>) -> Usage {
        let hogs_used = || hogs.map(Hogs::cpu_time).unwrap_or_default();
        let machine_used = || busy_time().expect("/proc/stat can be read");
        let (begun, all) = (Instant::now(), machine_used());
        let (own, theirs) = (self.cpu_time(), hogs_used());
        self.tell("begin");
        // The one sleep that is no waiting: the length of the measurement.
        sleep(time);
        let elapsed = begun.elapsed();
        let own = self.cpu_time().saturating_sub(own);
        let theirs = hogs_used().saturating_sub(theirs);
        let others = machine_used().saturating_sub(all).saturating_sub(own + theirs);
        let offered = elapsed * available_parallelism().map_or(1, usize::from) as u32;
        self.tell("end");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("a pipe can be read");
        Usage {
            latency: serde_json::from_str(&line).expect("the client answers with a summary"),
            kept_ratio: theirs.as_secs_f64() / offered.saturating_sub(own).as_secs_f64(),
            others_cpus: others.as_secs_f64() / elapsed.as_secs_f64(),
        }
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.commands, "{command}").expect("the client listens");
    }
}

/// The program in a role of the demo, on the socket in `directory`.
fn role(name: &str, directory: &Path) -> Command {
    let mut command = Command::new(program());
    command.arg(name).arg("--socket").arg(socket(directory));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

fn socket(directory: &Path) -> std::path::PathBuf {
    directory.join("socket")
}

/// Sets the value that the client asks for. False while redis does not answer yet.
fn set_value(socket: &Path) -> bool {
    const OK: &[u8] = b"+OK\r\n";
    let attempt = || {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"SET k 12345678\r\n")?;
        let mut answer = [0; OK.len()];
        stream.read_exact(&mut answer).map(|()| answer == OK)
    };
    attempt().unwrap_or(false)
}

// === impl Process ===

impl Process {
    fn start(command: &mut Command, group: Option<&Path>) -> Self {
        // SAFETY: prctl is async-signal-safe and touches no memory.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let process = Self(command.spawn().expect("the program can be started"));
        if let Some(group) = group {
            fs::write(group.join("cgroup.procs"), process.0.id().to_string())
                .unwrap_or_else(|error| panic!("cannot enter {}: {error}", group.display()));
        }
        process
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it was reaped already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
