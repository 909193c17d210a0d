//! The enforcer on the real kernel: real plugins, real processes, real cgroups, a real journal.
//!
//! What it did is read straight from `/proc` and the cgroup file systems. The processes sleep:
//! what is tried here is where they are put and what is written, not who gets the CPU.
#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod kernel;
mod scene;
