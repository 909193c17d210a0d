//! What is written, to real processes on the real kernel, read back from a second source.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use outrigger_sdk::{
    Backend as _, Capability, Desired, Error, ErrorCode, Kind, Operation, Setting, Task, TaskId,
    TaskIdExt as _, undo::knob,
};
use std::io::BufRead as _;
use std::path::PathBuf;
use std::time::Duration;
use support::pen::{Pen, Refusals};
use support::{PATIENCE, Victim, backend, policy, role, stat_field, thread_field};

/// What this program does when a test starts it again; nothing otherwise.
#[test]
fn child() {
    let Some(role) = role() else { return };
    let sleeper = || std::thread::spawn(|| std::thread::sleep(PATIENCE * 100));
    match role.as_str() {
        "idle" => println!("\nready"),
        "breeder" => {
            (0..3).for_each(|_| drop(sleeper()));
            println!("\nready");
            for _ in std::io::stdin().lock().lines() {
                (0..5).for_each(|_| drop(sleeper()));
                println!("\nbred");
            }
        }
        "hydra" => {
            // Each thread is born of the last one, which then ends.
            fn next() {
                std::thread::sleep(Duration::from_millis(2));
                std::thread::spawn(next);
            }
            next();
            println!("\nready");
        }
        "mixed" => {
            std::thread::spawn(move || {
                println!(
                    "\n{}",
                    if policy(libc::SCHED_FIFO, 1) { "ready" } else { "denied\nready" }
                );
                std::thread::sleep(PATIENCE * 100);
            });
        }
        "nobody" => as_nobody(),
        other => panic!("no role {other}"),
    }
    for _ in std::io::stdin().lock().lines() {}
    std::process::exit(0);
}

fn nice(pid: u32) -> i64 {
    thread_field(pid, pid, 19).unwrap()
}

#[test]
fn every_level_is_written_and_read_back() {
    if !outrigger_skip::root() {
        return;
    }
    let mut pen = Pen::new("");
    let victim = Victim::role("idle");
    for (level, expected) in [(3, 10), (4, 19), (2, 0), (1, -10), (0, -20)] {
        let set = Setting::number(Capability::PRIORITY, level);
        let (made, refused) = pen.apply(victim.id(), [set.clone()]);
        assert_eq!(refused, []);
        assert!(made.iter().all(|value| *value == expected.to_string()), "{made:?}");
        assert_eq!(nice(victim.pid()), expected);
        assert_eq!(pen.apply(victim.id(), [set]).0, Vec::<String>::new(), "it is so already");
    }
}

#[test]
fn threads_born_between_reading_and_writing_are_found_by_the_next_round() {
    let mut pen = Pen::new("");
    let mut victim = Victim::role("breeder");
    let desired = Desired::task(victim.id(), [Setting::number(Capability::PRIORITY, 3)]);
    let prepared = pen.prepare(&desired).unwrap().0;
    assert!(prepared.len() >= 4, "one operation for each thread: {prepared:?}");
    victim.say("breed");
    victim.hear("bred");
    for operation in &prepared {
        pen.commit(operation).unwrap();
    }
    let born = pen.prepare(&desired).unwrap().0;
    assert_eq!(born.len(), 5, "born of a thread that was not changed yet");
    for operation in &born {
        pen.commit(operation).unwrap();
    }
    assert_eq!(pen.prepare(&desired).unwrap().0, []);
    victim.say("breed");
    victim.hear("bred");
    let threads = victim.threads();
    assert!(threads.len() >= 14);
    for tid in threads {
        assert_eq!(thread_field(victim.pid(), tid, 19), Some(10), "thread {tid}");
    }
}

#[test]
fn a_process_whose_threads_come_and_go_is_caught_up_with() {
    let mut pen = Pen::new("");
    let victim = Victim::role("hydra");
    // To a fixpoint: a round that finds nothing.
    let set = || [Setting::number(Capability::PRIORITY, 4)];
    let rounds = (1..500).find(|_| pen.apply(victim.id(), set()).0.is_empty());
    assert!(rounds.is_some(), "never caught up");
    for tid in victim.threads() {
        assert!(matches!(thread_field(victim.pid(), tid, 19), None | Some(19)), "thread {tid}");
    }
}

#[test]
fn a_single_thread_is_changed_alone() {
    let mut pen = Pen::new("");
    let victim = Victim::role("breeder");
    let pid = victim.pid();
    let tid = *victim.threads().last().unwrap();
    let one = TaskId { pid, tid, start: thread_field(pid, tid, 22).unwrap() as u64 };
    pen.apply(one, [Setting::number(Capability::PRIORITY, 3)]);
    for other in victim.threads() {
        let expected = if other == tid { 10 } else { 0 };
        assert_eq!(thread_field(pid, other, 19), Some(expected));
    }
    let whole = [Setting::number(Capability::OOM_SCORE_ADJ, 5)];
    assert_eq!(pen.apply(one, whole).1, [(Capability::OOM_SCORE_ADJ, ErrorCode::NOT_SUPPORTED)]);
}

