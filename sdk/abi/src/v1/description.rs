//! What a backend says of itself.

use super::capability::CapabilityReport;
use abi_stable::StableAbi;
use abi_stable::std_types::{RString, RVec};
use serde::{Deserialize, Serialize};

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
