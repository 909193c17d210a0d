//! The journal of a living sidecar.

use super::entry::key;
use super::facts::{kin, weight_beside_idle};
use super::file::{self, Appender};
use super::retired::Retired;
use super::{Book, Entry, JournalError, Journalled, Kin, Record, Why, reader};
use crate::restore::{Item, Kernel, Outcome, Report, give_back, inheritance, restore};
use crate::{Kind, Operation, host, knob};
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a keeper that is at work is waited for, and how long what cannot be put back at once
/// is tried. As long as a keeper waits for somebody else.
const RESTORE_PATIENCE: Duration = Duration::from_secs(15);
const RESTORE_PAUSE: Duration = Duration::from_millis(20);

/// Lines per outstanding knob, and lines in any case, before the file is written anew.
const LINES_PER_KNOB: usize = 8;
const LINES_AT_LEAST: usize = 4096;

/// What this process has changed and not yet put back.
///
/// The order is: [`record`](Self::record), write, [`settle`](Self::settle). If recording fails,
/// nothing may be written. Dropping a journal leaves its file, for the keeper.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    file: Appender,
    book: Book,
    lines: usize,
    world: Kernel,
    /// The weight's record that belongs to an unanswered one of `cpu.idle`.
    weights: HashMap<u64, u64>,
    retired: Retired,
    /// Held until this process ends or drops the journal: restorers wait for it.
    _writers: File,
}

impl Journal {
    /// Begins a journal in a state directory, which is made if need be, for this user only.
    ///
    /// # Errors
    /// Another process uses the directory, or died and left changes: those go back first.
    pub fn create(dir: &Path) -> Result<Self, JournalError> {
        file::prepare(dir)?;
        let _alone = file::exclude_restorers(dir)?;
        if let Some(found) = reader::read(dir)?
            && found.boot == host::boot_id()?
        {
            let path = dir.to_owned();
            if knob::is_alive(found.owner) {
                return Err(JournalError::InUse { path, owner: found.owner });
            }
            if found.book.len() > 0 || found.unreadable > 0 {
                return Err(JournalError::Unfinished { path, owner: found.owner });
            }
        }
        Self::begin(dir, Book::default())
    }

    /// Begins a journal as [`Journal::create`] does, after what a dead process left in the
    /// directory was put back: by its keeper, which is waited for, or else by us.
    ///
    /// # Errors
    /// As those of [`Journal::create`]: [`JournalError::Unfinished`] if not everything could be put
    /// back, [`JournalError::Busy`] if somebody else takes longer than
    /// `RESTORE_PATIENCE` to do so.
    pub fn create_after_restoring(dir: &Path) -> Result<Self, JournalError> {
        let started = Instant::now();
        loop {
            let error = match Self::create(dir) {
                Err(error @ JournalError::Unfinished { .. }) => match restore(dir) {
                    Ok(_) => error,
                    Err(busy @ JournalError::Busy(_)) => busy,
                    Err(other) => return Err(other),
                },
                Err(busy @ JournalError::Busy(_)) => busy,
                other => return other,
            };
            if started.elapsed() > RESTORE_PATIENCE {
                return Err(error);
            }
            std::thread::sleep(RESTORE_PAUSE);
        }
    }

    /// Takes over what a dead process has changed, as it is, without putting anything back.
    ///
    /// # Errors
    /// The owner is alive, or the file cannot be read.
    pub fn adopt(dir: &Path) -> Result<Self, JournalError> {
        file::prepare(dir)?;
        let _alone = file::exclude_restorers(dir)?;
        let book = match reader::read(dir)? {
            Some(found) if found.boot == host::boot_id()? => {
                if found.owner.pid != std::process::id() && knob::is_alive(found.owner) {
                    return Err(JournalError::InUse { path: dir.to_owned(), owner: found.owner });
                }
                found.book
            }
            _ => Book::default(),
        };
        Self::begin(dir, book)
    }

    fn begin(dir: &Path, book: Book) -> Result<Self, JournalError> {
        let _writers = file::hold_writers(dir)?;
        let file = Appender::replace(dir, snapshot(&book)?)?;
        Ok(Self {
            dir: dir.to_owned(),
            file,
            lines: book.len(),
            book,
            world: Kernel::default(),
            weights: HashMap::new(),
            retired: Retired::default(),
            _writers,
        })
    }

