//! One sweep: what is asked, and what is told.

use super::context::ContextId;
use super::context_reading::ContextReading;
use super::task::TaskId;
use super::task_reading::{TaskInfo, TaskReading};
use abi_stable::StableAbi;
use abi_stable::std_types::RVec;
use serde::{Deserialize, Serialize};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::TaskReading;

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
}
