//! How a task or context should be.

use super::capability::Capability;
use super::codes::codes;
use super::context::ContextId;
use super::task::TaskId;
use abi_stable::StableAbi;
use abi_stable::std_types::{RString, RVec};
use serde::{Deserialize, Serialize};

/// One knob of a [`Desired`] state. The meaning of the fields is the capability's.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Which knob.
    pub knob: Capability,
    /// Number, in the unit the capability documents.
    pub value: i64,
    /// Text, where the capability wants one.
    pub text: RString,
    /// Tasks, where the capability wants some.
    pub tasks: RVec<TaskId>,
}

impl Setting {
    /// A knob with a number.
    pub fn number(knob: Capability, value: i64) -> Self {
        Self { knob, value, text: RString::new(), tasks: RVec::new() }
    }
    /// A knob with a text.
    pub fn text(knob: Capability, text: &str) -> Self {
        Self { knob, value: 0, text: text.into(), tasks: RVec::new() }
    }
    /// Membership of tasks.
    pub fn members(tasks: impl IntoIterator<Item = TaskId>) -> Self {
        Self {
            knob: Capability::MEMBERS,
            value: 0,
            text: RString::new(),
            tasks: tasks.into_iter().collect(),
        }
    }
}

codes! {
    /// What a [`Desired`] state is about.
    SubjectKind {
        /// A process with all its threads, also those born meanwhile, or one thread.
        TASK = 1, "task";
        /// A context.
        CONTEXT = 2, "context";
    }
}

/// A target or context, and how it should be. Complete for the knobs it names, and idempotent.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// Task or context.
    pub kind: SubjectKind,
    /// The task, for [`SubjectKind::TASK`].
    pub task: TaskId,
    /// The context, for [`SubjectKind::CONTEXT`].
    pub context: ContextId,
    /// The knobs, in the order they are to be turned.
    pub settings: RVec<Setting>,
}

impl Desired {
    /// Knobs of a task.
    pub fn task(task: TaskId, settings: impl IntoIterator<Item = Setting>) -> Self {
        Self {
            kind: SubjectKind::TASK,
            task,
            context: ContextId::ours(""),
            settings: settings.into_iter().collect(),
        }
    }
    /// Knobs of a context.
    pub fn context(context: ContextId, settings: impl IntoIterator<Item = Setting>) -> Self {
        Self {
            kind: SubjectKind::CONTEXT,
            task: TaskId::default(),
            context,
            settings: settings.into_iter().collect(),
        }
    }
}
