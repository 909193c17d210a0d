//! What the host lends a plugin.

use super::codes::codes;
use abi_stable::StableAbi;
use abi_stable::std_types::RStr;
use serde::{Deserialize, Serialize};

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
