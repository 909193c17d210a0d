//! The arrangements in which antagonists really occur, and the lever each of them gets.

use super::*;

const HOGS: [u32; 8] = [11, 12, 13, 14, 15, 16, 17, 18];

/// The service in the root (session 1), the hogs wherever `place` puts them.
fn arranged(service: &str, place: impl Fn(u32) -> (&'static str, u32)) -> (Host, Bench) {
    let host = Host::new();
    host.spawn(1, service, 1);
    for pid in HOGS {
        let (path, session) = place(pid);
        host.spawn(pid, path, session);
    }
    let bench = Bench::new(&host, &[1], &HOGS);
    (host, bench)
}

fn assert_placed(host: &Host, bench: &mut Bench) {
    let actions = bench.sweeps(1);
    assert_eq!(kinds(&actions), [ActionKind::Place]);
    assert!(HOGS.iter().all(|pid| host.path_of(*pid) == CONTEXT));
    assert_eq!(host.weight(CONTEXT).unwrap(), "1");
}

#[test]
fn hogs_in_the_root_in_one_session() {
    let (host, mut bench) = arranged("/", |_| ("/", 1));
    assert_placed(&host, &mut bench);
}

#[test]
fn hogs_in_the_root_in_eight_sessions() {
    let (host, mut bench) = arranged("/", |pid| ("/", pid));
    assert_placed(&host, &mut bench);
}

#[test]
fn hogs_in_a_sibling_context() {
    let (host, mut bench) = arranged("/svc", |_| ("/hogs", 2));
    let actions = bench.sweeps(1);
    assert_eq!(kinds(&actions), [ActionKind::Weight]);
    assert_eq!(host.file("/hogs/weight"), "1");
    assert!(host.weight(CONTEXT).is_none(), "nobody was moved");
    assert_eq!(host.path_of(11), "/hogs");
}

#[test]
fn hogs_in_a_cousin_context() {
    let (host, mut bench) = arranged("/system/svc", |_| ("/user/deep/leaf", 2));
    bench.sweep();
    assert_eq!(host.file("/user/weight"), "1", "the child of the common ancestor");
    assert_eq!(host.file("/user/deep/leaf/weight"), "100", "a leaf would shift nothing");
}

#[test]
fn what_the_places_are_worth_is_told() {
    let (_, mut bench) = arranged("/system/svc", |_| ("/user/leaf", 2));
    bench.sweep();
    let outcome = bench.sweep();
    let share = |workload: &str| {
        let mut shares = outcome.state.shares.iter();
        shares.find(|share| &*share.workload == workload).unwrap().fraction
    };
    assert!((share("redis") - 100.0 / 101.0).abs() < 1e-9, "{outcome:?}");
    assert!((share("batch") - 1.0 / 101.0).abs() < 1e-9);
}

#[test]
fn hogs_in_a_nested_context_and_the_service_in_the_root() {
    let (host, mut bench) = arranged("/", |_| ("/user/leaf", 2));
    bench.sweep();
    assert_eq!(host.file("/user/weight"), "1");
}

#[test]
fn hogs_in_several_places_get_several_levers() {
    let (host, mut bench) = arranged("/svc", |pid| match pid {
        11..=13 => ("/", 1),
        14..=16 => ("/hogs", 2),
        _ => ("/user/leaf", 3),
    });
    let outcome = bench.sweep();
    assert_eq!(outcome.state.workloads[0].levers.len(), 3);
    assert_eq!(host.path_of(11), CONTEXT);
    for file in ["/hogs/weight", "/user/weight", "/outrigger-t-batch/weight"] {
        assert_eq!(host.file(file), "1", "{file}");
    }
}

#[test]
fn a_side_shared_with_strangers_raises_the_protected_side() {
    let (host, mut bench) = arranged("/svc", |_| ("/shared", 2));
    host.spawn(99, "/shared", 9);
    bench.sweep();
    assert_eq!(host.file("/shared/weight"), "100", "strangers are not held back");
    assert_eq!(host.file("/svc/weight"), "10000");
    bench.tier = 1;
    bench.sweep();
    assert_eq!(host.file("/svc/weight"), "200", "in proportion to the tier");
}

#[test]
fn both_sides_shared_leave_a_quota_or_say_why_not() {
    let (host, mut bench) = arranged("/a/svc", |_| ("/b/hogs", 2));
    host.spawn(98, "/a/other", 9);
    host.spawn(99, "/b/other", 9);
    bench.cap = Some(500);
    let outcome = bench.sweep();
    assert_eq!(host.file("/b/hogs/quota"), "500");
    assert_eq!(host.file("/b/hogs/burst"), "20000");
    assert_eq!(host.file("/b/hogs/weight"), "100");
    assert!(outcome.state.workloads[0].levers[0].contains("quota on /b/hogs"), "{outcome:?}");

    host.spawn(97, "/b/hogs", 9);
    bench.sweeps(20);
    let outcome = bench.sweep();
    let text = &outcome.state.workloads[0].levers[0];
    assert!(text.starts_with("no lever, because /b cannot be held back"), "{text}");
    assert_eq!(host.file("/b/hogs/quota"), "-1", "what no longer fits is taken back");
}

#[test]
fn the_same_context_leaves_per_process_knobs() {
    let (host, mut bench) = arranged("/pod", |_| ("/pod", 2));
    let actions = bench.sweeps(1);
    assert_eq!(kinds(&actions), [ActionKind::Priority]);
    assert_eq!(host.world().processes[&11].class, 2);
    bench.tier = 1;
    bench.sweep();
    let world = host.world();
    assert_eq!((world.processes[&11].class, world.processes[&11].nice), (0, 10));
}

#[test]
fn who_was_nice_already_is_not_made_stronger() {
    let (host, mut bench) = arranged("/pod", |_| ("/pod", 2));
    host.world().processes.get_mut(&11).unwrap().nice = 19;
    host.world().processes.get_mut(&12).unwrap().nice = 5;
    bench.tier = 1;
    bench.sweeps(22);
    let nice = |pid: u32| host.world().processes[&pid].nice;
    assert_eq!([nice(11), nice(12), nice(13)], [19, 10, 10]);
    bench.tier = 0;
    bench.sweep();
    assert_eq!([nice(11), nice(12), nice(13)], [19, 5, 0]);
}

#[test]
fn a_tier_up_goes_back_to_what_was_there_at_most() {
    let (host, mut bench) = arranged("/pod", |_| ("/pod", 2));
    host.world().unable.insert(outrigger_sdk::Capability::SCHED_CLASS);
    host.world().processes.get_mut(&11).unwrap().nice = 15;
    let nice = |pid: u32| host.world().processes[&pid].nice;
    bench.sweep();
    assert_eq!([nice(11), nice(12)], [19, 19]);
    bench.tier = 1;
    bench.sweeps(22);
    assert_eq!([nice(11), nice(12)], [15, 10]);
}

#[test]
fn an_autogroup_that_was_nice_already_is_not_made_stronger() {
    let (host, mut bench) = arranged("/", |_| ("/", 5));
    host.world().no_tree = true;
    for pid in HOGS {
        host.world().processes.get_mut(&pid).unwrap().autogroup = 15;
    }
    bench.tier = 1;
    bench.sweeps(22);
    assert_eq!(host.world().processes[&11].autogroup, 15);
}

#[test]
fn a_context_weighs_no_more_than_its_members_did() {
    let (host, mut bench) = arranged("/", |_| ("/", 5));
    let renice = |nice, class| {
        for pid in HOGS {
            let mut world = host.world();
            let process = world.processes.get_mut(&pid).unwrap();
            (process.nice, process.class) = (nice, class);
        }
    };
    // Eight at nice 19 weigh 120 of 1024, and tier 1 would give them half.
    renice(19, 0);
    bench.tier = 1;
    bench.sweep();
    assert_eq!(host.weight(CONTEXT).unwrap(), "11");
    renice(5, 0);
    bench.sweep();
    assert_eq!(host.weight(CONTEXT).unwrap(), "50", "2680 of 1024 are more than enough");
    bench.hogs.truncate(2);
    renice(0, 2);
    bench.sweep();
    assert_eq!(host.file("/outrigger-t-batch/idle"), "1", "two of the idle class weigh 6");
}

#[test]
fn without_contexts_sessions_decide_between_class_and_autogroup() {
    let (host, mut bench) = arranged("/", |pid| ("/", if pid < 15 { 1 } else { pid }));
    host.world().no_tree = true;
    bench.sweep();
    let world = host.world();
    let knobs = |pid: u32| (world.processes[&pid].class, world.processes[&pid].autogroup);
    assert_eq!(knobs(11), (2, 0), "same session as the service");
    assert_eq!(knobs(15), (0, 19), "a session of its own");
}

#[test]
fn an_autogroup_stays_held_when_whoever_stood_for_it_ends() {
    let (host, mut bench) = arranged("/", |_| ("/", 5));
    host.world().no_tree = true;
    bench.sweep();
    for eldest in [11, 12] {
        host.world().processes.remove(&eldest);
        for _ in 0..25 {
            bench.sweep();
            assert_eq!(host.world().processes[&13].autogroup, 19, "after {eldest} ended");
        }
    }
    bench.tier = 1;
    bench.sweep();
    assert_eq!(host.world().processes[&13].autogroup, 10);
    bench.tier = 0;
    bench.sweep();
    assert_eq!(host.world().processes[&13].autogroup, 0);
    bench.tier = 3;
    bench.sweep();
    assert_eq!(host.world().processes[&13].autogroup, 19, "ours of before is not somebody's");
}

#[test]
fn an_autogroup_with_strangers_in_it_is_left_alone() {
    let (host, mut bench) = arranged("/", |_| ("/", 5));
    host.spawn(99, "/", 5);
    host.world().no_tree = true;
    let actions = bench.sweeps(1);
    assert_eq!(kinds(&actions), [ActionKind::NoLever]);
    assert!(actions[0].lever.contains("session 5"), "{}", actions[0].lever);
    assert!(bench.sweeps(5).is_empty(), "said once");
}

#[test]
fn without_autogroups_nice_reaches_every_session() {
    let (host, mut bench) = arranged("/", |pid| ("/", pid));
    host.world().no_tree = true;
    host.world().autogroups = false;
    bench.sweep();
    assert_eq!(host.world().processes[&11].class, 2);
}

#[test]
fn managed_contexts_are_not_written_behind_their_managers_back() {
    let (host, mut bench) = arranged("/svc", |_| ("/system.slice/backup.service", 2));
    host.world().managed.insert("/system.slice".to_owned());
    host.world().managed.insert("/svc".to_owned());
    let actions = bench.sweeps(1);
    assert_eq!(kinds(&actions), [ActionKind::NoLever]);
    assert!(actions[0].lever.contains("managed by systemd"), "{}", actions[0].lever);
    assert_eq!(host.take_writes(), 0);
}

#[test]
fn a_context_named_like_ours_elsewhere_is_not_taken_for_ours() {
    let (host, mut bench) = arranged("/svc", |_| ("/user/outrigger-t-batch", 2));
    bench.sweeps(3);
    assert_eq!(host.file("/user/weight"), "1", "a lever like any other");
    assert!(host.weight(CONTEXT).is_none());
}

#[test]
fn who_is_held_by_another_sidecar_is_observed_only() {
    const THEIRS: &str = "/outrigger-daemon-7t9-jobs";
    for service in ["/", "/svc"] {
        let (host, mut bench) = arranged(service, |_| (THEIRS, 2));
        host.world().managed.insert(THEIRS.to_owned());
        let actions = bench.sweeps(1);
        assert_eq!(kinds(&actions), [ActionKind::NoLever]);
        assert!(actions[0].lever.contains("another running outrigger"), "{}", actions[0].lever);
        bench.sweeps(21);
        assert_eq!(host.take_writes(), 0);
    }
}

#[test]
fn what_run_launched_has_its_own_context_and_its_batch_children_leave_it() {
    let host = Host::new();
    host.spawn(1, "/session/scope", 1);
    let mut bench = Bench::new(&host, &[1], &[2]);
    let context = bench.worker.launch(&"redis".into(), task(1), Provenance::default()).unwrap();
    assert_eq!(context, ContextId::ours("outrigger-t-redis"));
    assert_eq!(host.path_of(1), "/outrigger-t-redis");
    // A compaction, born where its parent sits.
    host.spawn(2, "/outrigger-t-redis", 1);
    let actions = bench.sweeps(1);
    let launched = actions.iter().find(|action| &*action.workload == "redis").unwrap();
    assert_eq!((launched.kind, launched.rule.as_str()), (ActionKind::Place, "launched"));
    assert_eq!(host.path_of(2), CONTEXT);
    assert_eq!(host.path_of(1), "/outrigger-t-redis");
    assert_eq!(bench.worker.inside("redis"), [1]);
}

#[test]
fn forking_hogs_do_not_shake_the_lever() {
    let (host, mut bench) = arranged("/svc", |_| ("/hogs", 2));
    bench.sweep();
    host.take_writes();
    for generation in 0..20 {
        let child = 1000 + generation;
        host.spawn(child, "/hogs", 2);
        host.world().newborn.insert(child);
        assert!(bench.sweeps(1).is_empty(), "an unborn child is no stranger");
        bench.hogs.push(child);
        host.world().newborn.remove(&child);
        bench.sweep();
        if generation > 2 {
            host.world().processes.remove(&(1000 + generation - 2));
        }
    }
    assert_eq!(host.take_writes(), 0);
    assert_eq!(host.file("/hogs/weight"), "1");
}
