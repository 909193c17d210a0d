//! Cgroups of a test's own, removed with everything below them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long the kernel (or somebody still forking) may keep a group busy at the end.
const PATIENCE: Duration = Duration::from_secs(5);

/// A cgroup directory `outrigger-test-PID-N-NAME` directly below the hierarchy that has the cpu
/// controller, perhaps with others inside.
#[derive(Debug)]
pub struct Group {
    hierarchy: Hierarchy,
    outermost: PathBuf,
    innermost: PathBuf,
}

// === impl Group ===

impl Group {
    /// Creates `path` (such as `user` or `user/leaf`).
    ///
    /// # Panics
    /// When it cannot be created; ask [`crate::cgroups`] first.
    pub fn create(path: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let hierarchy = Hierarchy::find().expect("the cpu controller is mounted");
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("outrigger-test-{}-{number}-{first}", std::process::id());
        let outermost = hierarchy.mount.join(name);
        let innermost = outermost.join(rest);
        // From now on it is removed, also if creating stops half-way.
        let group = Self { hierarchy, outermost, innermost };
        fs::create_dir_all(&group.innermost)
            .unwrap_or_else(|error| panic!("cannot create {}: {error}", group.innermost.display()));
        if group.hierarchy.version == 2 {
            let below =
                group.innermost.strip_prefix(&group.hierarchy.mount).unwrap_or(Path::new(""));
            let parents = below.ancestors().skip(1).map(|path| group.hierarchy.mount.join(path));
            for parent in parents.collect::<Vec<_>>().into_iter().rev() {
                hand_down(&parent);
            }
        }
        group
    }

    /// The innermost directory.
    pub fn path(&self) -> &Path {
        &self.innermost
    }

    /// The directory directly below the hierarchy.
    pub fn outermost(&self) -> &Path {
        &self.outermost
    }

    /// The path of the innermost directory within its hierarchy, as `/proc/PID/cgroup` has it.
    pub fn name(&self) -> String {
        let below = self.innermost.strip_prefix(&self.hierarchy.mount).unwrap_or(&self.innermost);
        format!("/{}", below.display())
    }

    /// Its CPU weight, or that of another group of this hierarchy; 100 is what everybody has.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn weight_of(&self, group: &Path) -> f64 {
        let path = group.join(self.hierarchy.weight_file());
        let text = fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let weight: f64 = text.trim().parse().expect("a weight is a number");
        if self.hierarchy.version == 1 { weight * 100.0 / 1024.0 } else { weight }
    }

    /// The CPU weight of the innermost directory; 100 is what everybody has.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn weight(&self) -> f64 {
        self.weight_of(&self.innermost)
    }

    /// Sets the CPU weight of the innermost directory, 1 to 10000.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn set_weight(&self, weight: u64) {
        let value = if self.hierarchy.version == 1 { (weight * 1024 / 100).max(2) } else { weight };
        self.write(self.hierarchy.weight_file(), &value.to_string());
    }

    /// The CPU quota of the innermost directory, in each 100 ms; `None` if it has none.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn quota(&self) -> Option<Duration> {
        let text = match self.hierarchy.version {
            1 => self.read("cpu.cfs_quota_us"),
            _ => self.read("cpu.max"),
        };
        text.split(' ').next()?.parse().ok().map(Duration::from_micros)
    }

    /// Sets the CPU quota of the innermost directory, in each 100 ms.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn set_quota(&self, quota: Duration) {
        let quota = quota.as_micros();
        match self.hierarchy.version {
            1 => self.write("cpu.cfs_quota_us", &quota.to_string()),
            _ => self.write("cpu.max", &format!("{quota} 100000")),
        }
    }

    /// What policies and plugins call the hierarchy.
    pub fn space(&self) -> &'static str {
        if self.hierarchy.version == 1 { "cpu" } else { "unified" }
    }

    /// Moves a process in, with all its threads.
    ///
    /// # Panics
    /// When it cannot be moved.
    pub fn add(&self, pid: u32) {
        self.write("cgroup.procs", &pid.to_string());
    }

    /// Writes a control file of the innermost directory.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn write(&self, file: &str, value: &str) {
        let path = self.innermost.join(file);
        fs::write(&path, value)
            .unwrap_or_else(|error| panic!("cannot write {value} to {}: {error}", path.display()));
    }

    /// Reads a control file of the innermost directory, without the final newline.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn read(&self, file: &str) -> String {
        let path = self.innermost.join(file);
        fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
            .trim_end()
            .to_owned()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = remove(&self.outermost, &self.hierarchy.mount) {
            if Instant::now() >= deadline {
                eprintln!("left behind: {}: {error}", self.outermost.display());
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Removes `directory` and what is below it. Processes still inside are moved to the root of the
/// hierarchy: whoever started them ends them.
fn remove(directory: &Path, root: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path(), root)?;
        }
    }
    for pid in fs::read_to_string(directory.join("cgroup.procs"))?.lines() {
        // Gone meanwhile is as good as moved; anything else shows when the directory is removed.
        let _ = fs::write(root.join("cgroup.procs"), pid);
    }
    fs::remove_dir(directory)
}

