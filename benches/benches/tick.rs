//! One tick over 1,000 workloads: what deciding costs, from a sweep's readings to what everybody
//! is entitled to. Reading and writing are not in it.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use outrigger::classifier::Rules;
use outrigger::flow::message::{Decisions, Sweep};
use outrigger::monitor::Window;
use outrigger::policy::Policy;
use outrigger::tier::Ladder;
use outrigger_benches::Crowd;

const WORKLOADS: u32 = 1000;
/// Sweeps until rates, contention and tiers are what they stay.
const WARM_UP: u32 = 40;

/// The three pure cores in a row.
struct Brain {
    window: Window,
    rules: Rules,
    ladder: Ladder,
    peers: HashSet<outrigger_sdk::TaskId>,
}

impl Brain {
    fn new(policy: &Policy) -> Self {
        Self {
            window: Window::default(),
            rules: Rules::new(policy, []).expect("the made-up policy is valid"),
            ladder: Ladder::new(policy),
            peers: HashSet::new(),
        }
    }

    fn tick(&mut self, sweep: Sweep) -> Decisions {
        let signals = self.window.step(sweep);
        let assessments = self.rules.step(signals, &self.peers);
        self.ladder.step(&assessments)
    }
}

fn tick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one tick");
    for count in [WORKLOADS / 10, WORKLOADS] {
        let mut crowd = Crowd::of(count);
        let mut brain = Brain::new(&crowd.policy());
        let decisions = (0..WARM_UP).map(|_| brain.tick(crowd.sweep())).last();
        let decisions = decisions.expect("there was a warm-up");
        assert!(decisions.protected.iter().any(|protected| protected.contended));
        assert!(!decisions.entitlements.is_empty(), "there is nothing to decide");
        group.bench_function(format!("{count} workloads, all busy, contended"), |bencher| {
            bencher.iter_custom(|ticks| {
                let mut spent = Duration::ZERO;
                for _ in 0..ticks {
                    // Making up a machine is no part of it.
                    let sweep = crowd.sweep();
                    let begun = Instant::now();
                    let decisions = brain.tick(sweep);
                    spent += begun.elapsed();
                    drop(decisions);
                }
                spent
            });
        });
    }
    group.finish();
}

criterion_group!(benches, tick);
criterion_main!(benches);
