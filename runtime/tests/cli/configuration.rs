//! Configuration errors name place, given and allowed, and exit with 2.

use super::{outrigger, stderr, stdout};
use serde_json::Value;

fn file(text: &str) -> (tempfile::TempDir, String) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("o.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (place, path)
}

#[test]
fn every_problem_is_told_with_its_place() {
    let (_place, path) = file("[timing]\ntik = \"1s\"\n[tiers.1]\nshare = 0\n");
    let output = outrigger().args(["config", "check", &path]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = stderr(&output);
    assert!(told.contains("o.toml:2:1: timing.tik: unknown key; did you mean \"tick\"?"), "{told}");
    assert!(told.contains("o.toml:4:9: tiers.1.share: 0 is not possible here; allowed: a whole number from 1 to 10000"), "{told}");
}

#[test]
fn problems_are_there_for_machines_too() {
    let (_place, path) = file("neighbours = \"all\"\n");
    let output =
        outrigger().args(["config", "check", "--json", "--config", &path]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&answer["valid"], &answer["problems"][0]["key"]),
        (&false.into(), &"neighbours".into())
    );
}

#[test]
fn commands_that_act_by_it_refuse_a_bad_configuration() {
    let (_place, path) = file("x = 1\n");
    for command in [&["daemon"][..], &["attach", "--pid", "2"], &["doctor"], &["config", "show"]] {
        let output = outrigger().args(command).args(["--config", &path]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        assert!(stderr(&output).contains("o.toml:1:1: x: unknown key"), "{command:?}");
    }
}

#[test]
fn asking_and_restoring_work_in_spite_of_a_bad_configuration() {
    let (place, path) = file("x = 1\n");
    let state = place.path().join("s");
    for (command, code) in [("status", 1), ("restore", 0)] {
        let mut outrigger = outrigger();
        outrigger.arg(command).args(["--config", &path]).arg("--state-dir").arg(&state);
        let output = outrigger.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{command}: {output:?}");
        assert!(stderr(&output).contains("o.toml:1:1: x: unknown key"), "{command}");
    }
}

#[test]
fn what_is_in_force_is_shown_with_its_origin() {
    let (_place, path) = file("[timing]\ntick = \"1s\"\n");
    let mut command = outrigger();
    command.args(["config", "show", "--config", &path, "--log", "info"]);
    command.env("OUTRIGGER__TIMING__DWELL", "7s");
    let shown = stdout(&command.output().unwrap());
    for (value, origin) in [
        ("tick = \"1s\"", "o.toml:2:8"),
        ("dwell = \"7s\"", "environment OUTRIGGER__TIMING__DWELL"),
        ("level = \"info\"", "command line --log"),
        ("cool_down = \"10s\"", "built-in default"),
    ] {
        let line = shown.lines().find(|line| line.starts_with(value));
        assert!(line.is_some_and(|line| line.ends_with(origin)), "{value}: {line:?}");
    }
    let output = command.arg("--json").output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["config"]["timing"]["dwell"], "7s");
    assert_eq!(answer["origins"]["log.level"], "command line --log");
}

#[test]
fn a_wrong_variable_is_refused() {
    let mut command = outrigger();
    let output = command.args(["config", "check"]).env("OUTRIGGER__TIMING__TICK", "soon").output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("environment OUTRIGGER__TIMING__TICK: timing.tick: \"soon\""));
}
