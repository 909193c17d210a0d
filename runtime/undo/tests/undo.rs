//! A living sidecar gives back what it changed: all of it, some of it, and not what others took.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use outrigger_undo::{Journal, JournalError, Kind, Outcome, Task, knob, restore};
use support::cgroup::{CPU, Cgroup};
use support::change::{change, change_for, journal, operation, outcomes, why};
use support::child::{Gate, Process};
use support::look::{self, snapshot};

#[test]
fn every_knob_of_every_thread_goes_back() {
    needs_root!();
    let process = Process::with_threads(3);
    let sleeper = Process::asleep_in_own_session();
    let pids = [process.pid(), sleeper.pid()];
    let before = snapshot(&pids, &[]);
    let (mut journal, _dir) = journal();
    for (number, thread) in knob::threads(process.pid()).unwrap().into_iter().enumerate() {
        let thread = Some(thread);
        change(&mut journal, Kind::Nice, thread, "", &(number + 5).to_string());
        change(&mut journal, Kind::SchedPolicy, thread, "", "batch");
        change(&mut journal, Kind::SchedPolicy, thread, "", "idle");
        change(&mut journal, Kind::Affinity, thread, "", "0");
        change(&mut journal, Kind::IoPriority, thread, "", "24576");
    }
    let task = Some(sleeper.task());
    change(&mut journal, Kind::OomScoreAdj, task, "", "700");
    change(&mut journal, Kind::Rlimit, task, "nofile", "64");
    if before[&format!("{} autogroup", sleeper.pid())].contains("nice") {
        change(&mut journal, Kind::Autogroup, task, "", "5");
    }
    assert_ne!(snapshot(&pids, &[]), before);
    let report = journal.undo_all();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(snapshot(&pids, &[]), before);
    assert_eq!(journal.outstanding().count(), 0);
    assert!(journal.finish().unwrap());
}

#[test]
fn a_knob_turned_twice_goes_back_to_what_was_there_first() {
    needs_root!();
    let process = Process::asleep();
    let (mut journal, _dir) = journal();
    for value in ["3", "9", "15"] {
        change(&mut journal, Kind::Nice, Some(process.thread()), "", value);
    }
    assert_eq!(journal.outstanding().count(), 1);
    assert_eq!(outcomes(&journal.undo_all()), ["restored"]);
    assert_eq!(look::of(process.pid(), "nice"), "0");
}

#[test]
fn only_the_selected_workload_goes_back() {
    needs_root!();
    let (one, other) = (Process::asleep(), Process::asleep());
    let (mut journal, _dir) = journal();
    change_for(&mut journal, "a", Kind::Nice, Some(one.thread()), "", "4");
    change_for(&mut journal, "b", Kind::Nice, Some(other.thread()), "", "4");
    let report = journal.undo(|entry| entry.why.workload == "a");
    assert_eq!(outcomes(&report), ["restored"]);
    assert_eq!(look::of(one.pid(), "nice"), "0");
    assert_eq!(look::of(other.pid(), "nice"), "4");
    assert_eq!(journal.outstanding().count(), 1);
}

#[test]
fn what_somebody_else_changed_stays_theirs() {
    needs_cgroup_v1!();
    let process = Process::asleep();
    let group = Cgroup::create(CPU);
    let (mut journal, _dir) = journal();
    change(&mut journal, Kind::Nice, Some(process.thread()), "", "4");
    change(&mut journal, Kind::File, None, &group.file("cpu.shares"), "7");
    change(&mut journal, Kind::File, None, &group.file("cpu.cfs_burst_us"), "0");
    // A person's renice, and a manager's weight.
    knob::write(Kind::Nice, Some(process.thread()), "", "6").unwrap();
    group.write("cpu.shares", "300");
    let report = journal.undo_all();
    assert_eq!(outcomes(&report), ["foreign", "foreign", "unchanged"]);
    assert_eq!(report.items[0].outcome, Outcome::Foreign { found: "6".to_owned() });
    assert!(report.is_clean());
    assert_eq!(look::of(process.pid(), "nice"), "6");
    assert_eq!(group.read("cpu.shares"), "300");
}

