//! The shell every stage has: fetch a batch, let the pure core work, hand the answer on.
//!
//! A stage knows its core, its inbox and the next edge, and nothing else: no clock, no operating
//! system, no stage before it.

use super::edge::{Coalesce, Edge, Ticket, Wake};
use actix::{Actor, AsyncContext, Context, Handler};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a stage decides, apart from how it is run.
pub trait Core: 'static {
    /// What comes in.
    type In: Coalesce + Send + 'static;
    /// What goes out.
    type Out;
    /// Works on one batch.
    fn step(&mut self, batch: Self::In) -> Self::Out;
}

/// Counts the batches and wake-ups a stage has worked on: its sign of life.
#[derive(Debug, Default)]
pub struct Pulse(AtomicU64);

impl Pulse {
    /// Says "alive".
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    /// How often it was said.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A stage whose core answers at once.
pub struct Stage<C: Core> {
    core: C,
    inbox: Arc<Edge<C::In>>,
    ticket: Option<Ticket>,
    pulse: Arc<Pulse>,
    next: Box<dyn FnMut(C::Out)>,
}

impl<C: Core> Stage<C> {
    /// A stage that reads `inbox` and gives what its core answers to `next`.
    pub fn new(
        core: C,
        inbox: Arc<Edge<C::In>>,
        pulse: Arc<Pulse>,
        next: impl FnMut(C::Out) + 'static,
    ) -> Self {
        Self { core, inbox, ticket: None, pulse, next: Box::new(next) }
    }
}

impl<C: Core + Unpin> Actor for Stage<C> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.ticket = Some(self.inbox.attach(context.address().recipient()));
        self.pulse.beat();
    }
}

impl<C: Core + Unpin> Handler<Wake> for Stage<C> {
    type Result = ();

    fn handle(&mut self, _: Wake, _: &mut Self::Context) {
        while let Some(batch) = self.ticket.and_then(|ticket| self.inbox.fetch(ticket)) {
            let answer = self.core.step(batch);
            (self.next)(answer);
            self.pulse.beat();
        }
        self.pulse.beat();
    }
}
