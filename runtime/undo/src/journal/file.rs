//! The journal's files: where they are, who may write them, and appending without ever leaving
//! half a line behind.

use super::{JournalError, Record};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// `TMPFS_MAGIC` of `linux/magic.h`.
const TMPFS: i64 = 0x0102_1994;

/// The journal of a state directory.
pub(crate) fn journal(dir: &Path) -> PathBuf {
    dir.join("journal")
}

/// Where a journal goes that had unreadable lines, for a person to look at.
pub(crate) fn damaged(dir: &Path) -> PathBuf {
    dir.join("journal.damaged")
}

/// Makes the state directory, or makes sure that nobody else can write into it.
pub(crate) fn prepare(dir: &Path) -> Result<(), JournalError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(JournalError::io("create", dir))?;
    let facts = fs::symlink_metadata(dir).map_err(JournalError::io("look at", dir))?;
    // SAFETY: takes nothing.
    let user = unsafe { libc::geteuid() };
    if !facts.is_dir() || facts.uid() != user || facts.mode() & 0o022 != 0 {
        return Err(JournalError::NotPrivate(dir.to_owned()));
    }
    Ok(())
}

/// Whether the file system forgets with the boot what the kernel forgets with the boot.
pub(crate) fn is_tmpfs(file: &File) -> bool {
    use std::os::fd::AsRawFd;
    // SAFETY: all-zero is a valid value of this plain C struct.
    let mut facts: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open and `facts` outlives the call.
    let answer = unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut facts) };
    // The field's type differs between C libraries.
    #[allow(clippy::unnecessary_cast)]
    let magic = facts.f_type as i64;
    answer == 0 && magic == TMPFS
}

fn open_lock(dir: &Path, name: &str) -> Result<File, JournalError> {
    let path = dir.join(name);
    let open =
        || OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    match open() {
        // Somebody discarded the directory just now: we need it.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            prepare(dir)?;
            open()
        }
        opened => opened,
    }
    .map_err(JournalError::io("open", &path))
}

/// Says that this process may still change things: restoring waits until no such lock is held.
/// A process that commits operations for the owner holds one of its own.
///
/// # Errors
/// The lock file cannot be opened, or a restore is running.
pub fn hold_writers(dir: &Path) -> Result<File, JournalError> {
    lock(dir, "writers.lock", File::try_lock_shared)?
        .ok_or_else(|| JournalError::Busy(dir.to_owned()))
}

/// Removes a state directory with all that is in it, unless there is a journal (or what could not
/// be read of one): that is still needed. Answers whether it is gone.
///
/// # Errors
/// Somebody begins a journal there, or restores; or the directory cannot be removed.
pub fn discard(dir: &Path) -> Result<bool, JournalError> {
    if !dir.exists() {
        return Ok(true);
    }
    let _alone = exclude_restorers(dir)?;
    let names = fs::read_dir(dir).map_err(JournalError::io("read", dir))?.flatten();
    if names.map(|entry| entry.file_name()).any(|n| n.to_string_lossy().starts_with("journal")) {
        return Ok(false);
    }
    fs::remove_dir_all(dir).map_err(JournalError::io("remove", dir))?;
    Ok(true)
}

/// Keeps writers away while restoring; `None` while there still are some.
pub(crate) fn exclude_writers(dir: &Path) -> Result<Option<File>, JournalError> {
    lock(dir, "writers.lock", File::try_lock)
}

/// Keeps other restorers away.
pub(crate) fn exclude_restorers(dir: &Path) -> Result<File, JournalError> {
    lock(dir, "restore.lock", File::try_lock)?.ok_or_else(|| JournalError::Busy(dir.to_owned()))
}

/// A child that was forked and has not yet called exec holds copies of all descriptors, and so
/// of locks that were let go: a lock is taken for held only after this time.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
const LOCK_PAUSE: Duration = Duration::from_millis(2);

type TryLock = fn(&File) -> Result<(), TryLockError>;