#[test]
fn the_dead_are_reported_as_gone_and_their_number_is_left_alone() {
    needs_root!();
    let mut process = Process::asleep();
    let (mut journal, _dir) = journal();
    change(&mut journal, Kind::Nice, Some(process.thread()), "", "4");
    process.kill();
    assert_eq!(outcomes(&journal.undo_all()), ["gone"]);
    // The number as somebody else's: same pid, another start time.
    let successor = Process::asleep();
    let task = successor.thread();
    knob::write(Kind::Nice, Some(task), "", "4").unwrap();
    let mut operation = operation(Kind::Nice, Some(task), "", "4");
    operation.task = Some(Task { start: task.start - 1, ..task });
    operation.before = "0".to_owned();
    let journalled = journal.record(operation, &why("w")).unwrap();
    journal.settle(&journalled, Ok("4")).unwrap();
    assert_eq!(outcomes(&journal.undo_all()), ["gone"]);
    assert_eq!(look::of(task.pid, "nice"), "4");
}

#[test]
fn a_write_that_failed_leaves_nothing_outstanding() {
    needs_cgroup_v1!();
    let process = Process::asleep();
    let (mut journal, _dir) = journal();
    let recorded =
        journal.record(operation(Kind::Nice, Some(process.thread()), "", "4"), &why("w")).unwrap();
    journal.settle(&recorded, Err("no privilege")).unwrap();
    // A directory that appeared in between is not ours to remove.
    let group = Cgroup::name(CPU);
    let recorded = journal
        .record(operation(Kind::Context, None, &group.text(), "present"), &why("w"))
        .unwrap();
    std::fs::create_dir(&group.path).unwrap();
    journal.settle(&recorded, Err("exists")).unwrap();
    assert_eq!(journal.outstanding().count(), 0);
    assert!(journal.undo_all().items.is_empty());
    assert!(group.path.exists());
}

#[test]
fn a_write_whose_answer_never_came_is_put_back() {
    needs_cgroup_v1!();
    let (process, group) = (Process::asleep(), Cgroup::create(CPU));
    let (mut journal, _dir) = journal();
    let thread = Some(process.thread());
    journal.record(operation(Kind::Nice, thread, "", "6"), &why("w")).unwrap();
    knob::write(Kind::Nice, thread, "", "6").unwrap();
    // The kernel makes 2 of 1, and nobody was told.
    let shares = group.file("cpu.shares");
    journal.record(operation(Kind::File, None, &shares, "1"), &why("w")).unwrap();
    knob::write(Kind::File, None, &shares, "1").unwrap();
    // Announced, and never written.
    journal.record(operation(Kind::OomScoreAdj, Some(process.task()), "", "9"), &why("w")).unwrap();
    assert_eq!(outcomes(&journal.undo_all()), ["restored", "restored", "unchanged"]);
    assert_eq!(look::of(process.pid(), "nice"), "0");
    assert_eq!(group.read("cpu.shares"), "1024");
}

