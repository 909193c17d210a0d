//! A host in memory: contexts, processes and two backends, for the tests of the pure parts.
//!
//! It follows the kernel where the planning depends on it: weights read back as shares do, a
//! fork is born where its parent sits, a member can be moved only out of the root or a context
//! of ours unless it was launched.

use super::hands::{Backend, Cause, Committed, Fate, Hands, OperationKey, Returned, Undone};
use outrigger_sdk::{
    Capability, ContextId, ContextNode, Desired, Error, ErrorCode, Kind, Level, Operation,
    PreparedOperation, Setting, Task, TaskId, TaskIdExt,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

/// A surveyed node with default settings.
pub fn node(path: &str, pids: &[u32]) -> ContextNode {
    ContextNode {
        context: ContextId::new("cpu", path),
        weight: 100,
        idle: false,
        limit: -1,
        tasks_compete: path == "/",
        managed: false,
        pids: pids.to_vec().into(),
    }
}

/// What start time the model gives a process.
pub fn task(pid: u32) -> TaskId {
    TaskId { pid, tid: 0, start: u64::from(pid) * 10 }
}

/// One process.
#[derive(Clone, Debug)]
pub struct Process {
    pub path: String,
    pub session: u32,
    pub nice: i64,
    pub class: i64,
    pub autogroup: i64,
}

/// The world behind the hands; tests keep a clone and look.
#[derive(Clone, Default)]
pub struct Host(Arc<Mutex<World>>);

#[derive(Default)]
pub struct World {
    pub files: BTreeMap<String, String>,
    pub contexts: BTreeSet<String>,
    pub managed: BTreeSet<String>,
    pub processes: BTreeMap<u32, Process>,
    /// Sessions of all who ever lived.
    sessions: BTreeMap<u32, u32>,
    pub newborn: BTreeSet<u32>,
    /// Backend and knob that are refused, with the code.
    pub refusals: BTreeMap<(String, Capability), ErrorCode>,
    /// Knobs whose next write does not come back.
    pub hanging: BTreeSet<Capability>,
    /// Knobs nobody can turn.
    pub unable: BTreeSet<Capability>,
    pub returned: Vec<Returned>,
    pub writes: Vec<Operation>,
    pub prepares: usize,
    pub surveys: usize,
    pub last_desired: Vec<Setting>,
    pub no_tree: bool,
    pub survey_fails: bool,
    pub autogroups: bool,
    journal: Vec<(u64, Operation, Option<String>)>,
    token: u64,
}

impl Host {
    pub fn new() -> Self {
        let host = Self::default();
        {
            let mut world = host.world();
            world.autogroups = true;
            world.contexts.insert("/".to_owned());
        }
        host
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Adds a process, and the context it is in.
    pub fn spawn(&self, pid: u32, path: &str, session: u32) {
        let mut world = self.world();
        for step in super::tree::lineage(path) {
            world.contexts.insert(step.to_owned());
        }
        let path = path.to_owned();
        world.sessions.insert(pid, session);
        world.processes.insert(pid, Process { path, session, nice: 0, class: 0, autogroup: 0 });
    }

    pub fn path_of(&self, pid: u32) -> String {
        self.world().processes[&pid].path.clone()
    }

    /// The weight of a context, `None` if there is no such context.
    pub fn weight(&self, path: &str) -> Option<String> {
        let world = self.world();
        world.contexts.contains(path).then(|| world.file(&format!("{path}/weight")))
    }

    pub fn file(&self, path: &str) -> String {
        self.world().file(path)
    }

    /// Preparations and surveys so far.
    pub fn asked(&self) -> (usize, usize) {
        let world = self.world();
        (world.prepares, world.surveys)
    }

    /// Number of writes since the last call.
    pub fn take_writes(&self) -> usize {
        std::mem::take(&mut self.world().writes).len()
    }
}

fn default_of(file: &str) -> &'static str {
    match super::tree::last(file) {
        "weight" => "100",
        "quota" => "-1",
        _ => "0",
    }
}

impl World {
    pub fn file(&self, path: &str) -> String {
        self.files.get(path).cloned().unwrap_or_else(|| default_of(path).to_owned())
    }

    fn read(&self, operation: &Operation) -> Option<String> {
        let pid = operation.task.map(|task| task.pid);
        let process = || self.processes.get(&pid?);
        Some(match operation.kind {
            Kind::File => self.file(&operation.locator),
            Kind::Context if self.contexts.contains(&operation.locator) => "present".to_owned(),
            Kind::Context => "absent".to_owned(),
            Kind::Membership => process()?.path.clone(),
            Kind::Nice => process()?.nice.to_string(),
            Kind::SchedPolicy => process()?.class.to_string(),
            Kind::Autogroup => {
                let session = self.sessions.get(&pid?)?;
                let member = self.processes.values().find(|process| process.session == *session);
                member?.autogroup.to_string()
            }
            other => unreachable!("the model does not know {other:?}"),
        })
    }

    /// Whether two operations turn the same knob.
    fn is_same(&self, one: &Operation, other: &Operation) -> bool {
        let session = |operation: &Operation| self.sessions.get(&operation.task?.pid).copied();
        OperationKey::of(one) == OperationKey::of(other)
            || (one.kind, other.kind) == (Kind::Autogroup, Kind::Autogroup)
                && session(one) == session(other)
    }

    fn write(&mut self, operation: &Operation, value: &str) -> Result<String, Error> {
        let gone = || Error::new(ErrorCode::GONE, "write", "gone");
        let number = || value.parse::<i64>().unwrap_or(0);
        if let (Kind::Autogroup, Some(task)) = (operation.kind, operation.task) {
            let session = self.sessions.get(&task.pid).copied();
            let mut found = false;
            for process in self.processes.values_mut().filter(|p| Some(p.session) == session) {
                (process.autogroup, found) = (number(), true);
            }
            return if found { Ok(value.to_owned()) } else { Err(gone()) };
        }
        if let Some(task) = operation.task {
            let process = self.processes.get_mut(&task.pid).ok_or_else(gone)?;
            match operation.kind {
                Kind::Membership if self.contexts.contains(value) => {
                    process.path = value.to_owned()
                }
                Kind::Membership => return Err(gone()),
                Kind::Nice => process.nice = number(),
                Kind::SchedPolicy => process.class = number(),
                other => unreachable!("the model does not know {other:?}"),
            }
        } else if operation.kind == Kind::Context {
            if value == "present" {
                self.contexts.insert(operation.locator.clone());
            } else {
                self.contexts.remove(&operation.locator);
                self.files.retain(|file, _| !file.starts_with(&format!("{}/", operation.locator)));
            }
        } else {
            self.files.insert(operation.locator.clone(), value.to_owned());
        }
        Ok(value.to_owned())
    }

    fn prepared(&self, desired: &Desired, setting: &Setting) -> Vec<Result<Operation, Error>> {
        let directory = match desired.context.space.as_str() {
            "" => format!("/{}", desired.context.path),
            _ => desired.context.path.to_string(),
        };
        let on = |kind, task: Option<Task>, locator: String, after: String| {
            let mut operation = Operation { kind, task, locator, before: String::new(), after };
            match self.read(&operation) {
                None => vec![Err(Error::new(ErrorCode::GONE, "prepare", "gone"))],
                Some(before) if before == operation.after => Vec::new(),
                Some(before) => {
                    operation.before = before;
                    vec![Ok(operation)]
                }
            }
        };
        let file = |name: &str, value: i64| {
            on(Kind::File, None, format!("{directory}/{name}"), value.to_string())
        };
        let me = Some(desired.task.to_task());
        match setting.knob {
            Capability::CONTEXT => on(Kind::Context, None, directory.clone(), "present".to_owned()),
            Capability::CPU_WEIGHT => file("weight", setting.value),
            Capability::CPU_IDLE => file("idle", setting.value),
            Capability::CPU_LIMIT => file("quota", setting.value),
            Capability::CPU_BURST => file("burst", setting.value),
            Capability::PRIORITY => {
                let nice = [-20, -10, 0, 10, 19][usize::try_from(setting.value).unwrap_or(2)];
                on(Kind::Nice, me, String::new(), nice.to_string())
            }
            Capability::SCHED_CLASS => {
                on(Kind::SchedPolicy, me, String::new(), setting.value.to_string())
            }
            Capability::AUTOGROUP => {
                on(Kind::Autogroup, me, String::new(), setting.value.to_string())
            }
            Capability::MEMBERS => {
                let mut all = Vec::new();
                for task in &setting.tasks {
                    let from = self.processes.get(&task.pid).map(|process| process.path.as_str());
                    let free = from.is_none_or(|from| {
                        from == "/" || from.starts_with("/outrigger-") || setting.text == "launched"
                    });
                    if free {
                        let task = Some(task.to_task());
                        all.extend(on(
                            Kind::Membership,
                            task,
                            "/mnt".to_owned(),
                            directory.clone(),
                        ));
                    } else {
                        all.push(Err(Error::new(ErrorCode::NOT_DELEGATED, "assign", "not ours")));
                    }
                }
                all
            }
            other => unreachable!("the model does not know {other}"),
        }
    }
}

impl Hands for Host {
    fn survey(&mut self, _: u32) -> Result<Vec<ContextNode>, Error> {
        let mut world = self.world();
        world.surveys += 1;
        if world.no_tree {
            return Err(Error::not_supported("survey", "no contexts here"));
        }
        if world.survey_fails {
            return Err(Error::new(ErrorCode::DEADLINE, "survey", "late"));
        }
        let nodes = world.contexts.iter().map(|path| {
            let here = |(pid, process): (&u32, &Process)| (process.path == *path).then_some(*pid);
            let pids: Vec<u32> = world.processes.iter().filter_map(here).collect();
            let mut node = node(path, &pids);
            node.weight = world.file(&format!("{path}/weight")).parse().unwrap_or(100);
            node.managed = world.managed.contains(path);
            node
        });
        Ok(nodes.collect())
    }

    fn level(&self, knob: Capability) -> Level {
        if self.backends(knob).is_empty() { Level::UNAVAILABLE } else { Level::FULL }
    }

    fn backends(&self, knob: Capability) -> Vec<Backend> {
        let world = self.world();
        match knob {
            _ if world.unable.contains(&knob) => Vec::new(),
            Capability::PRIORITY | Capability::SCHED_CLASS | Capability::AUTOGROUP => {
                vec!["proc".into()]
            }
            _ if world.no_tree => Vec::new(),
            Capability::CPU_WEIGHT => vec!["cgroup".into(), "spare".into()],
            _ => vec!["cgroup".into()],
        }
    }

    fn prepare(
        &mut self,
        backend: &Backend,
        desired: &Desired,
    ) -> Result<Vec<PreparedOperation>, Error> {
        let mut world = self.world();
        world.prepares += 1;
        world.last_desired = desired.settings.to_vec();
        let mut all = Vec::new();
        for setting in &desired.settings {
            let refusal = world.refusals.get(&(backend.to_string(), setting.knob));
            if let Some(code) = refusal {
                let error = Error::new(*code, "prepare", "refused by the test");
                all.push(PreparedOperation::refused(setting.knob, error));
                continue;
            }
            for operation in world.prepared(desired, setting) {
                all.push(PreparedOperation { knob: setting.knob, operation });
            }
        }
        Ok(all)
    }

    fn commit(&mut self, _: &Backend, operation: Operation, _: &Cause) -> Committed {
        let mut world = self.world();
        world.token += 1;
        let token = world.token;
        world.writes.push(operation.clone());
        let known = world.journal.iter().position(|(_, other, _)| world.is_same(other, &operation));
        let at = known.unwrap_or_else(|| {
            world.journal.push((token, operation.clone(), None));
            world.journal.len() - 1
        });
        let hangs = match super::tree::last(&operation.locator) {
            "weight" => world.hanging.remove(&Capability::CPU_WEIGHT),
            _ => false,
        };
        if hangs {
            let error = Error::new(ErrorCode::DEADLINE, "commit", "late");
            return Committed { token: Some(token), result: Err(error) };
        }
        let result = world.write(&operation, &operation.after);
        world.journal[at].2 = result.clone().ok();
        Committed { token: Some(token), result }
    }

    fn returned(&mut self) -> Vec<Returned> {
        std::mem::take(&mut self.world().returned)
    }

    fn undo(&mut self, select: &mut dyn FnMut(&Operation) -> bool) -> Vec<Undone> {
        let mut world = self.world();
        let (chosen, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut world.journal).into_iter().partition(|(_, op, _)| select(op));
        world.journal = kept;
        let mut undone = Vec::new();
        // Contexts last, as the journal does it.
        let (contexts, others): (Vec<_>, Vec<_>) =
            chosen.into_iter().rev().partition(|(_, op, _)| op.kind == Kind::Context);
        for (token, operation, ours) in others.into_iter().chain(contexts) {
            let fate = match (world.read(&operation), ours) {
                (None, _) => Fate::Gone,
                (Some(found), Some(ours)) if found != ours => Fate::Foreign(found),
                _ => match world.write(&operation, &operation.before.clone()) {
                    Ok(value) => Fate::Restored(value),
                    Err(error) => Fate::Failed(error.to_string()),
                },
            };
            undone.push(Undone { operation, token, fate });
        }
        undone
    }

    fn sessions(&mut self) -> BTreeMap<u32, Vec<u32>> {
        let mut sessions: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (pid, process) in &self.world().processes {
            sessions.entry(process.session).or_default().push(*pid);
        }
        sessions
    }

    fn load(&mut self, task: TaskId) -> u32 {
        match self.world().processes.get(&task.pid) {
            None => 0,
            Some(process) if process.class == 2 => super::load::IDLE,
            Some(process) => super::load::of_nice(process.nice),
        }
    }

    fn passing(&mut self, pid: u32, _: u64) -> bool {
        let world = self.world();
        world.newborn.contains(&pid) || !world.processes.contains_key(&pid)
    }

    fn autogroups(&self) -> bool {
        self.world().autogroups
    }
}