#[test]
fn classes_go_there_and_back_and_keep_the_nice_value() {
    if !outrigger_skip::root() {
        return;
    }
    let mut pen = Pen::new("");
    let victim = Victim::role("idle");
    let class = |class| Setting::number(Capability::SCHED_CLASS, class);
    pen.apply(victim.id(), [Setting::number(Capability::PRIORITY, 3)]);
    for (wanted, policy) in [(1, libc::SCHED_BATCH), (2, libc::SCHED_IDLE), (0, libc::SCHED_OTHER)]
    {
        assert_eq!(pen.apply(victim.id(), [class(wanted)]).1, []);
        assert_eq!(stat_field(victim.pid(), 41), policy as u64);
        assert_eq!(nice(victim.pid()), 10);
    }
}

#[test]
fn a_real_time_thread_is_refused_and_the_others_are_not() {
    let mut pen = Pen::new("");
    let victim = Victim::role("mixed");
    let pid = victim.pid();
    let fifo = |tid: &u32| thread_field(pid, *tid, 41) == Some(i64::from(libc::SCHED_FIFO));
    if !victim.threads().iter().any(fifo) {
        return outrigger_skip::skip("no real-time thread can be made here");
    }
    for (knob, value) in [(Capability::SCHED_CLASS, 1), (Capability::PRIORITY, 3)] {
        let (made, refused) = pen.apply(victim.id(), [Setting::number(knob, value)]);
        assert!(!made.is_empty());
        assert_eq!(refused, [(knob, ErrorCode::NOT_SUPPORTED)]);
    }
    let real_time = victim.threads().into_iter().find(fifo).unwrap();
    assert_eq!(thread_field(pid, real_time, 40), Some(1), "as it was");
    assert_eq!(thread_field(pid, pid, 41), Some(i64::from(libc::SCHED_BATCH)));
}

#[test]
fn the_knobs_of_a_process_go_there_and_back() {
    if !outrigger_skip::root() {
        return;
    }
    let mut pen = Pen::new("");
    let victim = Victim::role("idle");
    let pid = victim.pid();
    let file = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
    let line = |name: &str, start: &str| {
        let text = file(name);
        text.lines().find(|line| line.starts_with(start)).unwrap().to_owned()
    };
    let limit = |value| Setting { value, ..Setting::text(Capability::RLIMIT, "nofile") };
    let best_effort = |level: i64| (2 << 13) + level;

    let settings = [
        Setting::number(Capability::OOM_SCORE_ADJ, 500),
        limit(77),
        Setting::text(Capability::AFFINITY, "0"),
        Setting::number(Capability::IO_PRIORITY, best_effort(7)),
    ];
    let (_, refused) = pen.apply(victim.id(), settings.clone());
    assert_eq!(refused, []);
    assert_eq!(file("oom_score_adj"), "500\n");
    assert!(line("limits", "Max open files").split_whitespace().nth(3) == Some("77"));
    assert!(line("status", "Cpus_allowed_list:").ends_with("\t0"));
    // SAFETY: takes two integers.
    let priority = || unsafe { libc::syscall(libc::SYS_ioprio_get, 1, pid) };
    assert_eq!(priority(), best_effort(7));
    assert_eq!(pen.apply(victim.id(), settings).0, Vec::<String>::new());

    pen.undo();
    assert_eq!(file("oom_score_adj"), "0\n");
    assert!(line("limits", "Max open files").split_whitespace().nth(3) != Some("77"));
}

#[test]
fn a_limit_above_the_hard_one_is_out_of_range() {
    let mut pen = Pen::new("");
    let victim = Victim::role("idle");
    let soft = Setting { value: i64::MAX, ..Setting::text(Capability::RLIMIT, "nofile") };
    let desired = Desired::task(victim.id(), [soft]);
    let operations = pen.prepare(&desired).unwrap().0;
    assert_eq!(pen.commit(&operations[0]).unwrap_err().code, ErrorCode::RANGE);
}

