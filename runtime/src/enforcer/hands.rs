//! What the enforcer needs from the world: to look at contexts, to prepare, to commit, to undo.
//!
//! A narrow trait, so that planning can be tried against a model of a host. The real hands
//! ([`super::machine`]) go through the plugins' lanes and the journal; there is no way to write
//! that does not journal first.

use outrigger_sdk::{
    Capability, ContextNode, Desired, Error, Kind, Level, Operation, PreparedOperation, Task,
    TaskId,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Name of a backend.
pub type Backend = Arc<str>;

/// One knob of the operating system: what the journal and a read-back are about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationKey {
    /// Of the closed set.
    pub kind: Kind,
    /// The task, if the kind is about one.
    pub task: Option<Task>,
    /// Where.
    pub locator: String,
}

/// On whose behalf something is written; goes into the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// For which workload.
    pub workload: Arc<str>,
    /// By which rule.
    pub rule: String,
    /// At which sweep.
    pub tick: u64,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Number of the journal record; absent if it could not be journalled, and so was not written.
    pub token: Option<u64>,
    /// The value read back. With [`outrigger_sdk::ErrorCode::DEADLINE`] and a token the call is
    /// still out and the knob is in doubt.
    pub result: Result<String, Error>,
}

/// A write that was given up for lost and has come back after all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returned {
    /// Number of the journal record.
    pub token: u64,
    /// What it had done.
    pub result: Result<String, Error>,
}

/// What became of one journalled change that was to be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// The change: `before` is the origin.
    pub operation: Operation,
    /// Number of its first journal record.
    pub token: u64,
    /// What was done about it.
    pub fate: Fate,
}

/// What became of a change that was to be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// As it was found; the value read back.
    Restored(String),
    /// The target is gone, and the change with it.
    Gone,
    /// Somebody else has changed it since: theirs stays.
    Foreign(String),
    /// It could not be taken back; why.
    Failed(String),
}

/// Everything the enforcer can do to the world.
pub trait Hands: Send + 'static {
    /// The contexts of the space in which CPU weights act, at most `limit`.
    ///
    /// # Errors
    /// No backend knows contexts here, or the one that does failed.
    fn survey(&mut self, limit: u32) -> Result<Vec<ContextNode>, Error>;

    /// How well a knob can be turned here.
    fn level(&self, knob: Capability) -> Level;

    /// The backends that can turn a knob, the best first.
    fn backends(&self, knob: Capability) -> Vec<Backend>;

    /// Asks a backend what would have to be written. Writes nothing.
    ///
    /// # Errors
    /// The subject as a whole is gone or out of reach, or the backend did not answer in time.
    fn prepare(
        &mut self,
        backend: &Backend,
        desired: &Desired,
    ) -> Result<Vec<PreparedOperation>, Error>;

    /// Journals an operation, has the backend write it, and notes the outcome in the journal.
    fn commit(&mut self, backend: &Backend, operation: Operation, cause: &Cause) -> Committed;

    /// Writes that have come back since the last call of this method.
    fn returned(&mut self) -> Vec<Returned>;

    /// Takes back the journalled changes that `select` picks.
    fn undo(&mut self, select: &mut dyn FnMut(&Operation) -> bool) -> Vec<Undone>;

    /// Processes by session.
    fn sessions(&mut self) -> BTreeMap<u32, Vec<u32>>;

    /// What a process weighs among tasks, [`super::load::NICE_0`] being everybody's. Of its first
    /// thread only; one that is gone weighs nothing, one that cannot be looked at as everybody.
    fn load(&mut self, task: TaskId) -> u32;

    /// Whether a process is gone, or was born after the sweep that began at `at_ns` of the
    /// monotonic clock, so that nobody could have told what it is.
    fn passing(&mut self, pid: u32, at_ns: u64) -> bool;

    /// Whether autogroups are on.
    fn autogroups(&self) -> bool;
}

// === impl OperationKey ===

impl OperationKey {
    /// The knob an operation turns.
    pub fn of(operation: &Operation) -> Self {
        let Operation { kind, task, locator, .. } = operation;
        Self { kind: *kind, task: *task, locator: locator.clone() }
    }
}

// === impl Fate ===

impl Fate {
    /// Whether nothing of ours is left.
    pub const fn is_final(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }
}
