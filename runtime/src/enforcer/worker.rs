//! One sweep's worth of enforcing: look, search, want, plan, write, remember, tell.
//!
//! Synchronous and slow by an actor's standards (it waits for plugin calls), so it is run on a
//! thread of its own by the shell in [`super`]. Everything it decides is decided by the pure
//! parts; this is the order in which they are asked.

use super::apply::{Mode, Sort, apply};
use super::book::Book;
use super::effect::Ledger;
use super::hands::{Fate, Hands, OperationKey, Undone};
use super::lever::{Lever, Pull};
use super::outlook::{Outlook, SURVEY_LIMIT};
use super::plan::{Step, plan};
use super::subject::{KnobKey, Subject};
use super::tell::{self, Teller};
use super::tree::{Tree, last};
use super::want::{self, Want, Wants};
use crate::flow::activity::{Action, Enforcement, KnobOutcome};
use crate::flow::message::{Decisions, Entitlement, Name, Provenance};
use crate::mutation;
use outrigger_sdk::{Capability, ContextId, Level, Setting, TaskId};
use std::collections::{BTreeMap, BTreeSet};

/// How the enforcer works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Distinguishes the contexts of several sidecars: `[a-z0-9-]+`.
    pub instance: String,
    /// Write nothing, tell what would be written.
    pub dry_run: bool,
    /// Sweeps between two full comparisons with what is really there (drift, threads born
    /// meanwhile), at least 1.
    pub reconcile: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { instance: "0".to_owned(), dry_run: false, reconcile: 20 }
    }
}

/// What one sweep came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Actions taken, and earlier ones whose effect is now known.
    pub actions: Vec<Action>,
    /// Where things stand.
    pub state: Enforcement,
    /// Contexts whose readings are wanted.
    pub contexts: Vec<ContextId>,
}

/// The enforcer without its actor.
pub struct Worker {
    hands: Box<dyn Hands>,
    settings: Settings,
    book: Book,
    ledger: Ledger,
    teller: Teller,
    outlook: Outlook,
    /// Who stands for each session whose autogroup is turned, by workload.
    holders: BTreeMap<(Name, u32), TaskId>,
    /// What `run` launched, by workload.
    launched: BTreeMap<Name, Vec<TaskId>>,
    /// What was done between two sweeps, to be told with the next.
    news: News,
    last_full: u64,
}

/// What was done, by workload and by how it went.
type News = BTreeMap<(Name, Sort), Vec<KnobOutcome>>;

/// How the names of the contexts of one instance begin.
fn prefix(instance: &str) -> String {
    format!("outrigger-{instance}-")
}

/// Sessions whose autogroup is turned for a workload, and who stands for each.
fn held_sessions(workload: &Name, pulls: &[Pull]) -> impl Iterator<Item = ((Name, u32), TaskId)> {
    let held = pulls.iter().filter_map(|pull| match pull.lever {
        Lever::Sessions { session } => Some((session, want::holder(&pull.members)?)),
        _ => None,
    });
    held.map(|(session, holder)| ((workload.clone(), session), holder))
}

/// Whether anybody still asks for the knob.
fn is_wanted(wants: &Wants, key: &KnobKey) -> bool {
    wants
        .get(&key.subject)
        .is_some_and(|want| key.knob != Capability::MEMBERS || want.members.contains(&key.task))
}

// === impl Worker ===

impl Worker {
    /// A worker with nothing in force.
    pub fn new(hands: Box<dyn Hands>, settings: Settings) -> Self {
        Self {
            hands,
            book: Book::default(),
            ledger: Ledger::default(),
            teller: Teller::default(),
            outlook: Outlook::new(&prefix(&settings.instance)),
            holders: BTreeMap::new(),
            launched: BTreeMap::new(),
            news: News::new(),
            last_full: 0,
            settings,
        }
    }

    /// What a context of ours for a workload is called.
    pub fn context_name(&self, workload: &str) -> String {
        format!("{}{workload}", prefix(&self.settings.instance))
    }

    /// After a panic nothing that is remembered is taken for granted: everything is compared
    /// again at the next sweep.
    pub fn distrust(&mut self) {
        self.outlook.look_again();
        self.last_full = 0;
    }