#[test]
fn the_autogroup_of_a_session_is_changed_in_one_go() {
    if !outrigger_skip::root() {
        return;
    }
    let mut pen = Pen::new("");
    let victim = Victim::session("read line");
    let set = |nice| [Setting::number(Capability::AUTOGROUP, nice)];
    let on = std::fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled");
    if !on.is_ok_and(|on| on.trim() == "1") {
        let (_, refused) = pen.apply(victim.id(), set(7));
        assert_eq!(refused, [(Capability::AUTOGROUP, ErrorCode::NOT_SUPPORTED)]);
        return outrigger_skip::skip("no autogroups here");
    }
    let value = || std::fs::read_to_string(format!("/proc/{}/autogroup", victim.pid())).unwrap();
    for nice in [7, -3, 0] {
        assert_eq!(pen.apply(victim.id(), set(nice)).1, []);
        assert!(value().trim().ends_with(&format!("nice {nice}")), "{}", value());
    }
}

#[test]
fn who_is_gone_is_gone_and_so_is_a_former_owner_of_the_number() {
    let mut pen = Pen::new("");
    let mut victim = Victim::role("idle");
    let id = victim.id();
    let former = TaskId { start: id.start - 1, ..id };
    let set = || [Setting::number(Capability::PRIORITY, 3)];
    assert_eq!(pen.prepare(&Desired::task(former, set())).unwrap_err().code, ErrorCode::GONE);
    let prepared = pen.prepare(&Desired::task(id, set())).unwrap().0;
    assert!(!prepared.is_empty());
    assert_eq!(nice(victim.pid()), 0, "prepare writes nothing");
    victim.kill();
    victim.reap();
    assert_eq!(pen.commit(&prepared[0]).unwrap_err().code, ErrorCode::GONE);
    assert_eq!(pen.prepare(&Desired::task(id, set())).unwrap_err().code, ErrorCode::GONE);
}

#[test]
fn somebody_elses_change_in_between_stays() {
    let mut pen = Pen::new("");
    let victim = Victim::role("idle");
    let set = [Setting::number(Capability::PRIORITY, 3)];
    let prepared = pen.prepare(&Desired::task(victim.id(), set)).unwrap().0;
    // SAFETY: takes three integers.
    assert_eq!(unsafe { libc::setpriority(libc::PRIO_PROCESS, victim.pid(), 3) }, 0);
    let main = prepared.iter().find(|o| o.task.unwrap().tid == victim.pid()).unwrap();
    assert_eq!(pen.commit(main).unwrap_err().code, ErrorCode::FOREIGN);
    assert_eq!(nice(victim.pid()), 3);
}

#[test]
fn operations_that_are_not_ours_are_not_written() {
    let mut pen = Pen::new("");
    let victim = Victim::role("idle");
    let task = Some(Task { tid: victim.pid(), ..victim.id().to_task() });
    let made_up = |kind: Kind, locator: &str, before: &str, after: &str| Operation {
        kind,
        task: task.filter(|_| kind != Kind::File),
        locator: locator.into(),
        before: before.into(),
        after: after.into(),
    };
    let file = made_up(Kind::File, "/sys/fs/cgroup/cpu/cpu.shares", "1024", "2");
    let real_time = made_up(Kind::SchedPolicy, "", "other", "fifo:50");
    for operation in [file, real_time] {
        let error = pen.commit(&operation).unwrap_err();
        assert_eq!(error.code, ErrorCode::NOT_SUPPORTED, "{error}");
    }
    assert_eq!(stat_field(victim.pid(), 41), libc::SCHED_OTHER as u64);
}

#[test]
fn process_1_and_kernel_threads_are_left_alone() {
    let mut pen = Pen::new("");
    for pid in [1, 2] {
        let Some(task) = knob::identify(pid) else { continue };
        let set = [Setting::number(Capability::PRIORITY, 3)];
        let error = pen.prepare(&Desired::task(TaskId::from_task(task), set)).unwrap_err();
        assert_eq!(error.code, ErrorCode::NOT_DELEGATED, "{error}");
    }
}

#[test]
fn one_knob_that_fails_does_not_hide_the_others() {
    let mut pen = Pen::new("");
    let victim = Victim::role("idle");
    let settings = [
        Setting::number(Capability::PRIORITY, 9),
        Setting::number(Capability::CPU_WEIGHT, 100),
        Setting::number(Capability::SCHED_CLASS, 1),
    ];
    let (made, refused) = pen.apply(victim.id(), settings);
    assert!(made.iter().all(|value| value == "batch") && !made.is_empty());
    let expected = [
        (Capability::PRIORITY, ErrorCode::RANGE),
        (Capability::CPU_WEIGHT, ErrorCode::NOT_SUPPORTED),
    ];
    assert_eq!(refused, expected);
}

#[test]
fn cpus_that_the_cpuset_takes_away_are_not_asked_for_again() {
    let Some(group) = Cpuset::new() else { return };
    let mut pen = Pen::new("");
    let victim = Victim::role("idle");
    std::fs::write(group.0.join("cgroup.procs"), victim.pid().to_string()).unwrap();
    let set = || [Setting::text(Capability::AFFINITY, "0-1")];
    let (made, _) = pen.apply(victim.id(), set());
    assert!(!made.is_empty() && made.iter().all(|cpus| cpus == "0"), "{made:?}");
    assert_eq!(pen.apply(victim.id(), set()).0, Vec::<String>::new());
}

