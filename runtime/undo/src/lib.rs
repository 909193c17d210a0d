//! What Outrigger may change, the journal of it, and how to put it back.
//!
//! This crate knows no plugin and no actor: the keeper process that restores a machine after
//! the sidecar was killed is made of it alone.

// Elsewhere there is only the vocabulary so far: what is to be journalled, not yet how.
#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports))]

#[cfg(target_os = "linux")]
mod host;
mod journal;
#[cfg(target_os = "linux")]
pub mod keeper;
pub mod knob;
mod operation;
pub mod restore;

#[cfg(target_os = "linux")]
pub use journal::Journal;
#[cfg(target_os = "linux")]
pub use journal::file::{discard, hold_writers};
pub use journal::{Entry, JournalError, Journalled, Kin, Why};
pub use operation::{Kind, Operation, Task};
pub use restore::{Outcome, Report};
#[cfg(target_os = "linux")]
pub use restore::{Outstanding, outstanding, restore};
