//! Where the cgroup hierarchies are: `/proc/self/mountinfo`, nothing assumed.
//!
//! On a hybrid host each v1 controller has a mount of its own or shares one (`cpu,cpuacct`), and
//! a cgroup2 tree is mounted beside them. Choosing is per controller. Paths of cgroups are
//! written as `/proc/PID/cgroup` writes them; the file system may show only a part of the tree
//! (the mount's root), so the two are converted here and nowhere else.

use outrigger_sdk::{Error, ErrorCode};
use std::path::{Path, PathBuf};

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// A hierarchy, by what hosts and policies call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// CPU shares and quota.
    Cpu,
    /// CPU time used. Not a place where contexts are made; read only.
    Cpuacct,
    /// CPUs and memory nodes.
    Cpuset,
    /// Memory limits.
    Memory,
    /// Number of tasks.
    Pids,
    /// Block devices.
    Blkio,
    /// The cgroup2 tree: pressure, freeze, kill.
    Unified,
    /// systemd's own tree without a controller. Only looked at, to see what systemd owns.
    Systemd,
}

impl Space {
    /// Every space, in the order contexts are made.
    pub const ALL: [Self; 8] = [
        Self::Cpu,
        Self::Unified,
        Self::Cpuset,
        Self::Memory,
        Self::Pids,
        Self::Blkio,
        Self::Cpuacct,
        Self::Systemd,
    ];

    /// The name that crosses the boundary, which is also what `/proc/PID/cgroup` says, but for
    /// the last two.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Cpuset => "cpuset",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Blkio => "blkio",
            Self::Unified => "unified",
            Self::Systemd => "systemd",
        }
    }

    /// Whether the controller list of a v1 mount or of a `/proc/PID/cgroup` line names it.
    fn is_in(self, controllers: &str) -> bool {
        let wanted = match self {
            Self::Unified => return false,
            Self::Systemd => "name=systemd",
            other => other.name(),
        };
        controllers.split(',').any(|one| one == wanted)
    }

    /// The path of a task in this space, out of the text of its `/proc/PID/cgroup`.
    pub fn path_in(self, text: &str) -> Option<&str> {
        text.lines().find_map(|line| {
            let (number, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let found = match self {
                Self::Unified => number == "0" && controllers.is_empty(),
                other => other.is_in(controllers),
            };
            found.then_some(path)
        })
    }
}

/// One mounted hierarchy, seen as one space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Which.
    pub space: Space,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Which cgroup the mount shows as its root; `/` unless only a part is bound here.
    pub root: String,
    /// Mounted read-only (the mount or its file system).
    pub read_only: bool,
}

impl Hierarchy {
    /// The directory of a cgroup, if this mount shows it.
    pub fn dir(&self, path: &str) -> Option<PathBuf> {
        if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return None;
        }
        let below = match self.root.as_str() {
            "/" => path,
            root => match path.strip_prefix(root)? {
                rest if rest.is_empty() || rest.starts_with('/') => rest,
                _ => return None,
            },
        };
        Some(self.mount.join(below.trim_matches('/')))
    }
}

/// The hierarchies mounted in this mount namespace, one per space at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchies(Vec<Hierarchy>);

impl Hierarchies {
    /// Looks at the machine.
    ///
    /// # Errors
    /// `/proc/self/mountinfo` cannot be read.
    pub fn read() -> Result<Self, Error> {
        let text = std::fs::read_to_string(MOUNTINFO).map_err(|error| Error {
            os_code: error.raw_os_error().unwrap_or(0).into(),
            ..Error::new(
                ErrorCode::OS,
                "open",
                format!("failed to read {MOUNTINFO}: {error}; is /proc mounted?"),
            )
        })?;
        Ok(Self::parse(&text))
    }

    /// Out of the text of a `mountinfo` file (`proc_pid_mountinfo(5)`).
    pub fn parse(text: &str) -> Self {
        let mut all = Self::default();
        for line in text.lines() {
            let Some(mount) = Mount::parse(line) else { continue };
            for space in Space::ALL {
                let matches = match (mount.kind, space) {
                    ("cgroup2", Space::Unified) => true,
                    ("cgroup", space) => space.is_in(mount.super_options),
                    _ => false,
                };
                if matches {
                    all.offer(Hierarchy {
                        space,
                        mount: PathBuf::from(unescape(mount.point)),
                        root: unescape(mount.root),
                        read_only: [mount.options, mount.super_options]
                            .iter()
                            .any(|options| options.split(',').any(|option| option == "ro")),
                    });
                }
            }
        }
        all
    }

