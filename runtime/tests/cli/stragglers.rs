//! What CMD leaves running is ended, however it hides.

use super::{run, stderr, stdout, until};
use outrigger_undo::{Task, knob};
use std::process::Output;

/// Runs a script that prints the numbers of processes it leaves behind.
fn leave(script: &str) -> (Output, Vec<u32>) {
    let output = run(&["--", "sh", "-c", script]).output().unwrap();
    let pids = stdout(&output).split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    (output, pids)
}

fn is_gone(pid: u32) -> bool {
    // Another process could have the number by now, but not one that sleeps for us.
    let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    !command.contains("sleep") || knob::identify(pid).is_none()
}

#[test]
fn children_in_the_background_are_ended() {
    let (output, pids) = leave("sleep 1000 >/dev/null 2>&1 & echo $!; exit 5");
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(pids.len(), 1);
    assert!(pids.into_iter().all(is_gone));
}

#[test]
fn daemons_are_ended_and_reported() {
    let script = "setsid sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1' & \
                  until grep -q sleep /proc/$!/comm; do :; done";
    let (output, pids) = leave(script);
    assert_eq!(pids.len(), 1, "{output:?}");
    assert!(pids.iter().copied().all(is_gone));
    let told = stderr(&output);
    assert!(
        told.contains(&format!("process {} (sleep) had made itself a daemon", pids[0])),
        "{told}"
    );
}

#[test]
fn what_does_not_end_when_asked_to_is_killed() {
    let (output, pids) = leave("trap '' TERM; sleep 1000 >/dev/null 2>&1 & echo $!");
    assert!(pids.iter().copied().all(is_gone));
    assert!(stderr(&output).contains("did not end when asked to and was killed"), "{output:?}");
}

#[test]
fn what_is_stopped_is_ended_too() {
    let script = "sleep 1000 >/dev/null 2>&1 & kill -STOP $!; echo $!";
    let (_, pids) = leave(script);
    assert!(pids.into_iter().all(is_gone));
}

#[test]
fn what_keeps_forking_is_ended() {
    // Each generation starts the next and ends; a mark in the environment finds them all.
    let mark = format!("OUTRIGGER_TEST_MARK={}", std::process::id());
    let script = "f() { sleep 0.01; f & }; f >/dev/null 2>&1 &";
    let output = run(&["--", "env", &mark, "sh", "-c", script]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let marked = || {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        entries
            .filter(|entry| {
                let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
                environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
            })
            .count()
    };
    assert_eq!(marked(), 0);
}

#[test]
fn orphans_that_end_do_not_stay_as_zombies() {
    let script = "(sh -c 'exit 0' &); (sh -c 'exit 0' &); echo ready; read line";
    let mut child = run(&["--", "sh", "-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let owner: Task = knob::identify(child.id()).unwrap();
    let mut line = String::new();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
    let children = || {
        let path = format!("/proc/{0}/task/{0}/children", owner.pid);
        std::fs::read_to_string(path).unwrap_or_default().split_whitespace().count()
    };
    until("only the command is left as a child", || children() == 1);
    drop(child.stdin.take());
    child.wait().unwrap();
}
