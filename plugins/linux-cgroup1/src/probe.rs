//! What works on this machine, with these privileges, and why not more.
//!
//! Nothing is assumed from a version where a file can be looked at, and nothing is written to
//! find out: whether a place may be written is asked of the kernel.

use crate::space_of;
use outrigger_cgroup::group::Group;
use outrigger_cgroup::mounts::Space;
use outrigger_cgroup::place::Places;
use outrigger_cgroup::probe::{has, members, pressure, unavailable};
use outrigger_sdk::{Capability, CapabilityReport, Error};

const V2_HOST: &str = "the linux-cgroup2 backend is for this host";

/// Knobs and readings, and the file that shows the kernel has it. Files that exist in the root
/// too can be looked at in the base; the others are in every cgroup but the root.
const FILES: [(Capability, &str); 11] = [
    (Capability::CPU_WEIGHT, "cpu.shares"),
    (Capability::CPU_IDLE, "cpu.idle"),
    (Capability::CPU_LIMIT, "cpu.cfs_quota_us"),
    (Capability::CPU_BURST, "cpu.cfs_burst_us"),
    (Capability::MEMORY_LIMIT, "memory.limit_in_bytes"),
    (Capability::PIDS_LIMIT, "pids.max"),
    (Capability::CPUSET, "cpuset.cpus"),
    (Capability::IO_READ_LIMIT, "blkio.throttle.read_bps_device"),
    (Capability::IO_WRITE_LIMIT, "blkio.throttle.write_bps_device"),
    (Capability::FREEZE, "cgroup.freeze"),
    (Capability::KILL, "cgroup.kill"),
];

/// Files that the root does not have, and the Linux version since when every other cgroup does.
const NOT_IN_ROOT: [(&str, (u32, u32)); 3] =
    [("pids.max", (4, 3)), ("cgroup.freeze", (5, 2)), ("cgroup.kill", (5, 14))];

/// Everything this backend may be able to do, at its best.
pub fn at_best() -> Vec<CapabilityReport> {
    let reading = [Capability::OBSERVE_CONTEXTS, Capability::OBSERVE_PRESSURE];
    [Capability::CONTEXT, Capability::MEMBERS]
        .into_iter()
        .chain(FILES.iter().map(|(capability, _)| *capability))
        .chain(reading)
        .map(best)
        .chain(absent())
        .collect()
}

/// The level a capability reaches where nothing stands in its way.
fn best(capability: Capability) -> CapabilityReport {
    match capability {
        Capability::IO_WRITE_LIMIT => CapabilityReport::degraded(
            capability,
            "v1 throttles direct and synchronous writes; what the page cache writes back later \
             is not charged to the writer",
            "use cgroup v2 where buffered writes matter",
        ),
        other => CapabilityReport::full(other),
    }
}

/// What cgroup v1 does not have.
fn absent() -> [CapabilityReport; 3] {
    let no = CapabilityReport::unavailable;
    [
        no(
            Capability::MEMORY_HIGH,
            "cgroup v1 has no memory.high: there is nothing between no limit and the hard one",
            "use cgroup v2, or memory.limit with head-room",
        ),
        no(Capability::MEMORY_LOW, "cgroup v1 has no memory.low", "use cgroup v2"),
        no(
            Capability::IO_WEIGHT,
            "v1 has I/O weights under the bfq scheduler only, and they are not used here",
            "use io.read_limit and io.write_limit, or cgroup v2",
        ),
    ]
}

/// One report for each capability of [`at_best`].
pub fn probe(places: &Places) -> Vec<CapabilityReport> {
    at_best()
        .into_iter()
        .map(|best| {
            if best.level == outrigger_sdk::Level::UNAVAILABLE {
                return best;
            }
            if !places.hierarchies.any_controller() {
                let reason = "no cgroup v1 controller is mounted";
                return CapabilityReport::unavailable(best.capability, reason, V2_HOST);
            }
            match best.capability {
                Capability::CONTEXT => context(places),
                Capability::MEMBERS => members(places.open(Space::Cpu)),
                Capability::OBSERVE_CONTEXTS => contexts(places),
                Capability::OBSERVE_PRESSURE => pressure(places),
                knob => match reach(knob, places) {
                    Ok(()) => best,
                    Err(error) => unavailable(knob, &error),
                },
            }
        })
        .collect()
}

/// The hierarchy is there, we may make contexts in it, and the kernel has the file.
fn reach(knob: Capability, places: &Places) -> Result<(), Error> {
    let place = places.open(space_of(knob).unwrap_or(Space::Cpu))?;
    let Some((_, file)) = FILES.iter().find(|(known, _)| *known == knob) else { return Ok(()) };
    let since = NOT_IN_ROOT.iter().find(|(name, _)| name == file).map(|(_, since)| *since);
    has(place, file, since)
}

fn context(places: &Places) -> CapabilityReport {
    const CONTEXT: Capability = Capability::CONTEXT;
    match (places.open(Space::Cpu), places.open(Space::Unified)) {
        (Ok(_), Ok(_)) => CapabilityReport::full(CONTEXT),
        (Ok(_), Err(error)) => CapabilityReport::degraded(
            CONTEXT,
            format!("contexts have no pressure, freeze and kill: {}", error.message),
            "mount a cgroup2 tree beside the v1 hierarchies and make it writable",
        ),
        (Err(error), _) => unavailable(CONTEXT, &error),
    }
}

fn contexts(places: &Places) -> CapabilityReport {
    const OBSERVE: Capability = Capability::OBSERVE_CONTEXTS;
    let Some(cpu) = places.get(Space::Cpu) else {
        return unavailable(OBSERVE, &outrigger_cgroup::place::not_mounted(Space::Cpu));
    };
    let counted = [Space::Cpuacct, Space::Unified].iter().any(|space| places.get(*space).is_some());
    match Group::at(&cpu.hierarchy, &cpu.base).and_then(|base| base.read("cpu.stat")) {
        Err(error) => unavailable(OBSERVE, &error),
        Ok(_) if counted => CapabilityReport::full(OBSERVE),
        Ok(_) => CapabilityReport::degraded(
            OBSERVE,
            "throttling is seen, CPU time is not: neither cpuacct nor a cgroup2 tree is mounted",
            "mount the cpuacct controller",
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use outrigger_sdk::Level;

    #[test]
    fn without_any_v1_controller_everything_is_unavailable_with_a_hint() {
        let nothing = Places::default();
        for report in probe(&nothing) {
            assert_eq!(report.level, Level::UNAVAILABLE, "{}", report.capability);
            assert!(!report.reason.is_empty() && !report.hint.is_empty(), "{}", report.capability);
        }
    }

    #[test]
    fn every_level_below_full_has_a_reason() {
        for report in probe(&Places::find(None).unwrap()) {
            assert_eq!(report.level == Level::FULL, report.reason.is_empty(), "{report:?}");
        }
    }
}
