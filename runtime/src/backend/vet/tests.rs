#![allow(clippy::unwrap_used)]
use super::*;
use outrigger_sdk::undo::Task;
use outrigger_sdk::{Setting, TaskId};

const ASKED: TaskId = TaskId { pid: 700, tid: 0, start: 5000 };

fn mounts() -> Vec<PathBuf> {
    vec!["/sys/fs/cgroup/cpu".into(), "/sys/fs/cgroup/unified".into()]
}

fn task(pid: u32, tid: u32, start: u64) -> Option<Task> {
    Some(Task { pid, tid, start })
}

fn operation(kind: Kind, task: Option<Task>, locator: &str, values: (&str, &str)) -> Operation {
    Operation {
        kind,
        task,
        locator: locator.into(),
        before: values.0.into(),
        after: values.1.into(),
    }
}

fn verdict(desired: &Desired, knob: Capability, operation: Operation) -> Result<(), String> {
    answer(desired, &[PreparedOperation::ready(knob, operation)], &mounts()).map_err(|error| {
        assert_eq!(error.code, ErrorCode::NONSENSE);
        error.message.to_string()
    })
}

fn priority() -> Desired {
    Desired::task(ASKED, [Setting::number(Capability::PRIORITY, 3)])
}

fn nice(task: Option<Task>, after: &str) -> Operation {
    operation(Kind::Nice, task, "", ("0", after))
}

#[test]
fn a_task_knob_on_the_task_and_its_threads_passes() {
    for task in [task(700, 0, 5000), task(700, 700, 5000), task(700, 701, 6000)] {
        assert_eq!(verdict(&priority(), Capability::PRIORITY, nice(task, "10")), Ok(()));
    }
}

#[test]
fn another_task_another_start_or_init_is_nonsense() {
    let wrong = [
        (task(701, 0, 5000), "not asked about"),
        (task(700, 0, 5001), "not asked about"),
        (task(700, 700, 5001), "not asked about"),
        (task(1, 0, 5000), "nobody may touch"),
        (task(0, 0, 5000), "nobody may touch"),
        (task(700, 701, 0), "without its start time"),
        (None, "without a task"),
    ];
    for (task, expected) in wrong {
        let refusal = verdict(&priority(), Capability::PRIORITY, nice(task, "10")).unwrap_err();
        assert!(refusal.contains(expected), "{task:?}: {refusal}");
    }
    let thread = Desired::task(
        TaskId { pid: 700, tid: 701, start: 6000 },
        [Setting::number(Capability::PRIORITY, 3)],
    );
    assert_eq!(verdict(&thread, Capability::PRIORITY, nice(task(700, 701, 6000), "1")), Ok(()));
    assert!(verdict(&thread, Capability::PRIORITY, nice(task(700, 702, 6000), "1")).is_err());
}

#[test]
fn a_kind_outside_the_knobs_family_is_nonsense() {
    let file = operation(Kind::File, None, "/sys/fs/cgroup/cpu/a/cpu.shares", ("1024", "2"));
    let refusal = verdict(&priority(), Capability::PRIORITY, file).unwrap_err();
    assert!(refusal.contains("no way to turn that knob"), "{refusal}");
    let unasked = verdict(&priority(), Capability::CPU_WEIGHT, nice(task(700, 0, 5000), "1"));
    assert!(unasked.unwrap_err().contains("cpu.weight, which was not asked"));
}

#[test]
fn values_that_cannot_be_are_nonsense() {
    let of = |kind, knob, locator: &str, after: &str| {
        let desired = Desired::task(ASKED, [Setting::number(knob, 0)]);
        let before = match kind {
            Kind::SchedPolicy => "other",
            Kind::Affinity => "0-3",
            _ => "0",
        };
        verdict(&desired, knob, operation(kind, task(700, 0, 5000), locator, (before, after)))
    };
    for (good, bad) in [("-20", "-21"), ("19", "20"), ("0", ""), ("5", "5 "), ("1", "0x1")] {
        assert_eq!(of(Kind::Nice, Capability::PRIORITY, "", good), Ok(()));
        assert!(of(Kind::Nice, Capability::PRIORITY, "", bad).is_err(), "{bad:?}");
    }
    let policy = |text| of(Kind::SchedPolicy, Capability::SCHED_CLASS, "", text);
    for good in ["other", "batch", "idle", "idle+reset", "fifo:1", "rr:99+reset"] {
        assert_eq!(policy(good), Ok(()));
    }
    for bad in ["", "deadline", "fifo", "fifo:0", "rr:100", "idle:1"] {
        assert!(policy(bad).is_err(), "{bad:?}");
    }
    assert_eq!(of(Kind::Affinity, Capability::AFFINITY, "", "0-3,8"), Ok(()));
    assert!(of(Kind::Affinity, Capability::AFFINITY, "", "all").is_err());
    assert_eq!(of(Kind::Rlimit, Capability::RLIMIT, "nofile", "unlimited"), Ok(()));
    assert!(of(Kind::Rlimit, Capability::RLIMIT, "nofiles", "5").unwrap_err().contains("nofiles"));
    assert!(of(Kind::Rlimit, Capability::RLIMIT, "nofile", "-1").is_err());
    assert!(of(Kind::OomScoreAdj, Capability::OOM_SCORE_ADJ, "", "1001").is_err());
    let huge = "1".repeat(5000);
    assert!(of(Kind::Affinity, Capability::AFFINITY, "", &huge).unwrap_err().contains("5000"));
    assert!(of(Kind::Nice, Capability::PRIORITY, "/x", "1").unwrap_err().contains("no place"));
}

