//! Scratch cgroups, victims, and a governor that journals before it commits: for the tests of both
//! backends, each of which calls its own `UnderTest`.

use crate::UnderTest;
use outrigger_sdk::undo::{Journal, Report, Task, Why, knob};
use outrigger_sdk::{
    Backend, ContextId, Desired, Error, ErrorCode, Host, Operation, PreparedOperation, Setting,
    TaskId, TaskIdExt,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Tells the re-executed test binary which part to play.
pub const ROLE: &str = "OUTRIGGER_TEST_ROLE";
/// How long an event may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Mount point of a v1 controller, or of the cgroup2 tree (`unified`).
pub fn mount(space: &str) -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").ok()?;
    text.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let right: Vec<&str> = right.split(' ').collect();
        let found = match right[0] {
            "cgroup2" => space == "unified",
            "cgroup" => right[2].split(',').any(|option| option == space),
            _ => false,
        };
        found.then(|| PathBuf::from(left.split(' ').nth(4).unwrap()))
    })
}

/// Whether these hierarchies are there and ours to use; if not, says why the test is skipped.
pub fn ready(spaces: &[&str]) -> bool {
    if !outrigger_skip::root() {
        return false;
    }
    match spaces.iter().find(|space| mount(space).is_none()) {
        Some(missing) => outrigger_skip::skip(&format!("this host has no {missing} hierarchy")),
        None => return true,
    }
    false
}

/// A name of our own in every hierarchy; what bears it is emptied and removed at the end.
pub struct Scratch(pub String);

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("outrigger-test-{}-{number}", std::process::id()))
    }
    pub fn id(&self) -> ContextId {
        ContextId::ours(&self.0)
    }
    pub fn path(&self) -> String {
        format!("/{}", self.0)
    }
    pub fn dir(&self, space: &str) -> PathBuf {
        mount(space).unwrap().join(&self.0)
    }
    /// Makes a cgroup of this name, or one below it, by hand: somebody else's.
    pub fn make(&self, space: &str, below: &str) -> PathBuf {
        let dir = self.dir(space).join(below);
        fs::create_dir_all(&dir).unwrap();
        dir
    }
    pub fn read(&self, space: &str, file: &str) -> String {
        read(&self.dir(space).join(file))
    }
    pub fn write(&self, space: &str, file: &str, value: &str) {
        fs::write(self.dir(space).join(file), value).unwrap();
    }
    pub fn exists(&self, space: &str) -> bool {
        self.dir(space).is_dir()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for space in ["cpu", "cpuset", "memory", "pids", "blkio", "cpuacct", "unified"] {
            if let Some(mount) = mount(space) {
                remove(&mount.join(&self.0), &mount);
            }
        }
    }
}

/// Empties a cgroup and those below it into the root and removes them.
fn remove(dir: &Path, root: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        remove(&entry.path(), root);
    }
    let started = Instant::now();
    while dir.is_dir() && started.elapsed() < PATIENCE {
        for pid in fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default().lines() {
            let _ = fs::write(root.join("cgroup.procs"), pid);
        }
        if fs::remove_dir(dir).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A process of ours that ends with the test.
pub struct Victim(Child);

impl Victim {
    /// Does nothing.
    pub fn sleeper() -> Self {
        Self::spawn(Command::new("sleep").arg("600"))
    }
    /// Uses whatever CPU it gets.
    pub fn hog() -> Self {
        Self::spawn(Command::new("sh").args(["-c", "while :; do :; done"]))
    }
    /// Has this many threads at least.
    pub fn threaded(threads: usize) -> Self {
        let me = Self::spawn(play("threads", &mut Command::new(std::env::current_exe().unwrap())));
        until("threads are born", || knob::threads(me.pid()).unwrap().len() >= threads);
        me
    }
    fn spawn(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
    pub fn task(&self) -> TaskId {
        TaskId::from_task(knob::identify(self.pid()).unwrap())
    }
    pub fn threads(&self) -> Vec<Task> {
        knob::threads(self.pid()).unwrap()
    }
    /// Where it is, as the kernel says.
    pub fn place(&self, space: &str) -> String {
        place_of(self.pid(), self.pid(), space)
    }
    pub fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where a thread is in a hierarchy.
pub fn place_of(pid: u32, tid: u32, space: &str) -> String {
    let text = read(Path::new(&format!("/proc/{pid}/task/{tid}/cgroup")));
    let found = text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let wanted = if space == "unified" { "" } else { space };
        controllers.split(',').any(|name| name == wanted).then(|| path.to_owned())
    });
    found.unwrap()
}

/// Makes a command play a role in this test binary.
pub fn play<'a>(role: &str, command: &'a mut Command) -> &'a mut Command {
    command.args(["--exact", "roles::stage", "--nocapture"]).env(ROLE, role)
}

/// Waits for an event.
pub fn until(what: &str, mut come: impl FnMut() -> bool) {
    let started = Instant::now();
    while !come() {
        assert!(started.elapsed() < PATIENCE, "{what}: did not happen within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
}

/// Prepares, journals, commits and undoes, as the host does.
pub struct Governor {
    pub backend: UnderTest,
    journal: Journal,
    _state: tempfile::TempDir,
}

/// What became of a desired state.
#[derive(Debug, Default)]
pub struct Applied {
    pub operations: Vec<Operation>,
    pub refused: Vec<(outrigger_sdk::Capability, Error)>,
}

impl Governor {
    pub fn new() -> Self {
        Self::configured("{}")
    }
    pub fn configured(config: &str) -> Self {
        let state = tempfile::tempdir().unwrap();
        Self {
            backend: UnderTest::create(Host::silent(), config).unwrap(),
            journal: Journal::create(&state.path().join("state")).unwrap(),
            _state: state,
        }
    }
    pub fn prepare(&mut self, id: ContextId, settings: &[Setting]) -> Applied {
        let prepared = self.backend.prepare(&Desired::context(id, settings.to_vec())).unwrap();
        let mut applied = Applied::default();
        for PreparedOperation { knob, operation } in prepared {
            match operation {
                Ok(operation) => applied.operations.push(operation),
                Err(error) => applied.refused.push((knob, error)),
            }
        }
        applied
    }
    /// Carries out what was prepared; every operation must succeed.
    pub fn apply(&mut self, id: ContextId, settings: &[Setting]) -> Applied {
        let applied = self.prepare(id, settings);
        for operation in &applied.operations {
            self.commit(operation).unwrap_or_else(|error| panic!("{operation:?}: {error}"));
        }
        applied
    }
    pub fn commit(&mut self, operation: &Operation) -> Result<String, Error> {
        let journalled = self.journal.record(operation.clone(), &Why::default()).unwrap();
        let result = self.backend.commit((&journalled).into());
        match &result {
            Err(error) if error.code == ErrorCode::FOREIGN => self.journal.withdraw(&journalled),
            Err(error) => self.journal.settle(&journalled, Err(error.message.as_str())),
            Ok(read_back) => self.journal.settle(&journalled, Ok(read_back)),
        }
        .unwrap();
        result
    }
    /// Applies, expects no refusal, and expects nothing left to do.
    pub fn settle(&mut self, id: &ContextId, settings: &[Setting]) -> Vec<Operation> {
        let applied = self.apply(id.clone(), settings);
        assert!(applied.refused.is_empty(), "{:?}", applied.refused);
        let again = self.prepare(id.clone(), settings);
        assert!(again.operations.is_empty(), "not idempotent: {:?}", again.operations);
        applied.operations
    }
    pub fn undo(&mut self) -> Report {
        let report = self.journal.undo_all();
        assert!(report.is_clean(), "{report:?}");
        report
    }
}