/// Gives the children of a v2 group the cpu controller. The root keeps handing it down: others
/// may have come to stand on it.
fn hand_down(parent: &Path) {
    let path = parent.join("cgroup.subtree_control");
    fs::write(&path, "+cpu")
        .unwrap_or_else(|error| panic!("cannot write +cpu to {}: {error}", path.display()));
}

/// The hierarchy that has the cpu controller.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Of cgroups: 1 or 2.
    pub version: u32,
}

impl Hierarchy {
    /// Out of `/proc/self/mountinfo`: v1 if the controller is there, else the v2 tree.
    pub fn find() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let found = |version: u32, wanted: &dyn Fn(&str, &str) -> bool| {
            mounts.lines().find_map(|line| {
                let (left, right) = line.split_once(" - ")?;
                let mut right = right.split(' ');
                let (kind, options) = (right.next()?, right.nth(1)?);
                let mount = PathBuf::from(left.split(' ').nth(4)?);
                wanted(kind, options).then_some(Self { mount, version })
            })
        };
        let v1 = |kind: &str, options: &str| {
            kind == "cgroup" && options.split(',').any(|name| name == "cpu")
        };
        found(1, &v1).or_else(|| {
            let tree = found(2, &|kind, _| kind == "cgroup2")?;
            let offered = fs::read_to_string(tree.mount.join("cgroup.controllers")).ok()?;
            offered.split_whitespace().any(|name| name == "cpu").then_some(tree)
        })
    }

    /// The file that holds a group's CPU weight.
    pub fn weight_file(&self) -> &'static str {
        if self.version == 1 { "cpu.shares" } else { "cpu.weight" }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Hogs, cgroups, root};

    #[test]
    fn a_nested_group_is_removed_with_a_busy_process_inside_also_on_panic() {
        if !(root() && cgroups()) {
            return;
        }
        let hogs = Hogs::plan("testhog").count(1).start();
        let group = Group::create("user/leaf");
        let outermost = group.outermost().to_owned();
        group.add(hogs.pids()[0]);
        assert_eq!(group.read("cgroup.procs"), hogs.pids()[0].to_string());

        let unwound = std::panic::catch_unwind(move || {
            let _group = group;
            panic!("as a failing test would");
        });

        assert!(unwound.is_err());
        assert!(!outermost.exists());
    }

    #[test]
    fn the_name_is_what_the_kernel_calls_it() {
        if !(root() && cgroups()) {
            return;
        }
        let hogs = Hogs::plan("testhog").count(1).start();
        let group = Group::create("user/leaf");
        group.add(hogs.pids()[0]);

        let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", hogs.pids()[0])).unwrap();

        assert!(cgroups.contains(&format!(":{}\n", group.name())), "{cgroups}");
        assert!(group.name().starts_with("/outrigger-test-"));
        assert!(group.name().ends_with("-user/leaf"));
    }
}
