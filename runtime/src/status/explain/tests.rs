use super::*;
use crate::flow::activity::{Action, Effect};
use crate::flow::message::TierChange;
use crate::status::view::tests::{Scene, action, knob};
use outrigger_sdk::TaskId;

fn contention() -> Contention {
    Contention {
        victim: "app".into(),
        wait_ms_per_s: 340.0,
        evidence: vec!["2 starved threads".into()],
        culprits: vec![Culprit {
            task: TaskId { pid: 812, tid: 0, start: 1 },
            name: "stress-ng".into(),
            workload: Some("hogs".into()),
            millicores: 1700.0,
        }],
    }
}

fn done() -> Activity {
    let mut done: Action = action(1, ActionKind::Weight);
    done.knobs = vec![knob()];
    done.change = Some(TierChange {
        workload: "hogs".into(),
        from: 1,
        to: 3,
        cap: None,
        rule: "workload.hogs".into(),
        reasons: vec!["app waited".into()],
        contention: Some(contention()),
    });
    done.effect = Some(Effect {
        victim: "app".into(),
        wait_before_ms_per_s: 340.0,
        wait_after_ms_per_s: 4.0,
    });
    Activity::of(&done)
}

fn text(scene: &Scene, actions: &[Activity], subject: &str) -> String {
    explain(&scene.view(), actions, &Subject::parse(subject)).unwrap().to_string()
}

#[test]
fn a_culprit_learns_culprit_cost_rule_knob_effect_and_undo() {
    let text = text(&Scene::governed(), &[done()], "812");
    for expected in [
        "PID 812 stress-ng belongs to hogs, which is batch by rule workload.hogs",
        "app waited 340 ms of each second while PID 812 stress-ng held 1.7 CPUs",
        "tier 1 -> 3 by rule workload.hogs: cpu.shares of /outrigger-run-1-hogs 1024 -> 10",
        "app waited 340 ms before and 4.0 ms of each second after",
        "app waits 4.0 ms of each second now.",
        "Lever: its own context beside redis-server",
        "puts back cpu.shares of /outrigger-run-1-hogs to 1024",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing in:\n{text}");
    }
}

#[test]
fn a_protected_workload_learns_what_was_done_for_it() {
    let text = text(&Scene::governed(), &[done()], "app");
    assert!(text.starts_with("app (PID 700 redis-server) is latency-critical"), "{text}");
    assert!(text.contains("hogs share turned"), "{text}");
    assert!(text.contains("It waits 4.0 ms of each second now."), "{text}");
}

#[test]
fn culprits_out_of_reach_are_named() {
    let mut scene = Scene::governed();
    let mut both = contention();
    let stranger = Culprit {
        task: TaskId { pid: 99, tid: 0, start: 1 },
        name: "rustc".into(),
        workload: None,
        millicores: 700.0,
    };
    both.culprits.push(stranger);
    scene.assessments.contention = vec![both];
    let told = text(&scene, &[done()], "app");
    assert!(told.contains("Of that, 0.7 CPUs is held by PID 99 rustc, which nothing"), "{told}");
    scene.assessments.contention = vec![contention()];
    assert!(!text(&scene, &[done()], "app").contains("Of that"));
}

#[test]
fn a_missing_lever_is_named() {
    let mut scene = Scene::governed();
    scene.enforcement.workloads.clear();
    let mut nothing = action(1, ActionKind::NoLever);
    nothing.lever = "they share a context that systemd manages".into();
    let text = text(&scene, &[Activity::of(&nothing)], "812");
    assert!(text.contains("Lever: no lever, because they share a context"), "{text}");
    assert!(!text.contains("Undo:"), "{text}");
}

#[test]
fn strangers_are_told_so() {
    let mut scene = Scene::governed();
    assert!(text(&scene, &[], "4242").contains("belongs to no workload: it is left alone"));
    let mut contention = contention();
    contention.culprits[0].task.pid = 4242;
    scene.assessments.contention = vec![contention];
    assert!(text(&scene, &[], "4242").contains("To hold it back, name it"));
    assert!(explain(&scene.view(), &[], &Subject::parse("nobody")).is_none());
}

#[test]
fn an_unmeasured_effect_is_said_to_be_so() {
    let mut activity = done();
    activity.action.effect = None;
    assert!(text(&Scene::governed(), &[activity], "812").contains("not been measured yet"));
}