    /// Deals with one sweep's decisions.
    pub fn step(&mut self, decisions: &Decisions) -> Outcome {
        let tick = decisions.provenance.tick;
        self.come_back();
        let measured = self.ledger.observe(tick, &decisions.protected);
        self.outlook.learn(&measured);
        let mut actions: Vec<Action> = measured.into_iter().map(|known| known.action).collect();
        let full = !self.settings.dry_run
            && tick.saturating_sub(self.last_full) >= self.settings.reconcile.max(1);
        if full {
            self.last_full = tick;
        }
        self.outlook.look(&mut *self.hands, decisions, self.book.places(), full);
        let wants = self.wants(decisions);
        let hands = &*self.hands;
        let can = |knob| hands.level(knob) != Level::UNAVAILABLE;
        let plan = plan(&wants, &self.book, can, tick, full);
        self.book.keep_refusals(|key| is_wanted(&wants, key));
        if full {
            self.forget_the_dead(decisions);
        }
        let mut news = std::mem::take(&mut self.news);
        for step in &plan.steps {
            for (sort, outcome) in self.apply(step, tick) {
                news.entry((step.workload.clone(), sort)).or_default().push(outcome);
            }
        }
        let restored = self.release(&plan.releases, tick);
        self.outlook
            .forget_origins(|context| wants.contains_key(&Subject::Context(context.clone())));
        if !news.is_empty() || !restored.is_empty() {
            // Places and weights are not what they were at the look.
            self.outlook.look_again();
        }
        let pulls = self.outlook.pulls();
        let told = self.teller.actions(decisions, pulls, news, restored, self.settings.dry_run);
        for action in told.iter().filter(|action| action.is_turn()) {
            self.ledger.begin(action, &decisions.protected);
        }
        actions.extend(told);
        Outcome { actions, state: self.state(decisions), contexts: self.contexts() }
    }

    /// Puts a process that was launched by us into a context of its own, wherever it is now.
    ///
    /// # Errors
    /// Why not, one sentence.
    pub fn launch(
        &mut self,
        workload: &Name,
        task: TaskId,
        at: Provenance,
    ) -> Result<ContextId, String> {
        let context = ContextId::ours(&self.context_name(workload));
        self.launched.entry(workload.clone()).or_default().push(task);
        let subject = Subject::Context(context.clone());
        let want = self.launched_want(workload, &[task]);
        let step = Step {
            subject: subject.clone(),
            workload: workload.clone(),
            rule: want.rule.clone(),
            settings: want.settings(|_| true),
        };
        let news = self.apply(&step, at.tick);
        for (sort, outcome) in &news {
            self.news.entry((workload.clone(), *sort)).or_default().push(outcome.clone());
        }
        let placed = self.settings.dry_run || self.book.in_force(&subject.member(task)).is_some();
        if placed {
            return Ok(context);
        }
        self.launched.remove(workload);
        let why = news.iter().filter_map(|(_, outcome)| outcome.error.as_ref()).next_back();
        Err(why
            .map_or_else(|| format!("process {} is gone", task.pid), |error| error.message.clone()))
    }

    /// Processes that are in the context of a workload we launched.
    pub fn inside(&mut self, workload: &str) -> Vec<u32> {
        let name = self.context_name(workload);
        let Ok(survey) = self.hands.survey(SURVEY_LIMIT) else { return Vec::new() };
        let tree = Tree::new(survey, SURVEY_LIMIT);
        let mut places = self.book.places().iter().filter(|path| last(path) == name);
        let Some(path) = places.find(|path| tree.node(path).is_some()) else { return Vec::new() };
        tree.below(path).flat_map(|(_, node)| node.pids.iter().copied()).collect()
    }

    /// Takes everything back, except what is in doubt: that is the keeper's, who acts when
    /// every writer is dead.
    pub fn restore(&mut self) -> Vec<Undone> {
        self.come_back();
        if mutation::skip_undo() {
            return Vec::new();
        }
        let book = &self.book;
        let undone = self
            .hands
            .undo(&mut |operation| !book.operation_in_doubt(&OperationKey::of(operation)));
        self.book = Book::default();
        self.launched.clear();
        self.holders.clear();
        self.outlook.look_again();
        undone
    }

    fn apply(&mut self, step: &Step, tick: u64) -> Vec<(Sort, KnobOutcome)> {
        let mode = Mode { dry_run: self.settings.dry_run, pretend: mutation::noop() };
        apply(&mut *self.hands, &mut self.book, step, tick, mode)
    }

    /// Late calls that have come back: what they did is known now, and is asked for again.
    fn come_back(&mut self) {
        for returned in self.hands.returned() {
            let Some(doubt) = self.book.settle(returned.token) else { continue };
            if let Ok(value) = &returned.result {
                self.book.read_back(doubt.operation, value);
            }
            self.book.unsettle(&doubt.key);
        }
    }

    fn wants(&mut self, decisions: &Decisions) -> Wants {
        let mut wants = Wants::new();
        for (workload, tasks) in &self.launched {
            let context = ContextId::ours(&self.context_name(workload));
            wants.insert(Subject::Context(context), self.launched_want(workload, tasks));
        }
        let mut holders = BTreeMap::new();
        for entitlement in decisions.entitlements.iter().filter(|e| e.tier > 0) {
            let Some(pulls) = self.outlook.pulls().get(&entitlement.workload) else { continue };
            let pulls = self.with_newcomers(entitlement, pulls);
            holders.extend(held_sessions(&entitlement.workload, &pulls));
            let (outlook, hands) = (&self.outlook, &mut self.hands);
            let origin = |context: &ContextId| outlook.origin(context);
            want::add(&mut wants, entitlement, &pulls, origin, |task| hands.load(task));
        }
        // A session outlives whoever stood for it, and so does what is in force on it.
        for (session, holder) in &holders {
            if let Some(before) = self.holders.get(session).filter(|before| *before != holder) {
                self.book.hand_over(*before, *holder);
            }
        }
        self.holders = holders;
        wants
    }

