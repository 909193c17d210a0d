//! The journal: what was there before each change, written before the change.

use crate::Operation;

/// Proof that an operation is in the journal. Only [`crate`] can make one.
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
