//! Who is moved, who is not, and that everybody comes back.

use crate::support::{Governor, Scratch, Victim, place_of, ready};
use outrigger_sdk::undo::{Kind, knob};
use outrigger_sdk::{Capability, ErrorCode, Setting, TaskId, TaskIdExt};

fn made() -> Setting {
    Setting::number(Capability::CONTEXT, 1)
}

fn members(task: TaskId) -> [Setting; 2] {
    [made(), Setting::members([task])]
}

#[test]
fn a_process_with_all_its_threads_goes_in_by_one_operation_per_hierarchy_and_comes_back() {
    if !ready(&["cpu", "unified"]) {
        return;
    }
    let scratch = Scratch::new();
    let victim = Victim::threaded(4);
    let mut governor = Governor::new();

    let operations = governor.settle(&scratch.id(), &members(victim.task()));

    let moves = operations.iter().filter(|operation| operation.kind == Kind::Membership).count();
    assert_eq!(moves, 2);
    let everywhere = |path: &str| {
        victim.threads().iter().all(|thread| {
            ["cpu", "unified"].iter().all(|space| place_of(thread.pid, thread.tid, space) == path)
        })
    };
    assert!(everywhere(&scratch.path()));
    governor.undo();
    assert!(everywhere("/"));
}

#[test]
fn threads_that_are_apart_are_moved_one_by_one_and_each_comes_back_to_its_own() {
    if !ready(&["cpu", "unified"]) {
        return;
    }
    let (scratch, theirs) = (Scratch::new(), Scratch::new());
    let victim = Victim::threaded(4);
    theirs.make("cpu", "");
    let lone = *victim.threads().last().unwrap();
    theirs.write("cpu", "tasks", &lone.tid.to_string());
    let launched = Setting { text: "launched".into(), ..Setting::members([victim.task()]) };
    let mut governor = Governor::new();

    let operations = governor.settle(&scratch.id(), &[made(), launched]);

    let threads = victim.threads();
    let single = operations.iter().filter(|operation| {
        operation.kind == Kind::Membership && operation.task.is_some_and(|task| task.tid != 0)
    });
    assert_eq!(single.count(), threads.len(), "one operation for each thread in cpu");
    for thread in &threads {
        assert_eq!(place_of(thread.pid, thread.tid, "cpu"), scratch.path());
    }
    governor.undo();
    for thread in &threads {
        let origin = if *thread == lone { theirs.path() } else { "/".to_owned() };
        assert_eq!(place_of(thread.pid, thread.tid, "cpu"), origin);
    }
}

#[test]
fn one_thread_is_moved_alone_where_the_hierarchy_allows_it() {
    if !ready(&["cpu", "unified"]) {
        return;
    }
    let scratch = Scratch::new();
    let victim = Victim::threaded(4);
    let lone = *victim.threads().last().unwrap();
    let mut governor = Governor::new();

    let applied = governor.apply(scratch.id(), &members(TaskId::from_task(lone)));

    assert_eq!(place_of(lone.pid, lone.tid, "cpu"), scratch.path());
    assert_eq!(victim.place("cpu"), "/");
    assert_eq!(applied.refused.len(), 1, "the v2 tree holds whole processes");
    assert_eq!(applied.refused[0].1.code, ErrorCode::NOT_SUPPORTED);
    governor.undo();
    assert_eq!(place_of(lone.pid, lone.tid, "cpu"), "/");
}

#[test]
fn a_process_in_somebody_elses_cgroup_is_not_moved() {
    if !ready(&["cpu", "unified"]) {
        return;
    }
    let (scratch, theirs) = (Scratch::new(), Scratch::new());
    let victim = Victim::sleeper();
    theirs.make("cpu", "");
    theirs.write("cpu", "cgroup.procs", &victim.pid().to_string());
    let mut governor = Governor::new();

    let applied = governor.apply(scratch.id(), &members(victim.task()));

    let (knob, error) = &applied.refused[0];
    assert_eq!((*knob, error.code), (Capability::MEMBERS, ErrorCode::NOT_DELEGATED));
    assert!(error.message.contains(&theirs.path()), "{error}");
    assert!(error.message.contains("weight is the lever"), "{error}");
    assert_eq!(victim.place("cpu"), theirs.path());
    assert_eq!(victim.place("unified"), scratch.path(), "there it was in the root");
    governor.undo();
    assert_eq!(victim.place("cpu"), theirs.path());
}

