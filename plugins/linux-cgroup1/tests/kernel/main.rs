//! The backend against a real kernel, with real processes and cgroups of its own.
//!
//! Needs root and a host with cgroup v1; each test says so when it is skipped.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, missing_docs)]

mod contexts;
mod knobs;
mod limits;
mod members;
mod readings;
#[path = "../../../cgroup/tests/support/roles.rs"]
mod roles;
#[path = "../../../cgroup/tests/support/mod.rs"]
mod support;

use outrigger_linux_cgroup1::Cgroup1 as UnderTest;
