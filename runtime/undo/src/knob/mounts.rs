//! Where the cgroup hierarchies are mounted.

use super::{KnobError, KnobErrorCode};
use std::path::{Path, PathBuf};

/// One mounted cgroup hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Where.
    pub(crate) point: PathBuf,
    /// Which directory of the hierarchy is there; `/` unless this is a container.
    root: String,
    /// Controllers and name of a v1 hierarchy; `None` for v2.
    v1: Option<Vec<String>>,
}

impl Mount {
    /// Finds the hierarchy mounted at `point`.
    pub(crate) fn at(point: &Path) -> Result<Self, KnobError> {
        const MOUNTS: &str = "/proc/self/mountinfo";
        let text = std::fs::read_to_string(MOUNTS)
            .map_err(|error| KnobError::os(format_args!("read {MOUNTS}"), &error))?;
        // The last one mounted at a point hides the others.
        parse(&text).into_iter().rev().find(|mount| mount.point == point).ok_or_else(|| {
            KnobError::refused(format!(
                "{} is not the mount point of a cgroup hierarchy",
                point.display()
            ))
        })
    }

    /// Processes only; threads cannot be apart.
    pub(crate) fn is_v2(&self) -> bool {
        self.v1.is_none()
    }

    /// The path of a task within this hierarchy, from the content of its `cgroup` file.
    pub(crate) fn path_in(&self, cgroups: &str) -> Option<String> {
        cgroups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let here = match &self.v1 {
                None => number == "0" && controllers.is_empty(),
                Some(own) => controllers.split(',').any(|name| own.iter().any(|one| one == name)),
            };
            here.then(|| path.to_owned())
        })
    }

    /// The directory a path within the hierarchy stands for.
    pub(crate) fn directory(&self, path: &str) -> Result<PathBuf, KnobError> {
        if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return Err(KnobError::refused(format!(
                "`{path}` is not an absolute path within a hierarchy"
            )));
        }
        let below = match self.root.as_str() {
            "/" => Some(path),
            root => path.strip_prefix(root).filter(|rest| rest.is_empty() || rest.starts_with('/')),
        };
        let below = below.ok_or_else(|| {
            KnobError::new(
                KnobErrorCode::NotSupported,
                format!("cgroup {path} is outside what is mounted at {}", self.point.display()),
            )
        })?;
        Ok(self.point.join(below.trim_start_matches('/')))
    }

    /// The path within the hierarchy of a directory below the mount point.
    pub(crate) fn path_of(&self, directory: &Path) -> Option<String> {
        let below = directory.strip_prefix(&self.point).ok()?.to_str()?;
        let root = self.root.trim_end_matches('/');
        Some(match below {
            "" if root.is_empty() => "/".to_owned(),
            "" => root.to_owned(),
            below => format!("{root}/{below}"),
        })
    }

    /// The hierarchy a directory is in.
    pub(crate) fn of(directory: &Path) -> Result<Self, KnobError> {
        directory.ancestors().find_map(|point| Self::at(point).ok()).ok_or_else(|| {
            KnobError::refused(format!("{} is in no cgroup hierarchy", directory.display()))
        })
    }
}

/// The cgroup mounts of a `mountinfo` file (`proc_pid_mountinfo(5)`).
fn parse(text: &str) -> Vec<Mount> {
    text.lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut left = left.split(' ').skip(3);
            let (root, point) = (left.next()?, left.next()?);
            let mut right = right.split(' ');
            let v1 = match right.next()? {
                "cgroup2" => None,
                "cgroup" => Some(right.nth(1)?.split(',').map(str::to_owned).collect()),
                _ => return None,
            };
            Some(Mount { point: PathBuf::from(unescape(point)), root: unescape(root), v1 })
        })
        .collect()
}

/// Space, tab, newline and backslash are written in octal.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Mount, parse};
    use std::path::Path;

    const MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
40 31 0:37 /lxc/a /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const CGROUPS: &str = "3:cpu,cpuacct:/user/b\n2:name=systemd:/lxc/a/c\n0::/d:e\n";

    fn mount(name: &str) -> Mount {
        parse(MOUNTS).into_iter().find(|mount| mount.point.ends_with(name)).unwrap()
    }

    #[test]
    fn each_hierarchy_finds_its_own_line() {
        assert_eq!(mount("cpu,cpuacct").path_in(CGROUPS).unwrap(), "/user/b");
        assert_eq!(mount("systemd").path_in(CGROUPS).unwrap(), "/lxc/a/c");
        assert_eq!(mount("unified").path_in(CGROUPS).unwrap(), "/d:e");
    }

    #[test]
    fn paths_and_directories_turn_into_each_other() {
        let systemd = mount("systemd");
        let directory = systemd.directory("/lxc/a/c").unwrap();
        assert_eq!(directory, Path::new("/sys/fs/cgroup/systemd/c"));
        assert_eq!(systemd.path_of(&directory).unwrap(), "/lxc/a/c");
        assert!(systemd.directory("/lxc/ab").is_err());
        assert!(systemd.directory("/lxc/a/../b").is_err());
        let cpu = mount("cpu,cpuacct");
        assert_eq!(cpu.path_of(&cpu.directory("/").unwrap()).unwrap(), "/");
    }
}
