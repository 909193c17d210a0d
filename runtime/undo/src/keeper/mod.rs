//! The keeper: a small process that outlives the sidecar and puts everything back.
//!
//! It starts before the first change, in a session of its own, so that no terminal and no
//! process group takes it along, and without a parent-death signal. It waits on a pidfd of the
//! sidecar; when that is dead, and everybody who wrote for it, it restores from the journal.
//! It has one thread, holds no journal open, loads no plugin and needs a few pages of memory.
//!
//! What it does not survive: a service manager that kills the whole control group at once
//! (`KillMode=mixed`), and the end of a container's process 1. For the first there is
//! `outrigger restore` in `ExecStopPost`, for both the next start.
//!
//! `SIGTERM` means "restore": while the owner lives it can only mean "as soon as it is dead",
//! since two must not write at once, or "you are dismissed" if the journal has been removed.

mod run;
mod signals;
mod spawn;

pub use run::{REPORT, main};
pub use spawn::{KeeperHandle, OwnerError, spawn};
