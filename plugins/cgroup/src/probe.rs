//! What works on this machine, with these privileges, and why not more: what both versions ask.
//!
//! Nothing is assumed from a version where a file can be looked at, and nothing is written to
//! find out: whether a place may be written is asked of the kernel.

use crate::group::Group;
use crate::mounts::Space;
use crate::place::{Place, Places, not_mounted};
use outrigger_sdk::{Capability, CapabilityReport, Error, ErrorCode};

const DELEGATE: &str =
    "run as root, or have a cgroup subtree delegated to this user and name it in `base`";

/// A report about something that does not work because of an error.
pub fn unavailable(capability: Capability, error: &Error) -> CapabilityReport {
    let hint = match error.code {
        ErrorCode::PRIVILEGE | ErrorCode::NOT_DELEGATED => DELEGATE,
        _ if error.step == "open" => "mount the controller, or use another backend for this",
        _ => "a newer kernel has it",
    };
    CapabilityReport::unavailable(capability, error.message.clone(), hint)
}

/// Whether the kernel has a control file. One that the root has too can be looked at in the
/// base; of one that the root does not have, `since` says from which Linux every other cgroup
/// has it.
///
/// # Errors
/// It has not, in words.
pub fn has(place: &Place, file: &str, since: Option<(u32, u32)>) -> Result<(), Error> {
    let base = Group::at(&place.hierarchy, &place.base)?;
    let there = |group: &Group| group.dir.join(file).exists();
    let known = match since {
        Some(since) if base.is_root() => base.children().iter().any(there) || release() >= since,
        _ => there(&base),
    };
    if known {
        return Ok(());
    }
    Err(Error::not_supported("probe", format!("this kernel has no {file}")))
}

/// Who can be put into contexts.
pub fn members(place: Result<&Place, Error>) -> CapabilityReport {
    const MEMBERS: Capability = Capability::MEMBERS;
    match place {
        Ok(place) if place.base == "/" => CapabilityReport::full(MEMBERS),
        Ok(place) => CapabilityReport::degraded(
            MEMBERS,
            format!("contexts are made below {}; what is elsewhere is not moved", place.base),
            "launch the application through outrigger, or run as root on the host",
        ),
        Err(error) => unavailable(MEMBERS, &error),
    }
}

/// Whether groups have pressure.
pub fn pressure(places: &Places) -> CapabilityReport {
    const PRESSURE: Capability = Capability::OBSERVE_PRESSURE;
    let Some(place) = places.get(Space::Unified) else {
        return unavailable(PRESSURE, &not_mounted(Space::Unified));
    };
    match Group::at(&place.hierarchy, &place.base).and_then(|base| base.read("cpu.pressure")) {
        Ok(text) if text.starts_with("some ") => CapabilityReport::full(PRESSURE),
        Ok(_) | Err(_) => CapabilityReport::unavailable(
            PRESSURE,
            "the kernel keeps no pressure (PSI) for cgroups",
            "boot with psi=1, on Linux 4.20 or newer",
        ),
    }
}

/// Version of the running kernel; (0, 0) if it cannot be told.
fn release() -> (u32, u32) {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    version(&text).unwrap_or((0, 0))
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn kernel_versions_are_compared_by_number() {
        assert_eq!(version("6.18.5-amd64\n"), Some((6, 18)));
        assert_eq!(version("5.4"), Some((5, 4)));
        assert_eq!(version("x"), None);
        assert!(version("5.10.0").unwrap() < (5, 14));
    }
}
