//! A service, its antagonists, and a worker with everything real behind it.

use outrigger::backend::{PluginsConfig, start};
use outrigger::enforcer::machine::Machine;
use outrigger::enforcer::{Outcome, Settings, Worker};
use outrigger::flow::message::{Decisions, Entitlement, Member, Protected, Provenance};
use outrigger_sdk::undo::{Journal, knob};
use outrigger_sdk::{Capability, ContextId, Level, TaskId};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// Where the v1 CPU controller is, if it is mounted and ours to write.
pub fn hierarchy() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mounted = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut tail = after.split(' ');
        let kind = tail.next()?;
        let options = tail.nth(1)?;
        let is_cpu = kind == "cgroup" && options.split(',').any(|option| option == "cpu");
        is_cpu.then(|| PathBuf::from(before.split(' ').nth(4).unwrap_or("/")))
    })?;
    // SAFETY: takes nothing and returns a number.
    let root = unsafe { libc::geteuid() } == 0;
    root.then_some(mounted)
}

/// A process that sleeps, ended with the test.
pub struct Sleeper(Child);

impl Sleeper {
    pub fn new() -> Self {
        let child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
        Self(child)
    }
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
    pub fn task(&self) -> TaskId {
        let task = knob::identify(self.pid()).unwrap();
        TaskId { pid: task.pid, tid: 0, start: task.start }
    }
    /// Its path in the CPU hierarchy.
    pub fn path(&self) -> String {
        let text = fs::read_to_string(format!("/proc/{}/cgroup", self.pid())).unwrap();
        let line = text.lines().find(|line| {
            line.split(':').nth(1).is_some_and(|names| names.split(',').any(|name| name == "cpu"))
        });
        line.unwrap().splitn(3, ':').nth(2).unwrap().to_owned()
    }
    pub fn policy(&self) -> i32 {
        // SAFETY: takes a number and returns one.
        unsafe { libc::sched_getscheduler(self.pid() as libc::pid_t) }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A cgroup of the test, removed with everything below it; who is still inside goes to the root.
pub struct Cgroup {
    hierarchy: PathBuf,
    top: PathBuf,
}

impl Cgroup {
    pub fn new(hierarchy: &Path, path: &str) -> Self {
        fs::create_dir_all(hierarchy.join(path)).unwrap();
        let top = hierarchy.join(path.split('/').next().unwrap());
        Self { hierarchy: hierarchy.to_owned(), top }
    }
    pub fn enter(hierarchy: &Path, path: &str, sleeper: &Sleeper) {
        fs::write(hierarchy.join(path).join("cgroup.procs"), sleeper.pid().to_string()).unwrap();
    }
    fn remove(&self, directory: &Path) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.remove(&entry.path());
            }
        }
        let left = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        for pid in left.lines() {
            let _ = fs::write(self.hierarchy.join("cgroup.procs"), pid);
        }
        if let Err(error) = fs::remove_dir(directory) {
            eprintln!("{} is left behind: {error}", directory.display());
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.remove(&self.top);
    }
}

pub struct Scene {
    pub hierarchy: PathBuf,
    pub worker: Worker,
    /// How this scene's cgroups begin, our contexts' apart.
    pub prefix: String,
    pub instance: String,
    tick: u64,
    _state: tempfile::TempDir,
}

impl Scene {
    /// `None`, with the reason printed, where this cannot be tried.
    pub fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let Some(hierarchy) = hierarchy() else {
            outrigger_skip::skip("not root, or no cgroup v1 CPU controller is mounted");
            return None;
        };
        let executable = std::env::current_exe().unwrap();
        let registry = start(&PluginsConfig::default(), &[], Some(&executable));
        for knob in [Capability::CPU_WEIGHT, Capability::MEMBERS, Capability::SCHED_CLASS] {
            if registry.level(knob) == Level::UNAVAILABLE {
                outrigger_skip::skip(&format!("no backend here can turn {knob}"));
                return None;
            }
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("outrigger-test-{}-{number}", std::process::id());
        let instance = format!("test-{}-{number}x", std::process::id());
        let state = tempfile::tempdir().unwrap();
        let directory = state.path().join("state");
        let journal = Arc::new(Mutex::new(Journal::create(&directory).unwrap()));
        let settings = Settings { instance: instance.clone(), ..Settings::default() };
        let machine = Machine::new(Arc::new(registry), journal);
        let worker = Worker::new(Box::new(machine), settings);
        Some(Self { hierarchy, worker, prefix, instance, tick: 0, _state: state })
    }

    /// One sweep with the workload `batch` at a tier.
    pub fn sweep(&mut self, service: &[&Sleeper], hogs: &[&Sleeper], tier: u8) -> Outcome {
        self.tick += 1;
        let (weight, priority) = [(100, 2), (50, 3), (20, 3), (1, 4)][usize::from(tier)];
        let entitlement = Entitlement {
            workload: "batch".into(),
            tier,
            weight,
            idle: false,
            cap: None,
            priority,
            members: members(hogs),
            rule: "workload.batch".to_owned(),
            allow_irreversible: false,
        };
        self.worker.step(&Decisions {
            provenance: Provenance {
                tick: self.tick,
                at_ns: outrigger::clock::monotonic_ns(),
                wall_ms: 0,
            },
            entitlements: if tier > 0 { vec![entitlement] } else { Vec::new() },
            changes: Vec::new(),
            protected: vec![Protected {
                workload: "service".into(),
                members: members(service),
                wait_ms_per_s: Some(300.0),
                contended: true,
            }],
            contention: Vec::new(),
        })
    }

    pub fn read(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.hierarchy.join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// Name of our context for a workload.
    pub fn context(&self, workload: &str) -> String {
        format!("outrigger-{}-{workload}", self.instance)
    }
}

impl Drop for Scene {
    /// Also after a panic in the middle of a test.
    fn drop(&mut self) {
        self.worker.restore();
    }
}

fn members(sleepers: &[&Sleeper]) -> Arc<[Member]> {
    let member = |sleeper: &&Sleeper| Member {
        task: sleeper.task(),
        name: "sleep".to_owned(),
        session: 1,
        contexts: vec![ContextId::new("cpu", &sleeper.path())],
        millicores: 0.0,
    };
    sleepers.iter().map(member).collect()
}