#[test]
fn files_and_contexts_are_below_a_cgroup_mount() {
    let desired =
        Desired::context(ContextId::ours("batch"), [Setting::number(Capability::CPU_WEIGHT, 1)]);
    let at = |kind, locator: &str, after: &str| {
        let before = if kind == Kind::Context { "absent" } else { "1024" };
        verdict(&desired, Capability::CPU_WEIGHT, operation(kind, None, locator, (before, after)))
    };
    assert_eq!(at(Kind::File, "/sys/fs/cgroup/cpu/batch/cpu.shares", "2"), Ok(()));
    assert_eq!(at(Kind::Context, "/sys/fs/cgroup/cpu/batch", "present"), Ok(()));
    assert!(at(Kind::Context, "/sys/fs/cgroup/cpu/batch", "gone").is_err());
    for place in [
        "/etc/passwd",
        "",
        "cpu/batch/cpu.shares",
        "/sys/fs/cgroup/cpu",
        "/sys/fs/cgroup/cpuset/batch/cpus",
        "/sys/fs/cgroup/cpu/../../../etc/passwd",
        "/sys/fs/cgroup/cpu//batch",
        "/sys/fs/cgroup/cpu/./batch",
        "/sys/fs/cgroup/cpu/batch/",
    ] {
        assert!(at(Kind::File, place, "2").unwrap_err().contains("cgroup mount"), "{place:?}");
    }
    let with_task = operation(
        Kind::File,
        task(700, 0, 5000),
        "/sys/fs/cgroup/cpu/batch/cpu.shares",
        ("1024", "2"),
    );
    assert!(verdict(&desired, Capability::CPU_WEIGHT, with_task).is_err());
}

#[test]
fn members_go_where_they_were_asked_to_go() {
    let desired = Desired::context(
        ContextId::ours("batch"),
        [Setting::members([ASKED]), Setting::number(Capability::MEMORY_LIMIT, 1 << 30)],
    );
    let moved = |knob, task, mount: &str, after: &str| {
        verdict(&desired, knob, operation(Kind::Membership, task, mount, ("/", after)))
    };
    let cpu = "/sys/fs/cgroup/cpu";
    let members = Capability::MEMBERS;
    assert_eq!(moved(members, task(700, 0, 5000), cpu, "/batch"), Ok(()));
    assert_eq!(moved(members, task(700, 701, 6000), cpu, "/own/batch"), Ok(()));
    assert!(moved(members, task(701, 0, 5000), cpu, "/batch").is_err());
    assert!(moved(members, task(700, 0, 5000), cpu, "/other").is_err());
    assert!(moved(members, task(700, 0, 5000), "/sys/fs/cgroup", "/batch").is_err());
    assert!(moved(members, task(700, 0, 5000), cpu, "/../batch").is_err());
    // One more hierarchy takes the context's other tasks along, to this context only.
    let memory = Capability::MEMORY_LIMIT;
    assert_eq!(moved(memory, task(900, 0, 7000), cpu, "/batch"), Ok(()));
    assert!(moved(memory, task(900, 0, 7000), cpu, "/other").is_err());
}

#[test]
fn whoever_sits_where_controllers_are_handed_down_may_be_moved_one_step_down() {
    let weight = Setting::number(Capability::CPU_WEIGHT, 20);
    let desired = Desired::context(ContextId::ours("outrigger-1t2-jobs"), [weight]);
    let verdict = |before: &str, after: &str| {
        let member =
            operation(Kind::Membership, task(7, 0, 5), "/sys/fs/cgroup/cpu", (before, after));
        verdict(&desired, Capability::CPU_WEIGHT, member)
    };
    assert_eq!(verdict("/base", "/base/outrigger-1t2-rest"), Ok(()));
    for (before, after) in [("/base", "/base/a/b"), ("/base", "/other/a"), ("/base/a", "/base")] {
        assert!(verdict(before, after).is_err(), "{before} {after}");
    }
}

#[test]
fn refused_knobs_pass_and_too_many_operations_do_not() {
    let refused = PreparedOperation::refused(
        Capability::PRIORITY,
        Error::new(ErrorCode::PRIVILEGE, "prepare", "not root"),
    );
    assert_eq!(answer(&priority(), std::slice::from_ref(&refused), &[]), Ok(()));
    let many = vec![refused; MAX_OPERATIONS + 1];
    assert!(answer(&priority(), &many, &[]).is_err());
}

#[test]
fn mounts_are_read_from_mountinfo() {
    let text = "\
31 23 0:27 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
32 31 0:28 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup rw
33 31 0:29 / /sys/fs/cgroup/cpu\\040x rw shared:10 master:1 - cgroup cgroup rw,cpu
34 23 0:30 / /home rw - ext4 /dev/vda rw
";
    let expected: [PathBuf; 2] = ["/sys/fs/cgroup/unified".into(), "/sys/fs/cgroup/cpu x".into()];
    assert_eq!(mounts_in(text), expected);
}
