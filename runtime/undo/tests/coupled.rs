//! Knobs the kernel couples, or that several tasks share, go back all the same.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use outrigger_undo::{Kind, knob};
use support::cgroup::{CPU, Cgroup};
use support::change::{change, journal, operation, outcomes, why};
use support::child::{Process, signal};
use support::look::{self, snapshot};

#[test]
fn idle_takes_the_weight_along_and_both_go_back() {
    needs_cpu_idle!();
    let group = Cgroup::create(CPU);
    group.write("cpu.shares", "512");
    let before = snapshot(&[], &[&group.text()]);
    let (mut journal, _dir) = journal();
    change(&mut journal, Kind::File, None, &group.file("cpu.idle"), "1");
    assert_ne!(group.read("cpu.shares"), "512", "the kernel rewrites the weight");
    let report = journal.undo_all();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(snapshot(&[], &[&group.text()]), before);
}

#[test]
fn a_weight_whose_group_is_no_longer_idle_is_still_ours() {
    needs_cpu_idle!();
    let group = Cgroup::create(CPU);
    group.write("cpu.shares", "512");
    let before = snapshot(&[], &[&group.text()]);
    let (mut journal, _dir) = journal();
    change(&mut journal, Kind::File, None, &group.file("cpu.shares"), "10");
    change(&mut journal, Kind::File, None, &group.file("cpu.idle"), "1");
    let report = journal.undo(|entry| entry.operation.locator.ends_with("idle"));
    assert_eq!(outcomes(&report), ["restored"]);
    assert_eq!(outcomes(&journal.undo_all()), ["restored"]);
    assert_eq!(snapshot(&[], &[&group.text()]), before);
}

#[test]
fn a_weight_reset_by_a_restorer_that_died_in_between_is_still_ours() {
    needs_cpu_idle!();
    let group = Cgroup::create(CPU);
    group.write("cpu.shares", "512");
    let (mut journal, _dir) = journal();
    change(&mut journal, Kind::File, None, &group.file("cpu.shares"), "10");
    change(&mut journal, Kind::File, None, &group.file("cpu.idle"), "1");
    // It got this far, and could not say so.
    group.write("cpu.idle", "0");
    assert_eq!(group.read("cpu.shares"), "1024");
    assert_eq!(outcomes(&journal.undo_all()), ["restored", "unchanged"]);
    assert_eq!(group.read("cpu.shares"), "512");
}

#[test]
fn knobs_that_hang_together_go_back_in_an_order_the_kernel_takes() {
    needs_cgroup_v1!();
    let group = Cgroup::create(CPU);
    let before = snapshot(&[], &[&group.text()]);
    let (mut journal, _dir) = journal();
    // Turned in an order whose reverse the kernel refuses: burst may not exceed quota.
    group.write("cpu.cfs_quota_us", "50000");
    group.write("cpu.cfs_burst_us", "40000");
    let origin = snapshot(&[], &[&group.text()]);
    change(&mut journal, Kind::File, None, &group.file("cpu.cfs_burst_us"), "5000");
    change(&mut journal, Kind::File, None, &group.file("cpu.cfs_quota_us"), "10000");
    change(&mut journal, Kind::File, None, &group.file("cpu.cfs_quota_us"), "200000");
    let report = journal.undo_all();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(snapshot(&[], &[&group.text()]), origin);
    assert_ne!(origin, before);
}

#[test]
fn an_autogroup_goes_back_through_whoever_is_left_in_it() {
    needs_root!();
    let mut leader = Process::asleep_in_own_session();
    if !look::text(&format!("/proc/{}/autogroup", leader.pid())).contains("nice") {
        outrigger_skip::skip("no autogroups");
        return;
    }
    let (mut journal, dir) = journal();
    // One session: a shell and its child.
    leader.kill();
    let pid_file = dir.path().join("pid");
    let script = format!("sleep 600 & echo $! > {}; wait", pid_file.display());
    let mut shell =
        Process(std::process::Command::new("setsid").args(["sh", "-c", &script]).spawn().unwrap());
    let number = || std::fs::read_to_string(&pid_file).ok()?.trim().parse::<u32>().ok();
    support::await_that("the child runs", || number().is_some());
    let child = number().unwrap();
    let group = |pid: u32| look::text(&format!("/proc/{pid}/autogroup"));
    let before = group(child);
    assert_eq!(group(shell.pid()), before, "one session");
    change(&mut journal, Kind::Autogroup, Some(shell.task()), "", "9");
    let child_task = knob::identify(child).unwrap();
    change(&mut journal, Kind::Autogroup, Some(child_task), "", "12");
    assert_eq!(journal.outstanding().count(), 1, "one knob");
    shell.kill();
    let report = journal.undo_all();
    let after = group(child);
    signal(child, libc::SIGKILL);
    assert_eq!(outcomes(&report), ["restored"]);
    assert_eq!(after, before);
}

#[test]
fn a_change_of_idle_that_others_forestalled_leaves_nothing_in_doubt() {
    needs_cpu_idle!();
    let group = Cgroup::create(CPU);
    let (mut journal, _dir) = journal();
    let planned = operation(Kind::File, None, &group.file("cpu.idle"), "1");
    let journalled = journal.record(planned, &why("w")).unwrap();
    group.write("cpu.shares", "300");
    journal.withdraw(&journalled).unwrap();
    assert_eq!(journal.outstanding().count(), 0);
    journal.undo_all();
    assert_eq!(group.read("cpu.shares"), "300", "theirs");
}
