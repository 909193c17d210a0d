//! Memory, tasks, CPU sets, block devices; freeze and kill.

use crate::support::{Governor, Scratch, Victim, read, ready, until};
use outrigger_sdk::{Capability, ContextId, ErrorCode, Setting};
use std::fs;
use std::path::Path;

fn made() -> Setting {
    Setting::number(Capability::CONTEXT, 1)
}

#[test]
fn other_hierarchies_are_joined_when_a_knob_needs_them_with_the_members_there_are() {
    if !ready(&["cpu", "unified", "pids"]) {
        return;
    }
    let scratch = Scratch::new();
    let victim = Victim::sleeper();
    let mut governor = Governor::new();
    governor.settle(&scratch.id(), &[made(), Setting::members([victim.task()])]);
    assert!(!scratch.exists("pids"));
    // No limit needs no directory.
    governor.settle(&scratch.id(), &[made(), Setting::number(Capability::PIDS_LIMIT, -1)]);
    assert!(!scratch.exists("pids"));

    governor.settle(&scratch.id(), &[made(), Setting::number(Capability::PIDS_LIMIT, 7)]);

    assert_eq!(scratch.read("pids", "pids.max"), "7");
    assert_eq!(victim.place("pids"), scratch.path(), "the member of cpu went along");
    governor.undo();
    assert_eq!(victim.place("pids"), "/");
    assert_eq!(victim.place("cpu"), "/");
    assert!(!scratch.exists("pids") && !scratch.exists("cpu"));
}

#[test]
fn a_memory_limit_is_never_below_the_usage_and_head_room() {
    if !ready(&["cpu", "unified", "memory"]) {
        return;
    }
    let scratch = Scratch::new();
    let victim = Victim::sleeper();
    let launched = Setting { text: "launched".into(), ..Setting::members([victim.task()]) };
    let mut governor = Governor::new();
    let limit = |bytes| Setting::number(Capability::MEMORY_LIMIT, bytes);

    governor.settle(&scratch.id(), &[made(), limit((64 << 20) + 5), launched.clone()]);
    assert_eq!(scratch.read("memory", "memory.limit_in_bytes"), (64 << 20).to_string());
    assert_eq!(victim.place("memory"), scratch.path());

    let low = governor.apply(scratch.id(), &[limit(1 << 20)]);
    assert_eq!(low.refused[0].1.code, ErrorCode::RANGE);
    assert!(low.refused[0].1.message.contains("head-room"), "{}", low.refused[0].1);
    assert_eq!(scratch.read("memory", "memory.limit_in_bytes"), (64 << 20).to_string());
    governor.settle(&scratch.id(), &[limit(-1)]);
    let unlimited: u64 = scratch.read("memory", "memory.limit_in_bytes").parse().unwrap();
    assert!(unlimited > 1 << 60);
}

#[test]
fn a_cpuset_gets_cpus_and_nodes_before_its_members() {
    if !ready(&["cpu", "unified", "cpuset"]) {
        return;
    }
    let scratch = Scratch::new();
    let victim = Victim::sleeper();
    let mut governor = Governor::new();
    let all = [made(), Setting::members([victim.task()]), Setting::text(Capability::CPUSET, "0")];

    governor.settle(&scratch.id(), &all);

    assert_eq!(scratch.read("cpuset", "cpuset.cpus"), "0");
    assert_ne!(scratch.read("cpuset", "cpuset.mems"), "");
    assert_eq!(victim.place("cpuset"), scratch.path());
    let status = read(Path::new(&format!("/proc/{}/status", victim.pid())));
    assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
    let far = governor.apply(scratch.id(), &[Setting::text(Capability::CPUSET, "8000")]);
    assert!(far.refused[0].1.message.contains("8000"), "{}", far.refused[0].1);
    governor.undo();
    assert_eq!(victim.place("cpuset"), "/");
}

/// Some block device, by number.
fn device() -> Option<String> {
    let entry = fs::read_dir("/sys/block").ok()?.flatten().next()?;
    Some(read(&entry.path().join("dev")))
}