#[test]
fn without_privileges_what_cannot_be_turned_back_is_refused() {
    if outrigger_skip::root() {
        let mut victim = Victim::role("nobody");
        victim.say("end");
    }
}

/// Runs in a child that gave up its privileges; a failed assertion is seen by the parent as a
/// child that never said `ready`.
fn as_nobody() {
    // SAFETY: takes integers; the C library applies it to every thread.
    unsafe {
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setresgid(65534, 65534, 65534), 0);
        assert_eq!(libc::setresuid(65534, 65534, 65534), 0);
    }
    let mut victim = Victim::shell("echo ready; read line");
    victim.hear("ready");
    let id = victim.id();
    let priority = || [Setting::number(Capability::PRIORITY, 3)];
    let class = |class| [Setting::number(Capability::SCHED_CLASS, class)];
    let denied = |knob| vec![(knob, ErrorCode::PRIVILEGE)];

    let mut pen = Pen::new("");
    let reason = pen.refusal(id, priority()).message.to_string();
    assert!(reason.starts_with("one-way:"), "{reason}");
    assert_eq!(pen.apply(id, class(2)).1, denied(Capability::SCHED_CLASS));
    assert_eq!(
        pen.apply(id, [Setting::number(Capability::PRIORITY, 1)]).1,
        denied(Capability::PRIORITY)
    );
    assert_eq!(pen.apply(parent(), priority()).1, denied(Capability::PRIORITY));
    assert_eq!(nice(id.pid), 0);

    // What can be turned back is turned.
    for class_and_back in [1, 0] {
        assert_eq!(pen.apply(id, class(class_and_back)).1, Refusals::new());
    }
    for score in [500, 0] {
        let set = [Setting::number(Capability::OOM_SCORE_ADJ, score)];
        assert_eq!(pen.apply(id, set), (vec![score.to_string()], Refusals::new()));
    }
    let below = [Setting::number(Capability::OOM_SCORE_ADJ, -1)];
    assert_eq!(pen.apply(id, below).1, denied(Capability::OOM_SCORE_ADJ));

    // The refusal was no invention: allowed to, it goes one way and not the other.
    let mut pen = Pen::new(r#"{"allow_irreversible":true}"#);
    assert_eq!(pen.apply(id, priority()), (vec!["10".into()], Refusals::new()));
    let back = [Setting::number(Capability::PRIORITY, 2)];
    assert_eq!(pen.apply(id, back).1, denied(Capability::PRIORITY));
    let thread = Task { tid: id.pid, ..id.to_task() };
    assert!(knob::write(Kind::Nice, Some(thread), "", "0").is_err());

    let reports = backend("").probe().unwrap();
    let told = reports.iter().find(|report| report.capability == Capability::PRIORITY).unwrap();
    assert!(told.reason.starts_with("one-way"));
    println!("\nready");
}

fn parent() -> TaskId {
    TaskId::from_task(knob::identify(std::os::unix::process::parent_id()).unwrap())
}

impl Pen {
    /// The one reason for which the first setting is refused.
    fn refusal(&mut self, task: TaskId, settings: impl IntoIterator<Item = Setting>) -> Error {
        let (operations, mut refused) = self.prepare(&Desired::task(task, settings)).unwrap();
        assert_eq!(operations, []);
        refused.remove(0).error
    }
}

/// A child of the version 1 `cpuset` hierarchy with CPU 0 only, emptied and removed at the end.
struct Cpuset(PathBuf);

impl Cpuset {
    fn new() -> Option<Self> {
        let name = format!("/sys/fs/cgroup/cpuset/outrigger-test-{}-set", std::process::id());
        // SAFETY: takes a number, answers a number.
        if unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) } < 2 {
            outrigger_skip::skip("needs two CPUs");
            return None;
        }
        if let Err(error) = std::fs::create_dir(&name) {
            outrigger_skip::skip(&format!("cannot make {name}: {error}"));
            return None;
        }
        let group = Self(name.into());
        for (file, value) in [("cpuset.cpus", "0"), ("cpuset.mems", "0")] {
            std::fs::write(group.0.join(file), value).unwrap();
        }
        Some(group)
    }
}

impl Drop for Cpuset {
    fn drop(&mut self) {
        for pid in std::fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines()
        {
            let _ = std::fs::write("/sys/fs/cgroup/cpuset/cgroup.procs", pid);
        }
        let _ = std::fs::remove_dir(&self.0);
    }
}
