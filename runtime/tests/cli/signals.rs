//! Signals sent to `outrigger run` reach CMD and what it has started in its group.

use super::{run, stdout};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

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

/// Starts `command` with some signals blocked and ignored, or with none; SIGPIPE among them, which
/// Rust's runtime sets in each process that it starts and in each that it is the runtime of.
fn with_signals(command: &mut Command, taken: bool) -> String {
    const SOME: [libc::c_int; 3] = [libc::SIGPIPE, libc::SIGUSR1, libc::SIGALRM];
    // SAFETY: all of it is async-signal-safe; an all-zero set is valid, and is filled first.
    unsafe {
        command.pre_exec(move || {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in SOME {
                libc::signal(signal, if taken { libc::SIG_IGN } else { libc::SIG_DFL });
                if taken {
                    libc::sigaddset(&raw mut set, signal);
                }
            }
            libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
            Ok(())
        });
    }
    stdout(&command.output().unwrap())
}

#[test]
fn the_command_starts_with_the_signals_that_run_was_started_with() {
    // Not through a shell: shells begin by unblocking.
    let look = ["grep", "-E", "SigBlk|SigIgn", "/proc/self/status"];
    let mut seen = Vec::new();
    for taken in [false, true] {
        let direct = with_signals(super::plain(look[0]).args(&look[1..]), taken);
        let governed = with_signals(&mut run(&["--", look[0], look[1], look[2], look[3]]), taken);
        assert_eq!(governed, direct);
        seen.push(direct);
    }
    assert_ne!(seen[0], seen[1], "nothing was tried");
}
