//! Weight and idle, quota and burst, memory, tasks, CPU sets, devices; freeze and kill.

use crate::support::{Governor, Scratch, Victim, until};
use crate::{made, v2};
use outrigger_sdk::{Capability, ErrorCode, Setting};
use std::fs;

fn number(knob: Capability, value: i64) -> Setting {
    Setting::number(knob, value)
}

#[test]
fn every_weight_is_read_back_and_idle_goes_first() {
    if !v2() {
        return;
    }
    let scratch = Scratch::new();
    let mut governor = Governor::new();
    for weight in [100, 50, 20, 1, 10_000] {
        governor.settle(&scratch.id(), &[made(), number(Capability::CPU_WEIGHT, weight)]);
        assert_eq!(scratch.read("unified", "cpu.weight"), weight.to_string());
    }
    let idle =
        |on| [number(Capability::CPU_WEIGHT, 50), number(Capability::CPU_IDLE, i64::from(on))];
    governor.settle(&scratch.id(), &idle(true));
    assert_eq!(scratch.read("unified", "cpu.idle"), "1");
    governor.settle(&scratch.id(), &idle(false));
    assert_eq!(scratch.read("unified", "cpu.idle"), "0");
    assert_eq!(scratch.read("unified", "cpu.weight"), "50");
    governor.undo();
}

#[test]
fn limits_are_read_back_parked_and_undone() {
    if !v2() {
        return;
    }
    let scratch = Scratch::new();
    scratch.make("unified", "");
    let mut governor = Governor::new();
    let id = scratch.id();
    let limit =
        |limit, burst| [number(Capability::CPU_LIMIT, limit), number(Capability::CPU_BURST, burst)];

    governor.settle(&id, &limit(750, 50_000));
    assert_eq!(scratch.read("unified", "cpu.max"), "75000 100000");
    assert_eq!(scratch.read("unified", "cpu.max.burst"), "50000");
    // The burst shrinks with the quota, and before it.
    governor.settle(&id, &limit(250, 20_000));
    assert_eq!(scratch.read("unified", "cpu.max"), "25000 100000");
    governor.settle(&id, &limit(-1, 0));
    let parked = scratch.read("unified", "cpu.max");
    assert!(!parked.starts_with("max"), "bandwidth control stays on: {parked}");

    governor.undo();
    assert_eq!(scratch.read("unified", "cpu.max"), "max 100000");
    assert_eq!(scratch.read("unified", "cpu.max.burst"), "0");
}

#[test]
fn memory_is_limited_above_what_is_used_and_kept_below() {
    if !v2() {
        return;
    }
    let scratch = Scratch::new();
    let victim = Victim::sleeper();
    let launched = Setting { text: "launched".into(), ..Setting::members([victim.task()]) };
    let mut governor = Governor::new();
    let settings = [
        made(),
        number(Capability::MEMORY_LIMIT, (64 << 20) + 5),
        number(Capability::MEMORY_HIGH, 48 << 20),
        number(Capability::MEMORY_LOW, 1 << 20),
        launched,
    ];

    governor.settle(&scratch.id(), &settings);

    assert_eq!(scratch.read("unified", "memory.max"), (64 << 20).to_string());
    assert_eq!(scratch.read("unified", "memory.high"), (48 << 20).to_string());
    assert_eq!(scratch.read("unified", "memory.low"), (1 << 20).to_string());
    let low = governor.apply(scratch.id(), &[number(Capability::MEMORY_LIMIT, 1 << 20)]);
    assert_eq!(low.refused[0].1.code, ErrorCode::RANGE);
    assert!(low.refused[0].1.message.contains("head-room"), "{}", low.refused[0].1);
    governor.settle(&scratch.id(), &[number(Capability::MEMORY_LIMIT, -1)]);
    assert_eq!(scratch.read("unified", "memory.max"), "max");
    governor.undo();
}

#[test]
fn tasks_are_counted_and_cpus_are_chosen() {
    if !v2() {
        return;
    }
    let scratch = Scratch::new();
    let victim = Victim::sleeper();
    let mut governor = Governor::new();
    let settings = [
        made(),
        number(Capability::PIDS_LIMIT, 7),
        Setting::text(Capability::CPUSET, "0"),
        Setting::members([victim.task()]),
    ];

    governor.settle(&scratch.id(), &settings);

    assert_eq!(scratch.read("unified", "pids.max"), "7");
    assert_eq!(scratch.read("unified", "cpuset.cpus"), "0");
    let status = fs::read_to_string(format!("/proc/{}/status", victim.pid())).unwrap();
    assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
    let far = governor.apply(scratch.id(), &[Setting::text(Capability::CPUSET, "8000")]);
    assert!(far.refused[0].1.message.contains("8000"), "{}", far.refused[0].1);
    governor.undo();
}

#[test]
fn a_device_is_limited_and_others_keep_what_they_have() {
    if !v2() {
        return;
    }
    let devices = fs::read_dir("/sys/block").unwrap().flatten();
    let numbers = devices.filter_map(|device| fs::read_to_string(device.path().join("dev")).ok());
    let Some(device) = numbers.map(|text| text.trim().to_owned()).next() else {
        outrigger_skip::skip("no block device");
        return;
    };
    let scratch = Scratch::new();
    let mut governor = Governor::new();
    let limit = |knob, value| Setting { text: device.as_str().into(), ..number(knob, value) };
    let both = [
        made(),
        limit(Capability::IO_READ_LIMIT, 1 << 20),
        limit(Capability::IO_WRITE_LIMIT, 2 << 20),
    ];

    governor.settle(&scratch.id(), &both);

    let line = format!("{device} rbps=1048576 wbps=2097152 riops=max wiops=max");
    assert_eq!(scratch.read("unified", "io.max"), line);
    governor.settle(&scratch.id(), &[limit(Capability::IO_READ_LIMIT, -1)]);
    let line = format!("{device} rbps=max wbps=2097152 riops=max wiops=max");
    assert_eq!(scratch.read("unified", "io.max"), line);
    governor.undo();
}

#[test]
fn a_context_is_frozen_let_go_and_ended() {
    if !v2() {
        return;
    }
    let scratch = Scratch::new();
    let mut victim = Victim::hog();
    let mut governor = Governor::new();
    governor.settle(&scratch.id(), &[made(), Setting::members([victim.task()])]);

    governor.settle(&scratch.id(), &[number(Capability::FREEZE, 1)]);
    until("it is frozen", || scratch.read("unified", "cgroup.events").contains("frozen 1"));
    governor.settle(&scratch.id(), &[number(Capability::FREEZE, 0)]);
    until("it runs", || scratch.read("unified", "cgroup.events").contains("frozen 0"));

    governor.apply(scratch.id(), &[number(Capability::KILL, 1)]);
    until("it is dead", || !victim.is_alive());
}
