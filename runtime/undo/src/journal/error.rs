//! What can go wrong with the journal itself.

use crate::Task;
use std::io;
use std::path::{Path, PathBuf};

/// The journal could not be written, read or taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The operating system refused. While a journal cannot be written nothing may be changed.
    #[error("failed to {attempt} {}: {error}", path.display())]
    Io {
        /// What was attempted, as a verb.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A living process owns the journal in this directory.
    #[error("the journal in {} is in use by process {}; stop it first, or name another state directory", path.display(), owner.pid)]
    InUse {
        /// The state directory.
        path: PathBuf,
        /// Who.
        owner: Task,
    },
    /// A dead process left changes behind.
    #[error("the journal in {} holds changes of process {}, which is dead; put them back first with `outrigger restore`", path.display(), owner.pid)]
    Unfinished {
        /// The state directory.
        path: PathBuf,
        /// Who left them.
        owner: Task,
    },
    /// Others could write into the state directory, and so make us write what they like.
    #[error("{} is not a directory that only its owner, this user, can write to; choose another state directory", .0.display())]
    NotPrivate(PathBuf),
    /// The file begins with something else than a header this version can read.
    #[error("{at} is not a journal this version can read: {reason}; what it says cannot be put back. Set it aside with `mv {at} {at}.corrupt`, look there at what was changed, and start again", at = path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file was removed while the journal was open; changes could not be put back.
    #[error("the journal {} was removed by somebody else; nothing more is changed", .0.display())]
    Vanished(PathBuf),
    /// An operation of a kind that needs a task has none, or the other way round.
    #[error("an operation that makes no sense was not journalled: {0}")]
    Nonsense(String),
    /// Somebody else is restoring from this directory right now.
    #[error("somebody else is restoring from {} right now; wait for it", .0.display())]
    Busy(PathBuf),
}

impl JournalError {
    #[cfg(target_os = "linux")]
    pub(crate) fn io(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { attempt, path, error }
    }
}
