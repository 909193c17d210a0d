//! What may be written, and what may not: checked when an operation is prepared and once more
//! before it is committed.
//!
//! A change that the privileges at hand could not turn back is refused unless the configuration
//! allows it. Real-time threads are never touched: somebody gave them their place on purpose,
//! and it can hardly be given back.

use crate::config::Config;
use crate::privilege::{Cap, Privileges};
use outrigger_sdk::undo::{Kind, Task, knob};
use outrigger_sdk::{Error, ErrorCode, Operation};

/// Kinds this backend writes.
pub(crate) const OURS: [Kind; 7] = [
    Kind::Nice,
    Kind::SchedPolicy,
    Kind::Affinity,
    Kind::IoPriority,
    Kind::OomScoreAdj,
    Kind::Rlimit,
    Kind::Autogroup,
];

/// Judges changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub privileges: Privileges,
    pub config: Config,
}

impl Rules {
    /// Whether an operation may be written.
    ///
    /// # Errors
    /// Not ours, out of range, without the privilege, or one-way.
    pub(crate) fn check(&self, step: &str, operation: &Operation) -> Result<(), Error> {
        let Operation { kind, task, before, after, .. } = operation;
        let Some(task) = task.filter(|_| OURS.contains(kind)) else {
            let what = format!("this backend turns knobs of tasks only, not {kind:?}");
            return Err(Error::not_supported(step, what));
        };
        match kind {
            Kind::Nice => self.nice(step, task, before, after),
            Kind::SchedPolicy => self.policy(step, task, before, after),
            Kind::IoPriority => self.io_priority(step, task, before, after),
            Kind::OomScoreAdj => self.oom_score(step, task, before, after),
            Kind::Autogroup => self.autogroup(step, task, before, after),
            Kind::Rlimit => self.reach(step, task, Cap::Resource),
            _ => self.reach(step, task, Cap::Nice),
        }
    }

    fn nice(&self, step: &str, task: Task, before: &str, after: &str) -> Result<(), Error> {
        self.reach(step, task, Cap::Nice)?;
        not_real_time(step, task)?;
        let (before, after) = (number(step, before)?, number(step, after)?);
        if after < before && !self.privileges.can_nice(task, after) {
            let what = format!("lowering the nice value of {task} from {before} to {after}");
            return Err(missing(step, &what, "CAP_SYS_NICE"));
        }
        if after > before && !self.privileges.can_nice(task, before) {
            let what = format!("the nice value of {task} could not be lowered again to {before}");
            return self.one_way(step, &what, "CAP_SYS_NICE");
        }
        Ok(())
    }

    fn policy(&self, step: &str, task: Task, before: &str, after: &str) -> Result<(), Error> {
        self.reach(step, task, Cap::Nice)?;
        not_real_time(step, task)?;
        let idle = |policy: &str| policy.starts_with("idle");
        if real_time(after) || idle(before) == idle(after) {
            return if real_time(after) { Err(no_real_time(step, task)) } else { Ok(()) };
        }
        // The kernel lets nobody out of the idle class who could not set the nice value.
        let nice = knob::read(Kind::Nice, Some(task), "")
            .map_err(|error| outrigger_sdk::knob_error(step, &error))?;
        if self.privileges.can_nice(task, number(step, &nice)?) {
            return Ok(());
        }
        if idle(after) {
            let what = format!("{task} could not leave the idle class again");
            return self.one_way(step, &what, "CAP_SYS_NICE");
        }
        Err(missing(step, &format!("taking {task} out of the idle class"), "CAP_SYS_NICE"))
    }

    fn io_priority(&self, step: &str, task: Task, before: &str, after: &str) -> Result<(), Error> {
        self.reach(step, task, Cap::Nice)?;
        let (before, after) = (number(step, before)?, number(step, after)?);
        if self.privileges.has(Cap::Admin) || self.privileges.has(Cap::Nice) {
            return Ok(());
        }
        if io_class(after) == IO_REAL_TIME {
            let what = format!("the real-time I/O class for {task}");
            return Err(missing(step, &what, "CAP_SYS_NICE"));
        }
        if io_class(before) == IO_REAL_TIME {
            let what = format!("{task} could not be given the real-time I/O class again");
            return self.one_way(step, &what, "CAP_SYS_NICE");
        }
        Ok(())
    }

