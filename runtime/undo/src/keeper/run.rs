//! What the keeper process does from its start to its end.

use super::signals;
use crate::journal::{file, reader};
use crate::{JournalError, Report, Task, knob, restore};
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// File in the state directory in which the keeper says what became of each change.
pub const REPORT: &str = "restore-report.json";

/// How often an owner is looked at where the kernel has no pidfd (before 5.3), and the journal
/// after `SIGTERM`.
const LOOK: Duration = Duration::from_millis(50);
/// Failures may pass, such as a task that is about to die: pauses before trying again.
const RETRIES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2)];
/// How long somebody else's `outrigger restore` is waited for.
const OTHERS_PATIENCE: Duration = Duration::from_secs(15);

/// Waits for the owner's end and restores. Success means that nothing is left changed.
///
/// Says `ready` on standard output once it waits, and nothing there afterwards.
pub fn main(dir: &Path, owner: Task) -> ExitCode {
    match keep(dir, owner) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tell(&format!("the keeper of process {} failed: {error}", owner.pid));
            ExitCode::FAILURE
        }
    }
}

fn keep(dir: &Path, owner: Task) -> Result<bool, JournalError> {
    let signals = signals::install().map_err(JournalError::io("handle signals for", dir))?;
    let pidfd = open_pidfd(owner.pid);
    // The number may have been reused before the descriptor was opened, never after.
    let mut alive = knob::is_alive(owner);
    // If nobody hears it the owner has died meanwhile, and it is time to act. An owner that lives
    // and did not hear it ends us and starts another.
    let _ = say_ready();
    let mut told_to_end = false;
    while alive {
        // SIGTERM with no journal: nothing is left to guard.
        if told_to_end && !file::journal(dir).exists() {
            return Ok(true);
        }
        let look = (told_to_end || pidfd.is_none()).then_some(LOOK);
        told_to_end |= wait(pidfd.as_ref(), &signals, look);
        alive = knob::is_alive(owner);
    }
    let Some(report) = restore_patiently(dir, owner)? else { return Ok(true) };
    if report != Report::default() {
        write_report(dir, &report)?;
    }
    Ok(report.is_clean())
}

/// Waits for the owner's end, a signal or the time; answers whether a signal came.
fn wait(pidfd: Option<&OwnedFd>, signals: &OwnedFd, time: Option<Duration>) -> bool {
    let watch =
        |fd: &OwnedFd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // A negative descriptor is passed over.
    let none = libc::pollfd { fd: -1, events: 0, revents: 0 };
    let mut watched = [watch(signals), pidfd.map_or(none, watch)];
    let time = time.map_or(-1, |time| time.as_millis() as libc::c_int);
    // SAFETY: two descriptors are watched and `watched` holds two. An interrupted call is as good
    // as one that came back early: everything is looked at again.
    unsafe { libc::poll(watched.as_mut_ptr(), 2, time) };
    let signalled = watched[0].revents & libc::POLLIN != 0;
    if signalled {
        signals::drain(signals);
    }
    signalled
}

/// A descriptor that becomes readable when the process ends; `None` where there is no such thing.
fn open_pidfd(pid: u32) -> Option<OwnedFd> {
    // SAFETY: takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    // SAFETY: the descriptor is open and nobody else's.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// Restores, again while there are failures, and waits for another restorer to be done. `None`
/// if there is nothing to restore, or it is in other hands.
fn restore_patiently(dir: &Path, owner: Task) -> Result<Option<Report>, JournalError> {
    let started = Instant::now();
    let mut pauses = RETRIES.iter();
    let mut whole: Option<Report> = None;
    loop {
        match reader::read(dir) {
            Ok(None) => return Ok(whole),
            // A new sidecar has taken over, with a keeper of its own.
            Ok(Some(found)) if found.owner != owner => return Ok(whole),
            _ => {}
        }
        match restore(dir) {
            Ok(report) => {
                let merged = merge(whole.take(), report);
                let pause = pauses.next().filter(|_| merged.failures().next().is_some());
                whole = Some(merged);
                match pause {
                    Some(pause) => std::thread::sleep(*pause),
                    None => return Ok(whole),
                }
            }
            Err(JournalError::Busy(_)) if started.elapsed() < OTHERS_PATIENCE => {
                std::thread::sleep(LOOK)
            }
            Err(JournalError::InUse { .. }) => return Ok(whole),
            Err(error) => return Err(error),
        }
    }
}

/// A later attempt has more to say about what it looked at again.
fn merge(earlier: Option<Report>, later: Report) -> Report {
    let Some(mut whole) = earlier else { return later };
    whole.items.retain(|item| later.items.iter().all(|again| again.token != item.token));
    whole.items.extend(later.items);
    whole.items.sort_by_key(|item| item.token);
    whole.descendants += later.descendants;
    whole.unreadable = later.unreadable;
    whole.notes.extend(later.notes);
    whole
}

fn write_report(dir: &Path, report: &Report) -> Result<(), JournalError> {
    let failures = report.failures().count();
    tell(&format!(
        "the sidecar ended without putting things back; the keeper did: {} of {} changes settled, {failures} failed",
        report.items.len() - failures,
        report.items.len(),
    ));
    let (path, fresh) = (dir.join(REPORT), dir.join("restore-report.new"));
    let json = serde_json::to_vec_pretty(report)
        .map_err(|error| JournalError::Nonsense(error.to_string()))?;
    fs::write(&fresh, json).map_err(JournalError::io("write", &fresh))?;
    fs::rename(&fresh, &path).map_err(JournalError::io("rename", &fresh))
}

/// Nobody may be listening any more.
fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "outrigger: {text}");
}

/// The sidecar waits for this line. Afterwards standard output is let go of, so that whoever
/// reads the sidecar's does not wait for the keeper.
fn say_ready() -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(b"ready\n")?;
    out.flush()?;
    let null = fs::OpenOptions::new().write(true).open("/dev/null")?;
    // SAFETY: both descriptors are open.
    match unsafe { libc::dup2(null.as_raw_fd(), libc::STDOUT_FILENO) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
