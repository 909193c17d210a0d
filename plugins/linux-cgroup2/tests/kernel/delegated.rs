//! Below a subtree that was delegated: no process in inner nodes, and no more than was given.

use crate::support::{Governor, Scratch, Victim, read};
use crate::{made, v2};
use outrigger_sdk::{Capability, Setting};
use std::fs;

/// A delegated base that has the cpu controller and one process directly in it.
fn base() -> (Scratch, Victim) {
    let scratch = Scratch::new();
    scratch.make("unified", "base");
    let root = scratch.dir("unified").parent().unwrap().to_owned();
    fs::write(root.join("cgroup.subtree_control"), "+cpu").unwrap();
    scratch.write("unified", "cgroup.subtree_control", "+cpu");
    let victim = Victim::sleeper();
    let procs = scratch.dir("unified").join("base/cgroup.procs");
    fs::write(procs, victim.pid().to_string()).unwrap();
    (scratch, victim)
}

#[test]
fn who_sits_in_the_base_makes_room_and_comes_back() {
    if !v2() {
        return;
    }
    let (scratch, sitting) = base();
    let path = format!("{}/base", scratch.path());
    let dir = scratch.dir("unified").join("base");
    let launched = Victim::sleeper();
    let mut governor = Governor::configured(&format!(r#"{{"base":"{path}"}}"#));
    let context = Scratch::new();
    let members = Setting { text: "launched".into(), ..Setting::members([launched.task()]) };
    let home = launched.place("unified");
    let settings = [made(), Setting::number(Capability::CPU_WEIGHT, 20), members];

    governor.settle(&context.id(), &settings);

    assert_eq!(read(&dir.join(&context.0).join("cpu.weight")), "20");
    assert_eq!(launched.place("unified"), format!("{path}/{}", context.0));
    let rest = sitting.place("unified");
    assert!(rest.starts_with(&format!("{path}/outrigger-")) && rest.ends_with("-rest"), "{rest}");
    assert_eq!(read(&dir.join("cgroup.procs")), "");

    governor.undo();
    assert_eq!(sitting.place("unified"), path);
    assert_eq!(launched.place("unified"), home);
    assert_eq!(read(&dir.join("cgroup.subtree_control")), "");
    let left = fs::read_dir(&dir).unwrap().flatten().filter(|entry| entry.path().is_dir());
    assert_eq!(left.count(), 0);
}
