//! What is in force, as read back; what was refused; what is left alone; what is in doubt.
//!
//! Plain data with the few rules that belong to it: back-off after a refusal, hands off what
//! somebody else changed, nobody touches what is in doubt. It never asks the world.

use super::hands::OperationKey;
use super::subject::{KnobKey, Subject};
use crate::flow::activity::KnobOutcome;
use crate::flow::message::Name;
use outrigger_sdk::{Capability, Kind, Setting, TaskId, TaskIdExt as _};
use std::collections::{BTreeMap, BTreeSet};

/// Sweeps before the first retry of a refused knob; doubled at every further refusal.
const FIRST_RETRY: u64 = 4;

/// Longest wait for a retry, sweeps (a minute at the default tick).
const LAST_RETRY: u64 = 240;

/// A value nobody asks for, so that the next plan sees a difference.
const UNSETTLED: i64 = i64::MIN;

/// The enforcer's memory of the world.
#[derive(Clone, Debug, Default)]
pub struct Book {
    in_force: BTreeMap<KnobKey, InForce>,
    refused: BTreeMap<KnobKey, Refusal>,
    /// Last value read back, knob by knob of the operating system.
    ours: BTreeMap<OperationKey, String>,
    foreign: BTreeMap<OperationKey, KnobOutcome>,
    doubt: BTreeMap<u64, Doubt>,
    /// Full paths of contexts of ours that tasks were put into.
    places: BTreeSet<String>,
}

/// A setting that was brought about.
#[derive(Clone, Debug)]
pub struct InForce {
    /// For whom.
    pub workload: Name,
    /// What was asked for.
    pub setting: Setting,
    /// What was written for it, with the first value found.
    pub operations: BTreeMap<OperationKey, KnobOutcome>,
}

/// A knob that every backend refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The last error.
    pub outcome: KnobOutcome,
    attempts: u32,
    next_try: u64,
}

/// A write that has not come back.
#[derive(Clone, Debug)]
pub struct Doubt {
    /// Which knob.
    pub key: KnobKey,
    /// Which knob of the operating system.
    pub operation: OperationKey,
    /// As far as it is known.
    pub outcome: KnobOutcome,
}

/// The knob of the operating system on the autogroup of a process.
fn autogroup_of(task: TaskId) -> OperationKey {
    OperationKey { kind: Kind::Autogroup, task: Some(task.to_task()), locator: String::new() }
}

// === impl InForce ===

impl InForce {
    /// The first value found. An autogroup is one knob, whoever stands for its session.
    pub fn origin(&self, operation: &OperationKey) -> Option<&str> {
        let shared =
            || self.operations.values().next().filter(|_| operation.kind == Kind::Autogroup);
        self.operations.get(operation).or_else(shared).map(|outcome| outcome.before.as_str())
    }
}

// === impl Book ===

impl Book {
    /// Whether nothing at all is remembered.
    pub fn is_empty(&self) -> bool {
        self.in_force.is_empty() && self.doubt.is_empty() && self.refused.is_empty()
    }

    /// What is in force on a knob.
    pub fn in_force(&self, key: &KnobKey) -> Option<&InForce> {
        self.in_force.get(key)
    }

    /// Everything in force.
    pub fn all(&self) -> impl Iterator<Item = (&KnobKey, &InForce)> {
        self.in_force.iter()
    }

    /// Contexts with something in force, ours and adopted.
    pub fn subjects(&self) -> BTreeSet<&Subject> {
        self.in_force.keys().map(|key| &key.subject).collect()
    }

    /// A setting was brought about (or was so already), by these writes.
    pub fn enforce(
        &mut self,
        key: KnobKey,
        workload: &Name,
        setting: Setting,
        writes: impl IntoIterator<Item = (OperationKey, KnobOutcome)>,
    ) {
        self.refused.remove(&key);
        let entry = self.in_force.entry(key).or_insert_with(|| InForce {
            workload: workload.clone(),
            setting: setting.clone(),
            operations: BTreeMap::new(),
        });
        entry.workload = workload.clone();
        entry.setting = setting;
        for (operation, mut outcome) in writes {
            if let Some(origin) = entry.origin(&operation) {
                outcome.before = origin.to_owned();
            }
            entry.operations.insert(operation, outcome);
        }
    }

