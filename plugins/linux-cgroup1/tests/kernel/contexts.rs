//! Contexts of ours: made, found again, removed; and what is not ours.

use crate::support::{Governor, Scratch, Victim, mount, play, ready};
use outrigger_sdk::undo::knob;
use outrigger_sdk::{
    Backend, Capability, ContextId, Desired, ErrorCode, Kind, Level, Setting, SurveyRequest, maker,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

fn made() -> Setting {
    Setting::number(Capability::CONTEXT, 1)
}

/// Every control file that can be read, below a directory.
fn contents(dir: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            all.extend(contents(&entry.path()));
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            // Time goes on in these.
            if !text.contains("usec") && !text.contains("avg10") {
                all.insert(entry.path().display().to_string(), text);
            }
        }
    }
    all
}

#[test]
fn a_context_is_made_in_the_cpu_hierarchy_and_the_v2_tree_and_removed_by_undo() {
    if !ready(&["cpu", "unified"]) {
        return;
    }
    let scratch = Scratch::new();
    let mut governor = Governor::new();

    let operations = governor.settle(&scratch.id(), &[made()]);

    assert!(operations.iter().all(|operation| operation.kind == Kind::Context));
    assert_eq!(operations.len(), 2);
    assert!(scratch.exists("cpu") && scratch.exists("unified"));
    assert!(!scratch.exists("memory"), "nothing asked for memory");
    governor.undo();
    assert!(!scratch.exists("cpu") && !scratch.exists("unified"));
}

#[test]
fn preparing_writes_nothing() {
    if !ready(&["cpu", "unified", "memory", "pids", "cpuset"]) {
        return;
    }
    let (there, absent) = (Scratch::new(), Scratch::new());
    let victim = Victim::sleeper();
    let mut governor = Governor::new();
    governor.settle(&there.id(), &[made()]);
    let all = [
        made(),
        Setting::number(Capability::CPU_WEIGHT, 1),
        Setting::number(Capability::CPU_LIMIT, 500),
        Setting::number(Capability::CPU_BURST, 1_000),
        Setting::number(Capability::MEMORY_LIMIT, 1 << 30),
        Setting::number(Capability::PIDS_LIMIT, 50),
        Setting::text(Capability::CPUSET, "0"),
        Setting::number(Capability::FREEZE, 1),
        Setting::members([victim.task()]),
    ];
    let before = contents(&there.dir("cpu"));

    for scratch in [&there, &absent] {
        assert!(governor.prepare(scratch.id(), &all).operations.len() > 8);
    }

    assert_eq!(contents(&there.dir("cpu")), before);
    assert!(!absent.exists("cpu") && !absent.exists("memory") && !there.exists("memory"));
    assert_eq!(victim.place("cpu"), "/");
}

#[test]
fn a_context_is_removed_when_it_is_empty_and_not_before() {
    if !ready(&["cpu", "unified"]) {
        return;
    }
    let scratch = Scratch::new();
    let victim = Victim::sleeper();
    let mut governor = Governor::new();
    governor.settle(&scratch.id(), &[made(), Setting::members([victim.task()])]);
    let gone = [Setting::number(Capability::CONTEXT, 0)];

    let refused = governor.apply(scratch.id(), &gone).refused;
    assert_eq!(refused.len(), 2, "both hierarchies hold it: {refused:?}");
    assert!(refused[0].1.message.contains("still holds 1"), "{}", refused[0].1);

    drop(victim);
    governor.settle(&scratch.id(), &gone);
    assert!(!scratch.exists("cpu") && !scratch.exists("unified"));
}

