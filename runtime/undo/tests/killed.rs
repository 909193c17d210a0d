//! The sidecar is killed, and the keeper, or the next start, puts everything back.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use outrigger_undo::{Journal, JournalError, Kind, Report, keeper, knob, restore};
use std::path::Path;
use support::await_that;
use support::cgroup::{CPU, Cgroup};
use support::change::{change, outcomes};
use support::child::{Process, keeper_program, signal};
use support::look::{self, snapshot};

/// A sidecar that has changed what it was told to, and the number of its keeper.
fn sidecar(state: &Path, temp: &Path, context: &str, pids: &[u32]) -> (Process, u32) {
    let mut arguments = vec![state.to_str().unwrap().to_owned(), temp.to_str().unwrap().to_owned()];
    arguments.push(context.to_owned());
    arguments.extend(pids.iter().map(u32::to_string));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let sidecar = Process::in_role("sidecar", &arguments);
    await_that("the sidecar has changed everything", || temp.join("done").exists());
    (sidecar, std::fs::read_to_string(temp.join("keeper")).unwrap().parse().unwrap())
}

fn report(state: &Path) -> Report {
    serde_json::from_slice(&std::fs::read(state.join(keeper::REPORT)).unwrap()).unwrap()
}

#[test]
fn the_keeper_restores_after_sigkill() {
    needs_cgroup_v1!();
    let temp = tempfile::tempdir().unwrap();
    let state = temp.path().join("state");
    let group = Cgroup::name(CPU);
    let (one, two) = (Process::with_threads(2), Process::asleep());
    let pids = [one.pid(), two.pid()];
    let before = snapshot(&pids, &[]);
    let (mut sidecar, keeper) = sidecar(&state, temp.path(), &group.text(), &pids);
    assert_ne!(snapshot(&pids, &[]), before);
    assert_eq!(group.read("cpu.shares"), "2");
    let stat = knob::stat(keeper, 0).unwrap();
    assert_eq!((stat.session, stat.group), (keeper, keeper), "in a session of its own");
    sidecar.kill();
    await_that("the keeper ended", || knob::identify(keeper).is_none());
    assert_eq!(snapshot(&pids, &[]), before);
    assert!(!group.path.exists());
    assert!(!state.join("journal").exists());
    assert!(report(&state).is_clean());
}

#[test]
fn a_keeper_that_is_killed_too_leaves_it_to_the_next_start() {
    needs_root!();
    let temp = tempfile::tempdir().unwrap();
    let state = temp.path().join("state");
    let process = Process::asleep();
    let before = snapshot(&[process.pid()], &[]);
    let (mut sidecar, keeper) = sidecar(&state, temp.path(), "-", &[process.pid()]);
    let owner = sidecar.task();
    assert!(
        matches!(restore(&state), Err(JournalError::InUse { owner: found, .. }) if found == owner)
    );
    signal(keeper, libc::SIGKILL);
    sidecar.kill();
    assert_ne!(snapshot(&[process.pid()], &[]), before);
    assert!(matches!(Journal::create(&state), Err(JournalError::Unfinished { .. })));
    let report = restore(&state).unwrap();
    assert_eq!(outcomes(&report), ["restored"]);
    assert_eq!(snapshot(&[process.pid()], &[]), before);
    assert!(Journal::create(&state).is_ok());
}

#[test]
fn the_next_start_puts_back_what_both_left() {
    needs_root!();
    let temp = tempfile::tempdir().unwrap();
    let state = temp.path().join("state");
    let process = Process::asleep();
    let before = snapshot(&[process.pid()], &[]);
    left_behind(&state, temp.path(), &process);
    let journal = Journal::create_after_restoring(&state).unwrap();
    assert_eq!(snapshot(&[process.pid()], &[]), before);
    assert_eq!(journal.outstanding().count(), 0);
}

#[test]
fn a_start_right_after_a_kill_does_not_trip_over_the_keeper() {
    needs_root!();
    let temp = tempfile::tempdir().unwrap();
    let state = temp.path().join("state");
    let process = Process::with_threads(20);
    let before = snapshot(&[process.pid()], &[]);
    let (mut sidecar, keeper) = sidecar(&state, temp.path(), "-", &[process.pid()]);
    sidecar.kill();
    let journal = Journal::create_after_restoring(&state).unwrap();
    assert_eq!(snapshot(&[process.pid()], &[]), before);
    assert_eq!(journal.outstanding().count(), 0);
    await_that("the keeper ended", || knob::identify(keeper).is_none());
    assert!(state.join("journal").exists(), "it is the new one's");
}

#[test]
fn what_a_dead_sidecar_changed_can_be_adopted() {
    needs_root!();
    let temp = tempfile::tempdir().unwrap();
    let state = temp.path().join("state");
    let process = Process::asleep();
    let (mut sidecar, keeper) = sidecar(&state, temp.path(), "-", &[process.pid()]);
    signal(keeper, libc::SIGKILL);
    sidecar.kill();
    let mut journal = Journal::adopt(&state).unwrap();
    assert_eq!(look::of(process.pid(), "nice"), "11", "without a gap");
    change(&mut journal, Kind::Nice, Some(process.thread()), "", "15");
    assert_eq!(outcomes(&journal.undo_all()), ["restored"]);
    assert_eq!(look::of(process.pid(), "nice"), "0");
}

