//! Clocks.

use super::codes::codes;
use abi_stable::StableAbi;
use serde::{Deserialize, Serialize};

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
