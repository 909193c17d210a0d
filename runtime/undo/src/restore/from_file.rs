//! Restoring from the journal of a process that is dead.

use super::{Kernel, Report, give_back};
use crate::journal::{JournalError, file, reader};
use crate::{Entry, Task, knob};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long processes that write for the dead owner are waited for. They hold a lock
/// ([`crate::hold_writers`]) that the kernel drops when they die.
const WRITERS_PATIENCE: Duration = Duration::from_secs(10);

/// Puts back what the journal in `dir` holds, and removes it if nothing is left to put back. An
/// absent journal is an empty report.
///
/// # Errors
/// The owner is alive and is not the caller; somebody else is restoring; the file cannot be read.
pub fn restore(dir: &Path) -> Result<Report, JournalError> {
    if !dir.exists() {
        return Ok(Report::default());
    }
    file::prepare(dir)?;
    let _alone = file::exclude_restorers(dir)?;
    let Some(found) = reader::read(dir)? else { return Ok(Report::default()) };
    let path = file::journal(dir);
    let mut notes = Vec::new();
    if found.boot != crate::host::boot_id()? {
        notes.push(
            "the journal was of an earlier boot, with which its changes have gone".to_owned(),
        );
        fs::remove_file(&path).map_err(JournalError::io("remove", &path))?;
        return Ok(Report { notes, ..Report::default() });
    }
    let is_caller = found.owner.pid == std::process::id();
    if !is_caller && knob::is_alive(found.owner) {
        return Err(JournalError::InUse { path: dir.to_owned(), owner: found.owner });
    }
    let _writers = if is_caller { None } else { wait_for_writers(dir, &mut notes)? };
    // Read again: a writer may have got a line in while it was dying.
    let Some(found) = reader::read(dir)? else { return Ok(Report::default()) };
    let entries: Vec<&Entry> = found.book.entries().collect();
    let mut report = give_back(&Kernel::default(), &entries, &|_| true);
    report.unreadable = found.unreadable;
    report.notes.splice(0..0, notes);
    if report.failures().next().is_none() {
        finish(dir, &mut report)?;
    } else {
        close_done(dir, found.length, &report);
    }
    Ok(report)
}

/// What a journal holds, without changing anything.
#[derive(Clone, Debug)]
pub struct Outstanding {
    /// Who wrote it.
    pub owner: Task,
    /// Whether that process is alive: then what it changed is its own business.
    pub is_owner_alive: bool,
    /// The knobs that are not as they were found, as far as the journal says.
    pub entries: Vec<Entry>,
}

/// Reads the journal in `dir` and touches nothing; `None` if there is none, or only one of an
/// earlier boot, with which its changes have gone.
///
/// # Errors
/// The file cannot be read.
pub fn outstanding(dir: &Path) -> Result<Option<Outstanding>, JournalError> {
    let Some(found) = reader::read(dir)? else { return Ok(None) };
    if found.boot != crate::host::boot_id()? {
        return Ok(None);
    }
    Ok(Some(Outstanding {
        owner: found.owner,
        is_owner_alive: knob::is_alive(found.owner),
        entries: found.book.entries().cloned().collect(),
    }))
}

/// `None`, and a note, if they do not die: what they may still write cannot be waited for.
fn wait_for_writers(dir: &Path, notes: &mut Vec<String>) -> Result<Option<fs::File>, JournalError> {
    let started = Instant::now();
    loop {
        if let Some(lock) = file::exclude_writers(dir)? {
            return Ok(Some(lock));
        }
        if started.elapsed() > WRITERS_PATIENCE {
            notes.push(
                "processes that wrote for the dead owner are still alive and may change things"
                    .to_owned(),
            );
            return Ok(None);
        }
    }
}

/// Nothing is left to do with the journal, unless a person should look at damaged lines.
fn finish(dir: &Path, report: &mut Report) -> Result<(), JournalError> {
    let path = file::journal(dir);
    if report.unreadable == 0 {
        return fs::remove_file(&path).map_err(JournalError::io("remove", &path));
    }
    let damaged = file::damaged(dir);
    fs::rename(&path, &damaged).map_err(JournalError::io("rename", &path))?;
    report.notes.push(format!("lines that could not be read are kept in {}", damaged.display()));
    Ok(())
}

/// What is done need not be looked at by the next attempt. If that cannot be written down, the
/// next attempt finds it done.
fn close_done(dir: &Path, length: u64, report: &Report) {
    let Ok(mut journal) = file::Appender::reopen(dir, length) else { return };
    for item in &report.items {
        if !matches!(item.outcome, super::Outcome::Failed { .. })
            && journal.append(&crate::journal::Record::Closed { token: item.token }).is_err()
        {
            return;
        }
    }
}
