//! Whose a cgroup is, told by its name and by where else it exists.

use crate::mounts::{Hierarchies, Space};

/// Endings of the units for which systemd makes cgroups.
const UNITS: [&str; 6] = [".slice", ".scope", ".service", ".mount", ".socket", ".swap"];

/// First path components below which container runtimes and machine managers keep their
/// groups when they make them without systemd; exact, or followed by `.` or `-`.
const RUNTIMES: [&str; 9] = [
    "docker",
    "kubepods",
    "containerd",
    "crio",
    "libpod_parent",
    "podman",
    "lxc",
    "machine",
    "garden",
];

/// Whether systemd made this cgroup and will write its own values back: it is named like a unit,
/// and systemd's tree (or the cgroup2 tree, which it also fills) has the same path.
pub fn is_systemds(hierarchies: &Hierarchies, path: &str) -> bool {
    is_unit(path)
        && [Space::Systemd, Space::Unified]
            .into_iter()
            .filter_map(|space| hierarchies.get(space)?.dir(path))
            .any(|dir| dir.is_dir())
}

/// Whether a container runtime keeps this cgroup, or one above it.
pub fn is_runtimes(path: &str) -> bool {
    path.split('/').any(|part| {
        RUNTIMES.iter().any(|name| {
            part.strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
        })
    })
}

fn is_unit(path: &str) -> bool {
    UNITS.iter().any(|ending| path.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_are_told_by_name_and_own_what_is_below() {
        for path in ["/docker", "/docker/ab12", "/kubepods.slice/x", "/lxc.payload.a", "/machine/m"]
        {
            assert!(is_runtimes(path), "{path}");
        }
        for path in ["/", "/dockers", "/a/lxcfs", "/outrigger-1-batch"] {
            assert!(!is_runtimes(path), "{path}");
        }
    }

    #[test]
    fn a_unit_name_alone_does_not_make_a_unit() {
        assert!(is_unit("/system.slice/ssh.service"));
        assert!(!is_unit("/system.slice/ssh.service/payload"));
        assert!(!is_systemds(&Hierarchies::default(), "/system.slice"));
    }
}