#[test]
fn what_we_launched_may_come_from_anywhere_and_goes_back_there() {
    if !ready(&["cpu", "unified"]) {
        return;
    }
    let (scratch, theirs) = (Scratch::new(), Scratch::new());
    let victim = Victim::sleeper();
    theirs.make("cpu", "");
    theirs.write("cpu", "cgroup.procs", &victim.pid().to_string());
    let launched = Setting { text: "launched".into(), ..Setting::members([victim.task()]) };
    let mut governor = Governor::new();

    governor.settle(&scratch.id(), &[made(), launched]);

    assert_eq!(victim.place("cpu"), scratch.path());
    governor.undo();
    assert_eq!(victim.place("cpu"), theirs.path());
}

#[test]
fn a_member_moves_on_from_one_context_of_ours_to_another() {
    if !ready(&["cpu", "unified"]) {
        return;
    }
    let (first, second) = (Scratch::new(), Scratch::new());
    let victim = Victim::sleeper();
    let mut governor = Governor::new();
    governor.settle(&first.id(), &members(victim.task()));
    governor.settle(&second.id(), &members(victim.task()));
    assert_eq!(victim.place("cpu"), second.path());
    governor.undo();
    assert_eq!(victim.place("cpu"), "/");
    assert_eq!(victim.place("unified"), "/");
}

#[test]
fn a_subtree_that_was_delegated_to_us_is_ours_to_arrange() {
    if !ready(&["cpu", "unified"]) {
        return;
    }
    let base = Scratch::new();
    base.make("cpu", "application");
    base.make("unified", "application");
    let victim = Victim::sleeper();
    for space in ["cpu", "unified"] {
        base.write(space, "application/cgroup.procs", &victim.pid().to_string());
    }
    let mut governor = Governor::configured(&format!(r#"{{"base":"{}"}}"#, base.path()));

    governor.settle(&outrigger_sdk::ContextId::ours("batch"), &members(victim.task()));

    assert_eq!(victim.place("cpu"), format!("{}/batch", base.path()));
    governor.undo();
    assert_eq!(victim.place("cpu"), format!("{}/application", base.path()));
}

#[test]
fn real_time_threads_stay_and_the_others_go() {
    if !ready(&["cpu", "unified"]) {
        return;
    }
    let scratch = Scratch::new();
    let victim = Victim::threaded(4);
    let fast = *victim.threads().last().unwrap();
    if let Err(error) = knob::write(Kind::SchedPolicy, Some(fast), "", "fifo:1") {
        outrigger_skip::skip(&format!("no real-time thread can be made here: {error}"));
        return;
    }
    let mut governor = Governor::new();

    let applied = governor.apply(scratch.id(), &members(victim.task()));

    if applied.refused.is_empty() {
        outrigger_skip::skip("this kernel does not keep real-time threads apart");
        return;
    }
    assert!(applied.refused[0].1.message.contains("real-time"), "{:?}", applied.refused);
    assert_eq!(place_of(fast.pid, fast.tid, "cpu"), "/");
    assert_eq!(victim.place("cpu"), scratch.path());
    governor.undo();
    assert_eq!(victim.place("cpu"), "/");
}

#[test]
fn the_first_process_kernel_threads_and_the_dead_are_refused() {
    if !ready(&["cpu", "unified"]) {
        return;
    }
    let scratch = Scratch::new();
    let mut governor = Governor::new();
    let first = TaskId::from_task(knob::identify(1).unwrap());
    let gone = TaskId { start: 1, ..Victim::sleeper().task() };
    let mut refused = |task| governor.prepare(scratch.id(), &members(task)).refused;
    assert_eq!(refused(first)[0].1.code, ErrorCode::NOT_SUPPORTED);
    assert_eq!(refused(gone)[0].1.code, ErrorCode::GONE);
    let thread = knob::stat(2, 0).filter(|stat| stat.kernel).and(knob::identify(2));
    if let Some(thread) = thread {
        assert_eq!(refused(TaskId::from_task(thread))[0].1.code, ErrorCode::NOT_SUPPORTED);
    }
}
