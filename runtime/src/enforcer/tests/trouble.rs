//! What goes wrong: refusals, others' hands, late calls, levers that do not help.

use super::super::hands::Returned;
use super::*;
use outrigger_sdk::{Capability, ErrorCode};

fn adopted() -> (Host, Bench) {
    let host = Host::new();
    host.spawn(1, "/svc", 1);
    host.spawn(11, "/hogs", 2);
    let bench = Bench::new(&host, &[1], &[11]);
    (host, bench)
}

#[test]
fn what_somebody_else_changed_is_left_alone_from_then_on() {
    let (host, mut bench) = adopted();
    bench.tier = 1;
    bench.sweep();
    host.world().files.insert("/hogs/weight".to_owned(), "700".to_owned());
    bench.tier = 3;
    let actions = bench.sweeps(1);
    assert_eq!(kinds(&actions), [ActionKind::Foreign]);
    let knob = &actions[0].knobs[0];
    assert_eq!((knob.before.as_str(), knob.after.as_str()), ("700", "50"));
    for tier in [1, 2, 3] {
        bench.tier = tier;
        bench.sweeps(22);
    }
    assert_eq!(host.file("/hogs/weight"), "700");
    assert_eq!(bench.sweep().state.foreign.len(), 1);
    bench.worker.restore();
    assert_eq!(host.file("/hogs/weight"), "700", "theirs stays at the end, too");
}

#[test]
fn a_context_made_anew_is_governed_whatever_was_decided_about_the_one_before() {
    let host = Host::new();
    host.spawn(1, "/svc", 1);
    host.spawn(11, "/", 2);
    let mut bench = Bench::new(&host, &[1], &[11]);
    bench.sweep();
    host.world().files.insert(format!("{CONTEXT}/weight"), "500".to_owned());
    assert_eq!(kinds(&bench.sweeps(21)), [ActionKind::Foreign]);
    assert_eq!(host.weight(CONTEXT).unwrap(), "500");
    host.world().processes.remove(&11);
    bench.tier = 0;
    bench.sweeps(2);
    assert!(host.weight(CONTEXT).is_none());
    bench.tier = 3;
    host.spawn(12, "/", 2);
    bench.hogs = vec![12];
    bench.sweep();
    assert_eq!(host.path_of(12), CONTEXT);
    assert_eq!(host.weight(CONTEXT).unwrap(), "1");
}

#[test]
fn drift_by_others_is_seen_at_the_next_reconciliation() {
    let (host, mut bench) = adopted();
    bench.sweeps(25);
    host.world().files.insert("/hogs/weight".to_owned(), "700".to_owned());
    assert_eq!(kinds(&bench.sweeps(21)), [ActionKind::Foreign]);
    assert_eq!(host.file("/hogs/weight"), "700");
}

#[test]
fn a_refused_knob_goes_to_the_next_backend() {
    let (host, mut bench) = adopted();
    let refused = ("cgroup".to_owned(), Capability::CPU_WEIGHT);
    host.world().refusals.insert(refused, ErrorCode::PRIVILEGE);
    let actions = bench.sweeps(1);
    assert_eq!(kinds(&actions), [ActionKind::Weight]);
    assert_eq!(actions[0].knobs[0].backend, "spare");
    assert_eq!(host.file("/hogs/weight"), "1");
}

#[test]
fn refused_by_all_is_told_once_and_retried_ever_more_rarely() {
    let (host, mut bench) = adopted();
    for backend in ["cgroup", "spare"] {
        let key = (backend.to_owned(), Capability::CPU_WEIGHT);
        host.world().refusals.insert(key, ErrorCode::OS);
    }
    let actions = bench.sweeps(1);
    assert_eq!(kinds(&actions), [ActionKind::Refused]);
    assert!(actions[0].knobs[0].error.as_ref().unwrap().is(ErrorCode::OS));
    let prepares = host.world().prepares;
    assert!(bench.sweeps(60).is_empty(), "told once");
    let asked = (host.world().prepares - prepares) / 2;
    assert!((3..=5).contains(&asked), "after 4, 8, 16, 32 sweeps: {asked}");
    assert_eq!(bench.sweep().state.refused.len(), 1);
    host.world().refusals.clear();
    assert_eq!(kinds(&bench.sweeps(130)), [ActionKind::Weight], "and it is never given up");
    assert!(bench.sweep().state.refused.is_empty());
}

