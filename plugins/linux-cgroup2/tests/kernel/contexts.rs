//! Contexts, their controllers and members.

use crate::support::{Governor, Scratch, Victim, read, until};
use crate::{handed_down, made, v2};
use outrigger_sdk::{
    Backend, Capability, ContextId, ErrorCode, Level, Observation, ObserveRequest, Setting,
    SurveyRequest,
};
use std::fs;

#[test]
fn a_context_gets_its_controllers_and_gives_them_back() {
    if !v2() {
        return;
    }
    let before = handed_down();
    let scratch = Scratch::new();
    let victim = Victim::sleeper();
    let home = victim.place("unified");
    let mut governor = Governor::new();
    let settings = [
        made(),
        Setting::number(Capability::CPU_WEIGHT, 1),
        Setting::number(Capability::MEMORY_HIGH, 1 << 30),
        Setting::members([victim.task()]),
    ];

    governor.settle(&scratch.id(), &settings);

    assert_eq!(scratch.read("unified", "cpu.weight"), "1");
    assert_eq!(scratch.read("unified", "memory.high"), (1 << 30).to_string());
    assert_eq!(victim.place("unified"), scratch.path());
    for controller in ["cpu", "memory"] {
        assert!(handed_down().split(' ').any(|one| one == controller), "{controller}");
    }
    governor.undo();
    assert_eq!(handed_down(), before);
    assert_eq!(victim.place("unified"), home);
    assert!(!scratch.exists("unified"));
}

#[test]
fn a_group_of_somebody_else_gets_the_controller_its_weight_needs() {
    if !v2() {
        return;
    }
    let scratch = Scratch::new();
    let leaf = scratch.make("unified", "inner/leaf");
    let id = ContextId::new("unified", &format!("{}/inner", scratch.path()));
    let mut governor = Governor::new();
    let survey = |governor: &mut Governor| {
        let request = SurveyRequest { root: scratch.path().into(), ..all() };
        let nodes = governor.backend.survey(&request).unwrap();
        nodes.iter().map(|node| node.weight).collect::<Vec<_>>()
    };
    let bare = survey(&mut governor);

    governor.settle(&id, &[Setting::number(Capability::CPU_WEIGHT, 20)]);

    assert_eq!(read(&leaf.parent().unwrap().join("cpu.weight")), "20");
    let weights = survey(&mut governor);
    assert_eq!(weights, [100, 20, 0], "scratch, inner, leaf; before: {bare:?}");
    governor.undo();
    assert_eq!(survey(&mut governor), bare);
}

fn all() -> SurveyRequest {
    SurveyRequest { space: "".into(), root: "/".into(), limit: 1000 }
}

#[test]
fn a_group_that_holds_processes_cannot_hand_down_and_says_so() {
    if !v2() {
        return;
    }
    let scratch = Scratch::new();
    scratch.make("unified", "leaf");
    let victim = Victim::sleeper();
    scratch.write("unified", "cgroup.procs", &victim.pid().to_string());
    let id = ContextId::new("unified", &format!("{}/leaf", scratch.path()));
    let mut governor = Governor::new();

    let applied = governor.apply(id, &[Setting::number(Capability::CPU_WEIGHT, 20)]);

    let (_, error) = &applied.refused[0];
    assert_eq!(error.code, ErrorCode::NOT_DELEGATED);
    assert!(error.message.contains("holds 1 processes itself"), "{error}");
    governor.undo();
}

#[test]
fn everything_is_probed_and_the_reasons_are_said() {
    if !v2() {
        return;
    }
    let mut governor = Governor::new();
    let reports = governor.backend.probe().unwrap();
    let level =
        |capability| reports.iter().find(|report| report.capability == capability).unwrap().level;
    for capability in [
        Capability::CONTEXT,
        Capability::MEMBERS,
        Capability::CPU_WEIGHT,
        Capability::CPU_IDLE,
        Capability::CPU_LIMIT,
        Capability::CPU_BURST,
        Capability::MEMORY_LIMIT,
        Capability::MEMORY_HIGH,
        Capability::PIDS_LIMIT,
        Capability::CPUSET,
        Capability::IO_READ_LIMIT,
        Capability::FREEZE,
        Capability::KILL,
        Capability::OBSERVE_CONTEXTS,
        Capability::OBSERVE_PRESSURE,
    ] {
        assert_eq!(level(capability), Level::FULL, "{capability}: {reports:?}");
    }
}

#[test]
fn usage_pressure_and_throttling_are_read() {
    if !v2() {
        return;
    }
    let scratch = Scratch::new();
    let hogs = [Victim::hog(), Victim::hog()];
    let mut governor = Governor::new();
    let settings = [
        made(),
        Setting::number(Capability::CPU_LIMIT, 100),
        Setting::number(Capability::MEMORY_HIGH, -1),
        Setting::members(hogs.iter().map(Victim::task)),
    ];
    governor.settle(&scratch.id(), &settings);
    let request = ObserveRequest { contexts: vec![scratch.id()].into(), ..Default::default() };
    let mut look = || {
        let mut seen = Observation::default();
        governor.backend.observe(&request, &mut seen).unwrap();
        seen.contexts[0].clone()
    };
    let first = look();

    until("it runs and is throttled", || {
        let now = look();
        now.throttled > first.throttled && now.cpu_ns > first.cpu_ns
    });

    let now = look();
    assert!(now.throttled_ns > 0, "{now:?}");
    assert!(now.pressure_us > 0, "{now:?}");
    let stat = scratch.read("unified", "cpu.stat");
    let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap();
    assert!(now.cpu_ns <= usage.parse::<u64>().unwrap() * 1000);
    governor.undo();
}

#[test]
fn members_of_other_groups_stay_where_they_are() {
    if !v2() {
        return;
    }
    let (own, others) = (Scratch::new(), Scratch::new());
    others.make("unified", "");
    let victim = Victim::sleeper();
    fs::write(others.dir("unified").join("cgroup.procs"), victim.pid().to_string()).unwrap();
    let mut governor = Governor::new();

    let applied = governor.apply(own.id(), &[made(), Setting::members([victim.task()])]);

    assert!(applied.refused[0].1.message.contains("belongs to somebody else"), "{applied:?}");
    assert_eq!(victim.place("unified"), others.path());
    governor.undo();
}
