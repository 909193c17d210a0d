//! Version 1 of the types that cross the boundary between host and plugin.
//!
//! Nothing here belongs to one operating system: a context may be a cgroup, a job object or
//! nothing at all; a knob is a [`Capability`] with a value; what really gets written is an
//! [`Operation`] of a closed set of kinds, journalled by the host before it is committed.

// `sabi_trait` expands to impls inside a constant; the lint is about the macro's own code.
#![allow(non_local_definitions)]

use abi_stable::{
    StableAbi,
    library::RootModule,
    package_version_strings, sabi_trait,
    sabi_types::VersionStrings,
    std_types::{RBox, RResult, RStr, RString, RVec},
};
use serde::{Deserialize, Serialize};

/// Declares a newtype over `u32` with named values, so that an unknown one is data.
macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $value:literal, $text:literal;)* }) => {
        $(#[$meta])*
        #[repr(transparent)]
        #[derive(StableAbi, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u32);
        impl $name {
            $($(#[$doc])* pub const $variant: Self = Self($value);)*
            /// Every value this version names.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// The stable name, or `None` for a value this version does not know.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 { $($value => Some($text),)* _ => None }
            }
            /// The value with that stable name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)* _ => None }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "unknown-{}", self.0),
                }
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }
    };
}

codes! {
    /// Something a backend can do: a knob it turns, or something it can tell.
    ///
    /// Values below 100 are knobs and may appear in a [`Setting`]; the others are readings.
    Capability {
        /// Create, adopt and remove isolation contexts. Setting: the context exists (`value` 1).
        CONTEXT = 1, "context";
        /// Put tasks into a context. Setting: `tasks` are members.
        MEMBERS = 2, "context.members";
        /// Proportional CPU share. `value`: 1..=10000, 100 is the default weight of everybody.
        CPU_WEIGHT = 10, "cpu.weight";
        /// Runs only when nobody else wants the CPU. `value`: 0 or 1.
        CPU_IDLE = 11, "cpu.idle";
        /// Hard CPU cap. `value`: millicores (1000 is one CPU fully used), -1 is none.
        CPU_LIMIT = 12, "cpu.limit";
        /// Saved-up quota that may be used at once. `value`: microseconds per period, 0 is none.
        CPU_BURST = 13, "cpu.burst";
        /// Hard memory limit. `value`: bytes, -1 is none.
        MEMORY_LIMIT = 20, "memory.limit";
        /// Memory above which the context is reclaimed from. `value`: bytes, -1 is none.
        MEMORY_HIGH = 21, "memory.high";
        /// Memory protected from reclaim. `value`: bytes, 0 is none.
        MEMORY_LOW = 22, "memory.low";
        /// Number of tasks. `value`: count, -1 is none.
        PIDS_LIMIT = 30, "pids.limit";
        /// CPUs a context may use. `text`: list such as `0-3,8`; empty is all.
        CPUSET = 31, "cpuset";
        /// Bytes read per second from a block device. `value`: bytes/s, -1 is none; `text`: `MAJOR:MINOR`.
        IO_READ_LIMIT = 40, "io.read_limit";
        /// Bytes written per second to a block device. `value`: bytes/s, -1 is none; `text`: `MAJOR:MINOR`.
        IO_WRITE_LIMIT = 41, "io.write_limit";
        /// Proportional I/O share. `value`: 1..=10000, 100 is the default.
        IO_WEIGHT = 42, "io.weight";
        /// Stop every task of a context. `value`: 0 or 1.
        FREEZE = 50, "freeze";
        /// Kill every task of a context. Cannot be undone.
        KILL = 51, "kill";
        /// Priority level. `value`: 0 realtime, 1 high, 2 normal, 3 low, 4 idle.
        PRIORITY = 60, "priority";
        /// Scheduling class. `value`: 0 normal, 1 batch, 2 idle.
        SCHED_CLASS = 61, "sched.class";
        /// I/O priority. `value`: as `ioprio_set(2)` encodes it.
        IO_PRIORITY = 62, "io.priority";
        /// Preference of the out-of-memory killer. `value`: -1000..=1000.
        OOM_SCORE_ADJ = 63, "oom_score_adj";
        /// CPUs a task may use. `text`: list such as `0-3,8`.
        AFFINITY = 64, "affinity";
        /// Soft resource limit. `text`: name such as `nofile`; `value`: the soft limit, -1 is none.
        RLIMIT = 65, "rlimit";
        /// Nice value of the session's autogroup. `value`: -20..=19.
        AUTOGROUP = 66, "autogroup";
        /// Sees processes: identity, names, CPU time.
        OBSERVE_TASKS = 100, "observe.tasks";
        /// Sees how long threads of a process waited for a CPU, and starved ones.
        OBSERVE_DELAY = 101, "observe.delay";
        /// Sees the usage and throttling of contexts.
        OBSERVE_CONTEXTS = 102, "observe.contexts";
        /// Sees the pressure (stall time) of contexts.
        OBSERVE_PRESSURE = 103, "observe.pressure";
        /// Learns of new processes from events instead of scans.
        EVENTS = 104, "events";
        /// CPU time of the calling thread.
        TIMER_SELF = 110, "timer.self";
        /// CPU time of other processes.
        TIMER_PROCESS = 111, "timer.process";
        /// Knows the memory nodes and their CPUs.
        NUMA = 120, "numa";
        /// Knows which container a process is in.
        CONTAINERS = 121, "containers";
    }
}

