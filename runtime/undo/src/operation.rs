//! The closed set of things Outrigger may write.
//!
//! Each operation is self-contained: what, on which task, where, what was there and what was
//! written, all as text. That is what makes undo possible without the plugin that wrote it.

use serde::{Deserialize, Serialize};

/// What is written. The text forms of `locator`, `before` and `after` are part of the journal's
/// format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// Nice value of one thread, `-20`..`19` (`setpriority(2)`). Locator empty. This and the other
    /// per-thread kinds mean the leader when the thread number is 0.
    Nice,
    /// Scheduling policy of one thread: `other`, `batch`, `idle`, `fifo:N`, `rr:N`, each with
    /// `+reset` appended if `SCHED_RESET_ON_FORK` is set (`sched_setscheduler(2)`). Locator empty.
    SchedPolicy,
    /// CPUs one thread may use, as a list such as `0-3,8` (`sched_setaffinity(2)`). Locator empty.
    Affinity,
    /// I/O priority of one thread, the decimal number `ioprio_get(2)` answers. Locator empty.
    IoPriority,
    /// `/proc/PID/oom_score_adj` of a process, `-1000`..`1000`. Locator empty.
    OomScoreAdj,
    /// Soft resource limit of a process, a decimal number or `unlimited` (`prlimit(2)`).
    /// Locator: `cpu`, `fsize`, `data`, `stack`, `core`, `rss`, `nproc`, `nofile`, `memlock`,
    /// `as`, `locks`, `sigpending`, `msgqueue`, `nice`, `rtprio` or `rttime`.
    Rlimit,
    /// Nice value of the autogroup of a process, `-20`..`19` (`/proc/PID/autogroup`). Locator empty.
    Autogroup,
    /// Contents of a cgroup control file, without the final newline. Locator: its absolute path.
    /// Always the whole content, also of files the kernel takes line by line: a device that is
    /// not listed is one without a limit.
    File,
    /// Which cgroup of a hierarchy a task is in, as the path within the hierarchy (`/a/b`).
    /// Locator: the hierarchy's mount point. With a thread number: only that thread (v1).
    Membership,
    /// Existence of a cgroup directory: `absent` or `present`. Locator: its absolute path.
    Context,
}

impl Kind {
    /// Whether an operation of this kind names a task.
    pub const fn is_about_a_task(self) -> bool {
        !matches!(self, Self::File | Self::Context)
    }
}

/// A process or thread: number and start time, since numbers are reused.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Task {
    /// Process number.
    pub pid: u32,
    /// Thread number; 0 means the whole process.
    #[serde(default)]
    pub tid: u32,
    /// Start in clock ticks since boot (field 22 of `/proc/PID/stat`), of the thread if `tid` is
    /// not 0, else of the process.
    pub start: u64,
}

impl Task {
    /// The number system calls take: the thread's, or the process's.
    pub const fn number(self) -> u32 {
        if self.tid == 0 { self.pid } else { self.tid }
    }
}

impl std::fmt::Display for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.tid {
            0 => write!(f, "process {}", self.pid),
            tid => write!(f, "thread {tid} of process {}", self.pid),
        }
    }
}

/// One change: what was there, and what is to be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Of the closed set.
    pub kind: Kind,
    /// The task it is about; absent for [`Kind::File`] and [`Kind::Context`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Where, as [`Kind`] documents.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub locator: String,
    /// Value before, read by whoever prepared the operation.
    pub before: String,
    /// Value to be written.
    pub after: String,
}
