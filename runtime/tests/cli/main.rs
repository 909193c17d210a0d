//! The built program, from outside: exit codes, signals, terminal, what it leaves behind.
//!
//! `run` is made unable to govern here (its state directory cannot be made): what is tested is
//! that nobody notices it, not what it does to others.
#![allow(clippy::unwrap_used)]

mod asking;
mod configuration;
mod exit_codes;
mod governed;
mod peers;
mod signals;
mod stragglers;
mod terminal;

use std::os::unix::process::CommandExt;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A state directory that cannot be made by anybody.
const NOWHERE: &str = "/proc/outrigger-test";

/// The program with a clean environment of ours.
fn outrigger() -> Command {
    plain(env!("CARGO_BIN_EXE_outrigger"))
}

/// Any program, with a clean environment and the usual signals.
fn plain(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OUTRIGGER__") {
            command.env_remove(name);
        }
    }
    // SAFETY: signal(2) is async-signal-safe and touches no memory.
    unsafe {
        command.pre_exec(|| {
            // Under nohup, or in the background of a script, these are inherited as ignored.
            for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGTERM] {
                libc::signal(signal, libc::SIG_DFL);
            }
            Ok(())
        });
    }
    command
}

/// `outrigger run` that cannot govern.
fn run(arguments: &[&str]) -> Command {
    let mut command = outrigger();
    command.args(["run", "--state-dir", NOWHERE]).args(arguments);
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits for something that has no event.
fn until(what: &str, mut test: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !test() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
