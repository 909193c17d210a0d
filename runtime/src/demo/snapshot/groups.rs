//! Every cgroup of every hierarchy, and the files in it that Outrigger may write.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Difference, EXISTENCE, OURS};

/// Files that may be written, v1 and v2. More than any backend writes today.
const FILES: [&str; 30] = [
    "blkio.throttle.read_bps_device",
    "blkio.throttle.read_iops_device",
    "blkio.throttle.write_bps_device",
    "blkio.throttle.write_iops_device",
    "blkio.weight",
    "cgroup.freeze",
    "cgroup.subtree_control",
    "cpu.cfs_burst_us",
    "cpu.cfs_period_us",
    "cpu.cfs_quota_us",
    "cpu.idle",
    "cpu.max",
    "cpu.max.burst",
    "cpu.rt_period_us",
    "cpu.rt_runtime_us",
    "cpu.shares",
    "cpu.uclamp.max",
    "cpu.uclamp.min",
    "cpu.weight",
    "cpuset.cpus",
    "cpuset.mems",
    "freezer.state",
    "io.max",
    "io.weight",
    "memory.high",
    "memory.limit_in_bytes",
    "memory.low",
    "memory.max",
    "memory.soft_limit_in_bytes",
    "pids.max",
];

/// Cgroup directories and what their files said.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    mounts: Vec<PathBuf>,
    directories: BTreeMap<PathBuf, BTreeMap<&'static str, String>>,
}

// === impl Groups ===

impl Groups {
    /// Reads all cgroup mounts of this mount namespace.
    pub fn read() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut groups = Self::default();
        for mount in cgroup_mounts(&mounts) {
            groups.walk(&mount);
            groups.mounts.push(mount);
        }
        groups
    }

    fn walk(&mut self, directory: &Path) {
        // Gone meanwhile, or not ours to read: then there is nothing to compare either.
        let Ok(entries) = fs::read_dir(directory) else { return };
        let mut files = BTreeMap::new();
        for name in FILES {
            if let Ok(content) = fs::read_to_string(directory.join(name)) {
                files.insert(name, content.trim_end().to_owned());
            }
        }
        // The first reading wins: the same hierarchy may be mounted twice.
        self.directories.entry(directory.to_owned()).or_insert(files);
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.walk(&entry.path());
            }
        }
    }

    /// What a directory may be called in `/proc/PID/cgroup`; nothing if it is not below a mount.
    pub(super) fn names(&self, directory: &Path) -> impl Iterator<Item = PathBuf> {
        let below = self.mounts.iter().filter_map(move |mount| directory.strip_prefix(mount).ok());
        below.map(|rest| Path::new("/").join(rest)).collect::<Vec<_>>().into_iter()
    }

    pub(super) fn keep(&mut self, wanted: impl Fn(&Path) -> bool) {
        self.directories.retain(|path, _| wanted(path));
    }

    pub(super) fn differences(&self, later: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut differ = |path: &Path, property: &str, before: &str, after: &str| {
            found.push(Difference {
                subject: path.display().to_string(),
                property: property.to_owned(),
                before: before.to_owned(),
                after: after.to_owned(),
            });
        };
        for (path, now) in &later.directories {
            let Some(then) = self.directories.get(path) else {
                if path.file_name().and_then(|name| name.to_str()).is_some_and(is_ours) {
                    differ(path, EXISTENCE, "absent", "present");
                }
                continue;
            };
            for (file, after) in now {
                if let Some(before) = then.get(file)
                    && before != after
                {
                    differ(path, file, before, after);
                }
            }
        }
        found
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with(OURS)
}

/// Mount points of type `cgroup` and `cgroup2` in `/proc/PID/mountinfo`.
fn cgroup_mounts(mountinfo: &str) -> Vec<PathBuf> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let kind = right.split(' ').next()?;
            let point = left.split(' ').nth(4)?;
            matches!(kind, "cgroup" | "cgroup2").then(|| PathBuf::from(unescape(point)))
        })
        .collect()
}

/// `\040` and its like, as the kernel writes blanks in mount points.
fn unescape(text: &str) -> String {
    [(r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, character)| text.replace(code, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_mount_are_found_and_nothing_else() {
        let mountinfo = "\
            30 23 0:26 / /sys/fs/cgroup/cpu rw,nosuid - cgroup cgroup rw,cpu\n\
            31 23 0:27 / /sys/fs/cgroup/a\\040b rw shared:5 - cgroup2 cgroup2 rw\n\
            32 23 0:28 / /proc rw - proc proc rw\n";

        let found = cgroup_mounts(mountinfo);

        assert_eq!(found, [Path::new("/sys/fs/cgroup/cpu"), Path::new("/sys/fs/cgroup/a b")]);
    }
}
