//! What is told of processes.

use super::codes::codes;
use super::context::ContextId;
use super::task::TaskId;
use abi_stable::StableAbi;
use abi_stable::std_types::{RString, RVec};
use serde::{Deserialize, Serialize};

codes! {
    /// Which optional fields of a [`TaskReading`] or [`TaskInfo`] are present (a bit set).
    Fields {
        /// `cpu_ns`.
        CPU = 0x1, "cpu";
        /// `run_delay_ns`, `runnable`, `starved`.
        DELAY = 0x2, "delay";
        /// `rss_bytes`.
        MEMORY = 0x4, "memory";
        /// `read_bytes`, `write_bytes`.
        IO = 0x8, "io";
        /// `exe`.
        EXE = 0x10, "exe";
        /// `command`.
        COMMAND = 0x20, "command";
        /// `contexts`.
        CONTEXTS = 0x40, "contexts";
        /// `threads`.
        THREADS = 0x80, "threads";
    }
}

impl Fields {
    /// No field at all.
    pub const NONE: Self = Self(0);
    /// Whether every bit of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
    /// Both sets together.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Default for Fields {
    fn default() -> Self {
        Self::NONE
    }
}

/// One process's counters at one sweep. Only what moved since the last sweep needs to be told.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskReading {
    /// Whose; `tid` is 0.
    pub task: TaskId,
    /// Which of the fields below were read. What could not be read is absent, never 0.
    pub present: Fields,
    /// Threads alive.
    pub threads: u32,
    /// CPU time used since the process started, all threads, dead ones too, ns.
    pub cpu_ns: u64,
    /// Time its threads spent runnable but not running, summed, dead ones too, ns. Grows late:
    /// the kernel adds a wait when it is over.
    pub run_delay_ns: u64,
    /// Threads in the runnable state at this sweep.
    pub runnable: u32,
    /// Threads runnable at this sweep and the one before whose CPU time did not move between.
    pub starved: u32,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// Bytes read from storage since start.
    pub read_bytes: u64,
    /// Bytes written to storage since start.
    pub write_bytes: u64,
}

/// A process's names: told when it is new, after an exec, and when its contexts change.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskInfo {
    /// Whose; `tid` is 0.
    pub task: TaskId,
    /// Parent's number.
    pub parent: u32,
    /// Session number.
    pub session: u32,
    /// Effective user.
    pub uid: u32,
    /// Which of `EXE`, `COMMAND`, `CONTEXTS` could be read. "Unreadable" is not "no match".
    pub present: Fields,
    /// Kernel's short name (15 bytes on Linux).
    pub name: RString,
    /// Path of the executable.
    pub exe: RString,
    /// Arguments.
    pub command: RVec<RString>,
    /// Where it is, one entry per space.
    pub contexts: RVec<ContextId>,
    /// Whether it is a kernel thread.
    pub kernel: bool,
    /// Names of its threads where they differ from `name`, for thread-name selectors.
    pub thread_names: RVec<RString>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bit_sets_join_and_compare() {
        let both = Fields::CPU.with(Fields::IO);
        assert!(both.has(Fields::CPU) && both.has(both) && !Fields::CPU.has(both));
    }
}