#[test]
fn block_device_limits_are_set_changed_and_removed_one_device_at_a_time() {
    if !ready(&["cpu", "unified", "blkio"]) {
        return;
    }
    let Some(device) = device() else {
        outrigger_skip::skip("no block device");
        return;
    };
    let scratch = Scratch::new();
    scratch.make("blkio", "");
    const READ: &str = "blkio.throttle.read_bps_device";
    scratch.write("blkio", READ, &format!("{device} 5000000"));
    let id = ContextId::new("blkio", &scratch.path());
    let limit = |value| Setting {
        text: device.as_str().into(),
        ..Setting::number(Capability::IO_READ_LIMIT, value)
    };
    let mut governor = Governor::new();

    governor.settle(&id, &[limit(1_048_576)]);
    assert_eq!(scratch.read("blkio", READ), format!("{device} 1048576"));
    governor.settle(&id, &[limit(-1)]);
    assert_eq!(scratch.read("blkio", READ), "");
    governor.undo();
    assert_eq!(scratch.read("blkio", READ), format!("{device} 5000000"));

    let sda = Setting::text(Capability::IO_WRITE_LIMIT, "sda");
    assert_eq!(governor.prepare(id, &[sda]).refused[0].1.code, ErrorCode::RANGE);
}

fn frozen(scratch: &Scratch) -> bool {
    scratch.read("unified", "cgroup.events").contains("frozen 1")
}

#[test]
fn a_context_is_frozen_and_goes_on_after_undo() {
    if !ready(&["cpu", "unified"]) {
        return;
    }
    let scratch = Scratch::new();
    let hog = Victim::hog();
    let mut governor = Governor::new();
    governor.settle(&scratch.id(), &[made(), Setting::members([hog.task()])]);
    governor.settle(&scratch.id(), &[Setting::number(Capability::FREEZE, 1)]);
    until("the context is frozen", || frozen(&scratch));

    governor.settle(&scratch.id(), &[Setting::number(Capability::FREEZE, 0)]);
    until("the context goes on", || !frozen(&scratch));
    governor.settle(&scratch.id(), &[Setting::number(Capability::FREEZE, 1)]);
    until("the context is frozen again", || frozen(&scratch));

    governor.undo();
    let cpu_time = || {
        let stat = read(Path::new(&format!("/proc/{}/schedstat", hog.pid())));
        stat.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let before = cpu_time();
    until("the hog runs again", || cpu_time() > before);
}

#[test]
fn a_context_of_ours_is_killed_and_somebody_elses_is_not() {
    if !ready(&["cpu", "unified"]) {
        return;
    }
    let (ours, theirs) = (Scratch::new(), Scratch::new());
    let mut victim = Victim::sleeper();
    theirs.make("unified", "");
    let kill = Setting::number(Capability::KILL, 1);
    let mut governor = Governor::new();

    let refused =
        governor.apply(ContextId::new("unified", &theirs.path()), std::slice::from_ref(&kill));
    assert_eq!(refused.refused[0].1.code, ErrorCode::NOT_DELEGATED);
    let refused = governor.prepare(ours.id(), &[made(), kill.clone()]);
    assert_eq!(refused.refused[0].1.code, ErrorCode::GONE, "there is nobody to kill yet");

    governor.settle(&ours.id(), &[made(), Setting::members([victim.task()])]);
    assert!(victim.is_alive());
    assert_eq!(governor.apply(ours.id(), &[kill]).operations.len(), 1);
    until("the victim is dead", || !victim.is_alive());
}

#[test]
fn what_v1_does_not_have_is_refused_with_the_reason() {
    if !ready(&["cpu", "unified"]) {
        return;
    }
    let scratch = Scratch::new();
    let settings = [
        made(),
        Setting::number(Capability::MEMORY_HIGH, 1),
        Setting::number(Capability::PRIORITY, 4),
    ];
    let refused = Governor::new().prepare(scratch.id(), &settings).refused;
    assert!(refused.iter().all(|(_, error)| error.code == ErrorCode::NOT_SUPPORTED));
    assert!(refused[0].1.message.contains("memory.high"), "{}", refused[0].1);
    assert_eq!(refused.len(), 2);
}
