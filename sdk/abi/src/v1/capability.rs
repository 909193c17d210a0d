//! What a backend can do, and how well here.

use super::codes::codes;
use abi_stable::StableAbi;
use abi_stable::std_types::RString;
use serde::{Deserialize, Serialize};

codes! {
    /// Something a backend can do: a knob it turns, or something it can tell.
    ///
    /// Values below 100 are knobs and may appear in a [`Setting`](super::Setting); the others are
    /// readings.
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
}
