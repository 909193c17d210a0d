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
        contention: None,
    });
    done.contention = Some(contention());
    done.effect = Some(Effect {
        victim: "app".into(),
        wait_before_ms_per_s: 340.0,
        wait_after_ms_per_s: 4.0,
        contended: true,
    });
    Activity::of(&done)
}

fn text(scene: &Scene, actions: &[Activity], subject: &str) -> String {
    explain(&scene.view(), actions, &Subject::parse(subject), |_| true).unwrap().to_string()
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
    assert!(
        text.contains("It waits 4.0 ms of each second now; before, it waited 340 ms."),
        "{text}"
    );
}

#[test]
fn a_protected_workload_learns_who_is_held_back_for_it_and_since_when() {
    let mut begun = done();
    begun.action.change.as_mut().unwrap().from = 0;
    let mut preventive = begun.clone();
    (preventive.action.contention, preventive.action.effect) = (None, None);
    for (actions, since, before) in [
        (vec![begun], " since 01:02:03 UTC", "; before, it waited 340 ms"),
        (vec![preventive], " since 01:02:03 UTC", ""),
        (vec![], "", ""),
    ] {
        let text = text(&Scene::governed(), &actions, "700");
        let hold = format!(
            "For it hogs (PID 812 stress-ng) is held back{since}: tier 3: weight 1 of 100, no cap, \
             using 1.7 CPUs now.\nIt waits 4.0 ms of each second now{before}.\n"
        );
        assert!(text.contains(&hold) && !text.contains("Nothing"), "{hold}is missing in\n{text}");
    }
}

#[test]
fn a_protected_workload_learns_why_nothing_is_done_for_it() {
    let mut scene = Scene::governed();
    scene.enforcement.workloads[0].knobs.clear();
    scene.enforcement.workloads[0].levers = vec!["no lever, because all share a context".into()];
    let told = text(&scene, &[], "app");
    assert!(told.contains("Nothing holds hogs back, though it is in tier 3: no lever, because"));
    assert!(told.contains("Nothing is done for it now: no knob can be turned"), "{told}");
    let mut scene = Scene::governed();
    scene.enforcement.workloads.clear();
    scene.decisions.entitlements.clear();
    let told = text(&scene, &[], "app");
    assert!(told.contains("Nothing is done for it now: nobody waits"), "{told}");
    scene.assessments.workloads[0].wait_ms_per_s = None;
    let told = text(&scene, &[], "app");
    assert!(told.contains("done for it now: how long app waits cannot be told"), "{told}");
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
    assert!(
        text.contains("but runs free: no knob has been turned; it uses 1.7 CPUs now"),
        "{text}"
    );
    assert!(!text.contains("effect"), "{text}");
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
    assert!(explain(&scene.view(), &[], &Subject::parse("nobody"), |_| true).is_none());
}

#[test]
fn who_has_ended_or_never_was_is_not_said_to_be_left_alone() {
    let view = Scene::governed().view();
    let explained = |actions: &[Activity], pid| {
        let explained = explain(&view, actions, &Subject::Pid(pid), |_| false).unwrap();
        explained.to_string()
    };
    assert_eq!(explained(&[], 4242), "There is no process 4242, and nothing is known of one.\n");
    let mut ended = done();
    ended.action.contention.as_mut().unwrap().culprits[0].task.pid = 4242;
    let told = explained(&[ended], 4242);
    assert!(told.starts_with("There is no process 4242 any more.\nAt 01:02:03 UTC: "), "{told}");
}

#[test]
fn one_of_many_culprits_learns_its_own_part() {
    let mut activity = done();
    let culprits = &mut activity.action.contention.as_mut().unwrap().culprits;
    let other = Culprit { task: TaskId { pid: 811, tid: 0, start: 1 }, ..culprits[0].clone() };
    culprits.insert(0, other);
    let told = text(&Scene::governed(), &[activity], "812");
    assert!(told.contains("PID 812 stress-ng held 1.7 CPUs of that."), "{told}");
}

#[test]
fn an_old_contention_is_told_after_many_actions_without_one() {
    let mut actions = vec![done()];
    for seq in 2..=9 {
        actions.push(Activity::of(&action(seq, ActionKind::Place)));
    }
    let told = explain(&Scene::governed().view(), &actions, &Subject::parse("812"), |_| true);
    let told: Vec<u64> = told.unwrap().actions.iter().map(|told| told.action.seq).collect();
    assert_eq!(told, [1, 5, 6, 7, 8, 9]);
}

#[test]
fn an_unmeasured_effect_is_said_to_be_so() {
    let mut activity = done();
    activity.action.effect = None;
    let mut scene = Scene::governed();
    assert!(text(&scene, &[activity.clone()], "812").contains("Its effect is being measured."));
    scene.assessments.provenance.tick += PATIENCE;
    assert!(text(&scene, &[activity], "812").contains("Its effect could not be measured"));
}

#[test]
fn who_is_named_but_not_held_back_learns_why_and_what_it_costs() {
    let mut scene = Scene::governed();
    scene.enforcement.workloads.clear();
    scene.decisions.entitlements.clear();
    let told = text(&scene, &[], "812");
    let unrestricted = "It is in tier 0, unrestricted: ";
    assert!(told.contains(&format!("{unrestricted}nobody waits, and everybody is")), "{told}");
    scene.assessments.workloads[1].class = crate::policy::Class::Unknown;
    scene.assessments.contention = vec![contention()];
    let told = text(&scene, &[], "812");
    assert!(told.contains(&format!("{unrestricted}what is unknown is not held back")), "{told}");
    assert!(told.contains("But app waited 340 ms of each second while PID 812"), "{told}");
}
