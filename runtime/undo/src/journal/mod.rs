//! The journal: what was there before each change, written before the change.
//!
//! Append-only lines in one file of the state directory, which should be on tmpfs: kernel state
//! dies with the boot, and so may the journal. There is no fsync for the same reason. What is in
//! the file, and how later versions may change it, is documented in [`record`].

mod entry;
mod error;
mod record;

#[cfg(target_os = "linux")]
mod book;
#[cfg(target_os = "linux")]
mod facts;
#[cfg(target_os = "linux")]
pub(crate) mod file;
#[cfg(target_os = "linux")]
mod live;
#[cfg(target_os = "linux")]
pub(crate) mod reader;
#[cfg(target_os = "linux")]
mod retired;

#[cfg(target_os = "linux")]
pub(crate) use book::Book;
pub(crate) use entry::Inheritance;
pub use entry::{Entry, Kin, Why};
pub use error::JournalError;
#[cfg(target_os = "linux")]
pub use live::Journal;
pub(crate) use record::Record;

use crate::Operation;

/// Proof that an operation is in the journal; a backend cannot write without one.
///
/// Only this crate can make one:
///
/// ```compile_fail
/// # fn forge(operation: outrigger_undo::Operation) {
/// let forged = outrigger_undo::Journalled { operation, token: 1 };
/// # }
/// ```
///
/// nor can one be copied, so that each is settled once:
///
/// ```compile_fail
/// # fn copy(journalled: &outrigger_undo::Journalled) {
/// let copy: outrigger_undo::Journalled = journalled.clone();
/// # }
/// ```
#[derive(Debug)]
pub struct Journalled {
    operation: Operation,
    token: u64,
}

impl Journalled {
    /// What was journalled.
    pub fn operation(&self) -> &Operation {
        &self.operation
    }
    /// Number of the record.
    pub fn token(&self) -> u64 {
        self.token
    }
}
