//! The built program, started as a user starts it, and asked over its own command line.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Mutation, until_some};

/// Where state should live: a tmpfs that everybody may use.
const TMPFS: &str = "/dev/shm";
/// How long a sidecar may take to put everything back before it is killed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A sidecar to be started.
#[derive(Debug)]
pub struct Start {
    directory: TempDir,
    arguments: Vec<OsString>,
    mutation: Option<Mutation>,
}

/// A running sidecar with a state directory of its own; ended and reaped when dropped, its log
/// shown if the test failed.
#[derive(Debug)]
pub struct Outrigger {
    child: Child,
    directory: TempDir,
}

/// The program under test: `OUTRIGGER_BIN`, else the one that cargo built beside this test.
///
/// # Panics
/// When there is none; says how to build it.
pub fn program() -> PathBuf {
    let path = std::env::var_os("OUTRIGGER_BIN").map(PathBuf::from).unwrap_or_else(|| {
        let test = std::env::current_exe().expect("the kernel knows what it runs");
        // target/PROFILE/deps/TEST
        let profile = test.ancestors().nth(2).expect("cargo keeps tests two levels down");
        profile.join("outrigger")
    });
    let advice = "build it (and its plugins) first: cargo build, with the profile of the tests";
    assert!(path.is_file(), "{} is missing; {advice}", path.display());
    path
}

// === impl Start ===

impl Start {
    /// With a fault; the program must have been built with the feature `mutations`.
    #[must_use]
    pub fn mutated(mut self, mutation: impl Into<Option<Mutation>>) -> Self {
        self.mutation = mutation.into();
        self
    }

    /// Starts it. It may not be listening yet on return.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(self) -> Outrigger {
        let Self { directory, arguments, mutation } = self;
        let log = File::create(directory.path().join("log")).expect("the directory is ours");
        let mut command = Command::new(program());
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        if let Some(mutation) = mutation {
            command.env(Mutation::VARIABLE, mutation.value());
        }
        // Signals that a terminal sends to the tests are not for it.
        command.process_group(0);
        // SAFETY: prctl and signal are async-signal-safe and touch no memory.
        unsafe {
            command.pre_exec(|| {
                // Under nohup, or in the background of a script, these are inherited as ignored.
                for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGTERM] {
                    libc::signal(signal, libc::SIG_DFL);
                }
                Ok(())
            });
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let child = command.spawn().expect("the program can be started");
        Outrigger { child, directory }
    }
}

// === impl Outrigger ===

impl Outrigger {
    /// `outrigger daemon` with `configuration`, the text of a configuration file.
    ///
    /// # Panics
    /// When its directory cannot be made.
    pub fn daemon(configuration: &str) -> Start {
        let directory = directory();
        let file = directory.path().join("outrigger.toml");
        fs::write(&file, configuration).expect("the directory is ours");
        plan(directory, "daemon", [OsStr::new("--config"), file.as_os_str()])
    }

