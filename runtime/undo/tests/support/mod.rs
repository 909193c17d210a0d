//! Real children, real cgroups, and a look at the kernel that goes round the crate.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

pub mod cgroup;
pub mod change;
pub mod child;
pub mod look;
pub mod sidecar;

use std::time::{Duration, Instant};

/// Waits until `done`, and fails the test after ten seconds.
pub fn await_that(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Living processes of a process group, which is how a test knows its own.
pub fn of_group(group: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let stat = |pid: &u32| outrigger_undo::knob::stat(*pid, 0);
    numbers.filter(|pid| stat(pid).is_some_and(|stat| stat.group == group)).collect()
}

/// Returns from the test, saying why, unless it runs as root.
#[macro_export]
macro_rules! needs_root {
    () => {
        if !outrigger_skip::root() {
            return;
        }
    };
}

/// A cgroup v1 `cpu` hierarchy that may be written, or a return from the test, saying why.
#[macro_export]
macro_rules! needs_cgroup_v1 {
    () => {
        $crate::needs_root!();
        if !std::path::Path::new("/sys/fs/cgroup/cpu/cpu.shares").exists() {
            outrigger_skip::skip("needs a cgroup v1 cpu hierarchy at /sys/fs/cgroup/cpu");
            return;
        }
    };
}

/// The same, with the file `cpu.idle` (Linux 5.15).
#[macro_export]
macro_rules! needs_cpu_idle {
    () => {
        $crate::needs_cgroup_v1!();
        if !std::path::Path::new("/sys/fs/cgroup/cpu/cpu.idle").exists() {
            outrigger_skip::skip("this kernel has no cpu.idle");
            return;
        }
    };
}
