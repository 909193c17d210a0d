//! What Outrigger may change, the journal of it, and how to put it back.
//!
//! This crate knows no plugin and no actor: the keeper process that restores a machine after
//! the sidecar was killed is made of it alone.

mod journal;
pub mod knob;
mod operation;

pub use journal::Journalled;
pub use operation::{Kind, Operation, Task};