    /// Whether the state directory is on tmpfs. Elsewhere each record may wait for a disk, and a
    /// journal outlives the boot (it is then recognised and dropped). Worth a warning.
    pub fn is_on_tmpfs(&self) -> bool {
        file::is_tmpfs(self.file.file())
    }

    /// The state directory.
    pub fn directory(&self) -> &Path {
        &self.dir
    }

    /// Writes an operation down, before it is carried out.
    ///
    /// # Errors
    /// It could not be written down; it must not be carried out.
    pub fn record(&mut self, operation: Operation, why: &Why) -> Result<Journalled, JournalError> {
        if operation.kind.is_about_a_task() != operation.task.is_some() {
            return Err(JournalError::Nonsense(format!(
                "{:?} of {:?}",
                operation.kind, operation.task
            )));
        }
        self.compact_if_worthwhile();
        // The kernel rewrites the weight of a group that becomes idle or ceases to be, and forgets
        // what it was.
        let weight = match weight_beside_idle(&operation) {
            Some(weight) => Some(self.announce(weight, why.clone())?),
            None => None,
        };
        let token = self.announce(operation.clone(), why.clone())?;
        self.weights.extend(weight.map(|weight| (token, weight)));
        Ok(Journalled { operation, token })
    }

    /// Writes down how it went: the value read back, or the error.
    ///
    /// An operation whose call has not returned is not settled at all: it stays in doubt.
    ///
    /// # Errors
    /// The answer could not be written down; the knob stays in doubt, and will be put back.
    pub fn settle(
        &mut self,
        journalled: &Journalled,
        result: Result<&str, &str>,
    ) -> Result<(), JournalError> {
        let token = journalled.token;
        match result {
            Ok(value) => self.append(Record::Did { token, value: value.to_owned() })?,
            Err(error) => {
                self.append(Record::Failed { token, error: error.to_owned() })?;
                self.after_failure(token)?;
            }
        }
        match self.weights.remove(&token) {
            Some(weight) if result.is_ok() => self.settle_weight(weight),
            Some(weight) => self.after_failure(weight),
            None => Ok(()),
        }
    }

    /// What the kernel made of a weight is ours.
    fn settle_weight(&mut self, token: u64) -> Result<(), JournalError> {
        let Some(entry) = self.book.of_token(token) else { return Ok(()) };
        match knob::read(Kind::File, None, &entry.operation.locator) {
            Ok(value) if entry.left.is_empty() && value == entry.origin() => {
                let token = entry.token;
                self.append(Record::Closed { token })
            }
            Ok(value) => self.append(Record::Did { token, value }),
            // The context is gone; it stays in doubt until that is found out.
            Err(_) => Ok(()),
        }
    }

    /// Writes down that an operation was not carried out, because somebody else had changed the
    /// knob between reading and writing. What they set stays, also when the rest is put back.
    ///
    /// # Errors
    /// It could not be written down; the knob stays in doubt.
    pub fn withdraw(&mut self, journalled: &Journalled) -> Result<(), JournalError> {
        let token = journalled.token;
        self.give_up(token)?;
        self.weights.remove(&token).map_or(Ok(()), |weight| self.give_up(weight))
    }

    fn give_up(&mut self, token: u64) -> Result<(), JournalError> {
        let Some(entry) = self.book.of_token(token) else { return Ok(()) };
        if entry.in_doubt.iter().any(|(announced, _)| *announced != token) {
            // An earlier call has not answered: whose value it is cannot be told yet.
            return Ok(());
        }
        let operation = &entry.operation;
        let current = knob::read(operation.kind, operation.task, &operation.locator);
        let record = match (current, entry.ours()) {
            (Ok(value), Some(ours)) if value == ours => Record::Did { token, value },
            _ => Record::Closed { token: entry.token },
        };
        self.append(record)
    }

    /// A failed write may have been half done; only looking tells.
    fn after_failure(&mut self, token: u64) -> Result<(), JournalError> {
        let Some(entry) = self.book.of_token(token) else { return Ok(()) };
        let (first, operation) = (entry.token, &entry.operation);
        let current = knob::read(operation.kind, operation.task, &operation.locator);
        // A directory that could not be made is not ours, even if one is there.
        let not_made = operation.kind == Kind::Context && entry.left.is_empty();
        match (current, entry.ours()) {
            (Err(error), _) if error.is_gone() => self.append(Record::Closed { token: first }),
            _ if not_made => self.append(Record::Closed { token: first }),
            (Ok(value), None) if value == entry.origin() => {
                self.append(Record::Closed { token: first })
            }
            (Ok(value), Some(ours)) if value == ours => self.append(Record::Did { token, value }),
            _ => Ok(()),
        }
    }

