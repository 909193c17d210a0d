//! The queue between two stages: bounded, ours, in front of the actor's mailbox.
//!
//! A mailbox can neither drop its oldest message nor merge two, and `do_send` ignores its
//! capacity. So batches wait here, and the mailbox carries only [`Wake`], which says that there
//! is something to fetch. A full edge merges: what was sampled twice is kept once (the newest),
//! what happened (a birth, an end, a change of tier) is kept always. So samples may be lost
//! under load, facts and decisions never, and memory is bounded by what is alive.

use actix::{Message, Recipient};
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// "Look into your inbox"; also the steward's way to ask for a sign of life.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Wake;

/// A batch that can take up the one after it.
pub trait Coalesce {
    /// Makes `self` the batch that stands for both; `newer` came later.
    fn coalesce(&mut self, newer: Self);
}

/// One edge. Shared by the sending stage, the receiving stage and `status`.
#[derive(Debug)]
pub struct Edge<T> {
    name: &'static str,
    capacity: usize,
    inner: Mutex<Inner<T>>,
    accepted: AtomicU64,
    processed: AtomicU64,
    coalesced: AtomicU64,
}

#[derive(Debug)]
struct Inner<T> {
    queue: VecDeque<T>,
    receiver: Option<Recipient<Wake>>,
    generation: u64,
    peak: usize,
}

/// Which receiver somebody is: a stage that was replaced gets nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// What an edge counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct EdgeStats {
    /// Which edge.
    pub name: &'static str,
    /// Batches it holds at most.
    pub capacity: usize,
    /// Batches waiting now.
    pub queued: usize,
    /// Most batches that ever waited.
    pub peak: usize,
    /// Batches taken in.
    pub accepted: u64,
    /// Batches handed on.
    pub processed: u64,
    /// Batches merged into another because the edge was full.
    pub coalesced: u64,
}

impl<T: Coalesce> Edge<T> {
    /// An edge that holds at most `capacity` (at least 1) batches.
    pub fn new(name: &'static str, capacity: usize) -> Self {
        Self {
            name,
            capacity: capacity.max(1),
            inner: Mutex::new(Inner {
                queue: VecDeque::new(),
                receiver: None,
                generation: 0,
                peak: 0,
            }),
            accepted: AtomicU64::new(0),
            processed: AtomicU64::new(0),
            coalesced: AtomicU64::new(0),
        }
    }

    /// Puts a batch in and wakes the receiver. Never waits; a full edge merges.
    pub fn send(&self, batch: T) {
        let mut inner = self.lock();
        self.accepted.fetch_add(1, Ordering::Relaxed);
        if inner.queue.len() >= self.capacity
            && let Some(last) = inner.queue.back_mut()
        {
            last.coalesce(batch);
            self.coalesced.fetch_add(1, Ordering::Relaxed);
        } else {
            inner.queue.push_back(batch);
            inner.peak = inner.peak.max(inner.queue.len());
        }
        if let Some(receiver) = &inner.receiver {
            // A full or closed mailbox already holds a wake-up, or its actor is being replaced,
            // and the steward wakes whoever comes next.
            let _ = receiver.try_send(Wake);
        }
    }

    /// Makes `receiver` the one that is woken, in place of any before it.
    pub fn attach(&self, receiver: Recipient<Wake>) -> Ticket {
        let mut inner = self.lock();
        inner.generation += 1;
        if !inner.queue.is_empty() {
            let _ = receiver.try_send(Wake);
        }
        inner.receiver = Some(receiver);
        Ticket(inner.generation)
    }

    /// The oldest batch, unless the asker was replaced meanwhile.
    pub fn fetch(&self, ticket: Ticket) -> Option<T> {
        let mut inner = self.lock();
        if inner.generation != ticket.0 {
            return None;
        }
        let batch = inner.queue.pop_front();
        if batch.is_some() {
            self.processed.fetch_add(1, Ordering::Relaxed);
        }
        batch
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lock().queue.is_empty()
    }

    /// Counters.
    pub fn stats(&self) -> EdgeStats {
        let inner = self.lock();
        EdgeStats {
            name: self.name,
            capacity: self.capacity,
            queued: inner.queue.len(),
            peak: inner.peak,
            accepted: self.accepted.load(Ordering::Relaxed),
            processed: self.processed.load(Ordering::Relaxed),
            coalesced: self.coalesced.load(Ordering::Relaxed),
        }
    }

    /// A panic while the lock was held leaves a queue that is still whole: pushes and pops are
    /// single steps, and a half-merged batch is a lost sample at worst.
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Default, Clone, PartialEq)]
    struct Batch {
        sample: u32,
        facts: Vec<u32>,
    }

    impl Coalesce for Batch {
        fn coalesce(&mut self, newer: Self) {
            self.sample = newer.sample;
            self.facts.extend(newer.facts);
        }
    }

    struct Sink;
    impl actix::Actor for Sink {
        type Context = actix::Context<Self>;
    }
    impl actix::Handler<Wake> for Sink {
        type Result = ();
        fn handle(&mut self, _: Wake, _: &mut Self::Context) {}
    }

    fn recipient() -> Recipient<Wake> {
        use actix::Actor;
        Sink.start().recipient()
    }

    proptest! {
        /// Against the plain model "a list of facts": whatever the pattern of sends and fetches,
        /// no fact is lost or reordered, and never more than `capacity` batches wait.
        #[test]
        fn no_fact_is_lost(capacity in 1usize..6, sends in proptest::collection::vec(any::<bool>(), 1..80)) {
            actix::System::new().block_on(async {
                let edge = Edge::new("test", capacity);
                let ticket = edge.attach(recipient());
                let (mut sent, mut seen) = (Vec::new(), Vec::new());
                for (n, send) in sends.into_iter().enumerate() {
                    if send {
                        sent.push(n as u32);
                        edge.send(Batch { sample: n as u32, facts: vec![n as u32] });
                    } else if let Some(batch) = edge.fetch(ticket) {
                        seen.extend(batch.facts);
                    }
                    assert!(edge.stats().queued <= capacity);
                }
                while let Some(batch) = edge.fetch(ticket) {
                    seen.extend(batch.facts);
                }
                assert_eq!(sent, seen);
            });
        }
    }

    #[test]
    fn a_replaced_receiver_gets_nothing() {
        actix::System::new().block_on(async {
            let edge = Edge::new("test", 2);
            let old = edge.attach(recipient());
            let new = edge.attach(recipient());
            edge.send(Batch { sample: 1, facts: vec![1] });
            assert_eq!(edge.fetch(old), None);
            assert_eq!(edge.fetch(new), Some(Batch { sample: 1, facts: vec![1] }));
        });
    }
}
