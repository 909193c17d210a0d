//! A model of a system, made from a seed, in which tasks fork, die and are changed by others
//! while everything is put back.
//!
//! The model keeps for every task what its values would be had we never existed. After a restore
//! each task must have those, and no context of ours may be left.

use super::{Person, Place, World, give_back, inheritance};
use crate::journal::{Book, Entry, Kin, Record};
use crate::knob::{KnobError, KnobErrorCode};
use crate::{Kind, Operation, Report, Task, Why};
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

const MOUNT: &str = "/cg";
const CONTEXT: &str = "/cg/ours";
const OURS: &str = "/ours";
/// Of the first child; there is room below.
const FIRST_NUMBER: u32 = 100;
/// Values nobody else uses, so that whose a value is can be told.
const OUR_NICE: [&str; 3] = ["11", "15", "19"];

#[derive(Clone, Debug)]
struct Subject {
    task: Task,
    parent: u32,
    family: u32,
    nice: String,
    cgroup: String,
    /// What `nice` and `cgroup` would be without us.
    natural: (String, String),
}

#[derive(Debug, Default)]
struct State {
    seed: u64,
    clock: u64,
    next: u32,
    /// By thread number; a leader's is that of its process.
    subjects: BTreeMap<u32, Subject>,
    cgroups: BTreeSet<String>,
    /// Forks, deaths and foreign writes still to come.
    events: u32,
    foreigners: bool,
}

impl State {
    fn random(&mut self, below: usize) -> usize {
        // xorshift64, as good as any here.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed % below as u64) as usize
    }

    fn any(&mut self) -> Option<Subject> {
        let number = match self.subjects.len() {
            0 => return None,
            count => self.random(count),
        };
        self.subjects.values().nth(number).cloned()
    }

    /// Something may happen whenever we look.
    fn pass(&mut self) {
        self.clock += 1;
        if self.events == 0 || self.random(3) != 0 {
            return;
        }
        self.events -= 1;
        let Some(subject) = self.any() else { return };
        match self.random(8) {
            0..3 => self.fork(&subject, false),
            3 => self.fork(&subject, true),
            4 => self.end(subject.task.pid),
            5 if self.foreigners => self.interfere(&subject),
            _ => {}
        }
    }

    fn fork(&mut self, parent: &Subject, thread: bool) {
        // Numbers ascend until they begin anew below, behind whoever walks through them.
        let anew = (10..FIRST_NUMBER).find(|number| !self.subjects.contains_key(number));
        let tid = anew.filter(|_| self.random(8) == 0).unwrap_or(self.next);
        self.next += u32::from(tid == self.next);
        let start = self.clock;
        let pid = if thread { parent.task.pid } else { tid };
        let elder = if thread { parent.parent } else { parent.task.pid };
        let child = Subject { task: Task { pid, tid, start }, parent: elder, ..parent.clone() };
        self.subjects.insert(tid, child);
    }

    fn end(&mut self, pid: u32) {
        self.subjects.retain(|_, subject| subject.task.pid != pid);
        for subject in self.subjects.values_mut().filter(|subject| subject.parent == pid) {
            subject.parent = 1;
        }
    }

    fn interfere(&mut self, subject: &Subject) {
        let nice = self.random(2) == 0;
        let value = if nice { (5 + self.random(3)).to_string() } else { "/theirs".to_owned() };
        // A person renices a thread, a manager moves a process.
        let meant = |other: &&mut Subject| match nice {
            true => other.task == subject.task,
            false => other.task.pid == subject.task.pid,
        };
        for subject in self.subjects.values_mut().filter(meant) {
            let (current, natural) = match nice {
                true => (&mut subject.nice, &mut subject.natural.0),
                false => (&mut subject.cgroup, &mut subject.natural.1),
            };
            current.clone_from(&value);
            natural.clone_from(&value);
        }
    }

    fn find(&self, task: Option<Task>) -> Result<&Subject, KnobError> {
        let gone = || KnobError::new(KnobErrorCode::Gone, "gone");
        let task = task.ok_or_else(gone)?;
        let found = self.subjects.get(&task.number()).ok_or_else(gone)?;
        if found.task.start == task.start { Ok(found) } else { Err(gone()) }
    }
}

