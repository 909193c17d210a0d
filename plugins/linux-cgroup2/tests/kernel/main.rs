//! The backend against a real kernel whose only hierarchy is cgroup v2, with real processes and
//! cgroups of its own.
//!
//! Elsewhere there is nothing to test: `tests/vm/check` runs these in a guest, and there
//! `OUTRIGGER_TEST_HOST=v2` makes an error of what cannot run.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, missing_docs)]

mod contexts;
mod delegated;
mod knobs;
#[path = "../../../cgroup/tests/support/roles.rs"]
mod roles;
#[path = "../../../cgroup/tests/support/mod.rs"]
#[allow(dead_code)]
mod support;

use outrigger_linux_cgroup2::Cgroup2 as UnderTest;
use outrigger_sdk::{Capability, Setting};
use std::fs;

/// Whether this is such a host.
fn v2() -> bool {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let here = !text.contains(" - cgroup cgroup ") && support::ready(&["unified"]);
    let required = std::env::var("OUTRIGGER_TEST_HOST").is_ok_and(|host| host == "v2");
    assert!(here || !required, "this is no pure cgroup v2 host, or we are not root");
    here
}

fn made() -> Setting {
    Setting::number(Capability::CONTEXT, 1)
}

/// Controllers the root hands down.
fn handed_down() -> String {
    support::read(&support::mount("unified").unwrap().join("cgroup.subtree_control"))
}
