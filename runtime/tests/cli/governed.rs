//! `run` where it can govern: the command is in its context before its first instruction.

use super::{stderr, stdout};
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// Why this cannot be tried here, if it cannot.
pub(super) fn obstacle() -> Option<&'static str> {
    // SAFETY: geteuid takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        Some("not root")
    } else if !Path::new("/sys/fs/cgroup/cpu/cpu.shares").exists() {
        Some("no cgroup v1 hierarchy of the CPU controller")
    } else {
        None
    }
}

/// A directory with the program and its plugins side by side, as they are installed.
pub(super) fn installed() -> TempDir {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let link = |from: &Path| {
        std::fs::hard_link(from, place.path().join(from.file_name().unwrap())).unwrap();
    };
    link(Path::new(env!("CARGO_BIN_EXE_outrigger")));
    // Built before this test, as dependencies, into the directory of the test's own executable.
    let this = std::env::current_exe().unwrap();
    for plugin in ["liboutrigger_linux_proc.so", "liboutrigger_linux_cgroup1.so"] {
        link(&this.with_file_name(plugin));
    }
    place
}

fn governed(arguments: &[&str]) -> Option<(Output, String)> {
    if let Some(obstacle) = obstacle() {
        outrigger_skip::skip(obstacle);
        return None;
    }
    let program = installed();
    let state = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut command = Command::new(program.path().join("outrigger"));
    command.arg("run").arg("--state-dir").arg(state.path().join("s")).args(arguments);
    let output = command.output().unwrap();
    let left = std::fs::read_dir(state.path().join("s")).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(left.is_empty(), "left behind in the state directory: {left:?}");
    let told = stderr(&output);
    Some((output, told))
}

#[test]
fn the_command_is_in_its_context_from_its_first_instruction() {
    let arguments = ["--require", "--", "cat", "/proc/self/cgroup"];
    let Some((output, told)) = governed(&arguments) else { return };
    assert_eq!(output.status.code(), Some(0), "{told}");
    let said = stdout(&output);
    let context = said.lines().find_map(|line| line.split_once(":cpu:")).map(|(_, path)| path);
    let context = context.filter(|path| path.starts_with("/outrigger-run-"));
    let context = context.unwrap_or_else(|| panic!("not in a context of ours: {said}"));
    assert!(!Path::new("/sys/fs/cgroup/cpu").join(&context[1..]).exists());
}

#[test]
fn a_dry_run_runs_the_command_where_it_is() {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let arguments = ["--dry-run", "--", "cat", "/proc/self/cgroup"];
    let Some((output, told)) = governed(&arguments) else { return };
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), own), "{told}");
}

#[test]
fn a_daemon_of_the_command_is_found_in_the_context() {
    // It leaves the session and the family: its parent is gone before it is looked for.
    let script = "setsid sh -c 'sleep 1000 >/dev/null 2>&1 & \
                  until grep -q sleep /proc/$!/comm; do :; done; echo $!' & wait; exit 3";
    let Some((output, told)) = governed(&["--require", "--", "sh", "-c", script]) else { return };
    assert_eq!(output.status.code(), Some(3), "{told}");
    let pid = stdout(&output).trim().to_owned();
    assert!(told.contains(&format!("process {pid} (sleep) had made itself a daemon")), "{told}");
    assert!(!Path::new("/proc").join(&pid).join("exe").exists());
}
