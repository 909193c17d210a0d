//! What inherits a demotion gets its ancestor's value back, and contexts come empty, while tasks
//! are being born all the time.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use outrigger_undo::{Kind, Outcome, knob};
use support::cgroup::{CPU, Cgroup};
use support::change::{change, journal, outcomes};
use support::child::{FORKING, Gate, Process};
use support::look::{self, snapshot};
use support::of_group;

#[test]
fn children_and_grandchildren_born_demoted_go_back() {
    needs_root!();
    let gate = Gate::closed();
    // Waits for the demotion, then has a child and an orphan, each asleep.
    let script = format!("{}; sleep 600 & (sleep 601 & ) ; wait", gate.pass());
    let mut shell = Process::shell(&script);
    let (mut journal, _dir) = journal();
    change(&mut journal, Kind::Nice, Some(shell.thread()), "", "8");
    change(&mut journal, Kind::Rlimit, Some(shell.task()), "nofile", "77");
    gate.open();
    let sleepers = || -> Vec<u32> {
        let asleep =
            |pid: &u32| look::text(&format!("/proc/{pid}/cmdline")).starts_with("sleep\x0060");
        of_group(shell.pid()).into_iter().filter(asleep).collect()
    };
    support::await_that("both sleep", || sleepers().len() == 2);
    let born = sleepers();
    assert!(born.iter().all(|pid| look::of(*pid, "nice") == "8"));
    let report = journal.undo_all();
    let values: Vec<String> = born.iter().map(|pid| look::of(*pid, "nice")).collect();
    let limits: Vec<String> =
        born.iter().map(|pid| look::text(&format!("/proc/{pid}/limits"))).collect();
    let own_limits = look::text("/proc/self/limits");
    shell.kill_group();
    assert_eq!(outcomes(&report), ["restored", "restored"]);
    assert_eq!(values, ["0", "0"]);
    assert_eq!(report.descendants, 4, "two processes, two knobs: {report:?}");
    assert_eq!(values, ["0", "0"]);
    assert!(limits.iter().all(|limits| *limits == own_limits), "{limits:?}");
}

#[test]
fn orphans_of_a_dead_target_are_recognised() {
    needs_root!();
    let gate = Gate::closed();
    let mut shell = Process::shell(&format!("{}; sleep 600 & exit", gate.pass()));
    let (mut journal, _dir) = journal();
    change(&mut journal, Kind::Nice, Some(shell.thread()), "", "8");
    gate.open();
    support::await_that("the shell ended", || knob::identify(shell.pid()).is_none());
    let orphans = of_group(shell.pid());
    let report = journal.undo_all();
    let values: Vec<String> = orphans.iter().map(|pid| look::of(*pid, "nice")).collect();
    shell.kill_group();
    assert_eq!(outcomes(&report), ["gone"]);
    assert_eq!(values, ["0"], "{report:?}");
}

#[test]
fn a_child_that_chose_another_value_and_an_elder_one_keep_theirs() {
    needs_root!();
    let gate = Gate::closed();
    let script = format!("nice -n 8 sleep 600 & {}; nice -n 3 sleep 601 & wait", gate.pass());
    let mut shell = Process::shell(&script);
    let find = |what: &str| {
        let is = |pid: &u32| look::text(&format!("/proc/{pid}/cmdline")).starts_with(what);
        of_group(shell.pid()).into_iter().find(is)
    };
    support::await_that("the elder sleeps", || find("sleep\x00600").is_some());
    let (mut journal, _dir) = journal();
    // Clock ticks are coarse: who was born in the tick of the change counts as born after it.
    std::thread::sleep(std::time::Duration::from_millis(40));
    change(&mut journal, Kind::Nice, Some(shell.thread()), "", "8");
    gate.open();
    support::await_that("the younger sleeps", || find("sleep\x00601").is_some());
    let (elder, younger) = (find("sleep\x00600").unwrap(), find("sleep\x00601").unwrap());
    let report = journal.undo_all();
    let values =
        (look::of(elder, "nice"), look::of(younger, "nice"), look::of(shell.pid(), "nice"));
    shell.kill_group();
    assert_eq!(values, ("8".to_owned(), "11".to_owned(), "0".to_owned()), "{report:?}");
}

