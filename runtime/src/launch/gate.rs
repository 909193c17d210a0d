//! The waiting child, and the pipe that lets it go.

use super::broken_pipe;
use super::signals::SignalInbox;
use super::terminal::Terminal;
use outrigger_undo::{Task, knob};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What opens the gate. Anything else, or the end of the pipe, means: do not run.
pub(super) const OPEN: u8 = b'G';

/// CMD could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} for {command}: {error}")]
pub struct LaunchError {
    step: &'static str,
    command: String,
    error: io::Error,
}

/// A child that is there, has its process number and group, and waits before it becomes CMD.
/// Dropped, it ends without having run anything.
#[derive(Debug)]
pub struct Held {
    task: Task,
    gate: File,
    pub(super) terminal: Option<Terminal>,
    pub(super) own_group: bool,
    command: String,
}

/// Starts the shim that will become `command` (program and arguments, at least the program).
///
/// It gets the signal mask that the inbox found, and SIGPIPE as we got it. Call it before other threads start processes: for
/// a moment the gate could be inherited.
///
/// # Errors
/// What failed, and what the OS said.
pub fn hold(command: &[OsString], inbox: &SignalInbox) -> Result<Held, LaunchError> {
    let name = command.first().map(|c| c.to_string_lossy().into_owned()).unwrap_or_default();
    let failed = |step| {
        let command = name.clone();
        move |error| LaunchError { step, command, error }
    };
    become_reaper().map_err(failed("take over orphans"))?;
    let (inner, outer) = pipe().map_err(failed("make a pipe"))?;
    let terminal = Terminal::find();
    // In a pipeline at a terminal (`outrigger run a | less`) the whole job must stay one process
    // group, or `less` could not read the keyboard any more.
    let own_group = !terminal.as_ref().is_some_and(Terminal::is_pipeline);

    // The link, not where it points to: it still works after an upgrade replaced the file.
    let mut shim = Command::new("/proc/self/exe");
    shim.arg0("outrigger").arg("launch").arg("--gate").arg(inner.as_raw_fd().to_string());
    shim.arg("--").args(command);
    if own_group {
        shim.process_group(0);
    }
    let mask = inbox.original_mask();
    // SAFETY: the closure runs between fork and exec and does two async-signal-safe calls.
    unsafe {
        shim.pre_exec(move || {
            mask.put_back();
            broken_pipe::put_back()
        });
    }
    let child = shim.spawn().map_err(failed("start a process"))?;
    drop(inner);
    // It waits for us, so that it can only be gone if somebody killed it.
    let task = knob::identify(child.id())
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
        .map_err(failed("find the process just started"))?;
    Ok(Held { task, gate: File::from(outer), terminal, own_group, command: name })
}

impl Held {
    /// The process that will be CMD.
    pub fn task(&self) -> Task {
        self.task
    }

    /// The terminal, if it is ours to hand over.
    pub(super) fn terminal(&self) -> Option<&Terminal> {
        self.terminal.as_ref().filter(|_| self.own_group)
    }

    /// Hands over the terminal and lets the child become CMD.
    ///
    /// # Errors
    /// The shim is gone.
    pub(super) fn release(&mut self) -> Result<(), LaunchError> {
        if let Some(terminal) = self.terminal().filter(|terminal| terminal.is_ours()) {
            terminal.give_to(self.task.pid);
        }
        self.gate.write_all(&[OPEN]).map_err(|error| LaunchError {
            step: "open the gate",
            command: self.command.clone(),
            error,
        })
    }
}

/// Orphans of CMD become our children instead of init's, so that they can be found.
fn become_reaper() -> io::Result<()> {
    // SAFETY: prctl with these arguments touches no memory.
    match unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A pipe of which only the reading end is inherited by the next process started.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: pipe2 writes two numbers into an array of two.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both were just opened and belong to nobody else.
    let (inner, outer) = unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
    // SAFETY: fcntl with a number touches no memory; the descriptor is open.
    if unsafe { libc::fcntl(inner.as_raw_fd(), libc::F_SETFD, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((inner, outer))
}