impl Capability {
    /// Whether it changes something, and so needs a grant. The others only tell.
    pub const fn is_knob(self) -> bool {
        self.0 < 100
    }
}

codes! {
    /// How well something works here.
    Level {
        /// Not at all; the reason says why.
        UNAVAILABLE = 0, "unavailable";
        /// Works, with a restriction that the reason names.
        DEGRADED = 1, "degraded";
        /// Works as described.
        FULL = 2, "full";
    }
}

codes! {
    /// Errors that callers must tell apart.
    ErrorCode {
        /// This backend cannot do that, here or at all.
        NOT_SUPPORTED = 1, "not_supported";
        /// A privilege is missing; the message names it.
        PRIVILEGE = 2, "insufficient_privileges";
        /// The process, thread or context is gone, or its number is another's now.
        GONE = 3, "target_gone";
        /// The value is out of range; the message says what was given and what is allowed.
        RANGE = 4, "out_of_range";
        /// The operating system refused; `os_code` holds its code.
        OS = 5, "os_refused";
        /// A context of that name exists and is not ours.
        EXISTS = 6, "already_exists";
        /// The place is not delegated to us.
        NOT_DELEGATED = 7, "not_delegated";
        /// The configuration of the backend is wrong.
        CONFIG = 8, "bad_configuration";
        /// The value changed between reading and writing: somebody else's decision.
        FOREIGN = 9, "changed_by_others";
        /// The plugin panicked.
        PANIC = 10, "panic";
        /// The call did not come back before its deadline.
        DEADLINE = 11, "deadline";
        /// The plugin answered nonsense.
        NONSENSE = 12, "nonsense";
    }
}

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

codes! {
    /// Severity of a message from a plugin.
    LogLevel {
        /// Something failed.
        ERROR = 1, "error";
        /// Something is not as it should be.
        WARN = 2, "warn";
        /// Worth knowing.
        INFO = 3, "info";
        /// For whoever looks for a fault.
        DEBUG = 4, "debug";
    }
}

/// An error of a backend: what was attempted, on what, what the OS said, what to do.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// Which kind of failure.
    pub code: ErrorCode,
    /// The step that failed (`create`, `configure`, `assign`, `read` ...).
    pub step: RString,
    /// One sentence, lower case, naming the object.
    pub message: RString,
    /// `errno`, `HRESULT` or `kern_return_t`; 0 if the OS was not involved.
    pub os_code: i64,
}

