//! Real cgroups that are removed with everything in them, also when a test panics.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub const CPU: &str = "/sys/fs/cgroup/cpu";

/// A directory directly below a hierarchy. May also stand for one that others are to create.
pub struct Cgroup {
    pub path: PathBuf,
}

impl Cgroup {
    /// A name nobody else has; nothing is created.
    pub fn name(hierarchy: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            path: format!("{hierarchy}/outrigger-test-{}-undo{number}", std::process::id()).into(),
        }
    }
    pub fn create(hierarchy: &str) -> Self {
        let cgroup = Self::name(hierarchy);
        fs::create_dir(&cgroup.path).unwrap();
        cgroup
    }
    pub fn text(&self) -> String {
        self.path.to_str().unwrap().to_owned()
    }
    pub fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.text())
    }
    /// As `/proc/PID/cgroup` shows it.
    pub fn inner(&self) -> String {
        format!("/{}", self.path.file_name().unwrap().to_str().unwrap())
    }
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path.join(name)).unwrap().trim_end().to_owned()
    }
    pub fn write(&self, name: &str, value: &str) {
        fs::write(self.path.join(name), value).unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Moves everything to the hierarchy's root and removes the directories, deepest first.
fn remove(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while path.exists() && fs::remove_dir(path).is_err() && Instant::now() < deadline {
        let procs = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
        for pid in procs.lines() {
            let _ = fs::write(path.parent().unwrap().join("cgroup.procs"), pid);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