    /// A score can always go back to what it was: the kernel remembers the lowest value that the
    /// privileged gave it, and it was never below that. Without the privilege, only the lowest
    /// value itself is unknown; 0 is everybody's.
    fn oom_score(&self, step: &str, task: Task, before: &str, after: &str) -> Result<(), Error> {
        self.reach(step, task, Cap::Resource)?;
        let (before, after) = (number(step, before)?, number(step, after)?);
        if after < before && after < 0 && !self.privileges.has(Cap::Resource) {
            let what = format!("lowering oom_score_adj of {task} to {after}");
            return Err(missing(step, &what, "CAP_SYS_RESOURCE"));
        }
        Ok(())
    }

    fn autogroup(&self, step: &str, task: Task, before: &str, after: &str) -> Result<(), Error> {
        self.reach(step, task, Cap::Admin)?;
        let (before, after) = (number(step, before)?, number(step, after)?);
        // Here the kernel asks about the caller's limit, not the target's.
        let caller = Task { pid: std::process::id(), tid: 0, start: 0 };
        if after < 0 && !self.privileges.can_nice(caller, after) {
            let what = format!("a nice value of {after} for the autogroup of {task}");
            return Err(missing(step, &what, "CAP_SYS_NICE"));
        }
        if before < 0 && !self.privileges.can_nice(caller, before) {
            let what = format!("the autogroup of {task} could not be given {before} again");
            return self.one_way(step, &what, "CAP_SYS_NICE");
        }
        Ok(())
    }

    fn reach(&self, step: &str, task: Task, capability: Cap) -> Result<(), Error> {
        if self.privileges.reaches(task.pid, capability) {
            return Ok(());
        }
        let name = match capability {
            Cap::Resource => "CAP_SYS_RESOURCE",
            Cap::Admin => "root's privileges",
            _ => "CAP_SYS_NICE",
        };
        let what = format!("process {} belongs to another user; changing it", task.pid);
        Err(missing(step, &what, name))
    }

    fn one_way(&self, step: &str, what: &str, privilege: &str) -> Result<(), Error> {
        if self.config.allow_irreversible {
            return Ok(());
        }
        let message =
            format!("one-way: {what} without {privilege}; grant it or allow_irreversible");
        Err(Error::new(ErrorCode::PRIVILEGE, step, message))
    }
}

/// `IOPRIO_CLASS_RT` of `ioprio_set(2)`.
const IO_REAL_TIME: i32 = 1;
/// `IOPRIO_CLASS_SHIFT`.
const IO_CLASS_SHIFT: i32 = 13;

/// The class in an I/O priority.
pub(crate) const fn io_class(priority: i32) -> i32 {
    priority >> IO_CLASS_SHIFT
}

/// Whether a policy, as the journal writes it, is a real-time one.
pub(crate) fn real_time(policy: &str) -> bool {
    !["other", "batch", "idle"].contains(&policy.split('+').next().unwrap_or_default())
}

/// # Errors
/// The thread has a real-time or deadline policy.
fn not_real_time(step: &str, task: Task) -> Result<(), Error> {
    match knob::read(Kind::SchedPolicy, Some(task), "") {
        Ok(policy) if real_time(&policy) => Err(no_real_time(step, task)),
        Ok(_) => Ok(()),
        // A policy that has no text form is one of the deadline kind.
        Err(error) if error.code() == knob::KnobErrorCode::NotSupported => {
            Err(no_real_time(step, task))
        }
        Err(error) => Err(outrigger_sdk::knob_error(step, &error)),
    }
}

fn no_real_time(step: &str, task: Task) -> Error {
    let message = format!("{task} has or would get a real-time policy; those are left alone");
    Error::not_supported(step, message)
}

fn missing(step: &str, what: &str, privilege: &str) -> Error {
    Error::new(ErrorCode::PRIVILEGE, step, format!("{what} needs {privilege}"))
}

fn number(step: &str, value: &str) -> Result<i32, Error> {
    value.parse().map_err(|_| {
        Error::new(ErrorCode::RANGE, step, format!("`{value}` is not the number it should be"))
    })
}