#[test]
fn a_full_file_system_forbids_changes_and_leaves_a_readable_journal() {
    needs_root!();
    let temp = tempfile::tempdir().unwrap();
    let full = temp.path().join("full");
    std::fs::create_dir(&full).unwrap();
    // In a mount namespace of this thread only, which ends with it.
    // SAFETY: takes a flag; then zero-ended strings that outlive the calls.
    let mounted = unsafe {
        let path = std::ffi::CString::new(full.to_str().unwrap()).unwrap();
        let none = std::ptr::null();
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast())
                == 0
            && libc::mount(
                c"tmpfs".as_ptr(),
                path.as_ptr(),
                c"tmpfs".as_ptr(),
                0,
                c"size=16k,mode=700".as_ptr().cast(),
            ) == 0
    };
    if !mounted {
        outrigger_skip::skip("cannot mount in a namespace here");
        return;
    }
    let process = Process::asleep();
    let mut journal = Journal::create(&full).unwrap();
    assert!(journal.is_on_tmpfs());
    let mut values = (1..20).cycle().map(|value| value.to_string());
    let refused = loop {
        let planned = operation(Kind::Nice, Some(process.thread()), "", &values.next().unwrap());
        let after = planned.after.clone();
        match journal.record(planned, &why("w")) {
            Ok(journalled) => {
                let value = knob::write(Kind::Nice, Some(process.thread()), "", &after).unwrap();
                // The answer may be what does not fit any more.
                let _ = journal.settle(&journalled, Ok(&value));
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, JournalError::Io { .. }), "{refused}");
    assert!(std::fs::read(full.join("journal")).unwrap().ends_with(b"\n"), "no half line");
    drop(journal);
    assert!(restore(&full).unwrap().is_clean());
    assert_eq!(look::of(process.pid(), "nice"), "0");
}

#[test]
fn a_child_journalled_itself_goes_back_to_its_ancestors_origin() {
    needs_root!();
    let (mut journal, _dir) = journal();
    let gate = Gate::closed();
    let mut shell = Process::shell(&format!("{}; sleep 600 & wait", gate.pass()));
    change(&mut journal, Kind::Nice, Some(shell.thread()), "", "8");
    gate.open();
    let child = || {
        let asleep =
            |pid: &u32| look::text(&format!("/proc/{pid}/cmdline")).starts_with("sleep\x00600");
        support::of_group(shell.pid()).into_iter().find(asleep)
    };
    support::await_that("the child sleeps", || child().is_some());
    let child = child().unwrap();
    let task = Task { tid: child, ..knob::identify(child).unwrap() };
    change(&mut journal, Kind::Nice, Some(task), "", "15");
    let report = journal.undo_all();
    let nice = look::of(child, "nice");
    shell.kill_group();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(nice, "0");
}

#[test]
fn nothing_is_permitted_that_could_not_be_written_down() {
    needs_root!();
    let process = Process::asleep();
    let (mut journal, dir) = journal();
    let planned = operation(Kind::Nice, Some(process.thread()), "", "4");
    std::fs::remove_file(dir.path().join("journal")).unwrap();
    let error = journal.record(planned.clone(), &why("w")).unwrap_err();
    assert!(matches!(error, JournalError::Vanished(_)), "{error}");
    assert_eq!(journal.outstanding().count(), 0);
    let mut senseless = planned;
    senseless.task = None;
    assert!(matches!(journal.record(senseless, &why("w")), Err(JournalError::Nonsense(_))));
}

#[test]
fn one_directory_has_one_owner_and_strangers_no_access() {
    let (mut journal, dir) = journal();
    assert!(matches!(Journal::create(dir.path()), Err(JournalError::InUse { .. })));
    assert!(journal.finish().unwrap());
    assert_eq!(restore(dir.path()).unwrap().items, []);
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(Journal::create(dir.path()), Err(JournalError::NotPrivate(_))));
    assert!(matches!(restore(dir.path()), Err(JournalError::NotPrivate(_))));
}

#[test]
fn a_long_life_does_not_make_a_long_file() {
    needs_root!();
    let process = Process::asleep();
    let (mut journal, dir) = journal();
    for round in 0..4000 {
        change(&mut journal, Kind::Nice, Some(process.thread()), "", &(1 + round % 19).to_string());
    }
    let bytes = std::fs::metadata(dir.path().join("journal")).unwrap().len();
    assert!(bytes < 2_000_000, "{bytes}");
    assert_eq!(outcomes(&journal.undo_all()), ["restored"]);
    assert_eq!(look::of(process.pid(), "nice"), "0");
}