#[test]
fn the_keeper_survives_sigterm_while_its_owner_lives() {
    needs_root!();
    let temp = tempfile::tempdir().unwrap();
    let state = temp.path().join("state");
    let process = Process::asleep();
    let (mut sidecar, keeper) = sidecar(&state, temp.path(), "-", &[process.pid()]);
    for each in [libc::SIGINT, libc::SIGHUP, libc::SIGTERM] {
        signal(keeper, each);
    }
    sidecar.kill();
    await_that("the keeper ended", || knob::identify(keeper).is_none());
    assert_eq!(look::of(process.pid(), "nice"), "0");
    assert_eq!(outcomes(&report(&state)), ["restored"]);
}

#[test]
fn a_keeper_is_dismissed_when_all_is_back_and_stays_when_it_is_not() {
    needs_root!();
    let temp = tempfile::tempdir().unwrap();
    let state = temp.path().join("state");
    let process = Process::asleep();
    let mut handle = keeper::spawn(&keeper_program(temp.path()), &state).unwrap();
    let mut journal = Journal::create(&state).unwrap();
    change(&mut journal, Kind::Nice, Some(process.thread()), "", "4");
    assert!(handle.is_alive());
    assert!(journal.undo_all().is_clean());
    assert!(journal.finish().unwrap());
    assert!(handle.dismiss().unwrap());
    assert!(!state.join(keeper::REPORT).exists(), "nothing had to be restored");

    let other = temp.path().join("other");
    let mut handle = keeper::spawn(&keeper_program(temp.path()), &other).unwrap();
    let keeper = handle.pid();
    let mut journal = Journal::create(&other).unwrap();
    change(&mut journal, Kind::Nice, Some(process.thread()), "", "4");
    assert!(!handle.dismiss().unwrap());
    assert!(knob::identify(keeper).is_some());
    journal.undo_all();
    journal.finish().unwrap();
    signal(keeper, libc::SIGTERM);
    await_that("the keeper ended", || knob::identify(keeper).is_none());
}

#[test]
fn a_program_that_is_no_keeper_is_an_error() {
    let temp = tempfile::tempdir().unwrap();
    assert!(keeper::spawn(Path::new("/bin/true"), temp.path()).is_err());
    assert!(keeper::spawn(Path::new("/nowhere/outrigger"), temp.path()).is_err());
}

/// A journal as a dead sidecar left it, with its lines.
fn left_behind(state: &Path, temp: &Path, process: &Process) -> Vec<u8> {
    let (mut sidecar, keeper) = sidecar(state, temp, "-", &[process.pid()]);
    signal(keeper, libc::SIGKILL);
    sidecar.kill();
    std::fs::read(state.join("journal")).unwrap()
}

#[test]
fn a_torn_last_line_is_nothing_and_a_damaged_one_is_reported() {
    needs_root!();
    let temp = tempfile::tempdir().unwrap();
    let state = temp.path().join("state");
    let process = Process::with_threads(1);
    let whole = left_behind(&state, temp.path(), &process);
    let path = state.join("journal");

    let mut damaged = whole.clone();
    let first_end = whole.iter().position(|byte| *byte == b'\n').unwrap();
    damaged[first_end + 30] ^= 4;
    damaged.extend_from_slice(b"12345678 {\"record\":\"wil");
    std::fs::write(&path, &damaged).unwrap();
    let report = restore(&state).unwrap();
    assert_eq!((report.unreadable, report.is_clean()), (1, false));
    assert!(!report.items.is_empty());
    assert!(!path.exists() && state.join("journal.damaged").exists());

    std::fs::write(&path, [whole.as_slice(), b"12345678 {\"record\":\"wil"].concat()).unwrap();
    let report = restore(&state).unwrap();
    assert!(report.is_clean(), "{report:?}");
    for tid in look::threads(process.pid()) {
        assert_eq!(look::thread(process.pid(), tid)[0].1, "0");
    }
}

#[test]
fn a_journal_of_another_boot_is_dropped() {
    needs_root!();
    let temp = tempfile::tempdir().unwrap();
    let state = temp.path().join("state");
    let process = Process::asleep();
    let whole = String::from_utf8(left_behind(&state, temp.path(), &process)).unwrap();
    let boot = look::text("/proc/sys/kernel/random/boot_id");
    let (header, rest) = whole.split_once('\n').unwrap();
    let header = header.split_once(' ').unwrap().1.replace(boot.trim(), "another");
    let sum = crc32fast::hash(header.as_bytes());
    std::fs::write(state.join("journal"), format!("{sum:08x} {header}\n{rest}")).unwrap();
    let report = restore(&state).unwrap();
    assert!(report.items.is_empty() && report.notes.len() == 1, "{report:?}");
    assert_eq!(look::of(process.pid(), "nice"), "11", "nothing was touched");
    assert!(!state.join("journal").exists());
}

#[test]
fn restoring_waits_until_everybody_who_may_write_is_dead() {
    needs_root!();
    let temp = tempfile::tempdir().unwrap();
    let state = temp.path().join("state");
    let process = Process::asleep();
    left_behind(&state, temp.path(), &process);
    std::fs::write(state.join("restore.lock"), "").unwrap();
    // A child of the dead sidecar that writes for it.
    let writer = outrigger_undo::hold_writers(&state).unwrap();
    let restoring = std::thread::spawn({
        let state = state.clone();
        move || restore(&state).unwrap()
    });
    use std::os::unix::fs::MetadataExt;
    let inode = || format!(":{} ", std::fs::metadata(state.join("restore.lock")).unwrap().ino());
    await_that("it holds its lock", || look::text("/proc/locks").contains(&inode()));
    assert!(matches!(restore(&state), Err(JournalError::Busy(_))));
    assert_eq!(look::of(process.pid(), "nice"), "11");
    drop(writer);
    assert!(restoring.join().unwrap().is_clean());
    assert_eq!(look::of(process.pid(), "nice"), "0");
}
