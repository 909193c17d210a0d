//! The child's side: waits at the gate, then becomes CMD.
//!
//! Runs before any thread or runtime of ours exists. What it was given it passes on untouched:
//! working directory, environment, descriptors, ignored and blocked signals. With one exception:
//! whichever of standard input, output and error is closed, CMD finds `/dev/null` there, since
//! Rust's runtime opens it before `main`.

use super::broken_pipe;
use super::gate::OPEN;
use super::{EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, EXIT_OURS};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Waits until the gate opens and becomes `command`. Returns only if that failed, with the exit
/// code; the message has been printed.
pub fn shim(gate: RawFd, command: &[OsString]) -> u8 {
    let Some((program, arguments)) = command.split_first() else {
        eprintln!("outrigger launch: no command given");
        return EXIT_OURS;
    };
    if gate < 3 {
        eprintln!("outrigger launch: descriptor {gate} is no gate");
        return EXIT_OURS;
    }
    if !opens(gate) {
        // Whoever held the gate is gone; nobody waits for CMD.
        return EXIT_OURS;
    }
    let mut command = Command::new(program);
    command.args(arguments);
    // SAFETY: the call is async-signal-safe; there is one thread and no fork here in any case.
    unsafe { command.pre_exec(broken_pipe::put_back) };
    let error = command.exec();
    eprintln!("outrigger: cannot execute {}: {error}", program.to_string_lossy());
    match error.kind() {
        io::ErrorKind::NotFound => EXIT_NOT_FOUND,
        _ => EXIT_NOT_EXECUTABLE,
    }
}

fn opens(gate: RawFd) -> bool {
    // SAFETY: the number was passed to this process for this one purpose, and nothing else here
    // owns it. Should it not be open, reading says so.
    let mut gate = unsafe { File::from_raw_fd(gate) };
    let mut word = [0];
    matches!(gate.read_exact(&mut word), Ok(()) if word[0] == OPEN)
}
