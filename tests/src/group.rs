//! Cgroups of a test's own, removed with everything below them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long the kernel (or somebody still forking) may keep a group busy at the end.
const PATIENCE: Duration = Duration::from_secs(5);

/// A cgroup directory `outrigger-test-PID-N-NAME` directly below a v1 hierarchy, perhaps with
/// others inside.
#[derive(Debug)]
pub struct Group {
    hierarchy: PathBuf,
    outermost: PathBuf,
    innermost: PathBuf,
}

// === impl Group ===

impl Group {
    /// Creates `path` (such as `user` or `user/leaf`) in the hierarchy of `controller`.
    ///
    /// # Panics
    /// When it cannot be created; ask [`crate::cgroup1`] first.
    pub fn create(controller: &str, path: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let hierarchy = hierarchy(controller).expect("the controller has a v1 hierarchy");
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("outrigger-test-{}-{number}-{first}", std::process::id());
        let outermost = hierarchy.join(name);
        let innermost = outermost.join(rest);
        // From now on it is removed, also if creating stops half-way.
        let group = Self { hierarchy, outermost, innermost };
        fs::create_dir_all(&group.innermost)
            .unwrap_or_else(|error| panic!("cannot create {}: {error}", group.innermost.display()));
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
        let below = self.innermost.strip_prefix(&self.hierarchy).unwrap_or(&self.innermost);
        format!("/{}", below.display())
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
        while let Err(error) = remove(&self.outermost, &self.hierarchy) {
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

/// Where the v1 hierarchy of `controller` is mounted, from `/proc/self/mountinfo`.
pub fn hierarchy(controller: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let controllers = (right.next() == Some("cgroup")).then(|| right.nth(1))??;
        let mounted = controllers.split(',').any(|name| name == controller);
        mounted.then(|| left.split(' ').nth(4).map(PathBuf::from))?
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Hogs, cgroup1, root};

    #[test]
    fn a_nested_group_is_removed_with_a_busy_process_inside_also_on_panic() {
        if !(root() && cgroup1("cpu")) {
            return;
        }
        let hogs = Hogs::plan("testhog").count(1).start();
        let group = Group::create("cpu", "user/leaf");
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
        if !(root() && cgroup1("cpu")) {
            return;
        }
        let hogs = Hogs::plan("testhog").count(1).start();
        let group = Group::create("cpu", "user/leaf");
        group.add(hogs.pids()[0]);

        let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", hogs.pids()[0])).unwrap();

        assert!(cgroups.contains(&format!(":{}\n", group.name())), "{cgroups}");
        assert!(group.name().starts_with("/outrigger-test-"));
        assert!(group.name().ends_with("-user/leaf"));
    }
}
