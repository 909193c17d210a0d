//! What a knob is on: a context or a task.

use outrigger_sdk::{Capability, ContextId, Desired, Setting, TaskId};
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
