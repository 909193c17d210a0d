//! The time in which CMD runs: passes signals on, stops and continues with it, waits for its end.

use super::Hooks;
use super::gate::{Held, LaunchError};
use super::signals::{Arrived, FORWARDED, SignalInbox, stop_ourselves};
use super::stragglers::{self, Straggler};
use std::io;
use std::mem::MaybeUninit;

/// How CMD ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code, or 128 and the number of the signal that killed it.
    pub code: u8,
    /// What it left behind and what became of that.
    pub stragglers: Vec<Straggler>,
}

/// Opens the gate and stays until CMD and everything it started has ended.
///
/// # Errors
/// The gate cannot be opened: CMD did not run.
pub fn supervise(mut held: Held, inbox: &SignalInbox, hooks: &Hooks) -> Result<Ended, LaunchError> {
    held.release()?;
    let code = loop {
        match inbox.wait(None) {
            Ok(None) => {}
            Ok(Some(Arrived { signal: libc::SIGCHLD, .. })) => {
                if let Some(code) = child_changed(&held) {
                    break code;
                }
                reap_orphans(held.task().pid, hooks);
            }
            Ok(Some(Arrived { signal: libc::SIGCONT, .. })) => continued(&held),
            Ok(Some(arrived)) => forward(&held, arrived),
            Err(error) => {
                // Without signals the end of CMD can still be waited for.
                tracing::warn!(%error, "signals cannot be read and are not passed on");
                break wait_to_the_end(held.task().pid);
            }
        }
    };
    if let Some(terminal) = held.terminal() {
        terminal.take_back();
    }
    Ok(Ended { code, stragglers: stragglers::sweep(hooks) })
}

fn forward(held: &Held, Arrived { signal, from_kernel }: Arrived) {
    // In a shared group the terminal has sent it to CMD as well.
    if FORWARDED.contains(&signal) && (held.own_group || !from_kernel) {
        send(held, signal);
    }
}

fn send(held: &Held, signal: libc::c_int) {
    let pid = held.task().pid.cast_signed();
    let target = if held.own_group { -pid } else { pid };
    // SAFETY: kill touches no memory. The number is CMD's: it is our child and not reaped.
    unsafe { libc::kill(target, signal) };
}

/// We were continued: if the terminal is ours again (`fg`), it is CMD's.
fn continued(held: &Held) {
    if let Some(terminal) = held.terminal()
        && terminal.is_ours()
    {
        terminal.give_to(held.task().pid);
    }
    send(held, libc::SIGCONT);
}

/// CMD changed its state; its exit code if it has ended.
fn child_changed(held: &Held) -> Option<u8> {
    let how = libc::WEXITED | libc::WSTOPPED | libc::WNOHANG;
    while let Some(change) = wait_for(held.task().pid, how) {
        match change {
            Change::Ended(code) => return Some(code),
            // SIGSTOP was sent to CMD alone, by somebody who will continue it; only what the
            // terminal does stops the whole job.
            Change::Stopped(libc::SIGSTOP) => {}
            Change::Stopped(signal) => {
                if let Some(terminal) = held.terminal() {
                    terminal.take_back();
                }
                stop_ourselves(signal);
                continued(held);
            }
        }
    }
    None
}

enum Change {
    Ended(u8),
    Stopped(libc::c_int),
}

fn wait_for(pid: u32, how: libc::c_int) -> Option<Change> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: info is ours and of the right type; all zero is a valid value of it.
    let (result, info) = unsafe {
        let result = libc::waitid(libc::P_PID, pid, info.as_mut_ptr(), how);
        (result, info.assume_init())
    };
    // SAFETY: waitid fills the fields of a child's change, or leaves them zero.
    let (changed, status) = unsafe { (info.si_pid(), info.si_status()) };
    if result != 0 || changed == 0 {
        return None;
    }
    Some(match info.si_code {
        libc::CLD_EXITED => Change::Ended((status & 0xff) as u8),
        libc::CLD_KILLED | libc::CLD_DUMPED => Change::Ended((128 + status).clamp(0, 255) as u8),
        _ => Change::Stopped(status),
    })
}

fn wait_to_the_end(pid: u32) -> u8 {
    loop {
        match wait_for(pid, libc::WEXITED) {
            Some(Change::Ended(code)) => return code,
            None if io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) => {
                return super::EXIT_OURS;
            }
            _ => {}
        }
    }
}

/// Orphans of CMD that ended are ours to bury, or they would stay as zombies until CMD ends.
fn reap_orphans(child: u32, hooks: &Hooks) {
    let zombies: Vec<u32> = stragglers::children(std::process::id())
        .into_iter()
        .filter(|&pid| pid != child && stragglers::is_zombie(pid))
        .collect();
    if zombies.is_empty() {
        return;
    }
    let spared = (hooks.spared)();
    for pid in zombies.into_iter().filter(|pid| !spared.contains(pid)) {
        let _buried = wait_for(pid, libc::WEXITED | libc::WNOHANG);
    }
}
