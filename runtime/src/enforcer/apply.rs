//! Brings one subject's settings about: route, prepare, hands off, commit.
//!
//! Each knob has its own outcome and the first that fails hides none of the others. A knob that
//! a backend refuses goes to the next backend that knows it. What somebody else changed since we
//! wrote it is left alone. What has not come back is in doubt and nobody touches it.

use super::book::{Book, Doubt};
use super::hands::{Backend, Cause, Hands, OperationKey};
use super::plan::Step;
use super::subject::{KnobKey, Subject};
use crate::flow::activity::{KnobFailure, KnobOutcome};
use outrigger_sdk::{Capability, Error, ErrorCode, Kind, Operation, Setting};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How writes are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// Nothing is written; what would be is told.
    pub dry_run: bool,
    /// Test mutation: nothing is written, and that is not told.
    pub pretend: bool,
}

/// What became of a knob, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// Turned, or would be in a dry run.
    Turned,
    /// Left to somebody else.
    Foreign,
    /// Refused by every backend.
    Refused,
    /// A call has not come back.
    InDoubt,
}

/// A setting on its way through the backends.
struct Attempt {
    setting: Setting,
    /// Backends that were asked before.
    tried: usize,
    failure: Option<(Error, Backend)>,
}

/// Writes one step. Answers only news: what was turned, and what was refused for the first time.
pub fn apply(
    hands: &mut dyn Hands,
    book: &mut Book,
    step: &Step,
    tick: u64,
    mode: Mode,
) -> Vec<(Sort, KnobOutcome)> {
    let cause = Cause { workload: step.workload.clone(), rule: step.rule.clone(), tick };
    let mut work = Work { hands, book, step, tick, mode, cause, news: Vec::new() };
    let mut queue: VecDeque<Attempt> = step
        .settings
        .iter()
        .map(|setting| Attempt { setting: setting.clone(), tried: 0, failure: None })
        .collect();
    while let Some(first) = queue.pop_front() {
        let Some(backend) = work.backend(&first) else {
            work.refuse(first);
            continue;
        };
        let mut group = vec![first];
        while queue.front().is_some_and(|next| work.backend(next).as_ref() == Some(&backend)) {
            group.extend(queue.pop_front());
        }
        for attempt in work.ask(&backend, group).into_iter().rev() {
            queue.push_front(attempt);
        }
    }
    work.news
}

struct Work<'a> {
    hands: &'a mut dyn Hands,
    book: &'a mut Book,
    step: &'a Step,
    tick: u64,
    mode: Mode,
    cause: Cause,
    news: Vec<(Sort, KnobOutcome)>,
}

/// What one backend did for one setting.
#[derive(Default)]
struct Answer {
    writes: Vec<(OperationKey, KnobOutcome)>,
    failure: Option<Error>,
    doubt: bool,
}