#[test]
fn one_refusal_hides_no_other_knob() {
    let (host, mut bench) = adopted();
    for backend in ["cgroup", "spare"] {
        let key = (backend.to_owned(), Capability::CPU_WEIGHT);
        host.world().refusals.insert(key, ErrorCode::RANGE);
    }
    bench.cap = Some(500);
    let actions = bench.sweeps(1);
    assert_eq!(kinds(&actions), [ActionKind::Cap, ActionKind::Refused]);
    assert_eq!(host.file("/hogs/quota"), "500");
}

#[test]
fn a_late_write_leaves_its_knob_in_doubt_until_it_comes_back() {
    let (host, mut bench) = adopted();
    host.world().hanging.insert(Capability::CPU_WEIGHT);
    let outcome = bench.sweep();
    assert_eq!(kinds(&outcome.actions), [ActionKind::InDoubt]);
    let token = outcome.actions[0].knobs[0].token.unwrap();
    host.take_writes();
    bench.tier = 1;
    bench.cap = Some(500);
    let actions = bench.sweeps(30);
    assert_eq!(kinds(&actions), [ActionKind::Cap], "other knobs go on");
    let weights = host.world().writes.iter().any(|write| write.locator == "/hogs/weight");
    assert!(!weights, "nobody touches it");
    bench.worker.restore();
    let kept = bench.sweep();
    drop(kept);
    // It comes back: its value is known, and the present tier is asked for.
    let (host, mut bench) = adopted();
    host.world().hanging.insert(Capability::CPU_WEIGHT);
    let again = bench.sweep().actions[0].knobs[0].token.unwrap();
    assert_eq!(token, again);
    host.world().files.insert("/hogs/weight".to_owned(), "1".to_owned());
    host.world().returned.push(Returned { token, result: Ok("1".to_owned()) });
    bench.tier = 1;
    let outcome = bench.sweep();
    assert_eq!(kinds(&outcome.actions), [ActionKind::Weight]);
    assert!(outcome.state.in_doubt.is_empty());
    assert_eq!(host.file("/hogs/weight"), "50");
}

#[test]
fn what_is_in_doubt_is_not_taken_back_by_us() {
    let (host, mut bench) = adopted();
    host.world().hanging.insert(Capability::CPU_WEIGHT);
    bench.sweep();
    assert!(bench.worker.restore().is_empty(), "the keeper's, when every writer is dead");
}

#[test]
fn raising_that_does_not_help_is_undone_and_not_tried_again() {
    let (host, mut bench) = adopted();
    host.spawn(99, "/hogs", 9);
    bench.sweep();
    assert_eq!(host.file("/svc/weight"), "10000");
    let actions = bench.sweeps(6);
    assert_eq!(host.file("/svc/weight"), "100");
    assert!(kinds(&actions).contains(&ActionKind::Restore), "{actions:?}");
    assert!(kinds(&actions).contains(&ActionKind::NoLever), "{actions:?}");
    bench.sweeps(50);
    assert_eq!(host.file("/svc/weight"), "100");
}

#[test]
fn raising_that_helps_stays() {
    let (host, mut bench) = adopted();
    host.spawn(99, "/hogs", 9);
    bench.sweep();
    bench.wait = Some(10.0);
    bench.sweeps(20);
    assert_eq!(host.file("/svc/weight"), "10000");
}

#[test]
fn a_stranger_in_a_held_subtree_is_let_go_after_a_few_looks() {
    let (host, mut bench) = adopted();
    bench.sweep();
    host.spawn(99, "/hogs", 9);
    bench.sweeps(30);
    assert_eq!(host.file("/hogs/weight"), "100", "the stranger is not held back");
}

#[test]
fn a_protected_process_in_a_held_subtree_is_let_go_at_once() {
    let (host, mut bench) = adopted();
    bench.sweep();
    host.spawn(2, "/hogs", 1);
    bench.victims.push(2);
    bench.sweep();
    assert_eq!(host.file("/hogs/weight"), "100");
}

#[test]
fn a_survey_that_fails_changes_no_lever() {
    let (host, mut bench) = adopted();
    bench.sweep();
    host.take_writes();
    host.world().survey_fails = true;
    host.spawn(12, "/hogs", 2);
    bench.hogs.push(12);
    assert!(bench.sweeps(25).is_empty());
    assert_eq!(host.take_writes(), 0);
}

#[test]
fn a_launch_that_cannot_be_placed_says_why() {
    let (host, mut bench) = adopted();
    let key = ("cgroup".to_owned(), Capability::MEMBERS);
    host.world().refusals.insert(key, ErrorCode::PRIVILEGE);
    let error = bench.worker.launch(&"redis".into(), task(1), Provenance::default()).unwrap_err();
    assert!(error.contains("refused by the test"), "{error}");
}