    /// What is not as it was found, oldest first.
    pub fn outstanding(&self) -> impl Iterator<Item = &Entry> {
        self.book.entries()
    }

    /// Puts some of it back, as for one workload, and forgets what is done.
    pub fn undo(&mut self, select: impl Fn(&Entry) -> bool) -> Report {
        let entries: Vec<&Entry> = self.book.entries().collect();
        let choice = self.retired.choose(&self.world, &entries, &select);
        let mut report =
            give_back(&self.world, &entries, &|entry| choice.now.contains(&entry.token));
        let ended = entries.iter().filter(|entry| choice.ended.contains(&entry.token));
        let ended: Vec<Item> = ended
            .map(|entry| Item {
                operation: entry.operation.clone(),
                token: entry.token,
                outcome: Outcome::Gone,
            })
            .collect();
        if let Err(error) = self.close(&report).and_then(|()| self.retire(&choice.ended)) {
            // The next attempt finds it done.
            report.notes.push(error.to_string());
        }
        report.items.extend(ended);
        report.items.sort_by_key(|item| item.token);
        report
    }

    fn retire(&mut self, ended: &[u64]) -> Result<(), JournalError> {
        if ended.is_empty() {
            return Ok(());
        }
        let entries: Vec<&Entry> = self.book.entries().collect();
        let needless = self.retired.retire(&self.world, &entries, ended);
        needless.into_iter().try_for_each(|token| self.append(Record::Closed { token }))
    }

    fn close(&mut self, report: &Report) -> Result<(), JournalError> {
        self.retired.forget(&report.items);
        for item in &report.items {
            if matches!(item.outcome, Outcome::Failed { .. }) {
                continue;
            }
            // The weight of a group that is no longer idle was rewritten with it.
            if let Some(weight) = weight_beside_idle(&item.operation)
                && let Some(entry) = self.book.find(&key(&weight, &Kin::default()))
            {
                let token = entry.token;
                self.append(Record::Did { token, value: weight.before })?;
            }
            self.append(Record::Closed { token: item.token })?;
        }
        Ok(())
    }

    /// Puts everything back.
    pub fn undo_all(&mut self) -> Report {
        self.undo(|_| true)
    }

    /// Ends a journal and removes its file if nothing is outstanding; answers whether that was so.
    /// After that nothing more may be recorded.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn finish(&mut self) -> Result<bool, JournalError> {
        if self.book.len() > 0 {
            return Ok(false);
        }
        let path = file::journal(&self.dir);
        fs::remove_file(&path).map_err(JournalError::io("remove", &path))?;
        Ok(true)
    }

    fn announce(&mut self, operation: Operation, why: Why) -> Result<u64, JournalError> {
        let token = self.book.next_token();
        let kin = operation.task.map(|task| kin(operation.kind, task)).unwrap_or_default();
        let at = host::ticks_since_boot();
        let born_with = match self.book.find(&key(&operation, &kin)) {
            None if self.book.may_have_given(operation.kind, &operation.before) => {
                inheritance(&self.world, self.book.entries(), &operation)
            }
            _ => None,
        };
        self.append(Record::Will { token, operation, why, at, kin, born_with })?;
        Ok(token)
    }

    fn append(&mut self, record: Record) -> Result<(), JournalError> {
        self.file.append(&record)?;
        self.lines += 1;
        self.book.apply(record);
        Ok(())
    }

    /// A file that cannot be written anew goes on being appended to.
    fn compact_if_worthwhile(&mut self) {
        if self.lines > LINES_AT_LEAST.max(self.book.len() * LINES_PER_KNOB)
            && let Ok(records) = snapshot(&self.book)
            && let Ok(file) = Appender::replace(&self.dir, records)
        {
            self.file = file;
            self.lines = self.book.len();
        }
    }
}

/// A header of this process, and all that is outstanding.
fn snapshot(book: &Book) -> Result<impl Iterator<Item = Record>, JournalError> {
    let header = Record::Owner {
        format: super::record::FORMAT,
        boot: host::boot_id()?,
        owner: host::own_task()?,
    };
    let kept = book.entries().map(|entry| Record::Kept { entry: entry.clone() });
    Ok(std::iter::once(header).chain(kept))
}
