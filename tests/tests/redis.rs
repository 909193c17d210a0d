//! The main job with programs that are not ours: redis keeps its latency beside `stress-ng`,
//! which keeps its work, and both get everything back.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use outrigger_tests::{Comparison, Mutation, cgroup1, installed, remove_leftovers, root};

/// Three rounds, for a median that one bad one cannot move.
const ROUNDS: u32 = 3;
const TIME: Duration = Duration::from_secs(2);

fn possible() -> bool {
    root() && cgroup1("cpu") && installed("redis-server") && installed("stress-ng")
}

fn compare(rounds: u32, mutation: Option<Mutation>) {
    let compared = Comparison { rounds, time: TIME, mutation }.run();

    let left = compared.differences.iter().filter(|found| found.property == "existence");
    remove_leftovers(left.map(|found| Path::new(&found.subject)));
    eprintln!("{compared}");
    assert!(compared.verdict.met, "{:?}", compared.verdict);
    assert_eq!(compared.differences, []);
    for phase in &compared.phases {
        assert!(phase.arrivals > 0, "{phase:?}");
        assert_eq!(phase.unanswered, 0, "{phase:?}");
    }
}

#[test]
fn redis_keeps_its_latency_and_stress_ng_its_work() {
    if possible() {
        compare(ROUNDS, None);
    }
}

#[test]
fn an_enforcer_that_does_nothing_is_noticed() {
    if possible() {
        Mutation::EnforcerNoop.turns_red(|mutation| compare(1, mutation));
    }
}

#[test]
fn an_undo_that_is_skipped_is_noticed() {
    if possible() {
        Mutation::SkipUndo.turns_red(|mutation| compare(1, mutation));
    }
}
