//! What works on this machine, with these privileges, and why not more.

use crate::controllers;
use outrigger_cgroup::group::Group;
use outrigger_cgroup::mounts::Space;
use outrigger_cgroup::place::{Place, Places};
use outrigger_cgroup::probe::{has, members, pressure, unavailable};
use outrigger_sdk::{Capability, CapabilityReport, Error};

const OTHER_HOST: &str = "the linux-cgroup1 backend is for this host";

/// Knobs, the file that shows the kernel has them, and since which Linux; no root has them.
const FILES: [(Capability, &str, (u32, u32)); 14] = [
    (Capability::CPU_WEIGHT, "cpu.weight", (4, 15)),
    (Capability::CPU_IDLE, "cpu.idle", (5, 15)),
    (Capability::CPU_LIMIT, "cpu.max", (4, 15)),
    (Capability::CPU_BURST, "cpu.max.burst", (5, 14)),
    (Capability::MEMORY_LIMIT, "memory.max", (4, 5)),
    (Capability::MEMORY_HIGH, "memory.high", (4, 5)),
    (Capability::MEMORY_LOW, "memory.low", (4, 5)),
    (Capability::PIDS_LIMIT, "pids.max", (4, 5)),
    (Capability::CPUSET, "cpuset.cpus", (5, 0)),
    (Capability::IO_READ_LIMIT, "io.max", (4, 5)),
    (Capability::IO_WRITE_LIMIT, "io.max", (4, 5)),
    (Capability::IO_WEIGHT, "io.weight", (5, 4)),
    (Capability::FREEZE, "cgroup.freeze", (5, 2)),
    (Capability::KILL, "cgroup.kill", (5, 14)),
];

/// Everything this backend may be able to do, at its best.
pub fn at_best() -> Vec<CapabilityReport> {
    let reading = [Capability::OBSERVE_CONTEXTS, Capability::OBSERVE_PRESSURE];
    [Capability::CONTEXT, Capability::MEMBERS]
        .into_iter()
        .chain(FILES.iter().map(|(capability, ..)| *capability))
        .chain(reading)
        .map(best)
        .collect()
}

/// The level a capability reaches where nothing stands in its way.
fn best(capability: Capability) -> CapabilityReport {
    match capability {
        Capability::IO_WEIGHT => CapabilityReport::degraded(
            capability,
            "I/O weights act on devices with a cost model only",
            "set io.cost.qos of the device in the root cgroup",
        ),
        other => CapabilityReport::full(other),
    }
}

/// One report for each capability of [`at_best`].
pub fn probe(places: &Places) -> Vec<CapabilityReport> {
    let elsewhere = not_for_us(places);
    at_best()
        .into_iter()
        .map(|best| match (&elsewhere, best.capability) {
            (Some((reason, hint)), capability) => {
                CapabilityReport::unavailable(capability, reason.clone(), *hint)
            }
            (None, Capability::CONTEXT) => match reach(Capability::CPU_WEIGHT, places) {
                Ok(_) => best,
                Err(error) => unavailable(Capability::CONTEXT, &error),
            },
            (None, Capability::MEMBERS) => members(places.open(Space::Unified)),
            (None, Capability::OBSERVE_PRESSURE) => pressure(places),
            (None, Capability::OBSERVE_CONTEXTS) => contexts(places),
            (None, knob) => match reach(knob, places) {
                Ok(place) => match FILES.iter().find(|(known, ..)| *known == knob) {
                    Some((_, file, since)) => match known(place, knob, file, *since) {
                        Ok(()) => best,
                        Err(error) => unavailable(knob, &error),
                    },
                    None => best,
                },
                Err(error) => unavailable(knob, &error),
            },
        })
        .collect()
}

/// Why this backend has nothing to do here.
fn not_for_us(places: &Places) -> Option<(String, &'static str)> {
    let Some(place) = places.get(Space::Unified) else {
        return Some(("no cgroup2 tree is mounted".to_owned(), OTHER_HOST));
    };
    places.hierarchies.get(Space::Cpu).map(|cpu| {
        let reason = format!(
            "the cpu controller is on cgroup v1 at {}, not in the cgroup2 tree at {}",
            cpu.mount.display(),
            place.hierarchy.mount.display()
        );
        (reason, OTHER_HOST)
    })
}

/// The base, if contexts can be made in it and the controller of a knob is to be had there.
fn reach(knob: Capability, places: &Places) -> Result<&Place, Error> {
    let place = places.open(Space::Unified)?;
    let Some(controller) = controllers::of(knob) else { return Ok(place) };
    let base = Group::at(&place.hierarchy, &place.base)?;
    let offered = base.read("cgroup.controllers")?;
    if offered.split_whitespace().any(|one| one == controller) {
        return Ok(place);
    }
    let told = match base.is_root() {
        true => "this kernel does not offer it, or it is used by cgroup v1",
        false => "whoever delegated the subtree withholds it",
    };
    Err(Error::not_supported(
        "open",
        format!("{} has no {controller} controller: {told}", base.path),
    ))
}

/// The kernel has the file. In a group that does not have the controller yet, as in a root.
fn known(place: &Place, knob: Capability, file: &str, since: (u32, u32)) -> Result<(), Error> {
    let base = Group::at(&place.hierarchy, &place.base)?;
    let there = controllers::of(knob).is_none_or(|name| controllers::seen(&base, name).exists);
    if base.is_root() || there { has(place, file, Some(since)) } else { Ok(()) }
}

fn contexts(places: &Places) -> CapabilityReport {
    const OBSERVE: Capability = Capability::OBSERVE_CONTEXTS;
    let Some(place) = places.get(Space::Unified) else {
        return unavailable(OBSERVE, &outrigger_cgroup::place::not_mounted(Space::Unified));
    };
    match Group::at(&place.hierarchy, &place.base).and_then(|base| base.read("cpu.stat")) {
        Ok(_) => CapabilityReport::full(OBSERVE),
        Err(error) => unavailable(OBSERVE, &error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use outrigger_sdk::Level;

    #[test]
    fn without_a_cgroup2_tree_everything_is_unavailable_with_a_hint() {
        for report in probe(&Places::default()) {
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