impl Work<'_> {
    fn backend(&self, attempt: &Attempt) -> Option<Backend> {
        self.hands.backends(attempt.setting.knob).get(attempt.tried).cloned()
    }

    /// Lets one backend work on its settings; answers those that go to the next one.
    fn ask(&mut self, backend: &Backend, group: Vec<Attempt>) -> Vec<Attempt> {
        let settings = group.iter().map(|attempt| attempt.setting.clone());
        let prepared = match self.hands.prepare(backend, &self.step.subject.desired(settings)) {
            Ok(prepared) => prepared,
            Err(error) if error.code == ErrorCode::GONE && self.is_task() => return Vec::new(),
            Err(error) => return failed(group, &error, backend),
        };
        let mut answers: BTreeMap<Capability, Answer> = BTreeMap::new();
        let asked: BTreeSet<Capability> = group.iter().map(|a| a.setting.knob).collect();
        for item in prepared {
            // What a backend does on the way to a knob counts for that knob.
            let knob = match item.knob {
                knob if asked.contains(&knob) => knob,
                Capability::CPU_BURST if asked.contains(&Capability::CPU_LIMIT) => {
                    Capability::CPU_LIMIT
                }
                _ => group[0].setting.knob,
            };
            let answer = answers.entry(knob).or_default();
            match item.operation {
                Ok(operation) => self.commit(backend, knob, operation, answer),
                Err(error) => answer.failure = Some(error),
            }
        }
        let mut again = Vec::new();
        for attempt in group {
            let answer = answers.remove(&attempt.setting.knob).unwrap_or_default();
            again.extend(self.settle(backend, attempt, answer));
        }
        again
    }

    fn commit(
        &mut self,
        backend: &Backend,
        knob: Capability,
        mut operation: Operation,
        answer: &mut Answer,
    ) {
        let key = OperationKey::of(&operation);
        if self.book.is_foreign(&key) {
            return;
        }
        if self.book.operation_in_doubt(&key) {
            answer.doubt = true;
            return;
        }
        let mut outcome = self.outcome(knob, backend, &operation);
        // A context that was removed is made again: it held nobody.
        let ours = self.book.ours(&key).filter(|_| operation.kind != Kind::Context);
        if let Some(ours) = ours
            && ours != operation.before
        {
            let change = format!("somebody changed it from {ours} to {}", operation.before);
            outcome.after = ours.to_owned();
            self.leave_alone(key, outcome, &Error::new(ErrorCode::FOREIGN, "compare", change));
            return;
        }
        // Somebody, or the program itself, may have been more modest than the tier asks for.
        if let Some(floor) = self.floor(knob, &key, &operation) {
            if floor == operation.before {
                return;
            }
            operation.after.clone_from(&floor);
            outcome.after = floor;
        }
        if self.mode.dry_run {
            self.news.push((Sort::Turned, outcome));
            return;
        }
        if operation.kind == Kind::Membership && self.step.subject.is_ours() {
            self.book.placed_in(&operation.after);
        }
        let (after, kind, locator) =
            (operation.after.clone(), operation.kind, operation.locator.clone());
        let shared = self.step.subject.shares(&operation);
        if shared && let Some((directory, _)) = operation.locator.rsplit_once('/') {
            outcome.target = directory.to_owned();
        }
        let committed = if self.mode.pretend {
            super::hands::Committed { token: None, result: Ok(after) }
        } else {
            self.hands.commit(backend, operation, &self.cause)
        };
        outcome.token = committed.token;
        match (committed.result, committed.token) {
            (Ok(value), _) => {
                if kind == Kind::Context {
                    let inside = format!("{}/", locator.trim_end_matches('/'));
                    let inside = |other: &OperationKey| {
                        other.kind == Kind::File && other.locator.starts_with(&inside)
                    };
                    self.book.distrust(inside);
                    // Decisions about the context that was there before went with it.
                    self.book.forget_foreign(inside);
                }
                if knob == Capability::CPU_IDLE {
                    self.idle_turned();
                }
                outcome.read_back = Some(value.clone());
                self.news.push((Sort::Turned, outcome.clone()));
                // What several contexts stand on stays until everything is put back.
                if !shared {
                    self.book.read_back(key.clone(), &value);
                    answer.writes.push((key, outcome));
                }
            }
            (Err(error), Some(token)) if error.code == ErrorCode::DEADLINE => {
                outcome.error = Some(KnobFailure::from(&error));
                let knob = self.key_of(knob, &key);
                let doubt = Doubt { key: knob, operation: key.clone(), outcome: outcome.clone() };
                self.book.doubt(token, doubt);
                self.news.push((Sort::InDoubt, outcome.clone()));
                answer.writes.push((key, outcome));
                answer.doubt = true;
            }
            (Err(error), _) if error.code == ErrorCode::GONE && key.task.is_some() => {}
            (Err(error), _) if error.code == ErrorCode::FOREIGN => {
                self.leave_alone(key, outcome, &error);
            }
            (Err(error), _) => answer.failure = Some(error),
        }
    }

    /// The nice value that was there before anything was changed, if `operation` would go below
    /// it: being held back makes nobody stronger.
    fn floor(&self, knob: Capability, key: &OperationKey, operation: &Operation) -> Option<String> {
        if !matches!(key.kind, Kind::Nice | Kind::Autogroup) {
            return None;
        }
        let in_force = self.book.in_force(&self.key_of(knob, key));
        let written = in_force.and_then(|in_force| in_force.origin(key));
        let origin = written.unwrap_or(&operation.before);
        let number = |text: &str| text.parse::<i32>().ok();
        (number(&operation.after)? < number(origin)?).then(|| origin.to_owned())
    }

    /// Somebody else decided: an event says so, and the knob is theirs from now on.
    fn leave_alone(&mut self, key: OperationKey, mut outcome: KnobOutcome, error: &Error) {
        outcome.error = Some(KnobFailure::from(error));
        self.book.hands_off(key, outcome.clone());
        self.news.push((Sort::Foreign, outcome));
    }

    /// Turning idle rewrites the weight: what was read back of it is stale, and it is to be
    /// written again once idle is off.
    fn idle_turned(&mut self) {
        let weight = self.step.subject.knob(Capability::CPU_WEIGHT);
        let stale: Vec<OperationKey> = [&weight, &self.step.subject.knob(Capability::CPU_IDLE)]
            .into_iter()
            .filter_map(|key| self.book.in_force(key))
            .flat_map(|in_force| in_force.operations.keys().cloned())
            .collect();
        self.book.distrust(|operation| stale.contains(operation));
        self.book.unsettle(&weight);
    }

    /// Books what became of one setting; answers it if the next backend is to try.
    fn settle(&mut self, backend: &Backend, attempt: Attempt, answer: Answer) -> Option<Attempt> {
        let Answer { writes, failure, doubt } = answer;
        if attempt.setting.knob == Capability::MEMBERS {
            return self.settle_members(backend, attempt, writes, failure, doubt);
        }
        let key = self.step.subject.knob(attempt.setting.knob);
        if doubt || failure.is_some() {
            self.book.enforce_partly(&key, &self.step.workload, &attempt.setting, writes);
        } else {
            self.book.enforce(key, &self.step.workload, attempt.setting, writes);
            return None;
        }
        let error = failure.filter(|error| !(error.code == ErrorCode::GONE && self.is_task()))?;
        Some(attempt.next(error, backend))
    }

    fn settle_members(
        &mut self,
        backend: &Backend,
        mut attempt: Attempt,
        mut writes: Vec<(OperationKey, KnobOutcome)>,
        failure: Option<Error>,
        doubt: bool,
    ) -> Option<Attempt> {
        let mut left = Vec::new();
        for task in attempt.setting.tasks.iter().copied() {
            let (mine, others): (Vec<_>, Vec<_>) = writes
                .into_iter()
                .partition(|(key, _)| key.task.is_some_and(|written| written.pid == task.pid));
            writes = others;
            let key = self.step.subject.member(task);
            if mine.is_empty() && failure.is_some() {
                left.push(task);
            } else if doubt && mine.iter().any(|(_, outcome)| outcome.error.is_some()) {
                let setting = Setting::members([task]);
                self.book.enforce_partly(&key, &self.step.workload, &setting, mine);
            } else {
                self.book.enforce(key, &self.step.workload, Setting::members([task]), mine);
            }
        }
        let error = failure.filter(|error| error.code != ErrorCode::GONE)?;
        attempt.setting.tasks = left.into();
        (!attempt.setting.tasks.is_empty()).then(|| attempt.next(error, backend))
    }

    /// No backend is left.
    fn refuse(&mut self, attempt: Attempt) {
        let knob = attempt.setting.knob;
        let (error, backend) = attempt.failure.unwrap_or_else(|| {
            let error = Error::not_supported("route", format!("no backend here can turn {knob}"));
            (error, Backend::from(""))
        });
        let outcome = KnobOutcome {
            knob: knob.to_string(),
            target: self.step.subject.to_string(),
            pid: self.pid(),
            locator: String::new(),
            before: String::new(),
            after: wording(&attempt.setting),
            read_back: None,
            error: Some(KnobFailure::from(&error)),
            backend: backend.to_string(),
            token: None,
        };
        let mut news = false;
        for key in super::plan::keys(&self.step.subject, &attempt.setting) {
            news |= self.book.refuse(key, outcome.clone(), self.tick);
        }
        if news {
            self.news.push((Sort::Refused, outcome));
        }
    }

    fn outcome(&self, knob: Capability, backend: &Backend, operation: &Operation) -> KnobOutcome {
        let target = match operation.task {
            Some(task) => task.to_string(),
            None => self.step.subject.to_string(),
        };
        KnobOutcome {
            knob: knob.to_string(),
            target,
            pid: operation.task.map(|task| task.pid),
            locator: operation.locator.clone(),
            before: operation.before.clone(),
            after: operation.after.clone(),
            read_back: None,
            error: None,
            backend: backend.to_string(),
            token: None,
        }
    }

    fn key_of(&self, knob: Capability, operation: &OperationKey) -> KnobKey {
        let members = self.step.settings.iter().filter(|s| s.knob == Capability::MEMBERS);
        let member = members
            .flat_map(|setting| setting.tasks.iter())
            .find(|task| operation.task.is_some_and(|written| written.pid == task.pid));
        match (knob, member) {
            (Capability::MEMBERS, Some(task)) => self.step.subject.member(*task),
            _ => self.step.subject.knob(knob),
        }
    }

    fn is_task(&self) -> bool {
        matches!(self.step.subject, Subject::Task(_))
    }

    fn pid(&self) -> Option<u32> {
        match &self.step.subject {
            Subject::Task(task) => Some(task.pid),
            Subject::Context(_) => None,
        }
    }
}

// === impl Attempt ===

impl Attempt {
    fn next(self, error: Error, backend: &Backend) -> Self {
        Self { tried: self.tried + 1, failure: Some((error, backend.clone())), ..self }
    }
}

/// All of a group goes to the next backend.
fn failed(group: Vec<Attempt>, error: &Error, backend: &Backend) -> Vec<Attempt> {
    group.into_iter().map(|attempt| attempt.next(error.clone(), backend)).collect()
}

/// The value asked for, in words.
fn wording(setting: &Setting) -> String {
    match setting.knob {
        Capability::MEMBERS => {
            let pids: Vec<_> = setting.tasks.iter().map(|task| task.pid.to_string()).collect();
            pids.join(" ")
        }
        _ if !setting.text.is_empty() => setting.text.to_string(),
        _ => setting.value.to_string(),
    }
}