    /// Remembers writes of a setting that could not be brought about completely, so that they
    /// can be taken back.
    pub fn enforce_partly(
        &mut self,
        key: &KnobKey,
        workload: &Name,
        asked: &Setting,
        writes: Vec<(OperationKey, KnobOutcome)>,
    ) {
        if writes.is_empty() {
            return;
        }
        let refusal = self.refused.remove(key);
        let partly = Setting { value: UNSETTLED, ..asked.clone() };
        self.enforce(key.clone(), workload, partly, writes);
        if let Some(refusal) = refusal {
            self.refused.insert(key.clone(), refusal);
        }
    }

    /// Nothing is in force on this knob any more.
    pub fn release(&mut self, key: &KnobKey) {
        self.in_force.remove(key);
        self.refused.remove(key);
        if let (Capability::AUTOGROUP, Subject::Task(task)) = (key.knob, &key.subject) {
            self.ours.remove(&autogroup_of(*task));
        }
    }

    /// Another process of the same session stands for its autogroup from now on.
    pub fn hand_over(&mut self, from: TaskId, to: TaskId) {
        let key = |task| Subject::Task(task).knob(Capability::AUTOGROUP);
        if let Some(in_force) = self.in_force.remove(&key(from)) {
            self.in_force.entry(key(to)).or_insert(in_force);
        }
        if let Some(ours) = self.ours.remove(&autogroup_of(from)) {
            self.ours.entry(autogroup_of(to)).or_insert(ours);
        }
        if let Some(foreign) = self.foreign.remove(&autogroup_of(from)) {
            self.foreign.entry(autogroup_of(to)).or_insert(foreign);
        }
    }

    /// One write of a knob is taken back.
    pub fn forget(&mut self, operation: &OperationKey) {
        self.ours.remove(operation);
    }

    /// What is in force on this knob is not what it was asked to be any more: the next plan
    /// asks again, and can still take it back.
    pub fn unsettle(&mut self, key: &KnobKey) {
        if let Some(in_force) = self.in_force.get_mut(key) {
            in_force.setting.value = UNSETTLED;
        }
    }

    // --- read back ---

    /// The value of ours that was read back last.
    pub fn ours(&self, operation: &OperationKey) -> Option<&str> {
        self.ours.get(operation).map(String::as_str)
    }

    /// A value was read back after a write of ours.
    pub fn read_back(&mut self, operation: OperationKey, value: &str) {
        self.ours.insert(operation, value.to_owned());
    }

    /// A write of ours changes this knob's neighbours too (idle rewrites the weight; a context
    /// made anew has fresh files): what was read back of them is worth nothing any more.
    pub fn distrust(&mut self, mut stale: impl FnMut(&OperationKey) -> bool) {
        self.ours.retain(|operation, _| !stale(operation));
    }

    // --- hands off ---

    /// Whether somebody else decided about this knob.
    pub fn is_foreign(&self, operation: &OperationKey) -> bool {
        self.foreign.contains_key(operation)
    }

    /// Somebody else decided about this knob: it is left alone from now on.
    pub fn hands_off(&mut self, operation: OperationKey, outcome: KnobOutcome) {
        self.foreign.insert(operation, outcome);
    }

    /// Everything left alone.
    pub fn foreign(&self) -> impl Iterator<Item = &KnobOutcome> {
        self.foreign.values()
    }

    /// Forgets decisions of others about targets that are gone.
    pub fn forget_foreign(&mut self, mut gone: impl FnMut(&OperationKey) -> bool) {
        self.foreign.retain(|operation, _| !gone(operation));
    }

    // --- refused ---

    /// Whether a refused knob is not to be tried again yet.
    pub fn backs_off(&self, key: &KnobKey, tick: u64) -> bool {
        self.refused.get(key).is_some_and(|refusal| tick < refusal.next_try)
    }

