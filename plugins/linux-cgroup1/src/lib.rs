//! Backend for cgroup v1 and hybrid hosts.
//!
//! It exists because on many machines the CPU, memory and I/O controllers are on v1 while a
//! cgroup2 tree without controllers is mounted beside them, which has what v1 lacks: pressure,
//! freeze and kill. One context of ours is a directory of the same name in each hierarchy that
//! is needed.
//!
//! What it deliberately does not do: it never writes without a permit, it makes no decisions, it
//! never moves a task that belongs to somebody else, and it leaves units of systemd to systemd.
#![cfg(target_os = "linux")]

mod access;
mod backend;
mod blkio;
mod cpuset;
mod draft;
mod error;
mod group;
mod knobs;
mod members;
mod memory;
mod mounts;
mod observe;
mod owner;
mod pids;
mod place;
mod prepare;
mod probe;
mod quota;
mod share;
mod survey;
mod unified;

pub use backend::Cgroup1;

outrigger_sdk::export_backend!(Cgroup1, c"linux-cgroup1");
