//! Level-triggered: nothing differs, nothing is written; what changes is turned in place; what
//! ends is taken back.

use super::*;
use outrigger_sdk::Capability;

fn in_the_root() -> (Host, Bench) {
    let host = Host::new();
    host.spawn(1, "/", 1);
    host.spawn(11, "/", 2);
    host.spawn(12, "/", 2);
    let bench = Bench::new(&host, &[1], &[11, 12]);
    (host, bench)
}

#[test]
fn a_quiet_sweep_writes_nothing_asks_nothing_and_looks_at_nothing() {
    let (host, mut bench) = in_the_root();
    bench.sweeps(2);
    let asked = host.asked();
    host.take_writes();
    assert!(bench.sweeps(15).is_empty());
    assert_eq!(host.asked(), asked);
    assert_eq!(host.take_writes(), 0);
}

#[test]
fn a_change_of_tier_turns_one_knob_in_place() {
    let (host, mut bench) = in_the_root();
    bench.tier = 1;
    bench.sweep();
    assert_eq!(host.weight(CONTEXT).unwrap(), "50");
    host.take_writes();
    for (tier, weight) in [(2, "20"), (3, "1"), (1, "50")] {
        bench.tier = tier;
        let actions = bench.sweeps(1);
        assert_eq!(kinds(&actions), [ActionKind::Weight]);
        assert_eq!(host.take_writes(), 1);
        assert_eq!(host.weight(CONTEXT).unwrap(), weight);
        assert_eq!(host.path_of(11), CONTEXT, "place once, turn in place");
    }
}

#[test]
fn tier_0_takes_everything_back() {
    let (host, mut bench) = in_the_root();
    bench.cap = Some(500);
    bench.sweep();
    assert!(!bench.worker.is_idle());
    bench.tier = 0;
    let actions = bench.sweeps(1);
    assert_eq!(kinds(&actions), [ActionKind::Restore]);
    assert_eq!(host.path_of(11), "/");
    assert!(host.weight(CONTEXT).is_none(), "the context is gone");
    assert!(bench.worker.is_idle());
    assert!(bench.sweeps(30).is_empty());
}

#[test]
fn a_cap_is_lifted_by_asking_for_none_while_the_context_stays() {
    let (host, mut bench) = in_the_root();
    bench.cap = Some(500);
    bench.sweep();
    assert_eq!(host.file("/outrigger-t-batch/quota"), "500");
    bench.cap = None;
    let actions = bench.sweeps(1);
    assert_eq!(kinds(&actions), [ActionKind::Cap]);
    assert_eq!(host.file("/outrigger-t-batch/quota"), "-1");
    assert!(bench.sweeps(15).is_empty());
}

#[test]
fn quota_and_burst_are_asked_for_together() {
    let (host, mut bench) = in_the_root();
    bench.cap = Some(500);
    bench.sweep();
    bench.cap = Some(300);
    bench.sweep();
    assert_eq!(host.file("/outrigger-t-batch/quota"), "300");
    let desired = &host.world().last_desired;
    let knobs: Vec<_> = desired.iter().map(|setting| setting.knob).collect();
    assert_eq!(knobs, [Capability::CPU_LIMIT, Capability::CPU_BURST]);
}

#[test]
fn others_decisions_about_the_dead_are_forgotten() {
    let (host, mut bench) = in_the_root();
    bench.sweep();
    // Somebody takes a member out of our context: theirs stays.
    host.spawn(13, "/", 2);
    bench.hogs.push(13);
    bench.sweep();
    host.world().contexts.insert("/elsewhere".to_owned());
    host.world().processes.get_mut(&13).unwrap().path = "/".to_owned();
    let foreign: Vec<Action> = bench.sweeps(22);
    assert_eq!(kinds(&foreign), [ActionKind::Foreign]);
    assert_eq!(host.path_of(13), "/");
    assert_eq!(bench.sweep().state.foreign.len(), 1);
    host.world().processes.remove(&13);
    bench.sweeps(22);
    assert_eq!(bench.sweep().state.foreign.len(), 0);
}

#[test]
fn idle_is_cleared_before_the_weight_that_replaces_it() {
    let (host, mut bench) = in_the_root();
    bench.tier = 1;
    bench.sweep();
    bench.tier = 3;
    bench.idle = true;
    bench.sweep();
    assert_eq!(host.file("/outrigger-t-batch/idle"), "1");
    host.take_writes();
    bench.tier = 1;
    bench.idle = false;
    // What the kernel does to the weight when idle is set.
    host.world().files.insert("/outrigger-t-batch/weight".to_owned(), "0".to_owned());
    bench.sweep();
    let order: Vec<String> =
        host.world().writes.iter().map(|write| write.locator.clone()).collect();
    assert_eq!(order, ["/outrigger-t-batch/idle", "/outrigger-t-batch/weight"]);
    assert_eq!(host.weight(CONTEXT).unwrap(), "50");
}

#[test]
fn newcomers_are_placed_and_the_dead_are_forgotten() {
    let (host, mut bench) = in_the_root();
    bench.sweep();
    host.spawn(13, "/", 3);
    bench.hogs.push(13);
    let actions = bench.sweeps(1);
    assert_eq!(kinds(&actions), [ActionKind::Place]);
    assert_eq!(actions[0].knobs.len(), 1, "only the new one");
    assert_eq!(host.path_of(13), CONTEXT);
    host.world().processes.remove(&11);
    assert!(bench.sweeps(3).is_empty());
    let members = bench
        .worker
        .in_force(&super::super::subject::Subject::Context(ContextId::ours("outrigger-t-batch")));
    let tasks: Vec<u32> =
        members.iter().flat_map(|setting| setting.tasks.iter().map(|task| task.pid)).collect();
    assert_eq!(tasks, [12, 13]);
}