fn lock(dir: &Path, name: &str, try_lock: TryLock) -> Result<Option<File>, JournalError> {
    let started = Instant::now();
    let mut lock = open_lock(dir, name)?;
    loop {
        match try_lock(&lock) {
            Ok(()) if is_still(&lock, &dir.join(name)) => return Ok(Some(lock)),
            // Discarded between opening and locking: nobody else would ask that one.
            Ok(()) => lock = open_lock(dir, name)?,
            Err(TryLockError::WouldBlock) if started.elapsed() > LOCK_PATIENCE => return Ok(None),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(JournalError::io("lock", dir)(error)),
        }
    }
}

/// Whether the open file is the one that has this name.
fn is_still(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// An open journal.
#[derive(Debug)]
pub(crate) struct Appender {
    file: File,
    path: PathBuf,
}

impl Appender {
    /// Writes a whole new journal, which takes the place of an old one at once or not at all.
    pub(crate) fn replace(
        dir: &Path,
        records: impl Iterator<Item = Record>,
    ) -> Result<Self, JournalError> {
        let (path, fresh) = (journal(dir), dir.join("journal.new"));
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&fresh)
            .map_err(JournalError::io("create", &fresh))?;
        file.set_len(0).map_err(JournalError::io("empty", &fresh))?;
        let mut appender = Self { file, path: fresh.clone() };
        let written = (|| {
            records.into_iter().try_for_each(|record| appender.append(&record))?;
            fs::rename(&fresh, &path).map_err(JournalError::io("rename", &fresh))
        })();
        if let Err(error) = written {
            // It takes up room that the old journal may need.
            let _ = fs::remove_file(&fresh);
            return Err(error);
        }
        appender.path = path;
        Ok(appender)
    }

    /// Opens what is there, after [`super::reader`] found it usable, cutting a torn last line.
    pub(crate) fn reopen(dir: &Path, length: u64) -> Result<Self, JournalError> {
        let path = journal(dir);
        let file = OpenOptions::new()
            .append(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(JournalError::io("open", &path))?;
        file.set_len(length).map_err(JournalError::io("cut", &path))?;
        Ok(Self { file, path })
    }

    /// Appends a line, or nothing.
    pub(crate) fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        let line = record.line().map_err(|error| JournalError::Nonsense(error.to_string()))?;
        let facts = self.file.metadata().map_err(JournalError::io("look at", &self.path))?;
        if facts.nlink() == 0 {
            return Err(JournalError::Vanished(self.path.clone()));
        }
        self.file.write_all(line.as_bytes()).map_err(|error| {
            // Half a line would spoil the next one. If it cannot be cut either, the reader
            // reports one line it cannot use.
            let _ = self.file.set_len(facts.len());
            JournalError::io("append to", &self.path)(error)
        })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Journal;
    use std::cell::RefCell;

    #[test]
    fn a_directory_is_discarded_unless_somebody_needs_it() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("run-1");
        let mut journal = Journal::create(&dir).unwrap();
        assert!(!discard(&dir).unwrap(), "there is a journal");
        assert!(journal.finish().unwrap());

        // As held by one who is about to begin a journal.
        let beginning = exclude_restorers(&dir).unwrap();
        assert!(matches!(discard(&dir), Err(JournalError::Busy(_))));
        assert!(dir.exists());

        drop(beginning);
        assert!(discard(&dir).unwrap());
        assert!(!dir.exists() && discard(&dir).unwrap());
    }

    #[test]
    fn a_lock_that_was_discarded_before_it_was_ours_is_no_lock() {
        thread_local!(static DISCARD: RefCell<Option<PathBuf>> = const { RefCell::new(None) });
        fn discard_then_lock(file: &File) -> Result<(), TryLockError> {
            if let Some(dir) = DISCARD.take() {
                fs::remove_dir_all(dir).unwrap();
            }
            file.try_lock()
        }
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("daemon");
        prepare(&dir).unwrap();
        DISCARD.set(Some(dir.clone()));

        let held = lock(&dir, "restore.lock", discard_then_lock).unwrap();

        assert!(held.is_some());
        assert!(matches!(exclude_restorers(&dir), Err(JournalError::Busy(_))));
    }
}