    /// Births inside our own context need no search: they hang on it already.
    fn with_newcomers(&self, entitlement: &Entitlement, pulls: &[Pull]) -> Vec<Pull> {
        let alive: BTreeSet<TaskId> =
            entitlement.members.iter().map(|member| member.task).collect();
        let mut pulls = pulls.to_vec();
        for pull in &mut pulls {
            pull.members.retain(|task| alive.contains(task));
        }
        pulls
    }

    fn launched_want(&self, workload: &Name, tasks: &[TaskId]) -> Want {
        let mut want = Want::new(workload.clone(), tell::LAUNCHED.to_owned());
        want.exists = true;
        want.launched = true;
        want.members.extend(tasks.iter().copied());
        want
    }

    /// Takes back what is no longer wanted.
    fn release(&mut self, keys: &[KnobKey], tick: u64) -> BTreeMap<Name, Vec<KnobOutcome>> {
        let mut restored: BTreeMap<Name, Vec<KnobOutcome>> = BTreeMap::new();
        let mut owner: BTreeMap<OperationKey, (KnobKey, Name)> = BTreeMap::new();
        for key in keys {
            let Some(in_force) = self.book.in_force(key) else { continue };
            for operation in in_force.operations.keys() {
                owner.insert(operation.clone(), (key.clone(), in_force.workload.clone()));
            }
        }
        let undone = if owner.is_empty() || self.settings.dry_run || mutation::noop() {
            Vec::new()
        } else {
            self.hands.undo(&mut |operation| owner.contains_key(&OperationKey::of(operation)))
        };
        let mut stuck = BTreeSet::new();
        for item in undone {
            let operation = OperationKey::of(&item.operation);
            let Some((key, workload)) = owner.get(&operation) else { continue };
            let outcome = tell::restored(&item, key);
            if item.fate.is_final() {
                self.book.forget(&operation);
            } else {
                stuck.insert(key.clone());
                self.book.refuse(key.clone(), outcome.clone(), tick);
            }
            if item.fate != Fate::Gone {
                restored.entry(workload.clone()).or_default().push(outcome);
            }
        }
        for key in keys.iter().filter(|key| !stuck.contains(*key)) {
            self.book.release(key);
        }
        restored
    }

    /// Contexts by the names under which processes are seen in them: where the protected sit,
    /// and what was adopted.
    fn contexts(&self) -> Vec<ContextId> {
        let adopted = self.book.subjects().into_iter().filter_map(|subject| match subject {
            Subject::Context(context) if !subject.is_ours() => Some(context.clone()),
            _ => None,
        });
        let all: BTreeSet<ContextId> =
            adopted.chain(self.outlook.places().iter().cloned()).collect();
        all.into_iter().collect()
    }

    fn state(&self, decisions: &Decisions) -> Enforcement {
        let ours = self.book.subjects().into_iter().filter(|subject| subject.is_ours());
        Enforcement {
            provenance: decisions.provenance,
            dry_run: self.settings.dry_run,
            workloads: tell::governed(decisions, self.outlook.pulls(), &self.book),
            foreign: self.book.foreign().cloned().collect(),
            refused: self.book.refused().cloned().collect(),
            in_doubt: self.book.doubts().cloned().collect(),
            contexts: ours
                .filter_map(|subject| match subject {
                    Subject::Context(context) => Some(context.clone()),
                    Subject::Task(_) => None,
                })
                .collect(),
            shares: self.outlook.shares().to_vec(),
        }
    }

    /// Decisions of others about processes that have ended are of no more use.
    fn forget_the_dead(&mut self, decisions: &Decisions) {
        let members = decisions.entitlements.iter().flat_map(|e| e.members.iter());
        let all = members.chain(decisions.protected.iter().flat_map(|w| w.members.iter()));
        let alive: BTreeSet<u32> = all.map(|member| member.task.pid).collect();
        self.book.forget_foreign(|operation| {
            operation.task.is_some_and(|task| !alive.contains(&task.pid))
        });
    }

    /// Whether anything of ours is in force or on its way.
    pub fn is_idle(&self) -> bool {
        self.book.is_empty()
    }

    /// Settings that were asked for on a subject and are in force.
    pub fn in_force(&self, subject: &Subject) -> Vec<Setting> {
        let of_subject = self.book.all().filter(|(key, _)| key.subject == *subject);
        of_subject.map(|(_, in_force)| in_force.setting.clone()).collect()
    }
}
