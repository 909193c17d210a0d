//! What is written, and what came of it.

use super::capability::Capability;
use super::codes::codes;
use super::error::Error;
use super::task::TaskId;
use abi_stable::StableAbi;
use abi_stable::std_types::{RString, RVec};
use serde::{Deserialize, Serialize};

codes! {
    /// The closed set of things that can be written. Each has a documented text form of its
    /// values (see `outrigger_undo::Kind`), so that undo needs no plugin.
    OperationKind {
        /// Nice value of a thread.
        NICE = 1, "nice";
        /// Scheduling policy of a thread.
        SCHED_POLICY = 2, "sched_policy";
        /// CPU affinity of a thread.
        AFFINITY = 3, "affinity";
        /// I/O priority of a thread.
        IO_PRIORITY = 4, "io_priority";
        /// `oom_score_adj` of a process.
        OOM_SCORE_ADJ = 5, "oom_score_adj";
        /// Soft resource limit of a process.
        RLIMIT = 6, "rlimit";
        /// Nice value of a process's autogroup.
        AUTOGROUP = 7, "autogroup";
        /// Contents of a kernel control file of a context.
        FILE = 8, "file";
        /// Which context of a hierarchy a task is in.
        MEMBERSHIP = 9, "membership";
        /// Existence of a context.
        CONTEXT = 10, "context";
    }
}

/// One thing to write: what, where, what is there now, what shall be there.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Of the closed set.
    pub kind: OperationKind,
    /// Which knob of the desired state asked for it.
    pub knob: Capability,
    /// The task, or all zero if the operation is about a context.
    pub task: TaskId,
    /// File, mount point or name of a limit, as the kind documents.
    pub locator: RString,
    /// What was read before.
    pub before: RString,
    /// What is to be written.
    pub after: RString,
}

/// What the OS really did with one operation.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The value read back after the write; the kernel normalises.
    pub read_back: RString,
}

/// One item of a preparation: an operation to be journalled and committed, or why a knob cannot
/// be turned. The first failing knob never hides the others.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// Operations in the order they are to be committed. Empty if all is as desired.
    pub operations: RVec<Operation>,
    /// Knobs that cannot be turned, and why.
    pub refused: RVec<Refused>,
}

/// A knob that cannot be turned.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Which.
    pub knob: Capability,
    /// Why.
    pub error: Error,
}