    /// `outrigger COMMAND ARGUMENTS`, such as `run` or `attach`.
    ///
    /// # Panics
    /// When its directory cannot be made.
    pub fn command<A: AsRef<OsStr>>(
        command: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Start {
        plan(directory(), command, arguments)
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its state directory.
    pub fn state(&self) -> PathBuf {
        state(&self.directory)
    }

    /// What `outrigger status --json` says; `None` while it does not answer.
    pub fn status(&self) -> Option<Value> {
        self.ask(["status"])
    }

    /// What `outrigger explain WHOM --json` says; `None` if it knows nothing.
    pub fn explain(&self, whom: impl ToString) -> Option<Value> {
        self.ask(["explain", &whom.to_string()])
    }

    /// What `outrigger explain WHOM` prints for people.
    pub fn explain_in_words(&self, whom: impl ToString) -> String {
        let output = self.command_of(&["explain", &whom.to_string()]).output();
        let output = output.expect("the program can be started");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until the status is as wanted, and returns it.
    ///
    /// # Panics
    /// When it is not within `patience`, or the sidecar has ended; shows the last status.
    pub fn wait_until(
        &mut self,
        what: &str,
        patience: Duration,
        mut wanted: impl FnMut(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + patience;
        until_some(what, patience + PATIENCE, || {
            let ended = self.child.try_wait().expect("it is our child");
            assert!(ended.is_none(), "the sidecar ended ({ended:?}) before: {what}");
            let status = self.status();
            if let Some(status) = &status
                && wanted(status)
            {
                return Some(status.clone());
            }
            let shown = status.unwrap_or_default();
            assert!(
                Instant::now() < deadline,
                "not within {patience:?}: {what}; it says {shown:#}"
            );
            None
        })
    }

    /// Sends `signal` without waiting.
    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: kill touches no memory. It is our child and not reaped, so the number is its.
        unsafe { libc::kill(self.pid().cast_signed(), signal) };
    }

    /// Waits until it has ended by itself or by a signal.
    ///
    /// # Panics
    /// When it has not within `patience`.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        until_some("the sidecar has ended", patience, || {
            self.child.try_wait().expect("it is our child")
        })
    }

    /// Living processes that were told its state directory: the sidecar itself, its keeper, and
    /// what else it may have started on its own behalf.
    pub fn processes(&self) -> Vec<u32> {
        let state = self.state();
        let told = state.as_os_str().as_encoded_bytes();
        let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers
            .filter(|pid: &u32| {
                let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                command.split(|&byte| byte == 0).any(|argument| argument.starts_with(told))
            })
            .collect()
    }

    /// Its keeper, while there is one.
    pub fn keeper(&self) -> Option<u32> {
        self.processes().into_iter().find(|pid| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            command.split(|&byte| byte == 0).nth(1) == Some(b"keeper")
        })
    }

    /// The command line of its keeper, while there is one: program and arguments.
    pub fn keeper_command(&self) -> Option<Vec<OsString>> {
        let command = fs::read(format!("/proc/{}/cmdline", self.keeper()?)).ok()?;
        let words = command.strip_suffix(b"\0")?.split(|&byte| byte == 0);
        Some(words.map(|word| OsStr::from_bytes(word).to_owned()).collect())
    }

    /// `outrigger restore`; whether it succeeded.
    pub fn restore(&self) -> bool {
        self.question(["restore"]).status.success()
    }

    /// What it has written to standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn ask<const N: usize>(&self, question: [&str; N]) -> Option<Value> {
        serde_json::from_slice(&self.question(question).stdout).ok()
    }

    fn question<const N: usize>(&self, question: [&str; N]) -> Output {
        let output = self.command_of(&question).arg("--json").output();
        output.expect("the program can be started")
    }

    /// The program, asking this sidecar.
    fn command_of(&self, question: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(question).arg("--state-dir").arg(self.state()).stdin(Stdio::null());
        command
    }
}

impl Drop for Outrigger {
    fn drop(&mut self) {
        let running = |child: &mut Child| matches!(child.try_wait(), Ok(None));
        if running(&mut self.child) {
            self.signal(libc::SIGTERM);
            let deadline = Instant::now() + PATIENCE;
            while running(&mut self.child) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
            // The keeper, a process of its own, restores what is left then.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the sidecar\n{}---", self.log());
        }
    }
}

fn directory() -> TempDir {
    TempDir::with_prefix_in("outrigger-test-", TMPFS)
        .or_else(|_| TempDir::with_prefix("outrigger-test-"))
        .expect("the temporary directory can be written")
}

fn state(directory: &TempDir) -> PathBuf {
    directory.path().join("state")
}

fn plan<A: AsRef<OsStr>>(
    directory: TempDir,
    command: &str,
    rest: impl IntoIterator<Item = A>,
) -> Start {
    let mut arguments = vec![command.into(), "--state-dir".into(), state(&directory).into()];
    arguments.extend(rest.into_iter().map(|argument| argument.as_ref().to_owned()));
    Start { directory, arguments, mutation: None }
}
