//! Asking what the machine can do: promised under 100 ns, since everything that acts asks.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use outrigger_benches::Plugins;
use outrigger_sdk::Capability;

fn capability(criterion: &mut Criterion) {
    let plugins = Plugins::start();
    let registry = plugins.registry();
    let mut group = criterion.benchmark_group("capability");
    group.bench_function("level, of a loaded plugin", |bencher| {
        bencher.iter(|| registry.level(black_box(Capability::TIMER_SELF)));
    });
    group.bench_function("level, nobody has it", |bencher| {
        bencher.iter(|| registry.level(black_box(Capability::CPU_LIMIT)));
    });
    group.bench_function("route and its best plugin", |bencher| {
        bencher.iter(|| registry.route(black_box(Capability::TIMER_SELF)).and_then(|r| r.best()));
    });
    group.finish();
}

criterion_group!(benches, capability);
criterion_main!(benches);
