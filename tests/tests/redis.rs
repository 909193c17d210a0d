//! The main job with programs that are not ours: redis keeps its latency beside `stress-ng`,
//! which keeps its work, and both get everything back.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use outrigger_tests::{Compared, Comparison, Mutation, cgroups, installed, remove_leftovers, root};

/// Three rounds, for a median that one bad one cannot move.
const ROUNDS: u32 = 3;
const TIME: Duration = Duration::from_secs(2);

/// A bad moment of the machine is not the product's fault; a fault of the product is there in
/// every attempt.
const ATTEMPTS: u32 = 3;

fn possible() -> bool {
    root() && cgroups() && installed("redis-server") && installed("stress-ng")
}

fn compare(rounds: u32, mutation: Option<Mutation>) -> Compared {
    let compared = Comparison { rounds, time: TIME, mutation }.run();
    let left = compared.differences.iter().filter(|found| found.property == "existence");
    remove_leftovers(left.map(|found| Path::new(&found.subject)));
    eprintln!("{compared}");
    compared
}

#[test]
fn redis_keeps_its_latency_and_stress_ng_its_work() {
    if !possible() {
        return;
    }

    let Compared { phases, verdict, .. } = (1..=ATTEMPTS)
        .map(|_| compare(ROUNDS, None))
        .inspect(|compared| assert_eq!(compared.differences, []))
        .find(|compared| compared.verdict.met)
        .expect("the bar is met in one of the attempts");
    assert!(verdict.met, "{verdict:?}");
    for phase in &phases {
        assert!(phase.arrivals > 0, "{phase:?}");
        assert_eq!(phase.unanswered, 0, "{phase:?}");
    }
}

// A noisy machine turns the whole test red too: with a fault, exactly what the fault breaks is to
// be seen.

#[test]
fn an_enforcer_that_does_nothing_is_noticed() {
    if possible() {
        let compared = compare(1, Some(Mutation::EnforcerNoop));

        assert!(!compared.verdict.governed_protects, "{:?}", compared.verdict);
        assert_eq!(compared.differences, []);
    }
}

#[test]
fn an_undo_that_is_skipped_is_noticed() {
    if possible() {
        let compared = compare(1, Some(Mutation::SkipUndo));

        assert_ne!(compared.differences, []);
    }
}