#[test]
fn a_directory_of_somebody_else_is_not_taken_for_a_context_of_ours() {
    if !ready(&["cpu"]) {
        return;
    }
    // A name without our prefix; removed by its own guard.
    struct Foreign(std::path::PathBuf);
    impl Drop for Foreign {
        fn drop(&mut self) {
            let _ = fs::remove_dir(&self.0);
        }
    }
    let name = format!("test-{}-foreign", std::process::id());
    let foreign = Foreign(mount("cpu").unwrap().join(&name));
    fs::create_dir(&foreign.0).unwrap();

    let desired = Desired::context(ContextId::ours(&name), [made()]);
    let error = Governor::new().backend.prepare(&desired).unwrap_err();

    assert_eq!(error.code, ErrorCode::EXISTS);
    assert!(foreign.0.is_dir());
}

#[test]
fn a_context_left_by_an_earlier_run_is_found_again() {
    if !ready(&["cpu", "unified"]) {
        return;
    }
    let scratch = Scratch::new();
    Governor::new().settle(&scratch.id(), &[made()]);

    let mut later = Governor::new();
    let operations = later.settle(&scratch.id(), &[made(), weight(20)]);

    assert_eq!(operations.len(), 1, "only the weight is to be written: {operations:?}");
    assert_eq!(scratch.read("cpu", "cpu.shares"), "205");
}

#[test]
fn a_living_sidecars_context_is_neither_taken_nor_emptied_nor_a_lever() {
    if !ready(&["cpu", "unified"]) {
        return;
    }
    // Made by our parent, as far as its name says; the guard removes it.
    let parent = knob::identify(std::os::unix::process::parent_id()).unwrap();
    let theirs = Scratch(format!("{}-{}-jobs", Scratch::new().0, maker::tag(parent)));
    let dead = Scratch(format!("{}-{}t1-jobs", Scratch::new().0, parent.pid));
    let dir = theirs.make("cpu", "");
    dead.make("cpu", "");
    let (scratch, victim) = (Scratch::new(), Victim::sleeper());
    fs::write(dir.join("cgroup.procs"), victim.task().pid.to_string()).unwrap();
    let mut governor = Governor::new();

    let desired = Desired::context(theirs.id(), [made()]);
    let taken = governor.backend.prepare(&desired).unwrap_err();
    let moved = governor.apply(scratch.id(), &[made(), Setting::members([victim.task()])]).refused;
    let mut managed = |scratch: &Scratch| {
        let survey = SurveyRequest { space: "".into(), root: scratch.path().into(), limit: 10 };
        governor.backend.survey(&survey).unwrap()[0].managed
    };

    assert_eq!(taken.code, ErrorCode::EXISTS);
    assert!(taken.message.contains("another running sidecar"), "{taken}");
    assert!(moved.iter().any(|(_, error)| error.message.contains("held by")), "{moved:?}");
    assert!(managed(&theirs) && !managed(&dead));
    governor.undo();
}

fn weight(value: i64) -> Setting {
    Setting::number(Capability::CPU_WEIGHT, value)
}

#[test]
fn a_context_that_was_never_made_is_gone_and_a_bad_name_is_out_of_range() {
    if !ready(&["cpu"]) {
        return;
    }
    let scratch = Scratch::new();
    let mut backend = Governor::new().backend;
    let mut code = |id: ContextId, setting: Setting| {
        backend.prepare(&Desired::context(id, [setting])).unwrap_err().code
    };
    assert_eq!(code(scratch.id(), weight(1)), ErrorCode::GONE);
    assert_eq!(code(ContextId::ours("../x"), made()), ErrorCode::RANGE);
    assert_eq!(code(ContextId::new("cpu", "/no/such/cgroup"), weight(1)), ErrorCode::GONE);
    assert_eq!(code(ContextId::new("cpu", "/"), weight(1)), ErrorCode::NOT_SUPPORTED);
    assert_eq!(code(ContextId::new("nonsense", "/x"), weight(1)), ErrorCode::NOT_SUPPORTED);
    assert_eq!(code(ContextId::new("cpu", "/../x"), weight(1)), ErrorCode::NOT_DELEGATED);
}