impl Error {
    /// An error that did not come from the OS.
    pub fn new(code: ErrorCode, step: &str, message: impl Into<RString>) -> Self {
        Self { code, step: step.into(), message: message.into(), os_code: 0 }
    }

    /// The operating system refused `step`; `os_code` is what it answered.
    pub fn os(step: &str, message: impl Into<RString>, os_code: i64) -> Self {
        Self { code: ErrorCode::OS, step: step.into(), message: message.into(), os_code }
    }

    /// `not supported`, with the reason.
    pub fn not_supported(step: &str, reason: impl Into<RString>) -> Self {
        Self::new(ErrorCode::NOT_SUPPORTED, step, reason)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} ({}", self.step, self.message, self.code)?;
        if self.os_code != 0 {
            write!(f, ", code {}", self.os_code)?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for Error {}

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

/// An existing context: a place in one space of names.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContextId {
    /// The space: a cgroup hierarchy (`cpu`, `memory`, `unified`), `job`, or empty for a context
    /// of ours that spans whatever spaces its settings need.
    pub space: RString,
    /// The name within it: an absolute cgroup path such as `/a/b`, or for an empty space the
    /// plain name we gave it (`[a-z0-9-]+`).
    pub path: RString,
}

impl ContextId {
    /// A context in a named space.
    pub fn new(space: &str, path: &str) -> Self {
        Self { space: space.into(), path: path.into() }
    }
    /// A context of ours, by name.
    pub fn ours(name: &str) -> Self {
        Self::new("", name)
    }
}

/// What an OS can do here, and why not more.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilityReport {
    /// What.
    pub capability: Capability,
    /// How well.
    pub level: Level,
    /// One sentence; empty only at level full.
    pub reason: RString,
    /// What a person can do about it; may be empty.
    pub hint: RString,
}

impl CapabilityReport {
    /// Works as described.
    pub fn full(capability: Capability) -> Self {
        Self { capability, level: Level::FULL, reason: RString::new(), hint: RString::new() }
    }
    /// Works, with a restriction.
    pub fn degraded(
        capability: Capability,
        reason: impl Into<RString>,
        hint: impl Into<RString>,
    ) -> Self {
        Self { capability, level: Level::DEGRADED, reason: reason.into(), hint: hint.into() }
    }
    /// Does not work.
    pub fn unavailable(
        capability: Capability,
        reason: impl Into<RString>,
        hint: impl Into<RString>,
    ) -> Self {
        Self { capability, level: Level::UNAVAILABLE, reason: reason.into(), hint: hint.into() }
    }
}

/// What a backend is, without looking at the machine. Pure: equal at every call.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Name, as in the manifest: `[a-z0-9-]+`.
    pub name: RString,
    /// Version of the backend.
    pub version: RString,
    /// One sentence.
    pub summary: RString,
    /// Operating systems it is for, as `std::env::consts::OS` names them.
    pub platforms: RVec<RString>,
    /// Everything it may be able to do, with the level it reaches at best.
    pub capabilities: RVec<CapabilityReport>,
    /// JSON Schema (draft 2020-12) of its configuration; the host checks before the plugin sees it.
    pub config_schema: RString,
    /// Among backends with the same capability at the same level, the higher number is asked.
    pub preference: i32,
}

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