    /// A knob was refused by every backend. Answers whether that is news: the first refusal, or
    /// one for another reason.
    pub fn refuse(&mut self, key: KnobKey, outcome: KnobOutcome, tick: u64) -> bool {
        let before = self.refused.get(&key);
        let attempts = before.map_or(0, |refusal| refusal.attempts);
        let code = |outcome: &KnobOutcome| outcome.error.as_ref().map(|error| error.code.clone());
        let news = before.is_none_or(|refusal| code(&refusal.outcome) != code(&outcome));
        let wait = FIRST_RETRY.checked_shl(attempts).unwrap_or(LAST_RETRY).min(LAST_RETRY);
        let refusal =
            Refusal { outcome, attempts: attempts.saturating_add(1), next_try: tick + wait };
        self.refused.insert(key, refusal);
        news
    }

    /// Everything refused.
    pub fn refused(&self) -> impl Iterator<Item = &KnobOutcome> {
        self.refused.values().map(|refusal| &refusal.outcome)
    }

    /// Refusals of what nobody asks for any more are forgotten.
    pub fn keep_refusals(&mut self, mut wanted: impl FnMut(&KnobKey) -> bool) {
        self.refused.retain(|key, _| wanted(key));
    }

    // --- in doubt ---

    /// A write has not come back.
    pub fn doubt(&mut self, token: u64, doubt: Doubt) {
        self.doubt.insert(token, doubt);
    }

    /// A write has come back after all.
    pub fn settle(&mut self, token: u64) -> Option<Doubt> {
        self.doubt.remove(&token)
    }

    /// Whether a write on this knob has not come back.
    pub fn in_doubt(&self, key: &KnobKey) -> bool {
        self.doubt.values().any(|doubt| doubt.key == *key)
    }

    /// Whether a write on this knob of the operating system has not come back.
    pub fn operation_in_doubt(&self, operation: &OperationKey) -> bool {
        self.doubt.values().any(|doubt| doubt.operation == *operation)
    }

    /// Everything in doubt.
    pub fn doubts(&self) -> impl Iterator<Item = &KnobOutcome> {
        self.doubt.values().map(|doubt| &doubt.outcome)
    }

    /// A task is put into a context of ours at this full path.
    pub fn placed_in(&mut self, path: &str) {
        if !self.places.contains(path) {
            self.places.insert(path.to_owned());
        }
    }

    /// Full paths of contexts of ours: a directory of the same name elsewhere is somebody's.
    pub fn places(&self) -> &BTreeSet<String> {
        &self.places
    }

    /// Which members of a context were put there, or were found there.
    pub fn members<'a>(&'a self, subject: &'a Subject) -> impl Iterator<Item = &'a KnobKey> {
        self.in_force
            .keys()
            .filter(move |key| key.knob == Capability::MEMBERS && key.subject == *subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::activity::KnobFailure;
    use outrigger_sdk::ContextId;

    fn key() -> KnobKey {
        Subject::Context(ContextId::ours("x")).knob(Capability::CPU_WEIGHT)
    }

    fn refusal(code: &str) -> KnobOutcome {
        KnobOutcome {
            knob: "cpu.weight".to_owned(),
            target: "x".to_owned(),
            pid: None,
            locator: String::new(),
            before: String::new(),
            after: String::new(),
            read_back: None,
            error: Some(KnobFailure { code: code.to_owned(), message: String::new(), os_code: 0 }),
            backend: String::new(),
            token: None,
        }
    }

    #[test]
    fn a_refusal_is_news_once_and_waits_longer_each_time() {
        let mut book = Book::default();
        let mut waits = Vec::new();
        let mut tick = 10;
        assert!(book.refuse(key(), refusal("os_refused"), tick));
        for _ in 0..8 {
            let wait =
                (0..).take_while(|ahead| book.backs_off(&key(), tick + ahead)).count() as u64;
            waits.push(wait);
            tick += wait;
            assert!(!book.refuse(key(), refusal("os_refused"), tick));
        }
        assert_eq!(waits, [4, 8, 16, 32, 64, 128, 240, 240]);
        assert!(book.refuse(key(), refusal("insufficient_privileges"), tick), "another reason");
    }

    #[test]
    fn success_ends_the_back_off() {
        let mut book = Book::default();
        book.refuse(key(), refusal("os_refused"), 1);
        let setting = Setting::number(Capability::CPU_WEIGHT, 1);
        book.enforce(key(), &"batch".into(), setting, []);
        assert!(!book.backs_off(&key(), 2) && book.refused().next().is_none());
    }
}