#[test]
fn an_adopted_cgroup_gets_knobs_of_its_hierarchy_and_is_never_made_removed_or_filled() {
    if !ready(&["cpu", "unified"]) {
        return;
    }
    let scratch = Scratch::new();
    scratch.make("cpu", "");
    scratch.write("cpu", "cpu.shares", "512");
    let victim = Victim::sleeper();
    let adopted = ContextId::new("cpu", &scratch.path());
    let mut governor = Governor::new();

    let applied = governor.apply(
        adopted.clone(),
        &[
            made(),
            weight(1),
            Setting::number(Capability::FREEZE, 1),
            Setting::members([victim.task()]),
        ],
    );

    assert_eq!(scratch.read("cpu", "cpu.shares"), "10");
    let refused: Vec<Capability> = applied.refused.iter().map(|(knob, _)| *knob).collect();
    assert_eq!(refused, [Capability::FREEZE, Capability::MEMBERS]);
    assert!(!scratch.exists("unified"));
    assert_eq!(victim.place("cpu"), "/");
    let removal = governor.apply(adopted, &[Setting::number(Capability::CONTEXT, 0)]);
    assert_eq!(removal.refused[0].1.code, ErrorCode::NOT_DELEGATED);
    governor.undo();
    assert_eq!(scratch.read("cpu", "cpu.shares"), "512");
}

#[test]
fn a_configured_base_holds_the_contexts() {
    if !ready(&["cpu", "unified"]) {
        return;
    }
    let base = Scratch::new();
    base.make("cpu", "");
    base.make("unified", "");
    let mut governor = Governor::configured(&format!(r#"{{"base":"{}"}}"#, base.path()));

    governor.settle(&ContextId::ours("inner"), &[made()]);

    assert!(base.dir("cpu").join("inner").is_dir() && base.dir("unified").join("inner").is_dir());
    let survey = SurveyRequest { space: "".into(), root: base.path().into(), limit: 10 };
    let nodes = governor.backend.survey(&survey).unwrap();
    assert_eq!(nodes.len(), 2);
    governor.undo();
    assert!(!base.dir("cpu").join("inner").exists());
}

#[test]
fn without_privileges_nothing_that_writes_is_reported_as_working() {
    if !ready(&["cpu"]) {
        return;
    }
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    let mut command = Command::new(std::env::current_exe().unwrap());
    let Ok(output) = play("probe", command.uid(NOBODY).gid(NOBODY)).output() else {
        outrigger_skip::skip("nobody may not execute this test binary");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    // The harness may print its own words before the first report.
    let reports: Vec<(&str, &str, &str)> = text
        .lines()
        .filter_map(|line| line.split_once("report "))
        .filter_map(|(_, report)| {
            let mut words = report.splitn(3, ' ');
            Some((words.next()?, words.next()?, words.next()?))
        })
        .collect();
    assert!(reports.len() > 10, "{text}");
    for (capability, level, reason) in reports {
        if !capability.starts_with("observe.") {
            assert_eq!(level, "unavailable", "{capability}: {reason}");
            assert!(!reason.is_empty());
        }
    }
}

#[test]
fn as_root_on_this_kind_of_host_the_main_capabilities_are_full() {
    if !ready(&["cpu", "unified", "memory", "pids", "cpuset"]) {
        return;
    }
    let reports = Governor::new().backend.probe().unwrap();
    for capability in [
        Capability::CONTEXT,
        Capability::MEMBERS,
        Capability::CPU_WEIGHT,
        Capability::CPU_LIMIT,
        Capability::MEMORY_LIMIT,
        Capability::PIDS_LIMIT,
        Capability::CPUSET,
        Capability::FREEZE,
        Capability::OBSERVE_CONTEXTS,
    ] {
        let report = reports.iter().find(|report| report.capability == capability).unwrap();
        assert_eq!(report.level, Level::FULL, "{capability}: {}", report.reason);
    }
}