    /// Keeps one mount per space: a writable one before a read-only one, one that shows the
    /// whole tree before one that shows a part, else the first.
    fn offer(&mut self, new: Hierarchy) {
        let rank = |h: &Hierarchy| (h.read_only, h.root != "/");
        match self.0.iter_mut().find(|known| known.space == new.space) {
            Some(known) if rank(&new) < rank(known) => *known = new,
            Some(_) => {}
            None => self.0.push(new),
        }
    }

    /// The hierarchy of a space, if it is mounted.
    pub fn get(&self, space: Space) -> Option<&Hierarchy> {
        self.0.iter().find(|hierarchy| hierarchy.space == space)
    }

    /// Whether any v1 controller is mounted. If none is, this host is one for cgroup v2.
    pub fn any_controller(&self) -> bool {
        self.0.iter().any(|h| !matches!(h.space, Space::Unified | Space::Systemd))
    }

    /// The hierarchy below whose mount point a file or directory lies.
    pub fn holding(&self, path: &Path) -> Option<&Hierarchy> {
        self.0
            .iter()
            .filter(|hierarchy| path.starts_with(&hierarchy.mount))
            .max_by_key(|hierarchy| hierarchy.mount.as_os_str().len())
    }
}

struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    options: &'a str,
    kind: &'a str,
    super_options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let mut right = right.split(' ');
        Some(Self {
            root: left.next()?,
            point: left.next()?,
            options: left.next()?,
            kind: right.next()?,
            super_options: right.nth(1)?,
        })
    }
}

/// Undoes the kernel's octal escapes (space, tab, newline, backslash).
fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut out = text.to_owned();
    for (escaped, plain) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        out = out.replace(escaped, plain);
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/memory ro,relatime - cgroup cgroup rw,memory
35 31 0:32 /docker/ab /mnt/with\\040space rw - cgroup cgroup rw,pids
36 31 0:32 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn each_controller_is_found_where_it_is_mounted() {
        let all = Hierarchies::parse(HYBRID);
        let mount = |space| all.get(space).map(|h| h.mount.to_str().unwrap());
        assert_eq!(mount(Space::Cpu), Some("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(mount(Space::Cpuacct), mount(Space::Cpu));
        assert_eq!(mount(Space::Unified), Some("/sys/fs/cgroup/unified"));
        assert_eq!(mount(Space::Systemd), Some("/sys/fs/cgroup/systemd"));
        assert_eq!(mount(Space::Blkio), None);
        assert!(all.get(Space::Memory).unwrap().read_only);
        assert_eq!(mount(Space::Pids), Some("/sys/fs/cgroup/pids"), "the whole tree wins");
        assert!(all.any_controller());
    }

    #[test]
    fn a_pure_v2_host_has_no_controller_for_us() {
        let all = Hierarchies::parse("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        assert!(all.get(Space::Unified).is_some());
        assert!(!all.any_controller());
    }

    #[test]
    fn a_part_of_the_tree_shows_only_what_is_below_its_root() {
        let part = Hierarchy {
            space: Space::Pids,
            mount: "/mnt".into(),
            root: "/docker/ab".into(),
            read_only: false,
        };
        assert_eq!(part.dir("/docker/ab/c"), Some("/mnt/c".into()));
        assert_eq!(part.dir("/docker/ab"), Some("/mnt/".into()));
        assert_eq!(part.dir("/docker/abc"), None);
        assert_eq!(part.dir("/"), None);
        let whole = Hierarchy { root: "/".into(), ..part };
        assert_eq!(whole.dir("/a/b"), Some("/mnt/a/b".into()));
        assert_eq!(whole.dir("/../x"), None);
        assert_eq!(whole.dir("a"), None);
    }

    #[test]
    fn a_task_has_one_path_per_space() {
        let text = "12:cpu,cpuacct:/a:b\n9:name=systemd:/user.slice\n5:cpuset:/\n0::/init.scope\n";
        assert_eq!(Space::Cpu.path_in(text), Some("/a:b"));
        assert_eq!(Space::Cpuacct.path_in(text), Some("/a:b"));
        assert_eq!(Space::Cpuset.path_in(text), Some("/"));
        assert_eq!(Space::Unified.path_in(text), Some("/init.scope"));
        assert_eq!(Space::Systemd.path_in(text), Some("/user.slice"));
        assert_eq!(Space::Memory.path_in(text), None);
    }
}
