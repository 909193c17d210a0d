//! Who is alive, who their ancestors were, and which workload each belongs to.
//!
//! A process is matched when it is new or its names change, never otherwise. Ancestry is
//! remembered from first sight: an orphan still descends from whom it came from.

use super::occupancy::Occupancy;
use crate::flow::message::TaskSignals;
use crate::policy::matching::{Lineage, Matcher, Pins, Subject};
use crate::policy::{Policy, Problem};
use outrigger_sdk::{TaskId, TaskInfo};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Ancestors kept per process. From a longer line the middle is left out: neither the nearest
/// nor those at its root (the session, the program that started it all) are forgotten.
const LINEAGE_LIMIT: usize = 64;

/// Commands of ours that govern, or put back what a governor changed.
const SIDECARS: [&str; 4] = ["run", "attach", "daemon", "keeper"];

/// Whether it is one of us: this program, in a role in which it must not be held back.
fn is_sidecar(info: &TaskInfo) -> bool {
    let program = info.exe.rsplit('/').next();
    let own = info.command.iter().skip(1).take_while(|argument| *argument != "--");
    program == Some(env!("CARGO_PKG_NAME"))
        && own.into_iter().any(|argument| SIDECARS.contains(&argument.as_str()))
}

/// A living process.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) info: Arc<TaskInfo>,
    pub(super) lineage: Lineage,
    /// Position of its workload in the policy.
    pub(super) workload: Option<usize>,
    undecided: Vec<usize>,
    signals: TaskSignals,
    /// The tick `signals` are of; with any other the process is idle.
    tick: u64,
}

impl Entry {
    /// Its rates at `tick`.
    pub(super) fn at(&self, tick: u64) -> Option<&TaskSignals> {
        (self.tick == tick).then_some(&self.signals)
    }
}

/// All living processes.
#[derive(Debug)]
pub(super) struct Census {
    entries: HashMap<u32, Entry>,
    matcher: Matcher,
    pins: Pins,
    exempt: HashSet<u32>,
    members: Vec<BTreeSet<TaskId>>,
    /// Workloads whose members, or what is known of them, changed.
    dirty: BTreeSet<usize>,
    undecided: Vec<usize>,
    pub(super) occupancy: Occupancy,
}

impl Census {
    pub(super) fn new(policy: &Policy, exempt: HashSet<u32>) -> Result<Self, Vec<Problem>> {
        let count = policy.workloads.len();
        Ok(Self {
            entries: HashMap::new(),
            matcher: Matcher::new(policy)?,
            pins: Pins::default(),
            exempt,
            members: vec![BTreeSet::new(); count],
            dirty: (0..count).collect(),
            undecided: vec![0; count],
            occupancy: Occupancy::default(),
        })
    }

    /// Matches everybody anew.
    pub(super) fn set_policy(&mut self, policy: &Policy) -> Result<(), Vec<Problem>> {
        let mut next = Self::new(policy, self.exempt.clone())?;
        let entries = std::mem::take(&mut self.entries);
        let pids: Vec<u32> = entries.keys().copied().collect();
        next.entries = entries;
        for (&pid, entry) in &mut next.entries {
            if next.matcher.mentions(pid) {
                next.pins.pin(pid, entry.info.task.start);
            }
            next.occupancy.enter(&entry.info.contexts, None);
            (entry.workload, entry.undecided) = (None, Vec::new());
        }
        pids.into_iter().for_each(|pid| next.assign(pid));
        *self = next;
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, task: TaskId) -> Option<&Entry> {
        self.entries.get(&task.pid).filter(|entry| entry.info.task.start == task.start)
    }

    /// Whether nothing may ever be done to it: process 1, kernel threads, the sidecar itself,
    /// and other sidecars and keepers, those that were started later among them.
    pub(super) fn untouchable(&self, info: &TaskInfo) -> bool {
        let pid = info.task.pid;
        info.kernel || pid <= 1 || self.exempt.contains(&pid) || is_sidecar(info)
    }

    /// Members of a workload, in a fixed order.
    pub(super) fn members(&self, workload: usize) -> impl Iterator<Item = &Entry> {
        self.members[workload].iter().filter_map(|&task| self.get(task))
    }

    pub(super) fn is_empty(&self, workload: usize) -> bool {
        self.members[workload].is_empty()
    }

    /// Whether a workload's members changed since the last call.
    pub(super) fn take_dirty(&mut self, workload: usize) -> bool {
        self.dirty.remove(&workload)
    }

    /// Processes that might belong to a workload if everything about them could be read.
    pub(super) fn undecided(&self, workload: usize) -> usize {
        self.undecided[workload]
    }