#[test]
fn threads_born_after_the_change_go_back_with_their_process() {
    needs_root!();
    let gate = Gate::closed();
    let process = Process::in_role("late-threads", &[&gate.path()]);
    support::await_that("it waits", || look::threads(process.pid()).len() >= 2);
    let waiting = knob::threads(process.pid()).unwrap();
    let (mut journal, _dir) = journal();
    for thread in &waiting {
        change(&mut journal, Kind::Nice, Some(*thread), "", "8");
    }
    gate.open();
    support::await_that("more threads run", || {
        look::threads(process.pid()).len() >= waiting.len() + 3
    });
    let report = journal.undo_all();
    let nices: Vec<String> = (look::threads(process.pid()).into_iter())
        .map(|tid| look::thread(process.pid(), tid)[0].1.clone())
        .collect();
    assert!(nices.iter().all(|nice| nice == "0"), "{nices:?} {report:?}");
    assert_eq!(report.descendants, 3);
}

#[test]
fn a_forking_process_is_swept_to_a_fixpoint() {
    needs_cgroup_v1!();
    let group = Cgroup::name(CPU);
    let mut shell = Process::shell(FORKING);
    let before = snapshot(&[shell.pid()], &[]);
    let (mut journal, _dir) = journal();
    change(&mut journal, Kind::Context, None, &group.text(), "present");
    // Not so low that nobody in it gets to fork on a busy machine.
    change(&mut journal, Kind::File, None, &group.file("cpu.shares"), "512");
    change(&mut journal, Kind::Nice, Some(shell.thread()), "", "8");
    change(&mut journal, Kind::Membership, Some(shell.task()), CPU, &group.inner());
    support::await_that("many are inside", || group.read("tasks").lines().count() > 5);
    let report = journal.undo_all();
    // Nobody may be left over, nor be born demoted any more.
    let left: Vec<(u32, String)> = of_group(shell.pid())
        .into_iter()
        .map(|pid| (pid, look::of(pid, "nice")))
        .filter(|(pid, nice)| nice != "0" && knob::identify(*pid).is_some())
        .collect();
    let after = snapshot(&[shell.pid()], &[]);
    shell.kill_group();
    assert_eq!(outcomes(&report), ["restored", "dropped", "restored", "restored"], "{report:?}");
    assert!(!group.path.exists());
    assert_eq!(left, []);
    assert_eq!(after, before);
}

#[test]
fn threads_go_back_each_to_its_own_cgroup() {
    needs_cgroup_v1!();
    let (home, other_home, group) = (Cgroup::create(CPU), Cgroup::create(CPU), Cgroup::name(CPU));
    let process = Process::with_threads(3);
    let threads = knob::threads(process.pid()).unwrap();
    home.write("tasks", &threads[1].tid.to_string());
    other_home.write("tasks", &threads[2].tid.to_string());
    let before = snapshot(&[process.pid()], &[]);
    let (mut journal, _dir) = journal();
    change(&mut journal, Kind::Context, None, &group.text(), "present");
    for thread in &threads {
        change(&mut journal, Kind::Membership, Some(*thread), CPU, &group.inner());
    }
    assert_eq!(group.read("tasks").lines().count(), threads.len());
    let report = journal.undo_all();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(snapshot(&[process.pid()], &[]), before);
    assert!(!group.path.exists());
}

