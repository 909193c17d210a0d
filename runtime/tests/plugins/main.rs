//! The plugin host with real libraries, loaded for real.
//!
//! `probe` is the library of `tests/fixtures/plugin-probe`: a good backend that misbehaves as its
//! configuration says.
#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod faults;
mod observers;
mod ours;
mod refusals;
mod routes;
mod support;
mod writes;