impl Default for Fields {
    fn default() -> Self {
        Self::NONE
    }
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

codes! {
    /// Which fields of a [`ContextReading`] are present (a bit set).
    ContextFields {
        /// `cpu_ns`.
        CPU = 0x1, "cpu";
        /// `pressure_us`.
        PRESSURE = 0x2, "pressure";
        /// `throttled`, `throttled_ns`.
        THROTTLED = 0x4, "throttled";
        /// `memory_bytes`.
        MEMORY = 0x8, "memory";
    }
}

impl ContextFields {
    /// Whether every bit of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
    /// Both sets together.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A context's counters at one sweep.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextReading {
    /// Which one.
    pub context: ContextId,
    /// Which of the fields below were read.
    pub present: ContextFields,
    /// CPU time used, ns.
    pub cpu_ns: u64,
    /// Time in which some task of it waited for a CPU, us (PSI `some` total).
    pub pressure_us: u64,
    /// Number of periods in which its own or an ancestor's quota stopped it.
    pub throttled: u64,
    /// Time so stopped, summed over CPUs, ns.
    pub throttled_ns: u64,
    /// Memory used, bytes.
    pub memory_bytes: u64,
}

/// What the host wants to know in one sweep.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObserveRequest {
    /// Number of the sweep.
    pub tick: u64,
    /// Tell every living process anew (`tasks` and `infos`), as at the first sweep: a stage that
    /// keeps state was rebuilt.
    pub full: bool,
    /// Processes whose run-queue delay and starved threads are wanted.
    pub focus: RVec<TaskId>,
    /// Contexts whose readings are wanted.
    pub contexts: RVec<ContextId>,
}

/// One sweep's raw readings, in buffers that are reused.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// When the sweep began, ns of the monotonic clock.
    pub at_ns: u64,
    /// Processes whose counters moved, and every one in `focus`. Absent means unchanged.
    pub tasks: RVec<TaskReading>,
    /// Processes that are new or have changed their names or contexts.
    pub infos: RVec<TaskInfo>,
    /// Processes that have ended.
    pub gone: RVec<TaskId>,
    /// Contexts asked for.
    pub contexts: RVec<ContextReading>,
    /// Pressure of the whole host, us (PSI `some` total), 0 if there is none.
    pub host_pressure_us: u64,
    /// CPU time all CPUs together have worked since some fixed moment, ns; 0 if unknown. Tells of
    /// processes that did not live to be read.
    pub host_cpu_ns: u64,
    /// CPUs online.
    pub cpus: u32,
    /// How many processes could not be read at all.
    pub unreadable: u32,
}

impl Observation {
    /// Empties the buffers, keeping their memory.
    pub fn clear(&mut self) {
        self.at_ns = 0;
        self.tasks.clear();
        self.infos.clear();
        self.gone.clear();
        self.contexts.clear();
        self.host_pressure_us = 0;
        self.host_cpu_ns = 0;
        self.cpus = 0;
        self.unreadable = 0;
    }
}

/// Asks for a part of the tree of contexts.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SurveyRequest {
    /// The space (`cpu`); empty means the one in which CPU weights act.
    pub space: RString,
    /// Where to start (`/` for the whole tree).
    pub root: RString,
    /// At most so many nodes; the answer is cut there, nodes nearest the root first.
    pub limit: u32,
}

/// One context in a survey.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextNode {
    /// Which one.
    pub context: ContextId,
    /// Its weight, 1..=10000 with 100 the default.
    pub weight: u32,
    /// Whether it runs only when nobody else wants the CPU.
    pub idle: bool,
    /// Its cap in millicores, -1 if none.
    pub limit: i64,
    /// Whether tasks directly in this node compete one by one with its children (a v1 root or
    /// inner node).
    pub tasks_compete: bool,
    /// Whether a manager other than us owns it (systemd, a container runtime).
    pub managed: bool,
    /// Processes directly in it.
    pub pids: RVec<u32>,
}

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

codes! {
    /// Which clock.
    Timer {
        /// CPU time of the calling thread.
        THREAD = 1, "thread";
        /// CPU time of a process.
        PROCESS = 2, "process";
    }
}

/// A clock's properties.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerFacts {
    /// Resolution the OS states, ns.
    pub resolution_ns: u64,
    /// Cost of one reading, measured when the backend started, ns.
    pub overhead_ns: u64,
    /// Whether readings are an approximation (a wall clock, or cycles converted at a measured rate).
    pub approximate: bool,
}

