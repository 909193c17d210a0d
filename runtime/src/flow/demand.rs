//! What the later stages want the sensor to look at, published beside the flow.
//!
//! Demand never travels as a message upstream: the classifier knows which processes are
//! protected, the enforcer knows which contexts matter, and the sensor reads both here before
//! each sweep.

use arc_swap::ArcSwap;
use outrigger_sdk::{ContextId, TaskId};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by the sensor (reads), the classifier and the enforcer (write).
#[derive(Debug, Default)]
pub struct Demand {
    focus: ArcSwap<Vec<TaskId>>,
    contexts: ArcSwap<Vec<ContextId>>,
    full: AtomicBool,
}

impl Demand {
    /// Processes whose threads are to be looked at: the protected ones.
    pub fn set_focus(&self, tasks: Vec<TaskId>) {
        self.focus.store(Arc::new(tasks));
    }
    /// Contexts to be read: those in which the protected sit, and those of others that we turn.
    /// Not those that we made for best-effort processes: nothing is decided by their readings.
    pub fn set_contexts(&self, contexts: Vec<ContextId>) {
        self.contexts.store(Arc::new(contexts));
    }
    /// See [`Demand::set_focus`].
    pub fn focus(&self) -> Arc<Vec<TaskId>> {
        self.focus.load_full()
    }
    /// See [`Demand::set_contexts`].
    pub fn contexts(&self) -> Arc<Vec<ContextId>> {
        self.contexts.load_full()
    }
    /// Asks for one complete sweep: a stage that keeps state was rebuilt.
    pub fn request_full(&self) {
        self.full.store(true, Ordering::Release);
    }
    /// Whether one was asked for since the last call.
    pub fn take_full(&self) -> bool {
        self.full.swap(false, Ordering::AcqRel)
    }
}
