//! `outrigger run` as somebody who types it sees it, governed by the real plugins: codes and
//! signals are the command's own, nothing it started stays, and what is broken does not keep it
//! from running unless that was asked for.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use outrigger_tests::{Mutation, cgroups, program, root, until};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);
/// What the daemon of a command runs; as the end of its command line.
const DAEMON: &str = "echo $$; while :; do sleep 1; done\0";

/// A place for the state of one `run`.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::with_prefix("outrigger-test-").unwrap())
    }

    /// `outrigger run OPTIONS -- sh -c SCRIPT`
    fn run(&self, options: &[&str], script: &str) -> Command {
        let mut command = Command::new(program());
        command.arg("run").arg("--state-dir").arg(self.0.path().join("state"));
        command.args(options).args(["--", "sh", "-c", script]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// Killed if the test fails; the keeper clears up.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A daemon that nobody may have ended; killed if the test fails.
struct Daemon(String);

impl Drop for Daemon {
    fn drop(&mut self) {
        // Still what was started: the number of another process would have another command line.
        let command = fs::read(format!("/proc/{}/cmdline", self.0)).unwrap_or_default();
        if let (true, Ok(pid)) = (command.ends_with(DAEMON.as_bytes()), self.0.parse()) {
            // SAFETY: kill touches no memory.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}

fn said(output: &Output) -> (Option<i32>, String) {
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn is_gone(pid: &str) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn governed_commands_end_with_their_own_codes() {
    if !(root() && cgroups()) {
        return;
    }
    let place = Place::new();

    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 128 + 9)] {
        let output = place.run(&["--require"], script).output().unwrap();
        assert_eq!(said(&output), (Some(code), String::new()), "{script}");
    }
}

#[test]
fn a_signal_reaches_the_governed_command_and_no_daemon_of_it_stays() {
    if !(root() && cgroups()) {
        return;
    }
    let place = Place::new();
    // The daemon is a grandchild in a session of its own whose parent is gone.
    let script = format!(
        "trap 'echo told; exit 3' TERM
        (setsid sh -c '{}' &)
        while :; do sleep 0.1; done",
        DAEMON.trim_end_matches('\0')
    );
    let mut run = Running(place.run(&["--require"], &script).spawn().unwrap());
    let mut lines = BufReader::new(run.0.stdout.take().unwrap()).lines();
    let daemon = Daemon(lines.next().unwrap().unwrap());
    let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", daemon.0)).unwrap();
    let context = format!("/outrigger-run-{}", run.0.id());
    assert!(cgroups.contains(&context), "not in {context}: {cgroups}");

    // SAFETY: kill touches no memory; the process is our child and not reaped.
    unsafe { libc::kill(run.0.id().cast_signed(), libc::SIGTERM) };

    assert_eq!(lines.next().unwrap().unwrap(), "told");
    assert_eq!(run.0.wait().unwrap().code(), Some(3));
    until("the daemon is gone", PATIENCE, || is_gone(&daemon.0));
}

#[test]
fn a_broken_plugin_is_told_of_and_does_no_harm() {
    let place = Place::new();
    let plugins = TempDir::new().unwrap();
    fs::write(plugins.path().join("liboutrigger_broken.so"), "no library").unwrap();
    let options = ["--plugin-dir", plugins.path().to_str().unwrap()];

    let output = place.run(&options, "echo ran; exit 7").output().unwrap();

    assert_eq!(said(&output), (Some(7), "ran\n".to_owned()));
    assert!(String::from_utf8_lossy(&output.stderr).contains("liboutrigger_broken.so"));
}

#[test]
fn without_plugins_it_runs_unless_it_must_be_governed() {
    let place = Place::new();
    let attempt = |options: &[&str]| {
        let mut command = place.run(options, "echo ran; exit 7");
        command.env("OUTRIGGER__PLUGINS__ALLOW", "none-of-this-name");
        said(&command.output().unwrap())
    };

    assert_eq!(attempt(&[]), (Some(7), "ran\n".to_owned()));
    assert_eq!(attempt(&["--require"]), (Some(3), String::new()));
}

#[test]
fn a_run_that_forgets_is_noticed() {
    if !(root() && cgroups()) {
        return;
    }
    const SIGNAL: &str = "a_signal_reaches_the_governed_command_and_no_daemon_of_it_stays";
    Mutation::EnforcerNoop.reddens(SIGNAL);
    Mutation::LeaveStragglers.reddens(SIGNAL);
    for test in [
        "governed_commands_end_with_their_own_codes",
        "a_broken_plugin_is_told_of_and_does_no_harm",
        "without_plugins_it_runs_unless_it_must_be_governed",
    ] {
        Mutation::ForgetCode.reddens(test);
    }
}
