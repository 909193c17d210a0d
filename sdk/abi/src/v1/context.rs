//! Which context, and the tree they form.

use abi_stable::StableAbi;
use abi_stable::std_types::{RString, RVec};
use serde::{Deserialize, Serialize};

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
    /// Its weight, 1..=10000 with 100 the default; 0 if it has none, so that its tasks compete one
    /// by one where the nearest group above has one.
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
