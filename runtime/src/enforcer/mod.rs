//! The Enforcer: from what each workload is entitled to, to the operating system and back.
//!
//! ```text
//! Decisions → look (survey) → lever → want → plan → apply → book → tell
//! ```
//!
//! The pure parts: [`tree`] and [`scene`] (who sits where), [`lever`] (where to pull), [`want`]
//! (how far), [`plan`] (the smallest set of changes), [`book`] (what is in force, refused, left
//! alone, in doubt), [`effect`] (did it help). `outlook` looks, [`apply`] writes through [`hands`], which journal
//! every write before it happens. [`worker`] puts them in order, and this module is the actor
//! round it: it fetches decisions, never blocks its own thread, has one plan in flight, and
//! publishes what came of it.
//!
//! What it deliberately does not do: it takes no decision about tiers, and it keeps nothing that
//! a restart would lose. The [`Worker`] outlives an actor that panicked, and compares everything
//! with what is really there before it goes on.

pub mod apply;
pub mod book;
pub mod effect;
pub mod hands;
pub mod lever;
pub mod load;
#[cfg(target_os = "linux")]
pub mod machine;
mod outlook;
pub mod plan;
pub mod scene;
pub mod subject;
mod tell;
pub mod tree;
pub mod want;
pub mod worker;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use worker::{Outcome, Settings, Worker};

use crate::flow::edge::{Edge, Ticket, Wake};
use crate::flow::message::{Decisions, Name, Provenance};
use crate::flow::stage::Pulse;
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use hands::Undone;
use outrigger_sdk::{ContextId, TaskId};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// The worker, shared by the actor of the moment and by whoever starts and stops the sidecar.
#[derive(Clone)]
pub struct Bench(Arc<Shared>);

struct Shared {
    worker: Mutex<Worker>,
    stopped: AtomicBool,
}

/// The changes could not be taken back in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "what was changed was not put back within {} ms; the keeper does it when this process has ended",
    .0.as_millis()
)]
pub struct StillBusy(pub Duration);

/// The actor.
pub struct Enforcer {
    bench: Bench,
    inbox: Arc<Edge<Arc<Decisions>>>,
    ticket: Option<Ticket>,
    pulse: Arc<Pulse>,
    publish: Box<dyn FnMut(Outcome)>,
    busy: bool,
}

// === impl Bench ===

impl Bench {
    /// A bench for one worker.
    pub fn new(worker: Worker) -> Self {
        Self(Arc::new(Shared { worker: Mutex::new(worker), stopped: AtomicBool::new(false) }))
    }

    /// A panic in the middle of a sweep leaves memory behind that may be half right; it is
    /// compared with the world again before anything else.
    fn worker(&self) -> MutexGuard<'_, Worker> {
        self.0.worker.lock().unwrap_or_else(|poisoned| {
            self.0.worker.clear_poison();
            let mut worker = poisoned.into_inner();
            worker.distrust();
            worker
        })
    }

    /// Deals with one sweep's decisions; nothing once [`Bench::stop`] was called. Blocks for as
    /// long as the plugins take.
    pub fn step(&self, decisions: &Decisions) -> Option<Outcome> {
        let mut worker = self.worker();
        (!self.stopped()).then(|| worker.step(decisions))
    }

    /// Puts a process we launched into its own context. Blocks.
    ///
    /// # Errors
    /// Why not, one sentence.
    pub fn launch(&self, workload: &Name, task: TaskId) -> Result<ContextId, String> {
        self.worker().launch(workload, task, Provenance::default())
    }

    /// Processes in the context of a launched workload. Blocks.
    pub fn inside(&self, workload: &str) -> Vec<u32> {
        self.worker().inside(workload)
    }

    /// Stops planning, waits for the calls that are out, takes everything back.
    ///
    /// # Errors
    /// It was not done at the deadline: a call is still out, or taking back is stuck. It may go on.
    pub async fn stop(&self, deadline: Duration) -> Result<Vec<Undone>, StillBusy> {
        self.0.stopped.store(true, Ordering::SeqCst);
        let bench = self.clone();
        let restored = tokio::task::spawn_blocking(move || bench.worker().restore());
        match tokio::time::timeout(deadline, restored).await {
            Ok(Ok(undone)) => Ok(undone),
            Ok(Err(panicked)) => match panicked.try_into_panic() {
                Ok(payload) => std::panic::resume_unwind(payload),
                Err(_) => Err(StillBusy(deadline)),
            },
            Err(_) => Err(StillBusy(deadline)),
        }
    }

    /// Whether [`Bench::stop`] was called.
    pub fn stopped(&self) -> bool {
        self.0.stopped.load(Ordering::SeqCst)
    }
}

// === impl Enforcer ===

impl Enforcer {
    /// An enforcer that reads `inbox` and gives what came of each sweep to `publish`.
    pub fn new(
        bench: Bench,
        inbox: Arc<Edge<Arc<Decisions>>>,
        pulse: Arc<Pulse>,
        publish: impl FnMut(Outcome) + 'static,
    ) -> Self {
        Self { bench, inbox, ticket: None, pulse, publish: Box::new(publish), busy: false }
    }

    /// Starts on the next batch, unless one is in flight: the edge merges what waits meanwhile.
    fn next(&mut self, context: &mut Context<Self>) {
        if self.busy || self.bench.stopped() {
            return;
        }
        let Some(decisions) = self.ticket.and_then(|ticket| self.inbox.fetch(ticket)) else {
            return;
        };
        self.busy = true;
        let bench = self.bench.clone();
        let sweep = tokio::task::spawn_blocking(move || bench.step(&decisions));
        let done = sweep.into_actor(self).map(|outcome, enforcer, context| {
            enforcer.busy = false;
            enforcer.pulse.beat();
            match outcome {
                Ok(Some(outcome)) => (enforcer.publish)(outcome),
                Ok(None) => {}
                // The steward starts another actor; the worker outlives this one.
                Err(error) => {
                    if let Ok(payload) = error.try_into_panic() {
                        std::panic::resume_unwind(payload);
                    }
                }
            }
            enforcer.next(context);
        });
        context.spawn(done);
    }
}

impl Actor for Enforcer {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.ticket = Some(self.inbox.attach(context.address().recipient()));
        self.pulse.beat();
        self.next(context);
    }
}

impl Handler<Wake> for Enforcer {
    type Result = ();

    fn handle(&mut self, _: Wake, context: &mut Self::Context) {
        self.pulse.beat();
        self.next(context);
    }
}
