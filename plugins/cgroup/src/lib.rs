//! What the backends for cgroup v1 and v2 have in common: one context of ours is a directory of
//! the same name in each hierarchy it needs, and what differs between the versions is behind
//! [`Version`].
//!
//! What it deliberately does not do: it never writes without a permit, it makes no decisions, it
//! never moves a task that belongs to somebody else, and it leaves units of systemd to systemd.
#![cfg(target_os = "linux")]

mod access;
mod backend;
pub mod device;
pub mod draft;
pub mod error;
pub mod group;
mod knobs;
mod members;
pub mod memory;
pub mod mounts;
mod observe;
mod owner;
mod pids;
pub mod place;
mod prepare;
pub mod probe;
pub mod share;
mod survey;
mod unified;
pub mod version;

pub use backend::Cgroups;
pub use version::Version;
