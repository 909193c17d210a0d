//! What is told of contexts.

use super::codes::codes;
use super::context::ContextId;
use abi_stable::StableAbi;
use serde::{Deserialize, Serialize};

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
