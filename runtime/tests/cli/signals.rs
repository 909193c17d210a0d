//! Signals sent to `outrigger run` reach CMD and what it has started in its group.

use super::run;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    fn start(script: &str) -> Self {
        let mut child = run(&["--", "sh", "-c", script])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }
    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }
    fn send(&self, signal: i32) {
        // SAFETY: kill touches no memory; the child is ours and not reaped.
        assert_eq!(unsafe { libc::kill(self.child.id().cast_signed(), signal) }, 0);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only if a test failed before the end.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.send(libc::SIGTERM);
            let _ = self.child.wait();
        }
    }
}

#[test]
fn signals_are_passed_on() {
    for (name, signal) in [
        ("INT", libc::SIGINT),
        ("TERM", libc::SIGTERM),
        ("HUP", libc::SIGHUP),
        ("QUIT", libc::SIGQUIT),
        ("USR1", libc::SIGUSR1),
        ("USR2", libc::SIGUSR2),
        ("WINCH", libc::SIGWINCH),
    ] {
        // Short sleeps in the foreground: shells lose a signal now and then that ends a `wait`.
        let script = format!("trap 'exit 42' {name}; echo ready; while :; do sleep 0.05; done");
        let mut running = Running::start(&script);
        assert_eq!(running.line(), "ready");
        running.send(signal);
        assert_eq!(running.child.wait().unwrap().code(), Some(42), "SIG{name}");
    }
}

#[test]
fn a_command_that_ignores_a_signal_goes_on() {
    let mut running =
        Running::start("trap 'echo no' TERM; echo ready; while :; do sleep 0.05; done");
    assert_eq!(running.line(), "ready");
    running.send(libc::SIGTERM);
    assert_eq!(running.line(), "no");
    assert!(running.child.try_wait().unwrap().is_none());
    running.send(libc::SIGQUIT);
    assert_eq!(running.child.wait().unwrap().code(), Some(128 + libc::SIGQUIT));
}

#[test]
fn a_signal_reaches_the_whole_group() {
    // The inner process is a child of the shell, not of outrigger.
    let mut running = Running::start(
        "trap : USR1; sh -c 'trap \"echo inner; exit\" USR1; echo ready; while :; do sleep 0.05; done' & \
         while kill -0 $!; do sleep 0.05; done",
    );
    assert_eq!(running.line(), "ready");
    running.send(libc::SIGUSR1);
    assert_eq!(running.line(), "inner");
}

#[test]
fn the_command_starts_with_no_signal_blocked() {
    // Not through a shell: shells begin by unblocking.
    let output = run(&["--", "grep", "SigBlk", "/proc/self/status"]).output().unwrap();
    assert_eq!(super::stdout(&output), "SigBlk:\t0000000000000000\n");
}