#[test]
fn a_thread_that_somebody_else_moved_stays_where_it_is() {
    needs_cgroup_v1!();
    let (theirs, group) = (Cgroup::create(CPU), Cgroup::create(CPU));
    let process = Process::with_threads(3);
    let (mut journal, _dir) = journal();
    change(&mut journal, Kind::Membership, Some(process.task()), CPU, &group.inner());
    let moved = *look::threads(process.pid()).last().unwrap();
    theirs.write("tasks", &moved.to_string());
    assert_eq!(outcomes(&journal.undo_all()), ["restored"]);
    for tid in look::threads(process.pid()) {
        let expected = if tid == moved { theirs.inner() } else { "/".to_owned() };
        assert_eq!(look::cpu_cgroup(process.pid(), tid), expected, "{tid}");
    }
}

#[test]
fn contexts_of_the_v2_tree_come_empty_too() {
    const UNIFIED: &str = "/sys/fs/cgroup/unified";
    needs_cgroup_v1!();
    if !std::path::Path::new(UNIFIED).join("cgroup.procs").exists() {
        outrigger_skip::skip("no v2 tree beside v1");
        return;
    }
    let group = Cgroup::name(UNIFIED);
    let mut shell = Process::shell(FORKING);
    let frozen = Process::with_threads(1);
    let before = snapshot(&[shell.pid(), frozen.pid()], &[]);
    let (mut journal, _dir) = journal();
    change(&mut journal, Kind::Context, None, &group.text(), "present");
    for process in [&shell, &frozen] {
        change(&mut journal, Kind::Membership, Some(process.task()), UNIFIED, &group.inner());
    }
    change(&mut journal, Kind::File, None, &group.file("cgroup.freeze"), "1");
    let report = journal.undo_all();
    let after = snapshot(&[shell.pid(), frozen.pid()], &[]);
    shell.kill_group();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(after, before);
    assert!(!group.path.exists());
}

#[test]
fn a_cgroup_that_has_vanished_is_replaced_by_the_nearest_above_it() {
    needs_cgroup_v1!();
    let (outer, group) = (Cgroup::create(CPU), Cgroup::name(CPU));
    let inner = outer.path.join("inner");
    std::fs::create_dir(&inner).unwrap();
    let process = Process::asleep();
    std::fs::write(inner.join("cgroup.procs"), process.pid().to_string()).unwrap();
    let (mut journal, _dir) = journal();
    change(&mut journal, Kind::Context, None, &group.text(), "present");
    change(&mut journal, Kind::Membership, Some(process.task()), CPU, &group.inner());
    std::fs::remove_dir(&inner).unwrap();
    let report = journal.undo_all();
    assert_eq!(report.items[1].outcome, Outcome::Moved { to: outer.inner() });
    assert_eq!(look::cpu_cgroup(process.pid(), process.pid()), outer.inner());
    assert!(!group.path.exists());
}

#[test]
fn strangers_in_our_context_are_let_out_and_their_cgroups_within_it_go_with_it() {
    needs_cgroup_v1!();
    let group = Cgroup::name(CPU);
    let stranger = Process::asleep();
    let (mut journal, _dir) = journal();
    change(&mut journal, Kind::Context, None, &group.text(), "present");
    change(&mut journal, Kind::File, None, &group.file("cpu.shares"), "2");
    group.write("cgroup.procs", &stranger.pid().to_string());
    let theirs = group.path.join("theirs/innermost");
    std::fs::create_dir_all(&theirs).unwrap();
    let (home, member) = (Cgroup::create(CPU), Process::asleep());
    home.write("cgroup.procs", &member.pid().to_string());
    change(&mut journal, Kind::Membership, Some(member.task()), CPU, &group.inner());
    std::fs::write(theirs.join("cgroup.procs"), member.pid().to_string()).unwrap();
    let report = journal.undo_all();
    assert_eq!(outcomes(&report), ["restored", "dropped", "foreign"], "{report:?}");
    assert_eq!(look::cpu_cgroup(stranger.pid(), stranger.pid()), "/");
    assert_eq!(look::cpu_cgroup(member.pid(), member.pid()), home.inner());
    assert!(!group.path.exists());
}
