//! What works on this machine with these privileges, and why not more.

use crate::privilege::{Cap, Namespace, Privileges, is_first};
use crate::wish::autogroups;
use crate::{CAPABILITIES, numa};
use outrigger_sdk::{Capability, CapabilityReport};
use std::path::Path;

/// One report for each capability of the description. `no_events` says why there are none.
pub(crate) fn reports(privileges: &Privileges, no_events: Option<&str>) -> Vec<CapabilityReport> {
    CAPABILITIES.iter().map(|&capability| report(capability, privileges, no_events)).collect()
}

const NICE_HINT: &str = "run with CAP_SYS_NICE (setcap cap_sys_nice+ep, or AmbientCapabilities=)";

fn report(
    capability: Capability,
    privileges: &Privileges,
    no_events: Option<&str>,
) -> CapabilityReport {
    let full = || CapabilityReport::full(capability);
    let degraded = |reason: &str, hint: &str| CapabilityReport::degraded(capability, reason, hint);
    let unavailable =
        |reason: &str, hint: &str| CapabilityReport::unavailable(capability, reason, hint);
    let nice = privileges.has(Cap::Nice);
    match capability {
        Capability::PRIORITY if !nice => degraded(
            "one-way: without CAP_SYS_NICE a raised nice value cannot be lowered again, and none \
             of other users can be changed",
            NICE_HINT,
        ),
        Capability::PRIORITY if autogroups() => degraded(
            "a nice value acts only within one session's autogroup (outside cgroups)",
            "use cgroup weights, or set kernel.sched_autogroup_enabled=0",
        ),
        Capability::SCHED_CLASS if !nice => degraded(
            "one-way: without CAP_SYS_NICE the idle class cannot be left again; batch can",
            NICE_HINT,
        ),
        Capability::AFFINITY if !nice => {
            degraded("without CAP_SYS_NICE only for processes of the same user", NICE_HINT)
        }
        Capability::IO_PRIORITY if !io_scheduler() => degraded(
            "no block device has an I/O scheduler that heeds priorities",
            "choose bfq or mq-deadline in /sys/block/DEVICE/queue/scheduler",
        ),
        Capability::IO_PRIORITY if !nice => {
            degraded("without CAP_SYS_NICE only for processes of the same user", NICE_HINT)
        }
        Capability::OOM_SCORE_ADJ if !privileges.has(Cap::Resource) => degraded(
            "without CAP_SYS_RESOURCE a score cannot be lowered below 0",
            "run with CAP_SYS_RESOURCE",
        ),
        Capability::RLIMIT if !privileges.has(Cap::Resource) => degraded(
            "without CAP_SYS_RESOURCE only for processes of the same user",
            "run with CAP_SYS_RESOURCE",
        ),
        Capability::AUTOGROUP if !autogroups() => unavailable(
            "the kernel forms no autogroups",
            "set kernel.sched_autogroup_enabled=1, or use cgroup weights",
        ),
        Capability::AUTOGROUP => degraded(
            "acts on a whole session at once, and only outside cgroups",
            "use cgroup weights for anything finer",
        ),
        Capability::OBSERVE_TASKS => observe(capability, privileges),
        Capability::OBSERVE_DELAY if !Path::new("/proc/thread-self/schedstat").exists() => {
            unavailable(
                "the kernel does not count run-queue delay (CONFIG_SCHED_INFO)",
                "use a distribution's kernel",
            )
        }
        Capability::EVENTS => match no_events {
            None => full(),
            Some(reason) => unavailable(
                reason,
                "run in the host's network and pid namespaces with CAP_NET_ADMIN",
            ),
        },
        Capability::NUMA => numa_report(Path::new(numa::ROOT)),
        Capability::CONTAINERS if !is_first(Namespace::Cgroup) => degraded(
            "inside a cgroup namespace the paths do not show the container's own name",
            "run in the host's cgroup namespace",
        ),
        _ => full(),
    }
}

fn observe(capability: Capability, privileges: &Privileges) -> CapabilityReport {
    if std::fs::read("/proc/1/stat").is_err() {
        return CapabilityReport::degraded(
            capability,
            "/proc hides the processes of other users (hidepid)",
            "run as root, or in the group that the mount option gid= names",
        );
    }
    if !is_first(Namespace::Pid) {
        return CapabilityReport::degraded(
            capability,
            "only the processes of this pid namespace can be seen",
            "share the host's pid namespace (hostPID, --pid=host)",
        );
    }
    if !privileges.has(Cap::Ptrace) {
        return CapabilityReport::degraded(
            capability,
            "without CAP_SYS_PTRACE the executable and I/O of other users' processes are hidden",
            "run with CAP_SYS_PTRACE",
        );
    }
    CapabilityReport::full(capability)
}

fn numa_report(root: &Path) -> CapabilityReport {
    match numa::nodes(root) {
        Ok(nodes) => {
            let plural = if nodes.len() == 1 { "" } else { "s" };
            let reason = format!("{} memory node{plural}", nodes.len()).into();
            CapabilityReport { reason, ..CapabilityReport::full(Capability::NUMA) }
        }
        Err(error) => CapabilityReport::unavailable(
            Capability::NUMA,
            format!("{} cannot be read: {error}", root.display()),
            "mount sysfs; a kernel without NUMA has no nodes to tell",
        ),
    }
}

/// Whether any block device orders requests by priority.
fn io_scheduler() -> bool {
    let Ok(devices) = std::fs::read_dir("/sys/block") else { return false };
    devices.flatten().any(|device| {
        let chosen = std::fs::read_to_string(device.path().join("queue/scheduler"));
        chosen.is_ok_and(|text| text.contains("[bfq]") || text.contains("[mq-deadline]"))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use outrigger_sdk::Level;

    #[test]
    fn each_capability_has_one_report_and_less_than_full_has_a_reason() {
        for privileges in [Privileges::none(), Privileges::read()] {
            let reports = reports(&privileges, Some("no events"));
            let told: Vec<_> = reports.iter().map(|report| report.capability).collect();
            assert_eq!(told, CAPABILITIES);
            for report in reports.iter().filter(|report| report.level != Level::FULL) {
                assert!(!report.reason.is_empty() && !report.hint.is_empty(), "{report:?}");
            }
        }
    }

    #[test]
    fn without_privileges_nice_and_idle_are_one_way() {
        let reports = reports(&Privileges::none(), None);
        for knob in [Capability::PRIORITY, Capability::SCHED_CLASS] {
            let report = reports.iter().find(|report| report.capability == knob).unwrap();
            assert_eq!(report.level, Level::DEGRADED);
            assert!(report.reason.starts_with("one-way"), "{}", report.reason);
        }
    }

    #[test]
    fn nodes_that_cannot_be_read_are_unavailable() {
        let report = numa_report(Path::new("/proc/absent"));
        assert_eq!(report.level, Level::UNAVAILABLE);
    }
}
