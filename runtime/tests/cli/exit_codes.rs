//! CMD's exit code is passed on, and ours cannot be taken for it.

use super::{outrigger, run, stderr, stdout};

fn code(arguments: &[&str]) -> i32 {
    run(arguments).output().unwrap().status.code().unwrap()
}

#[test]
fn the_commands_own_code_is_passed_on() {
    for wanted in [0, 1, 7, 125, 255] {
        assert_eq!(code(&["--", "sh", "-c", &format!("exit {wanted}")]), wanted);
    }
}

#[test]
fn death_by_signal_is_128_and_its_number() {
    assert_eq!(code(&["--", "sh", "-c", "kill -KILL $$"]), 128 + 9);
    assert_eq!(code(&["--", "sh", "-c", "kill -SEGV $$"]), 128 + 11);
}

#[test]
fn what_cannot_be_executed_is_126_and_what_is_not_there_127() {
    assert_eq!(code(&["--", "/etc/passwd"]), 126);
    assert_eq!(code(&["--", "/"]), 126);
    assert_eq!(code(&["--", "/nonexistent/program"]), 127);
    assert_eq!(code(&["--", "outrigger-test-no-such-program"]), 127);
}

#[test]
fn bad_usage_of_run_is_125_and_of_others_2() {
    assert_eq!(code(&["--no-such-option", "--", "true"]), 125);
    assert_eq!(code(&["--best-effort", "nmae=x", "--", "true"]), 125);
    assert_eq!(code(&[]), 125);
    let attach = outrigger().args(["attach", "--best-effort", "name=x"]).output().unwrap();
    assert_eq!(attach.status.code(), Some(2));
    let told = stderr(&attach);
    assert!(told.contains("<--pid <N>|--cgroup <PATH>|--match <EXPR>>"), "{told}");
    assert_eq!(outrigger().arg("no-such-command").output().unwrap().status.code(), Some(2));
}

#[test]
fn a_command_that_cannot_be_governed_runs_and_the_reason_is_told() {
    let output = run(&["--", "echo", "ran"]).output().unwrap();
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "ran\n"));
    let told = stderr(&output);
    assert!(told.contains("echo runs ungoverned") && told.contains(super::NOWHERE), "{told}");
}

#[test]
fn a_command_that_must_be_governed_does_not_run() {
    let output = run(&["--require", "--", "echo", "ran"]).output().unwrap();
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(125), ""));
    assert!(stderr(&output).contains(super::NOWHERE));
}

#[test]
fn a_bad_configuration_does_not_keep_a_command_from_running() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("bad.toml");
    std::fs::write(&file, "[timing]\ntik = \"1s\"\n").unwrap();
    let file = file.to_str().unwrap();
    let output = run(&["--config", file, "--", "echo", "ran"]).output().unwrap();
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "ran\n"));
    assert!(stderr(&output).contains("bad.toml:2:1: timing.tik: unknown key"));
    assert_eq!(code(&["--require", "--config", file, "--", "true"]), 125);
}

#[test]
fn arguments_and_surroundings_are_the_commands_own() {
    let script = "echo \"$1|$2|$WORD\"; pwd; cat";
    let mut command = run(&["--", "sh", "-c", script, "sh", "--json", "a  b"]);
    let mut child = command
        .env("WORD", "kept")
        .current_dir("/")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"input").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(stdout(&output), "--json|a  b|kept\n/\ninput");
}

#[test]
fn a_child_whose_gate_is_closed_runs_nothing() {
    let place = tempfile::tempdir().unwrap();
    let mark = place.path().join("ran");
    // Descriptor 3 is open and at its end, as the gate is when whoever held it is gone.
    let script = "exec \"$0\" launch --gate 3 -- touch \"$1\" 3</dev/null";
    let status = std::process::Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_outrigger")])
        .arg(&mark)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(125));
    assert!(!mark.exists());
}
