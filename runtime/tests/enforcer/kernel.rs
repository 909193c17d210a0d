//! The arrangements on the kernel of this machine.

use crate::scene::{Cgroup, Scene, Sleeper};
use outrigger::enforcer::hands::Fate;
use outrigger::flow::activity::ActionKind;
use std::fs;

const SHARES: &str = "cpu.shares";

#[test]
fn hogs_in_the_root_are_placed_once_turned_in_place_and_put_back() {
    let Some(mut scene) = Scene::new() else { return };
    let (service, one, two) = (Sleeper::new(), Sleeper::new(), Sleeper::new());
    if one.path() != "/" {
        outrigger_skip::skip("this test does not run in the root of the hierarchy");
        return;
    }
    let ours = scene.context("batch");
    let outcome = scene.sweep(&[&service], &[&one, &two], 1);
    assert_eq!(outcome.actions[0].kind, ActionKind::Place, "{outcome:?}");
    assert!(outcome.state.refused.is_empty(), "{outcome:?}");
    assert_eq!(one.path(), format!("/{ours}"));
    assert_eq!(scene.read(&format!("{ours}/{SHARES}")).unwrap(), "512");

    scene.sweep(&[&service], &[&one, &two], 3);
    assert_eq!(scene.read(&format!("{ours}/{SHARES}")).unwrap(), "10");
    let late = Sleeper::new();
    scene.sweep(&[&service], &[&one, &two, &late], 3);
    assert_eq!(late.path(), format!("/{ours}"));
    for _ in 0..25 {
        let outcome = scene.sweep(&[&service], &[&one, &two, &late], 3);
        let new = outcome.actions.iter().filter(|action| action.effect.is_none());
        assert_eq!(new.count(), 0, "nothing differs, also at the reconciliation");
    }

    let outcome = scene.sweep(&[&service], &[&one, &two, &late], 0);
    assert_eq!(outcome.actions[0].kind, ActionKind::Restore);
    assert_eq!((one.path(), two.path(), late.path()), ("/".into(), "/".into(), "/".into()));
    assert!(!scene.hierarchy.join(&ours).exists(), "the context is gone");
}

#[test]
fn a_cousin_is_held_at_the_child_of_the_common_ancestor() {
    let Some(mut scene) = Scene::new() else { return };
    let (user, system) = (format!("{}-user", scene.prefix), format!("{}-system", scene.prefix));
    let hierarchy = scene.hierarchy.clone();
    let (service, hog) = (Sleeper::new(), Sleeper::new());
    let _user = Cgroup::new(&hierarchy, &format!("{user}/deep/leaf"));
    let _system = Cgroup::new(&hierarchy, &format!("{system}/leaf"));
    Cgroup::enter(&hierarchy, &format!("{user}/deep/leaf"), &hog);
    Cgroup::enter(&hierarchy, &format!("{system}/leaf"), &service);

    let outcome = scene.sweep(&[&service], &[&hog], 3);
    let read = |scene: &Scene, path: &str| scene.read(&format!("{path}/{SHARES}")).unwrap();
    assert_eq!(read(&scene, &user), "10", "{outcome:?}");
    assert_eq!(read(&scene, &format!("{user}/deep/leaf")), "1024");
    assert_eq!(hog.path(), format!("/{user}/deep/leaf"), "nobody is moved");
    let seen: Vec<_> = outcome.contexts.iter().map(|context| context.path.to_string()).collect();
    assert!(seen.contains(&format!("/{system}/leaf")), "its pressure is wanted: {seen:?}");

    let undone = scene.worker.restore();
    assert!(undone.iter().all(|item| matches!(item.fate, Fate::Restored(_))), "{undone:?}");
    assert_eq!(read(&scene, &user), "1024");
}

#[test]
fn the_same_cgroup_leaves_the_scheduling_class() {
    let Some(mut scene) = Scene::new() else { return };
    let pod = format!("{}-pod", scene.prefix);
    let hierarchy = scene.hierarchy.clone();
    let (service, hog) = (Sleeper::new(), Sleeper::new());
    let _pod = Cgroup::new(&hierarchy, &pod);
    Cgroup::enter(&hierarchy, &pod, &hog);
    Cgroup::enter(&hierarchy, &pod, &service);
    scene.sweep(&[&service], &[&hog], 3);
    assert_eq!(hog.policy(), libc::SCHED_IDLE);
    assert_eq!(service.policy(), libc::SCHED_OTHER);
    scene.sweep(&[&service], &[&hog], 0);
    assert_eq!(hog.policy(), libc::SCHED_OTHER);
}

#[test]
fn what_an_administrator_set_meanwhile_stays() {
    let Some(mut scene) = Scene::new() else { return };
    let (hogs, system) = (format!("{}-hogs", scene.prefix), format!("{}-system", scene.prefix));
    let hierarchy = scene.hierarchy.clone();
    let (service, hog) = (Sleeper::new(), Sleeper::new());
    let _hogs = Cgroup::new(&hierarchy, &hogs);
    let _system = Cgroup::new(&hierarchy, &system);
    Cgroup::enter(&hierarchy, &hogs, &hog);
    Cgroup::enter(&hierarchy, &system, &service);
    scene.sweep(&[&service], &[&hog], 1);
    let file = format!("{hogs}/{SHARES}");
    assert_eq!(scene.read(&file).unwrap(), "512");
    fs::write(hierarchy.join(&file), "700").unwrap();
    let outcome = scene.sweep(&[&service], &[&hog], 3);
    assert_eq!(outcome.actions[0].kind, ActionKind::Foreign);
    scene.sweep(&[&service], &[&hog], 2);
    assert_eq!(scene.read(&file).unwrap(), "700");
    scene.worker.restore();
    assert_eq!(scene.read(&file).unwrap(), "700");
}

#[test]
fn a_launched_process_gets_its_own_context_wherever_it_was() {
    let Some(mut scene) = Scene::new() else { return };
    let elsewhere = format!("{}-scope", scene.prefix);
    let hierarchy = scene.hierarchy.clone();
    let service = Sleeper::new();
    let _scope = Cgroup::new(&hierarchy, &elsewhere);
    Cgroup::enter(&hierarchy, &elsewhere, &service);
    let at = Default::default();
    let context = scene.worker.launch(&"app".into(), service.task(), at).unwrap();
    assert_eq!(context.path.as_str(), scene.context("app"));
    assert_eq!(service.path(), format!("/{}", scene.context("app")));
    assert_eq!(scene.worker.inside("app"), [service.pid()]);
    scene.sweep(&[&service], &[], 0);
    assert_eq!(service.path(), format!("/{}", scene.context("app")), "it stays");
    scene.worker.restore();
    assert_eq!(service.path(), format!("/{elsewhere}"));
    assert!(!scene.hierarchy.join(scene.context("app")).exists());
}
