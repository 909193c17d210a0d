//! The shell: one plan in flight, a panic is survived, stopping waits and takes back.

use super::super::hands::{Backend, Cause, Committed, Hands, Returned, Undone};
use super::super::{Bench as Shared, Enforcer, StillBusy};
use super::*;
use crate::flow::edge::Edge;
use crate::flow::stage::Pulse;
use actix::Actor;
use outrigger_sdk::{
    Capability, ContextNode, Desired, Error, Level, Operation, PreparedOperation, TaskId,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const PATIENCE: Duration = Duration::from_secs(20);

/// A host whose survey does what the test says first.
struct Staged {
    host: Host,
    panic: Arc<AtomicBool>,
    /// Says "I am in", then waits to be let on.
    gate: Option<(Sender<()>, Receiver<()>)>,
}

impl Hands for Staged {
    fn survey(&mut self, limit: u32) -> Result<Vec<ContextNode>, Error> {
        assert!(!self.panic.swap(false, Ordering::SeqCst), "the test wants a panic");
        if let Some((entered, go)) = &self.gate {
            entered.send(()).unwrap();
            // A test that ended lets everybody on.
            let _ = go.recv();
        }
        self.host.survey(limit)
    }
    fn level(&self, knob: Capability) -> Level {
        self.host.level(knob)
    }
    fn backends(&self, knob: Capability) -> Vec<Backend> {
        self.host.backends(knob)
    }
    fn prepare(
        &mut self,
        backend: &Backend,
        desired: &Desired,
    ) -> Result<Vec<PreparedOperation>, Error> {
        self.host.prepare(backend, desired)
    }
    fn commit(&mut self, backend: &Backend, operation: Operation, cause: &Cause) -> Committed {
        self.host.commit(backend, operation, cause)
    }
    fn returned(&mut self) -> Vec<Returned> {
        self.host.returned()
    }
    fn undo(&mut self, select: &mut dyn FnMut(&Operation) -> bool) -> Vec<Undone> {
        self.host.undo(select)
    }
    fn sessions(&mut self) -> BTreeMap<u32, Vec<u32>> {
        self.host.sessions()
    }
    fn load(&mut self, task: TaskId) -> u32 {
        self.host.load(task)
    }
    fn passing(&mut self, pid: u32, at_ns: u64) -> bool {
        self.host.passing(pid, at_ns)
    }
    fn autogroups(&self) -> bool {
        self.host.autogroups()
    }
}

struct Stage {
    bench: Bench,
    shared: Shared,
    edge: Arc<Edge<Arc<Decisions>>>,
    panic: Arc<AtomicBool>,
}

impl Stage {
    fn new(gate: Option<(Sender<()>, Receiver<()>)>) -> Self {
        let host = Host::new();
        host.spawn(1, "/svc", 1);
        host.spawn(11, "/hogs", 2);
        let panic = Arc::new(AtomicBool::new(false));
        let hands = Staged { host: host.clone(), panic: panic.clone(), gate };
        let settings = Settings { instance: "t".to_owned(), ..Settings::default() };
        let shared = Shared::new(Worker::new(Box::new(hands), settings));
        let bench = Bench::new(&host, &[1], &[11]);
        Self { bench, shared, edge: Arc::new(Edge::new("test", 2)), panic }
    }

    /// Another actor on the same edge and the same bench, in a thread of its own.
    fn start(&self) -> UnboundedReceiver<Outcome> {
        let (tell, told) = unbounded_channel();
        let (shared, edge) = (self.shared.clone(), self.edge.clone());
        let arbiter = actix::Arbiter::new();
        Enforcer::start_in_arbiter(&arbiter.handle(), move |_| {
            Enforcer::new(shared, edge, Arc::new(Pulse::default()), move |outcome| {
                let _ = tell.send(outcome);
            })
        });
        told
    }

    fn send(&mut self, tier: u8) {
        self.bench.tick += 1;
        self.bench.tier = tier;
        self.edge.send(Arc::new(self.bench.decisions()));
    }
}

async fn next(told: &mut UnboundedReceiver<Outcome>) -> Option<Outcome> {
    tokio::time::timeout(PATIENCE, told.recv()).await.expect("an answer in time")
}

#[test]
fn decisions_are_enforced_and_published_one_batch_after_the_other() {
    actix::System::new().block_on(async {
        let mut stage = Stage::new(None);
        let mut told = stage.start();
        stage.send(1);
        assert_eq!(next(&mut told).await.unwrap().state.workloads[0].tier, 1);
        stage.send(3);
        assert_eq!(next(&mut told).await.unwrap().state.workloads[0].tier, 3);
        assert_eq!(stage.bench.host.file("/hogs/weight"), "1");
    });
}

#[test]
fn what_waits_behind_a_plan_in_flight_is_merged_and_the_newest_counts() {
    let (entered, is_in) = channel();
    let (go, wait) = channel();
    actix::System::new().block_on(async {
        let mut stage = Stage::new(Some((entered, wait)));
        let mut told = stage.start();
        stage.send(1);
        is_in.recv_timeout(PATIENCE).unwrap();
        for tier in [2, 3, 1, 2] {
            stage.send(tier);
        }
        assert_eq!(stage.edge.stats().processed, 1, "one plan at a time");
        drop(go);
        let mut tiers = Vec::new();
        while tiers.last() != Some(&2) || tiers.len() < 3 {
            tiers.push(next(&mut told).await.unwrap().state.workloads[0].tier);
        }
        assert_eq!(tiers, [1, 2, 2], "the edge holds two, the later one merged");
        assert_eq!(stage.bench.host.file("/hogs/weight"), "20");
    });
}

#[test]
fn a_panic_ends_the_actor_and_its_successor_goes_on_where_it_was() {
    actix::System::new().block_on(async {
        let mut stage = Stage::new(None);
        let mut told = stage.start();
        stage.send(1);
        next(&mut told).await.unwrap();
        assert_eq!(stage.bench.host.file("/hogs/weight"), "50");
        stage.panic.store(true, Ordering::SeqCst);
        stage.send(3);
        assert!(next(&mut told).await.is_none(), "the actor is gone");
        let mut told = stage.start();
        stage.send(3);
        next(&mut told).await.unwrap();
        assert_eq!(stage.bench.host.file("/hogs/weight"), "1");
        let undone = stage.shared.stop(PATIENCE).await.unwrap();
        assert_eq!(undone.len(), 1, "what the first one did is known");
        assert_eq!(stage.bench.host.file("/hogs/weight"), "100");
    });
}

#[test]
fn stopping_takes_everything_back_and_nothing_is_enforced_after_it() {
    actix::System::new().block_on(async {
        let mut stage = Stage::new(None);
        let mut told = stage.start();
        stage.send(3);
        next(&mut told).await.unwrap();
        stage.shared.stop(PATIENCE).await.unwrap();
        assert_eq!(stage.bench.host.file("/hogs/weight"), "100");
        stage.bench.tick += 1;
        assert!(stage.shared.step(&stage.bench.decisions()).is_none());
        assert_eq!(stage.bench.host.file("/hogs/weight"), "100");
    });
}

#[test]
fn a_call_that_is_out_is_waited_for_but_not_for_ever() {
    let (entered, is_in) = channel();
    let (go, wait) = channel();
    actix::System::new().block_on(async {
        let mut stage = Stage::new(Some((entered, wait)));
        let _told = stage.start();
        stage.send(3);
        is_in.recv_timeout(PATIENCE).unwrap();
        let brief = Duration::from_millis(1);
        assert_eq!(stage.shared.stop(brief).await.unwrap_err(), StillBusy(brief));
        drop(go);
        stage.shared.stop(PATIENCE).await.unwrap();
        assert_eq!(stage.bench.host.file("/hogs/weight"), "100");
    });
}
