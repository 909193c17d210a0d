//! From one stage to the next: a batch into an edge, the wake-up, and the batch out again in
//! another thread.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use actix::{Actor, Addr, Context, Handler, System};
use criterion::{Criterion, criterion_group, criterion_main};
use outrigger::flow::edge::{Coalesce, Edge, Wake};
use outrigger::flow::stage::{Core, Pulse, Stage};

/// Batches an edge holds, as in the sidecar.
const CAPACITY: usize = 4;

/// The smallest batch: what is measured is the way, not the load.
struct Batch(u64);

impl Coalesce for Batch {
    fn coalesce(&mut self, newer: Self) {
        *self = newer;
    }
}

/// A core that hands on what it gets.
struct Hand;

impl Core for Hand {
    type In = Batch;
    type Out = Batch;

    fn step(&mut self, batch: Batch) -> Batch {
        batch
    }
}

/// An actor that only counts as one, for the price of a wake-up.
struct Idle;

impl Actor for Idle {
    type Context = Context<Self>;
}

impl Handler<Wake> for Idle {
    type Result = ();

    fn handle(&mut self, _: Wake, _: &mut Self::Context) {}
}

/// A running actor system in a thread of its own, with one arbiter.
struct Stages {
    system: System,
    thread: Option<thread::JoinHandle<()>>,
}

impl Stages {
    fn start() -> Self {
        let (send, receive) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runner = System::new();
            send.send(System::current()).expect("the other end waits");
            runner.run().expect("it ends when it is told to");
        });
        let system = receive.recv().expect("the system has started");
        Self { system, thread: Some(thread) }
    }

    fn run<A: Actor<Context = Context<A>>>(
        &self,
        make: impl FnOnce() -> A + Send + 'static,
    ) -> Addr<A> {
        let (send, receive) = mpsc::channel();
        let spawned = self.system.arbiter().spawn_fn(move || {
            send.send(make().start()).expect("the other end waits");
        });
        assert!(spawned, "the arbiter runs");
        receive.recv().expect("the actor has started")
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        self.system.stop();
        let ended = self.thread.take().map(thread::JoinHandle::join);
        assert!(ended.is_none_or(|ended| ended.is_ok()), "no stage has panicked");
    }
}

fn hop(criterion: &mut Criterion) {
    let stages = Stages::start();
    let mut group = criterion.benchmark_group("actor hop");

    // There through an edge into a stage on another thread, and back through a channel: the
    // bench's own thread is no actor.
    let edge = Arc::new(Edge::new("hop", CAPACITY));
    let (inbox, (send, receive)) = (Arc::clone(&edge), mpsc::channel());
    let _stage = stages.run(move || {
        Stage::new(Hand, inbox, Arc::new(Pulse::default()), move |batch| {
            send.send(batch).expect("the bench waits for it");
        })
    });
    group.bench_function("edge, stage on another thread, and back", |bencher| {
        let mut number = 0;
        bencher.iter(|| {
            number += 1;
            edge.send(Batch(number));
            let Batch(came) = receive.recv().expect("the stage runs");
            assert_eq!(came, number);
        });
    });

    // Without a receiver: the queue alone, full, so that each send merges.
    let nobody = Edge::new("nobody", CAPACITY);
    group.bench_function("send into a full edge", |bencher| {
        bencher.iter(|| nobody.send(Batch(0)));
    });

    let idle = stages.run(|| Idle);
    group.bench_function("try_send of a wake-up", |bencher| {
        // A full mailbox is an answer too, and the usual one: a wake-up is already there.
        bencher.iter(|| idle.try_send(Wake).is_ok());
    });
    group.finish();
}

criterion_group!(benches, hop);
criterion_main!(benches);