/// What the host lends a plugin.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct HostCalls {
    /// Handed back with every call.
    pub context: u64,
    /// Writes a message into the host's log.
    pub log: extern "C" fn(context: u64, level: LogLevel, message: RStr<'_>),
    /// The host's monotonic clock, ns.
    pub now_ns: extern "C" fn(context: u64) -> u64,
}

/// A backend, as it crosses the boundary. Authors implement `outrigger_sdk::Backend` instead.
#[sabi_trait]
pub trait AbiBackend: Send {
    /// Finds out what works here.
    fn probe(&mut self) -> RResult<RVec<CapabilityReport>, Error>;
    /// Reads one sweep into a buffer that was cleared.
    fn observe(&mut self, request: &ObserveRequest, into: &mut Observation) -> RResult<(), Error>;
    /// Reads a part of the tree of contexts.
    fn survey(&mut self, request: &SurveyRequest) -> RResult<RVec<ContextNode>, Error>;
    /// Says what would have to be written; writes nothing.
    fn prepare(&mut self, desired: &Desired) -> RResult<Prepared, Error>;
    /// Writes one operation that the host has journalled under `token`, and reads it back.
    fn commit(&mut self, operation: &Operation, token: u64) -> RResult<Outcome, Error>;
    /// Reads a clock, ns.
    fn timer(&self, timer: Timer, task: TaskId) -> RResult<u64, Error>;
    /// What the clock is worth.
    #[sabi(last_prefix_field)]
    fn timer_facts(&self, timer: Timer) -> RResult<TimerFacts, Error>;
}

/// A backend object of a plugin.
pub type BackendObject = AbiBackend_TO<'static, RBox<()>>;

/// The root module of a plugin.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = BackendModRef)))]
#[sabi(missing_field(panic))]
pub struct BackendMod {
    /// What the backend is. Pure.
    pub describe: extern "C" fn() -> RResult<Description, Error>,
    /// Makes the backend from its configuration (JSON text that fits its schema).
    #[sabi(last_prefix_field)]
    pub create: extern "C" fn(HostCalls, RStr<'_>) -> RResult<BackendObject, Error>,
}

impl RootModule for BackendModRef {
    abi_stable::declare_root_module_statics! {BackendModRef}
    const BASE_NAME: &'static str = "outrigger_backend";
    const NAME: &'static str = "outrigger_backend";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// Makes the object that crosses the boundary from an implementation.
pub fn object(backend: impl AbiBackend + 'static) -> BackendObject {
    AbiBackend_TO::from_value(backend, abi_stable::sabi_trait::TD_Opaque)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_name_is_unique_and_leads_back_to_its_code() {
        for (index, capability) in Capability::ALL.iter().enumerate() {
            let name = capability.name().unwrap();
            assert_eq!(Capability::from_name(name), Some(*capability));
            assert!(Capability::ALL[index + 1..].iter().all(|other| other.0 != capability.0));
        }
        assert_eq!(Capability::from_name("cpu.wieght"), None);
    }

    #[test]
    fn an_unknown_code_is_data() {
        let unknown: ErrorCode = serde_json::from_str("4711").unwrap();
        assert_eq!(unknown.name(), None);
        assert_eq!(unknown.to_string(), "unknown-4711");
    }

    #[test]
    fn an_observation_keeps_its_memory_when_emptied() {
        let mut observation = Observation::default();
        observation.tasks.extend([TaskReading::default(); 100]);
        observation.unreadable = 3;
        let capacity = observation.tasks.capacity();
        observation.clear();
        assert_eq!(observation.tasks.capacity(), capacity);
        assert_eq!(observation, Observation::default());
    }

    #[test]
    fn bit_sets_join_and_compare() {
        let both = Fields::CPU.with(Fields::IO);
        assert!(both.has(Fields::CPU) && both.has(both) && !Fields::CPU.has(both));
    }

    #[test]
    fn an_error_names_step_object_kind_and_code() {
        let error = Error::os("configure", "cannot write cpu.shares", 22);
        assert_eq!(error.to_string(), "configure: cannot write cpu.shares (os_refused, code 22)");
    }
}
