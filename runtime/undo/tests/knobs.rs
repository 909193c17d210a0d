//! Every knob is read, written, read back and seen by the kernel, on real tasks and cgroups.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use outrigger_undo::knob::{self, KnobErrorCode};
use outrigger_undo::{Kind, Task};
use support::cgroup::{CPU, Cgroup};
use support::child::Process;
use support::look;

/// Writes a value, has it seen by `seen`, and writes back what was there.
fn there_and_back(
    kind: Kind,
    task: Option<Task>,
    locator: &str,
    value: &str,
    seen: impl Fn() -> String,
) {
    let (before, before_seen) = (knob::read(kind, task, locator).unwrap(), seen());
    assert_eq!(knob::write(kind, task, locator, value).unwrap(), value, "{kind:?}");
    assert_eq!(knob::read(kind, task, locator).unwrap(), value, "{kind:?}");
    assert_ne!(seen(), before_seen, "{kind:?} {locator} {value}: the kernel saw nothing");
    assert_eq!(knob::write(kind, task, locator, &before).unwrap(), before, "{kind:?}");
    assert_eq!(seen(), before_seen, "{kind:?} {locator}: not as it was");
}

fn code(answer: Result<String, knob::KnobError>) -> KnobErrorCode {
    answer.unwrap_err().code()
}

#[test]
fn knobs_of_a_thread() {
    needs_root!();
    let process = Process::with_threads(2);
    let pid = process.pid();
    let thread = *knob::threads(pid).unwrap().last().unwrap();
    let seen = |name: &'static str| {
        move || {
            look::thread(pid, thread.tid).into_iter().find(|(found, _)| *found == name).unwrap().1
        }
    };
    for (kind, value, name) in [
        (Kind::Nice, "7", "nice"),
        (Kind::Nice, "-3", "nice"),
        (Kind::SchedPolicy, "batch", "policy"),
        (Kind::SchedPolicy, "idle", "policy"),
        (Kind::SchedPolicy, "idle+reset", "policy"),
        (Kind::SchedPolicy, "other+reset", "policy"),
        (Kind::IoPriority, "24576", "ioprio"),
    ] {
        there_and_back(kind, Some(thread), "", value, seen(name));
    }
    assert_eq!(look::of(pid, "nice"), "0", "only the thread was meant");
    let all = knob::read(Kind::Affinity, Some(thread), "").unwrap();
    if all.contains(['-', ',']) {
        there_and_back(Kind::Affinity, Some(thread), "", "0", seen("affinity"));
    } else {
        outrigger_skip::skip("affinity: one CPU");
    }
    for (kind, value) in [
        (Kind::Nice, "20"),
        (Kind::Nice, "x"),
        (Kind::SchedPolicy, "fifo:0"),
        (Kind::SchedPolicy, "deadline"),
        (Kind::Affinity, ""),
        (Kind::Affinity, "8191"),
        (Kind::IoPriority, "-1"),
    ] {
        assert_eq!(
            code(knob::write(kind, Some(thread), "", value)),
            KnobErrorCode::Range,
            "{kind:?} {value}"
        );
    }
}

#[test]
fn real_time_policies_are_read_and_written_with_their_priority() {
    needs_root!();
    let process = Process::asleep();
    let (pid, thread) = (process.pid(), process.thread());
    match knob::write(Kind::SchedPolicy, Some(thread), "", "rr:3+reset") {
        Ok(value) => {
            assert_eq!(value, "rr:3+reset");
            assert_eq!(look::of(pid, "priority"), "3");
        }
        // A cgroup without real-time budget refuses.
        Err(error) => assert_eq!(error.code(), KnobErrorCode::Privilege, "{error}"),
    }
}

#[test]
fn knobs_of_a_process() {
    needs_root!();
    let process = Process::asleep_in_own_session();
    let (pid, task) = (process.pid(), Some(process.task()));
    let seen = |name: &'static str| move || look::text(&format!("/proc/{pid}/{name}"));
    there_and_back(Kind::OomScoreAdj, task, "", "500", seen("oom_score_adj"));
    there_and_back(Kind::Rlimit, task, "nofile", "100", seen("limits"));
    there_and_back(Kind::Rlimit, task, "cpu", "1000", seen("limits"));
    if look::text(&format!("/proc/{pid}/autogroup")).contains("nice") {
        there_and_back(Kind::Autogroup, task, "", "9", seen("autogroup"));
    } else {
        outrigger_skip::skip("autogroup: off");
    }
    assert_eq!(
        code(knob::write(Kind::Rlimit, task, "nofile", "99999999999")),
        KnobErrorCode::Range
    );
    assert_eq!(code(knob::write(Kind::Rlimit, task, "files", "1")), KnobErrorCode::Refused);
    assert_eq!(code(knob::write(Kind::OomScoreAdj, task, "", "1001")), KnobErrorCode::Range);
    let hard = look::text(&format!("/proc/{pid}/limits"));
    knob::write(Kind::Rlimit, task, "core", "0").unwrap();
    let hard_of = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("Max core")).unwrap().to_owned();
        line.split_whitespace().nth(5).unwrap().to_owned()
    };
    assert_eq!(hard_of(&look::text(&format!("/proc/{pid}/limits"))), hard_of(&hard));
}

