//! After CMD: finds everything it left running and ends it.
//!
//! Found in two ways, since neither sees everything: whatever is in CMD's context, and our own
//! descendants (orphans become our children, `PR_SET_CHILD_SUBREAPER`). Sweeps are repeated until
//! one finds nothing, because something that forks is always one step ahead of a single sweep.
//! Processes are ended by pidfd and start time: a number could be another's by now.

use super::Hooks;
use crate::mutation;
use outrigger_undo::{Task, knob};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Time to end after SIGTERM: enough to write a file, short enough not to be taken for a hang.
pub const GRACE: Duration = Duration::from_secs(2);
/// How long SIGKILL is tried: only a task stuck in the kernel outlives it.
const KILL_FOR: Duration = Duration::from_secs(5);
/// Between two sweeps while something still runs: new ones may have been forked.
const AGAIN: Duration = Duration::from_millis(50);

/// A process that was still there after CMD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Straggler {
    /// Process number.
    pub pid: u32,
    /// Kernel's short name.
    pub name: String,
    /// Whether it was in a session of its own: it had made itself a daemon.
    pub daemonised: bool,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a straggler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It ended within the grace.
    Ended,
    /// It had to be killed.
    Killed,
    /// It is still there.
    Remains,
}

/// Ends everything CMD left behind. Answers with what there was.
pub fn sweep(hooks: &Hooks) -> Vec<Straggler> {
    if mutation::leave_stragglers() {
        return Vec::new();
    }
    let mut all: BTreeMap<u32, Found> = BTreeMap::new();
    let until_kill = Instant::now() + GRACE;
    let until_end = until_kill + KILL_FOR;
    loop {
        let now = Instant::now();
        let living = living(hooks);
        if living.is_empty() {
            break;
        }
        for &task in &living {
            let known = all.get(&task.pid).is_some_and(|found| found.task == task);
            if !known && let Some(found) = Found::open(task) {
                found.send(libc::SIGTERM);
                // One that is stopped could not react.
                found.send(libc::SIGCONT);
                all.insert(task.pid, found);
            }
            if let Some(found) = all.get_mut(&task.pid).filter(|_| now >= until_kill) {
                found.send(libc::SIGKILL);
                found.straggler.fate = Fate::Killed;
            }
        }
        if now >= until_end {
            for found in all.values_mut().filter(|found| living.contains(&found.task)) {
                found.straggler.fate = Fate::Remains;
            }
            break;
        }
        await_one(all.values().filter(|found| living.contains(&found.task)));
    }
    all.into_values().map(|found| found.straggler).collect()
}

/// Everything that counts as CMD's and is alive.
fn living(hooks: &Hooks) -> Vec<Task> {
    let own = std::process::id();
    let mut spared = (hooks.spared)();
    spared.extend([own, 1]);
    let mut pids = Vec::new();
    let mut left = children(own);
    left.extend((hooks.stragglers)());
    while let Some(pid) = left.pop() {
        if !spared.contains(&pid) && !pids.contains(&pid) {
            left.extend(children(pid));
            pids.push(pid);
        }
    }
    pids.into_iter().filter_map(knob::identify).collect()
}

/// Children of a process, of all its threads.
pub(super) fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut readable = false;
    let mut children = Vec::new();
    for thread in threads.flatten() {
        if let Ok(text) = fs::read_to_string(thread.path().join("children")) {
            readable = true;
            children
                .extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    // Without CONFIG_PROC_CHILDREN every process has to be asked for its parent.
    if readable { children } else { children_by_scan(pid) }
}

fn children_by_scan(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|&pid| stat_field(pid, 1).and_then(|field| field.parse().ok()) == Some(parent))
        .collect()
}

/// Whether it has ended and waits to be buried.
pub(super) fn is_zombie(pid: u32) -> bool {
    stat_field(pid, 0).is_some_and(|state| state == "Z")
}

/// A field of `/proc/PID/stat`, counted from the one after the name: 0 state, 1 parent, 3 session.
fn stat_field(pid: u32, index: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_ascii_whitespace().nth(index).map(str::to_owned)
}

/// A straggler, with a handle that cannot become another process.
struct Found {
    straggler: Straggler,
    task: Task,
    handle: OwnedFd,
}

impl Found {
    fn open(task: Task) -> Option<Self> {
        let handle = pidfd(task.pid).ok()?;
        // Only now is it certain that the handle is the process that was found.
        if !knob::is_alive(task) {
            return None;
        }
        let name = fs::read_to_string(format!("/proc/{}/comm", task.pid)).unwrap_or_default();
        let session = stat_field(task.pid, 3).and_then(|field| field.parse().ok());
        let straggler = Straggler {
            pid: task.pid,
            name: name.trim_end().to_owned(),
            daemonised: session != own_session(),
            fate: Fate::Ended,
        };
        Some(Self { straggler, task, handle })
    }

    fn send(&self, signal: libc::c_int) {
        // SAFETY: pidfd_send_signal without a siginfo touches no memory; the handle is open.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.handle.as_raw_fd(),
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        if sent != 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(libc::ESRCH) {
                tracing::warn!(pid = self.task.pid, signal, %error, "signal not delivered");
            }
        }
    }
}

fn own_session() -> Option<u32> {
    // SAFETY: getsid(0) takes a number and cannot fail for ourselves.
    u32::try_from(unsafe { libc::getsid(0) }).ok()
}

fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two numbers.
    let handle = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let handle = libc::c_int::try_from(handle).ok().filter(|handle| *handle >= 0);
    let handle = handle.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: just opened, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(handle) })
}

/// Waits until one of them ends, but not longer than until the next sweep.
fn await_one<'a>(found: impl Iterator<Item = &'a Found>) {
    let mut waiting: Vec<libc::pollfd> = found
        .map(|found| libc::pollfd {
            fd: found.handle.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let count = waiting.len() as libc::nfds_t;
    // SAFETY: as many entries as said, alive through the call. What it answers does not matter:
    // the next sweep looks for itself.
    unsafe { libc::poll(waiting.as_mut_ptr(), count, AGAIN.as_millis() as libc::c_int) };
}
