//! What this process may do, as far as it can be known without trying.
//!
//! Whether a knob can be turned *back* must be known before it is turned, so it cannot be tried.
//! The kernel asks for most of these capabilities in the first user namespace; inside another
//! one, the same bits mean less.

use crate::files;
use outrigger_sdk::undo::{Kind, Task, knob};
use std::os::unix::fs::MetadataExt as _;

/// Capabilities (`CAP_SYS_...`) by their numbers in `include/uapi/linux/capability.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cap {
    Ptrace = 19,
    Admin = 21,
    Nice = 23,
    Resource = 24,
}

/// The effective capabilities and user of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Privileges {
    effective: u64,
    user: u32,
    /// Whether we are in the first user namespace.
    first: bool,
}

impl Privileges {
    pub(crate) fn read() -> Self {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let effective = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
        Self {
            effective: effective.unwrap_or(0),
            // SAFETY: takes nothing and cannot fail.
            user: unsafe { libc::geteuid() },
            first: is_first(Namespace::User),
        }
    }

    /// Nobody special, for tests of the rules.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { effective: 0, user: 65534, first: true }
    }

    /// Whether we have a capability over the whole machine.
    pub(crate) fn has(&self, capability: Cap) -> bool {
        self.first && self.has_here(capability)
    }

    /// Whether we have it at least over the tasks of our own user namespace.
    fn has_here(&self, capability: Cap) -> bool {
        self.effective & (1 << capability as u32) != 0
    }

    /// Whether we may touch a process at all: ours, or `capability` makes up for it.
    pub(crate) fn reaches(&self, pid: u32, capability: Cap) -> bool {
        if self.has_here(capability) {
            return true;
        }
        let status = std::fs::read(format!("/proc/{pid}/status")).unwrap_or_default();
        files::users(&status)
            .is_some_and(|(real, effective)| self.user == real || self.user == effective)
    }

    /// Whether we may set the nice value of a process's threads to `nice`, downwards too
    /// (`can_nice` in the kernel: the capability, or the *target's* limit).
    pub(crate) fn can_nice(&self, process: Task, nice: i32) -> bool {
        if self.has(Cap::Nice) {
            return true;
        }
        let process = Task { tid: 0, ..process };
        let process = match knob::start_time(process.pid, 0) {
            Some(start) => Task { start, ..process },
            None => return false,
        };
        let limit = match knob::read(Kind::Rlimit, Some(process), "nice").as_deref() {
            Ok("unlimited") => i32::MAX,
            Ok(limit) => limit.parse().unwrap_or(0),
            Err(_) => 0,
        };
        // The limit counts from 1 (nice 19) to 40 (nice -20).
        limit >= 20 - nice
    }
}

/// Namespaces whose first instance matters.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Namespace {
    User,
    Pid,
    Cgroup,
}

/// Whether we are in the first namespace of a kind (`PROC_..._INIT_INO` in
/// `include/uapi/linux/nsfs.h`). When in doubt: no.
pub(crate) fn is_first(namespace: Namespace) -> bool {
    let (name, first) = match namespace {
        Namespace::User => ("user", 0xefff_fffd),
        Namespace::Pid => ("pid", 0xefff_fffc),
        Namespace::Cgroup => ("cgroup", 0xefff_fffb),
    };
    std::fs::metadata(format!("/proc/self/ns/{name}")).is_ok_and(|facts| facts.ino() == first)
}