#[test]
fn identity_is_number_and_start_time() {
    needs_root!();
    let mut process = Process::asleep();
    let task = process.task();
    let other = Task { start: task.start + 1, ..task };
    assert_eq!(code(knob::write(Kind::Nice, Some(other), "", "5")), KnobErrorCode::Gone);
    assert_eq!(look::of(task.pid, "nice"), "0");
    assert_eq!(code(knob::read(Kind::Nice, Some(other), "")), KnobErrorCode::Gone);
    // Ended but not reaped is gone, too.
    process.0.kill().unwrap();
    support::await_that("the process ended", || knob::identify(task.pid).is_none());
    assert_eq!(code(knob::write(Kind::Nice, Some(task), "", "5")), KnobErrorCode::Gone);
    process.kill();
    for kind in [Kind::Nice, Kind::SchedPolicy, Kind::Affinity, Kind::IoPriority, Kind::OomScoreAdj]
    {
        assert_eq!(code(knob::read(kind, Some(task), "")), KnobErrorCode::Gone, "{kind:?}");
    }
    assert_eq!(code(knob::read(Kind::Rlimit, Some(task), "core")), KnobErrorCode::Gone);
}

#[test]
fn process_1_kernel_threads_and_nobody_are_refused() {
    let init = knob::identify(1).unwrap();
    assert_eq!(code(knob::write(Kind::Nice, Some(init), "", "0")), KnobErrorCode::Refused);
    assert_eq!(code(knob::write(Kind::Nice, None, "", "0")), KnobErrorCode::Refused);
    // kthreadd; not visible in every container.
    if let Some(kernel) = knob::stat(2, 0).filter(|stat| stat.kernel) {
        let task = Task { pid: 2, tid: 0, start: kernel.start };
        assert_eq!(code(knob::write(Kind::Nice, Some(task), "", "0")), KnobErrorCode::Refused);
    }
}

#[test]
fn knobs_of_a_cgroup() {
    needs_cgroup_v1!();
    let cgroup = Cgroup::name(CPU);
    let place = cgroup.text();
    assert_eq!(knob::read(Kind::Context, None, &place).unwrap(), "absent");
    assert_eq!(knob::write(Kind::Context, None, &place, "present").unwrap(), "present");
    assert!(cgroup.path.is_dir());
    assert_eq!(code(knob::write(Kind::Context, None, &place, "present")), KnobErrorCode::Exists);

    let shares = cgroup.file("cpu.shares");
    assert_eq!(knob::read(Kind::File, None, &shares).unwrap(), "1024");
    assert_eq!(knob::write(Kind::File, None, &shares, "1").unwrap(), "2", "the kernel's least");
    assert_eq!(cgroup.read("cpu.shares"), "2");
    let burst = cgroup.file("cpu.cfs_burst_us");
    knob::write(Kind::File, None, &cgroup.file("cpu.cfs_quota_us"), "10000").unwrap();
    assert_eq!(code(knob::write(Kind::File, None, &burst, "20000")), KnobErrorCode::Range);
    assert_eq!(
        code(knob::read(Kind::File, None, &cgroup.file("cpu.max"))),
        KnobErrorCode::NotSupported
    );

    let process = Process::with_threads(2);
    let thread = *knob::threads(process.pid()).unwrap().last().unwrap();
    assert_eq!(knob::read(Kind::Membership, Some(thread), CPU).unwrap(), "/");
    assert_eq!(
        knob::write(Kind::Membership, Some(thread), CPU, &cgroup.inner()).unwrap(),
        cgroup.inner()
    );
    assert_eq!(look::cpu_cgroup(process.pid(), thread.tid), cgroup.inner());
    assert_eq!(look::cpu_cgroup(process.pid(), process.pid()), "/");
    let whole = Some(process.task());
    assert_eq!(knob::write(Kind::Membership, whole, CPU, &cgroup.inner()).unwrap(), cgroup.inner());
    assert_eq!(look::cpu_cgroup(process.pid(), process.pid()), cgroup.inner());

    assert_eq!(code(knob::write(Kind::Context, None, &place, "absent")), KnobErrorCode::Os);
    assert_eq!(knob::write(Kind::Membership, whole, CPU, "/").unwrap(), "/");
    assert_eq!(knob::write(Kind::Context, None, &place, "absent").unwrap(), "absent");
    assert_eq!(knob::write(Kind::Context, None, &place, "absent").unwrap(), "absent", "again");
    assert!(!cgroup.path.exists());
    assert_eq!(code(knob::read(Kind::File, None, &shares)), KnobErrorCode::Gone);
    assert_eq!(
        code(knob::write(Kind::Membership, whole, CPU, &cgroup.inner())),
        KnobErrorCode::Gone
    );
}

#[test]
fn places_outside_cgroups_are_refused() {
    needs_cgroup_v1!();
    let process = Process::asleep();
    let task = Some(process.task());
    for place in [
        "/tmp/x",
        "/sys/fs/cgroup/x",
        "relative",
        "/",
        "/sys/fs/cgroup/cpu/../cpu/x",
        "/sys/fs/cgroup/cpu/x/",
    ] {
        assert_eq!(
            code(knob::write(Kind::Context, None, place, "present")),
            KnobErrorCode::Refused,
            "{place}"
        );
    }
    for (mount, path) in [("/tmp", "/"), (CPU, "x"), (CPU, "/../x"), ("/sys/fs/cgroup", "/")] {
        let answer = knob::write(Kind::Membership, task, mount, path);
        assert_eq!(code(answer), KnobErrorCode::Refused, "{mount} {path}");
    }
    let temp = tempfile::tempdir().unwrap();
    let link = temp.path().join("cpu");
    std::os::unix::fs::symlink(CPU, &link).unwrap();
    let place = link.join("cpu.shares");
    assert_eq!(code(knob::read(Kind::File, None, place.to_str().unwrap())), KnobErrorCode::Refused);
}