#[test]
fn a_living_member_that_leaves_the_workload_goes_back() {
    let (host, mut bench) = in_the_root();
    bench.sweep();
    bench.hogs = vec![12];
    let actions = bench.sweeps(1);
    assert_eq!(kinds(&actions), [ActionKind::Restore]);
    assert_eq!((host.path_of(11).as_str(), host.path_of(12).as_str()), ("/", CONTEXT));
}

#[test]
fn drift_is_caught_at_the_next_reconciliation() {
    let (host, mut bench) = in_the_root();
    bench.sweeps(25);
    // The context was emptied and removed behind our back: nobody's decision about a value.
    host.world().contexts.remove(CONTEXT);
    host.world().files.clear();
    host.take_writes();
    bench.sweeps(20);
    assert_eq!(host.weight(CONTEXT).unwrap(), "1");
}

#[test]
fn nobody_is_protected_so_nobody_is_held_back() {
    let (host, mut bench) = in_the_root();
    bench.victims.clear();
    assert!(bench.sweeps(3).is_empty());
    assert_eq!(host.take_writes(), 0);
}

#[test]
fn a_dry_run_tells_and_writes_nothing() {
    let (host, mut bench) = in_the_root();
    let settings = Settings { instance: "t".to_owned(), dry_run: true, reconcile: 5 };
    bench = Bench::with(&host, &bench.victims, &bench.hogs, settings);
    let actions = bench.sweeps(1);
    assert_eq!(kinds(&actions), [ActionKind::Place]);
    assert!(actions[0].dry_run && actions[0].knobs.iter().all(|knob| knob.token.is_none()));
    assert!(actions[0].knobs.iter().any(|knob| knob.after == "1" && knob.before == "100"));
    assert!(bench.sweeps(12).is_empty(), "told once");
    bench.tier = 0;
    bench.sweep();
    assert_eq!(host.take_writes(), 0);
    assert_eq!(host.path_of(11), "/");
}

#[test]
fn the_change_is_explained_once_and_its_effect_follows() {
    let (_, mut bench) = in_the_root();
    bench.tick += 1;
    let mut decisions = bench.decisions();
    decisions.changes = vec![change(1, 2, 340.0), change(2, 3, 340.0)];
    let actions = bench.worker.step(&decisions).actions;
    assert_eq!(actions.len(), 1);
    let told = actions[0].change.as_ref().unwrap();
    assert_eq!((told.from, told.to), (1, 3), "two changes of one merged batch");
    assert!(actions[0].knobs.iter().all(|knob| knob.token.is_some()));
    bench.wait = Some(4.0);
    let later: Vec<Action> = (0..4).flat_map(|_| bench.sweep().actions).collect();
    assert_eq!(later.len(), 1);
    assert_eq!(later[0].seq, actions[0].seq);
    let effect = later[0].effect.as_ref().unwrap();
    assert_eq!((effect.wait_before_ms_per_s, effect.wait_after_ms_per_s), (340.0, 4.0));
}

#[test]
fn who_waits_is_named_also_where_no_change_of_tier_says_it() {
    let contention = |wait, workload: &str| Contention {
        wait_ms_per_s: wait,
        culprits: vec![Culprit {
            task: task(11),
            name: "p11".to_owned(),
            workload: Some(workload.into()),
            millicores: 1700.0,
        }],
        ..change(0, 3, 0.0).contention.unwrap()
    };
    let (_, mut bench) = in_the_root();
    bench.tick += 1;
    let mut decisions = bench.decisions();
    decisions.contention = vec![contention(900.0, "other"), contention(340.0, "batch")];
    let actions = bench.worker.step(&decisions).actions;
    let told = actions[0].contention.as_ref().unwrap();
    assert_eq!((told.wait_ms_per_s, actions[0].change.as_ref()), (340.0, None));
    let named: Vec<_> = told.culprits.iter().map(|one| (one.task.pid, one.millicores)).collect();
    assert_eq!(named, [(11, 100.0), (12, 100.0)]);
    bench.tick += 1;
    let mut restored = bench.decisions();
    (restored.contention, restored.entitlements) = (decisions.contention, Vec::new());
    let actions = bench.worker.step(&restored).actions;
    assert_eq!((kinds(&actions), &actions[0].contention), (vec![ActionKind::Restore], &None));
}

#[test]
fn its_own_part_is_named_first_and_others_are_not_forgotten() {
    let stranger = |pid| Culprit {
        task: task(pid),
        name: format!("p{pid}"),
        workload: None,
        millicores: 900.0,
    };
    let (_, mut bench) = in_the_root();
    bench.tick += 1;
    let mut decisions = bench.decisions();
    let mut caused = change(0, 3, 340.0);
    caused.contention.as_mut().unwrap().culprits = (101..=108).map(stranger).collect();
    decisions.changes = vec![caused];
    let actions = bench.worker.step(&decisions).actions;
    let culprits = &actions[0].contention.as_ref().unwrap().culprits;
    let named: Vec<u32> = culprits.iter().map(|culprit| culprit.task.pid).collect();
    assert_eq!(named, [11, 12, 101, 102, 103, 104, 105, 106]);
}

#[test]
fn everything_is_taken_back_at_the_end() {
    let (host, mut bench) = in_the_root();
    bench.sweep();
    let undone = bench.worker.restore();
    assert!(undone.iter().all(|item| item.fate.is_final()));
    assert_eq!(host.path_of(11), "/");
    assert!(host.weight(CONTEXT).is_none());
}