#[derive(Debug)]
struct Model(RefCell<State>);

impl World for Model {
    fn read(&self, kind: Kind, task: Option<Task>, _: &str) -> Result<String, KnobError> {
        let mut state = self.0.borrow_mut();
        state.pass();
        match kind {
            Kind::Nice => state.find(task).map(|subject| subject.nice.clone()),
            Kind::Membership => state.find(task).map(|subject| subject.cgroup.clone()),
            Kind::Context => {
                Ok(if state.cgroups.contains(OURS) { "present" } else { "absent" }.to_owned())
            }
            _ => Err(KnobError::new(KnobErrorCode::NotSupported, "not in the model")),
        }
    }

    fn write(
        &self,
        kind: Kind,
        task: Option<Task>,
        _: &str,
        value: &str,
    ) -> Result<String, KnobError> {
        let mut state = self.0.borrow_mut();
        match kind {
            Kind::Context if value == "present" => {
                state.cgroups.insert(OURS.to_owned());
            }
            Kind::Context => {
                if state.subjects.values().any(|subject| subject.cgroup == OURS) {
                    return Err(KnobError::new(KnobErrorCode::Os, "busy"));
                }
                state.cgroups.remove(OURS);
            }
            _ => {
                let found = state.find(task)?.task;
                let whole = task.is_some_and(|task| task.tid == 0) && kind == Kind::Membership;
                let meant = |subject: &&mut Subject| {
                    subject.task == found || whole && subject.task.pid == found.pid
                };
                for subject in state.subjects.values_mut().filter(meant) {
                    let knob =
                        if kind == Kind::Nice { &mut subject.nice } else { &mut subject.cgroup };
                    value.clone_into(knob);
                }
            }
        }
        Ok(value.to_owned())
    }

    fn census(&self) -> Vec<Person> {
        let mut census = Vec::new();
        let mut last = 0;
        loop {
            // Like a walk through /proc: the world goes on between two looks, and who is born
            // meanwhile has a higher number and is still met.
            let mut state = self.0.borrow_mut();
            state.pass();
            let Some(subject) = state.subjects.range(last + 1..).next().map(|(_, subject)| subject)
            else {
                break;
            };
            last = subject.task.tid;
            census.push(person(&state, subject));
        }
        census
    }

    fn line(&self, task: Task) -> Vec<Person> {
        let state = self.0.borrow();
        let mut next = state.find(Some(task)).ok();
        let mut line = Vec::new();
        while let Some(subject) = next {
            line.push(person(&state, subject));
            next = state.subjects.get(&subject.parent);
        }
        line
    }

    fn threads(&self, process: Task) -> Vec<Task> {
        let mut state = self.0.borrow_mut();
        state.pass();
        if state.find(Some(process)).is_err() {
            return Vec::new();
        }
        let all = state.subjects.values().map(|subject| subject.task);
        all.filter(|task| task.pid == process.pid).collect()
    }
    fn splits_threads(&self, _: &str) -> bool {
        true
    }
    fn place(&self, _: &str) -> Option<Place> {
        Some(Place { mount: MOUNT.to_owned(), path: OURS.to_owned() })
    }
    fn has_cgroup(&self, _: &str, path: &str) -> bool {
        path == "/" || self.0.borrow().cgroups.contains(path)
    }
    fn members(&self, _: &str) -> Result<Vec<Task>, KnobError> {
        let mut state = self.0.borrow_mut();
        state.pass();
        let inside = state.subjects.values().filter(|subject| subject.cgroup == OURS);
        Ok(inside.map(|subject| subject.task).collect())
    }
    fn children(&self, _: &str) -> Vec<String> {
        Vec::new()
    }
    fn autogroup_member(&self, _: &str) -> Option<Task> {
        None
    }
    fn now_ms(&self) -> u64 {
        0
    }
    fn rest(&self) {
        self.0.borrow_mut().pass();
    }
}

fn person(state: &State, subject: &Subject) -> Person {
    let leader = state.subjects.get(&subject.task.pid);
    Person {
        task: subject.task,
        process_start: leader.map_or(subject.task.start, |leader| leader.task.start),
        parent: subject.parent,
        session: subject.family,
        group: subject.family,
    }
}

