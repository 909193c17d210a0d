//! Which process or thread.

use abi_stable::StableAbi;
use serde::{Deserialize, Serialize};

/// A process or thread: number **and** start time, since numbers are reused.
#[repr(C)]
#[derive(
    StableAbi,
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
)]
pub struct TaskId {
    /// Process number as the host sees it.
    pub pid: u32,
    /// Thread number; 0 means the whole process.
    #[serde(default)]
    pub tid: u32,
    /// When it started, in the OS's own unit (Linux: clock ticks since boot, field 22 of
    /// `/proc/PID/stat`); of the thread if `tid` is not 0.
    pub start: u64,
}
