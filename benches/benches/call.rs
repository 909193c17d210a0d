//! What a plugin call costs: across the boundary alone, and through the plugin's lane.
//!
//! The lane is another thread: its price is two wake-ups, and it is paid by whoever may have to
//! wait for a plugin that hangs.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use outrigger_benches::{Arm, Plugins, compare, loaded};
use outrigger_sdk::{TaskId, Timer};

fn call(criterion: &mut Criterion) {
    let (plugins, loaded) = (Plugins::start(), loaded());
    let plugin = plugins.linux_proc();
    // Facts are kept by the backend: nothing is done there but to answer.
    let facts = || loaded.timer_facts(black_box(Timer::THREAD)).expect("it has that clock");
    let refused = || {
        loaded
            .timer(black_box(Timer(u32::MAX)), TaskId::default())
            .expect_err("there is no such clock")
    };
    let own = || loaded.timer(Timer::THREAD, TaskId::default()).expect("it can be read");
    let lane = || plugin.timer_facts(Timer::THREAD).wait().expect("it has that clock");

    let mut group = criterion.benchmark_group("plugin call");
    group.bench_function("facts, boundary alone", |bencher| bencher.iter(facts));
    group.bench_function("an error with its text", |bencher| bencher.iter(refused));
    group.bench_function("own-thread clock", |bencher| bencher.iter(own));
    group.bench_function("facts through the lane and back", |bencher| bencher.iter(lane));
    group.finish();

    compare(
        "plugin call",
        vec![
            Arm::new("facts, boundary alone", facts),
            Arm::new("facts through the lane and back", lane),
        ],
    );
}

criterion_group!(benches, call);
criterion_main!(benches);