    /// Takes in new and changed processes; parents and children may come in any order.
    pub(super) fn admit(&mut self, infos: &[Arc<TaskInfo>]) {
        let mut changed = Vec::with_capacity(infos.len());
        for info in infos {
            let task = info.task;
            if self.get(task).is_some_and(|entry| *entry.info == **info) {
                continue;
            }
            self.forget(task.pid);
            if self.matcher.mentions(task.pid) {
                self.pins.pin(task.pid, task.start);
            }
            let known = self.entries.remove(&task.pid);
            let known = known.filter(|entry| entry.info.task.start == task.start);
            let entry = match known {
                Some(entry) => Entry { info: Arc::clone(info), workload: None, ..entry },
                None => Entry {
                    info: Arc::clone(info),
                    lineage: Lineage::default(),
                    workload: None,
                    undecided: Vec::new(),
                    signals: TaskSignals::default(),
                    tick: 0,
                },
            };
            self.occupancy.enter(&entry.info.contexts, None);
            self.entries.insert(task.pid, entry);
            changed.push(task.pid);
        }
        for &pid in &changed {
            self.trace(pid);
        }
        changed.into_iter().for_each(|pid| self.assign(pid));
    }

    /// Removes processes that ended.
    pub(super) fn remove(&mut self, gone: &[TaskId]) {
        for &task in gone {
            if self.get(task).is_some() {
                self.forget(task.pid);
                self.entries.remove(&task.pid);
            }
        }
    }

    /// Takes in this tick's rates; answers how many are of processes nobody introduced.
    pub(super) fn note(&mut self, tick: u64, signals: &[TaskSignals]) -> usize {
        let mut strangers = 0;
        for signal in signals {
            match self.entries.get_mut(&signal.task.pid) {
                Some(entry) if entry.info.task.start == signal.task.start => {
                    (entry.signals, entry.tick) = (*signal, tick);
                }
                _ => strangers += 1,
            }
        }
        strangers
    }

    /// Works out the ancestors of a process, and of its ancestors where that was not done yet.
    fn trace(&mut self, pid: u32) {
        let mut line = Vec::new();
        let mut next = Some(pid);
        while let Some(entry) = next.and_then(|pid| self.entries.get(&pid)) {
            let pid = entry.info.task.pid;
            if !entry.lineage.is_empty() || line.contains(&pid) {
                break;
            }
            line.push(pid);
            next = self.parent_of(entry).map(|parent| parent.info.task.pid);
        }
        for pid in line.into_iter().rev() {
            let Some(entry) = self.entries.get(&pid) else { continue };
            let Some(parent) = self.parent_of(entry) else { continue };
            let nearest = std::iter::once(&parent.info);
            let mut lineage: Vec<_> = nearest.chain(parent.lineage.iter()).cloned().collect();
            if lineage.len() > LINEAGE_LIMIT {
                lineage.remove(LINEAGE_LIMIT / 2);
            }
            if let Some(entry) = self.entries.get_mut(&pid) {
                entry.lineage = lineage.into();
            }
        }
    }

    /// The living process that is its parent; a number that was given to a younger process is
    /// not a parent.
    fn parent_of(&self, entry: &Entry) -> Option<&Entry> {
        let task = entry.info.task;
        self.entries.get(&entry.info.parent).filter(|parent| {
            parent.info.task.start <= task.start && parent.info.task.pid != task.pid
        })
    }

    /// Finds the workload of a process that has none.
    fn assign(&mut self, pid: u32) {
        let Some(entry) = self.entries.get(&pid) else { return };
        if self.untouchable(&entry.info) {
            return;
        }
        let subject = Subject { info: &entry.info, lineage: &entry.lineage, pins: &self.pins };
        let found = self.matcher.find(subject);
        for &workload in &found.undecided {
            self.undecided[workload] += 1;
        }
        if let Some(workload) = found.workload {
            self.members[workload].insert(entry.info.task);
            self.dirty.insert(workload);
            self.occupancy.leave(&entry.info.contexts, None);
            self.occupancy.enter(&entry.info.contexts, Some(workload));
        }
        if let Some(entry) = self.entries.get_mut(&pid) {
            (entry.workload, entry.undecided) = (found.workload, found.undecided);
        }
    }

    /// Takes a process out of all counts; its entry stays.
    fn forget(&mut self, pid: u32) {
        let Some(entry) = self.entries.get_mut(&pid) else { return };
        for workload in entry.undecided.drain(..) {
            self.undecided[workload] -= 1;
        }
        let workload = entry.workload.take();
        if let Some(workload) = workload {
            self.members[workload].remove(&entry.info.task);
            self.dirty.insert(workload);
        }
        self.occupancy.leave(&entry.info.contexts, workload);
    }
}
