//! Somebody to protect beside hogs in all places, and what the kernel says of them all: where
//! the tests of undo happen.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Difference, Group, Hogs, Mutation, Outrigger, Snapshot, remove_leftovers, until};

/// How long anything that is expected may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a sidecar may turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backends {
    /// Whatever it likes best: cgroups where there are any.
    All,
    /// Priorities only.
    NoCgroups,
}

/// A process to protect, and hogs in all places, none of them in its default state.
///
/// They fill the machine, so there is one scene at a time in a test program; a second one waits.
#[derive(Debug)]
pub struct Scene {
    protected: Hogs,
    loose: Vec<Hogs>,
    inside: Hogs,
    group: Group,
    name: String,
    directory: TempDir,
    before: Snapshot,
    _alone: MutexGuard<'static, ()>,
}

// === impl Backends ===

impl Backends {
    /// The lines of a configuration file that say so.
    fn configuration(self) -> &'static str {
        match self {
            Self::All => "",
            Self::NoCgroups => "plugins.deny = ['linux-cgroup1', 'linux-cgroup2']\n",
        }
    }
}

// === impl Scene ===

impl Scene {
    /// Starts all processes; `forking` adds hogs that fork all the time. Remembers what the kernel
    /// says of them.
    ///
    /// # Panics
    /// When they cannot be started; ask [`crate::root`] and [`crate::cgroups`] first.
    pub fn set(forking: bool) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("hog-{}", std::process::id());
        let group = Group::create("hogs");
        group.set_weight(50);
        let mut loose = vec![Hogs::plan(&name).start(), Hogs::plan(&name).own_sessions().start()];
        if forking {
            loose.push(Hogs::plan(&name).own_sessions().forking().start());
            loose.push(Hogs::plan(&name).forking().start());
        }
        renice(loose[0].pids()[0], 3);
        let inside = Hogs::plan(&name).in_group(group.path()).start();
        let protected = Hogs::plan("protected").start();
        let directory = TempDir::new().expect("the temporary directory can be written");
        let before = look(&protected, &loose, &inside);
        Self { protected, loose, inside, group, name, directory, before, _alone: alone }
    }

    /// A directory of its own.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process to protect.
    pub fn protected(&self) -> u32 {
        self.protected.pids()[0]
    }

    /// Another hog like the others, which a sidecar takes for one of them.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn another_hog(&self) -> Hogs {
        Hogs::plan(&self.name).start()
    }

    /// `outrigger COMMAND` with ten ticks a second, against the hogs; `rest` follows on its
    /// command line.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(
        &self,
        command: &str,
        rest: &[&str],
        may: Backends,
        mutation: Option<Mutation>,
    ) -> Outrigger {
        let file = self.directory.path().join("outrigger.toml");
        fs::write(&file, format!("{}timing.tick = '100ms'\n", may.configuration()))
            .expect("the directory is ours");
        let hogs = format!("name={}", self.name);
        let common = ["--best-effort", &hogs];
        let config = [Path::new("--config").as_os_str(), file.as_os_str()];
        let arguments = config.into_iter().chain(common.iter().chain(rest).map(AsRef::as_ref));
        Outrigger::command(command, arguments).mutated(mutation).start()
    }

    /// What is not as it was when the scene was set; other people's cgroups do not count.
    pub fn differences(&self) -> Vec<Difference> {
        self.before.differences(&look(&self.protected, &self.loose, &self.inside))
    }

    /// Whether `pid`, a process of this test's like the protected one, is as that one was when the
    /// scene was set: so nobody touched it, or everything was put back.
    pub fn is_as_started(&self, pid: u32) -> bool {
        let seen = Snapshot::take(&[pid]);
        seen.tasks().process(pid) == self.before.tasks().process(self.protected())
    }

    /// Waits until every hog is held back, as the kernel tells it.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn until_governed(&self) {
        until("every hog is held back", PATIENCE, || {
            let found = self.differences();
            let changed = |pid: u32| found.iter().any(|d| is_about(d, pid));
            self.loose.iter().flat_map(Hogs::pids).all(changed)
                && (self.inside.pids().into_iter().all(changed)
                    || found.iter().any(|d| Path::new(&d.subject) == self.group.path()))
        });
    }

    /// What `sidecar` has not put back.
    pub fn left_by(&self, sidecar: &Outrigger) -> Vec<Difference> {
        let instance = format!("-{}", sidecar.pid());
        let mut found = self.differences();
        found.retain(|d| {
            !d.subject.starts_with('/')
                || d.subject.contains(&instance)
                || Path::new(&d.subject) == self.group.path()
                || !d.subject.contains("outrigger")
        });
        found
    }

    /// Ends the scene, and removes cgroups that a sidecar left behind.
    pub fn clear(self, left: &[Difference]) {
        // Only empty directories can be removed.
        drop(self);
        let groups = left.iter().filter(|difference| difference.property == "existence");
        remove_leftovers(groups.map(|difference| Path::new(&difference.subject)));
    }
}

fn is_about(difference: &Difference, pid: u32) -> bool {
    difference.subject.starts_with(&format!("process {pid} "))
}

fn look(protected: &Hogs, loose: &[Hogs], inside: &Hogs) -> Snapshot {
    let all = loose.iter().chain([protected, inside]);
    Snapshot::take(&all.flat_map(Hogs::pids).collect::<Vec<u32>>())
}

fn renice(pid: u32, nice: i32) {
    // SAFETY: the call touches no memory.
    let answer = unsafe { libc::setpriority(libc::PRIO_PROCESS, pid, nice) };
    assert_eq!(answer, 0, "process {pid} cannot be reniced");
}