/// A sidecar on the model: announces, writes, settles.
struct Sidecar<'m> {
    model: &'m Model,
    book: Book,
}

impl Sidecar<'_> {
    /// Whether it went all the way; it may be killed before the write, or before the answer.
    fn change(
        &mut self,
        kind: Kind,
        task: Option<Task>,
        locator: &str,
        after: &str,
        killed: Option<bool>,
    ) {
        let Ok(before) = self.model.read(kind, task, locator) else { return };
        if before == after {
            return;
        }
        let operation =
            Operation { kind, task, locator: locator.to_owned(), before, after: after.to_owned() };
        let token = self.book.next_token();
        let state = self.model.0.borrow();
        let family =
            task.and_then(|task| state.find(Some(task)).ok()).map_or(0, |subject| subject.family);
        let at = state.clock;
        drop(state);
        let born_with = inheritance(self.model, self.book.entries(), &operation);
        let kin = Kin { session: family, group: family, autogroup: None };
        self.book.apply(Record::Will { token, operation, why: Why::default(), at, kin, born_with });
        if killed == Some(false) {
            return;
        }
        match self.model.write(kind, task, locator, after) {
            Ok(value) if killed.is_none() => self.book.apply(Record::Did { token, value }),
            Err(_) if killed.is_none() => self.book.apply(Record::Closed { token }),
            _ => {}
        }
    }

    fn demote(&mut self, process: Task, nice: &str) {
        for thread in self.model.threads(process) {
            self.change(Kind::Nice, Some(thread), "", nice, None);
        }
        self.change(Kind::Membership, Some(process), MOUNT, OURS, None);
    }
}

/// Three families of one process each, whose values differ.
fn model(seed: u64) -> Model {
    let mut state =
        State { seed: seed | 1, clock: 1, next: FIRST_NUMBER, events: 12, ..State::default() };
    state.cgroups.extend(["/".to_owned(), "/theirs".to_owned(), "/home".to_owned()]);
    for family in 2..5u32 {
        let natural =
            ((family - 2).to_string(), if family == 3 { "/home" } else { "/" }.to_owned());
        let (nice, cgroup) = natural.clone();
        let task = Task { pid: family, tid: family, start: 1 };
        state.subjects.insert(family, Subject { task, parent: 1, family, nice, cgroup, natural });
    }
    Model(RefCell::new(state))
}

/// A sidecar's life and death on a model, and what was put back.
fn live_and_die(seed: u64, rounds: usize) -> (Model, Report) {
    let model = model(seed);
    let mut sidecar = Sidecar { model: &model, book: Book::default() };
    sidecar.change(Kind::Context, None, CONTEXT, "present", None);
    for round in 0..rounds {
        let subject = model.0.borrow_mut().any();
        let Some(subject) = subject else { break };
        let leader = Task { tid: 0, ..subject.task };
        let start =
            model.0.borrow().subjects.get(&leader.pid).map_or(0, |subject| subject.task.start);
        sidecar.demote(Task { start, ..leader }, OUR_NICE[round % OUR_NICE.len()]);
    }
    let subject = model.0.borrow_mut().any();
    if let Some(subject) = subject {
        // The kill hits in the middle of one write.
        let written = seed.is_multiple_of(2);
        sidecar.change(Kind::Nice, Some(subject.task), "", "12", Some(written));
    }
    let mut state = model.0.borrow_mut();
    (state.events, state.foreigners) = (60, true);
    drop(state);
    let entries: Vec<&Entry> = sidecar.book.entries().collect();
    let report = give_back(&model, &entries, &|_| true);
    (model, report)
}

proptest! {
    // PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(3000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn everybody_has_what_they_would_have_without_us(seed in any::<u64>(), rounds in 0usize..8) {
        let (model, report) = live_and_die(seed, rounds);
        prop_assert!(report.is_clean() && report.notes.is_empty(), "{report:#?}");
        let state = model.0.borrow();
        for subject in state.subjects.values() {
            let now = (subject.nice.clone(), subject.cgroup.clone());
            prop_assert_eq!(&now, &subject.natural, "{:?} of {:?}; {:?}", subject, state.subjects, report);
        }
        prop_assert!(!state.cgroups.contains(OURS));
    }
}
