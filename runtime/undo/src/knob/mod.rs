//! Reading and writing every kind of knob, in the text forms [`Kind`] documents.
//!
//! This is the only code of Outrigger on Linux that changes how a task runs. It checks whose
//! number it is before and after, refuses what is outside the closed set, and reads back what
//! the kernel made of a value. It deliberately decides nothing: what was there before, who may
//! change it and when it is put back is the journal's business.

pub mod cpu_list;
mod error;

#[cfg(target_os = "linux")]
mod cgroup;
#[cfg(target_os = "linux")]
mod file;
#[cfg(target_os = "linux")]
mod identity;
#[cfg(target_os = "linux")]
pub(crate) mod mounts;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod sched;

/// Control files that take a value, show none, and whose effect cannot be taken back.
pub(crate) const TRIGGERS: [&str; 2] = ["memory.reclaim", "cgroup.kill"];

pub use error::{KnobError, KnobErrorCode};
#[cfg(target_os = "linux")]
pub use identity::{Stat, identify, is_alive, start_time, stat, threads};
#[cfg(target_os = "linux")]
pub(crate) use process::autogroup_of;

use crate::{Kind, Task};

/// Reads a knob. `task` must be given for the kinds that are about one, and is ignored by the
/// others; a per-thread kind with thread number 0 means the leader.
///
/// # Errors
/// See [`KnobErrorCode`]. A task whose start time is not the given one is gone.
#[cfg(target_os = "linux")]
pub fn read(kind: Kind, task: Option<Task>, locator: &str) -> Result<String, KnobError> {
    if !kind.is_about_a_task() {
        return read_raw(kind, Task::default(), locator);
    }
    let task = task.ok_or_else(|| no_task(kind))?;
    let value = read_raw(kind, task, locator);
    // Checked after: whose it is now it was during the call, and an error of a task that is gone
    // is best told as that.
    identity::check(task)?;
    value
}

/// Writes a knob and reads it back. The kernel may have normalised the value.
///
/// # Errors
/// See [`KnobErrorCode`]. After an error the value may have been written; read it.
#[cfg(target_os = "linux")]
pub fn write(
    kind: Kind,
    task: Option<Task>,
    locator: &str,
    value: &str,
) -> Result<String, KnobError> {
    if !kind.is_about_a_task() {
        write_raw(kind, Task::default(), locator, value)?;
        return read_raw(kind, Task::default(), locator);
    }
    let task = task.ok_or_else(|| no_task(kind))?;
    identity::check_changeable(task)?;
    let written = write_raw(kind, task, locator, value);
    if let Err(gone) = identity::check(task) {
        give_back(kind, task, locator, value);
        return Err(gone);
    }
    written?;
    read(kind, Some(task), locator)
}

/// Not on this system: other systems have knobs of their own.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn read(kind: Kind, _task: Option<Task>, _locator: &str) -> Result<String, KnobError> {
    Err(KnobError::new(KnobErrorCode::NotSupported, format!("{kind:?} exists on Linux only")))
}

/// Not on this system: other systems have knobs of their own.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn write(
    kind: Kind,
    task: Option<Task>,
    locator: &str,
    _value: &str,
) -> Result<String, KnobError> {
    read(kind, task, locator)
}

fn no_task(kind: Kind) -> KnobError {
    KnobError::refused(format!("{kind:?} is about a task, and none was given"))
}

/// The number may have become another task's between the check and the write. If that one has
/// what we wrote, it gets what it was born with: its parent's, or its process's, value.
#[cfg(target_os = "linux")]
fn give_back(kind: Kind, task: Task, locator: &str, written: &str) {
    let Some(now) = identity::stat(task.pid, task.tid).filter(|now| now.start != task.start) else {
        return;
    };
    let successor = Task { start: now.start, ..task };
    let elder = if task.tid == 0 || task.tid == task.pid { now.ppid } else { task.pid };
    let Some(elder) = identity::identify(elder) else { return };
    if read(kind, Some(successor), locator).is_ok_and(|value| value == written)
        && let Ok(inherited) = read(kind, Some(elder), locator)
    {
        // Nobody can be told more than that the target is gone, which the caller hears anyway.
        let _ = write_raw(kind, successor, locator, &inherited);
    }
}

#[cfg(target_os = "linux")]
fn read_raw(kind: Kind, task: Task, locator: &str) -> Result<String, KnobError> {
    match kind {
        Kind::Nice => sched::nice(task),
        Kind::SchedPolicy => sched::policy(task),
        Kind::Affinity => sched::affinity(task),
        Kind::IoPriority => sched::io_priority(task),
        Kind::OomScoreAdj => process::oom_score_adj(task),
        Kind::Rlimit => process::soft_limit(task, locator),
        Kind::Autogroup => process::autogroup(task),
        Kind::File => file::read(locator),
        Kind::Membership => cgroup::membership(task, locator),
        Kind::Context => cgroup::context(locator),
    }
}

#[cfg(target_os = "linux")]
fn write_raw(kind: Kind, task: Task, locator: &str, value: &str) -> Result<(), KnobError> {
    match kind {
        Kind::Nice => sched::set_nice(task, value),
        Kind::SchedPolicy => sched::set_policy(task, value),
        Kind::Affinity => sched::set_affinity(task, value),
        Kind::IoPriority => sched::set_io_priority(task, value),
        Kind::OomScoreAdj => process::set_oom_score_adj(task, value),
        Kind::Rlimit => process::set_soft_limit(task, locator, value),
        Kind::Autogroup => process::set_autogroup(task, value),
        Kind::File => file::write(locator, value),
        Kind::Membership => cgroup::set_membership(task, locator, value),
        Kind::Context => cgroup::set_context(locator, value),
    }
}
