//! What a knob is on: a context or a task.

use super::tree::last;
use outrigger_sdk::{Capability, ContextId, Desired, Kind, Operation, Setting, TaskId};
use std::fmt;

/// What a knob is on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A context, ours or adopted.
    Context(ContextId),
    /// A process.
    Task(TaskId),
}

/// One knob on one subject, as the capabilities know it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KnobKey {
    /// On what.
    pub subject: Subject,
    /// Which knob.
    pub knob: Capability,
    /// The one task a membership is about; all zero for other knobs.
    pub task: TaskId,
}

// === impl Subject ===

impl Subject {
    /// Whether it is a context we made.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Context(context) if context.space.is_empty())
    }

    /// The state a backend is asked for.
    pub fn desired(&self, settings: impl IntoIterator<Item = Setting>) -> Desired {
        match self {
            Self::Context(context) => Desired::context(context.clone(), settings),
            Self::Task(task) => Desired::task(*task, settings),
        }
    }

    /// Whether others may come to stand on what an operation writes for this subject, so that it
    /// must not be put back as soon as this subject needs it no more: controllers handed down to
    /// all children of a group, and the room made for that.
    pub fn shares(&self, operation: &Operation) -> bool {
        let Self::Context(context) = self else { return false };
        let name = last(&context.path);
        match operation.kind {
            Kind::File => last(&operation.locator) == "cgroup.subtree_control",
            Kind::Context => last(&operation.locator) != name,
            Kind::Membership => last(&operation.after) != name,
            _ => false,
        }
    }

    /// The knob on this subject.
    pub fn knob(&self, knob: Capability) -> KnobKey {
        KnobKey { subject: self.clone(), knob, task: TaskId::default() }
    }

    /// The membership of one task in this subject.
    pub fn member(&self, task: TaskId) -> KnobKey {
        KnobKey { subject: self.clone(), knob: Capability::MEMBERS, task }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Context(context) => f.write_str(&context.path),
            Self::Task(TaskId { pid, tid: 0, .. }) => write!(f, "process {pid}"),
            Self::Task(TaskId { pid, tid, .. }) => write!(f, "thread {tid} of process {pid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_stand_on_is_told_from_what_is_the_subjects_own() {
        let subject = Subject::Context(ContextId::ours("outrigger-1-best-effort"));
        let operation = |kind, locator: &str, after: &str| Operation {
            kind,
            task: None,
            locator: locator.into(),
            before: String::new(),
            after: after.into(),
        };
        let own = "/sys/fs/cgroup/base/outrigger-1-best-effort";
        for (kind, locator, after, shared) in [
            (Kind::File, "/sys/fs/cgroup/base/cgroup.subtree_control", "cpu", true),
            (Kind::File, &*format!("{own}/cpu.weight"), "1", false),
            (Kind::Context, own, "present", false),
            (Kind::Context, "/sys/fs/cgroup/base/outrigger-1-rest", "present", true),
            (Kind::Membership, "/sys/fs/cgroup", "/base/outrigger-1-best-effort", false),
            (Kind::Membership, "/sys/fs/cgroup", "/base/outrigger-1-rest", true),
        ] {
            assert_eq!(subject.shares(&operation(kind, locator, after)), shared, "{locator}");
        }
    }
}
