//! Tasks that end in a context of ours that stays cost no sweep, and their children still go home.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use outrigger_undo::{Journal, Kind, Task, knob};
use support::cgroup::{CPU, Cgroup};
use support::change::{change, outcomes};
use support::child::Process;
use support::{look, of_group};

/// A shell in a cgroup of its own that waits for a file, has a child and ends.
struct Parent {
    home: Cgroup,
    go: std::path::PathBuf,
    shell: Process,
    _temp: tempfile::TempDir,
}

impl Parent {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let go = temp.path().join("go");
        let wait =
            format!("while ! [ -e {0} ]; do sleep 0.01; done; sleep 600 & exit", go.display());
        let (home, shell) = (Cgroup::create(CPU), Process::shell(&wait));
        home.write("cgroup.procs", &shell.pid().to_string());
        Self { home, go, shell, _temp: temp }
    }

    /// The child, once the parent has ended.
    fn child(&self) -> u32 {
        std::fs::write(&self.go, "").unwrap();
        support::await_that("the shell ended", || knob::identify(self.shell.pid()).is_none());
        of_group(self.shell.pid())[0]
    }
}

fn place(journal: &mut Journal, group: &Cgroup, task: Task) {
    change(journal, Kind::Membership, Some(task), CPU, &group.inner());
}

#[test]
fn a_child_born_in_a_context_stays_with_it_and_goes_home_when_it_is_removed() {
    needs_cgroup_v1!();
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(dir.path()).unwrap();
    let (mut parent, group) = (Parent::new(), Cgroup::name(CPU));
    change(&mut journal, Kind::Context, None, &group.text(), "present");
    place(&mut journal, &group, parent.shell.task());
    let child = parent.child();
    let ended = journal.undo(|entry| entry.operation.kind == Kind::Membership);
    let meanwhile = look::cpu_cgroup(child, child);
    let again = journal.undo(|entry| entry.operation.kind == Kind::Nice);
    let removed = journal.undo(|entry| entry.operation.kind == Kind::Context);
    let finally = look::cpu_cgroup(child, child);
    parent.shell.kill_group();
    assert_eq!(outcomes(&ended), ["gone"]);
    assert_eq!(meanwhile, group.inner(), "nobody was swept out of a context that stays");
    assert_eq!(outcomes(&again), [""; 0], "told once");
    assert_eq!(outcomes(&removed), ["restored", "gone"], "{removed:?}");
    assert_eq!(finally, parent.home.inner());
    assert!(!group.path.exists());
    assert_eq!(journal.outstanding().count(), 0);
}

#[test]
fn the_same_after_a_kill() {
    needs_cgroup_v1!();
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(dir.path()).unwrap();
    let (mut parent, group) = (Parent::new(), Cgroup::name(CPU));
    change(&mut journal, Kind::Context, None, &group.text(), "present");
    place(&mut journal, &group, parent.shell.task());
    let child = parent.child();
    journal.undo(|entry| entry.operation.kind == Kind::Membership);
    drop(journal);
    let report = Journal::adopt(dir.path()).unwrap().undo_all();
    let finally = look::cpu_cgroup(child, child);
    parent.shell.kill_group();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(finally, parent.home.inner());
    assert!(!group.path.exists());
}

#[test]
fn the_dead_do_not_pile_up() {
    needs_cgroup_v1!();
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(dir.path()).unwrap();
    let group = Cgroup::name(CPU);
    change(&mut journal, Kind::Context, None, &group.text(), "present");
    for own_session in [false, true] {
        for _ in 0..100 {
            let mut process =
                if own_session { Process::asleep_in_own_session() } else { Process::asleep() };
            support::await_that("it sleeps", || {
                look::text(&format!("/proc/{}/comm", process.pid())) == "sleep\n"
            });
            place(&mut journal, &group, process.task());
            process.kill();
            let report = journal.undo(|entry| entry.operation.kind == Kind::Membership);
            assert_eq!(outcomes(&report), ["gone"]);
        }
    }
    let kept = journal.outstanding().count();
    assert!(kept < 80, "{kept} are kept");
    assert!(journal.undo_all().is_clean());
    assert!(!group.path.exists());
}
