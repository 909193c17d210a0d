//! One sweep's worth of enforcing: look, search, want, plan, write, remember, tell.
//!
//! Synchronous and slow by an actor's standards (it waits for plugin calls), so it is run on a
//! thread of its own by the shell in [`super`]. Everything it decides is decided by the pure
//! parts; this is the order in which they are asked.

use super::apply::{Mode, Sort, apply};
use super::book::Book;
use super::effect::{Ledger, helped};
use super::hands::{Fate, Hands, OperationKey, Undone};
use super::lever::{self, Lever, Pull};
use super::mutation;
use super::plan::{Step, plan};
use super::scene::{Abilities, Role, Roles, Scene};
use super::subject::{KnobKey, Subject};
use super::tell::{self, Teller};
use super::tree::{DEFAULT_WEIGHT, Tree};
use super::want::{self, Want, Wants};
use crate::flow::activity::{Action, ActionKind, Enforcement, KnobOutcome};
use crate::flow::message::{Decisions, Entitlement, Name, Provenance};
use outrigger_sdk::{Capability, ContextId, ErrorCode, Level, Setting, TaskId};
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

/// Contexts looked at in one survey.
const SURVEY_LIMIT: u32 = 4096;

/// Surveys in a row in which a process the policy does not name may sit in a subtree that is
/// held back, before it is let go: forks are unknown for a sweep or two.
const STRIKES: u32 = 3;

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
    /// Levers per workload, as last searched.
    pulls: BTreeMap<Name, Vec<Pull>>,
    /// Levers that were pulled and did not help.
    useless: BTreeSet<(Name, Lever)>,
    /// Weights that contexts had before we turned them.
    origins: BTreeMap<ContextId, u32>,
    strikes: BTreeMap<String, u32>,
    /// What `run` launched, by workload.
    launched: BTreeMap<Name, Vec<TaskId>>,
    places: Vec<ContextId>,
    seen: Option<u64>,
    last_full: u64,
}

// === impl Worker ===

impl Worker {
    /// A worker with nothing in force.
    pub fn new(hands: Box<dyn Hands>, settings: Settings) -> Self {
        Self {
            hands,
            settings,
            book: Book::default(),
            ledger: Ledger::default(),
            teller: Teller::default(),
            pulls: BTreeMap::new(),
            useless: BTreeSet::new(),
            origins: BTreeMap::new(),
            strikes: BTreeMap::new(),
            launched: BTreeMap::new(),
            places: Vec::new(),
            seen: None,
            last_full: 0,
        }
    }

    /// What a context of ours for a workload is called.
    pub fn context_name(&self, workload: &str) -> String {
        format!("{}{workload}", self.prefix())
    }

    fn prefix(&self) -> String {
        format!("outrigger-{}-", self.settings.instance)
    }

    /// After a panic nothing that is remembered is taken for granted: everything is compared
    /// again at the next sweep.
    pub fn distrust(&mut self) {
        self.seen = None;
        self.last_full = 0;
    }

    /// Deals with one sweep's decisions.
    pub fn step(&mut self, decisions: &Decisions) -> Outcome {
        let tick = decisions.provenance.tick;
        self.come_back();
        let mut actions = self.ledger.observe(tick, &decisions.protected);
        self.learn(&actions);
        let full = !self.settings.dry_run
            && tick.saturating_sub(self.last_full) >= self.settings.reconcile.max(1);
        if full {
            self.last_full = tick;
        }
        self.look(decisions, full);
        let wants = self.wants(decisions);
        let hands = &*self.hands;
        let can = |knob| hands.level(knob) != Level::UNAVAILABLE;
        let plan = plan(&wants, &self.book, can, tick, full);
        self.book.keep_refusals(|key| wants.contains_key(&key.subject));
        let mut news: BTreeMap<(Name, Sort), Vec<KnobOutcome>> = BTreeMap::new();
        for step in &plan.steps {
            for (sort, outcome) in self.apply(step, tick) {
                news.entry((step.workload.clone(), sort)).or_default().push(outcome);
            }
        }
        let restored = self.release(&plan.releases, tick);
        self.origins.retain(|context, _| wants.contains_key(&Subject::Context(context.clone())));
        let told = self.teller.actions(decisions, &self.pulls, news, restored, &self.settings);
        for action in &told {
            let turned = matches!(
                action.kind,
                ActionKind::Place | ActionKind::Weight | ActionKind::Cap | ActionKind::Priority
            );
            if turned && !action.knobs.is_empty() && !action.dry_run {
                self.ledger.begin(action, &decisions.protected);
            }
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
        let Some(path) = tree.ours(&name).map(str::to_owned) else { return Vec::new() };
        tree.below(&path).flat_map(|(_, node)| node.pids.iter().copied()).collect()
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
        self.seen = None;
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

    /// What did not help is not tried again, as long as the workload is held back at all.
    fn learn(&mut self, measured: &[Action]) {
        for action in measured {
            let Some(effect) = &action.effect else { continue };
            if helped(effect) != Some(false) {
                continue;
            }
            let raised = self.pulls.get(&action.workload).into_iter().flatten();
            for pull in raised.filter(|pull| matches!(pull.lever, Lever::Raise { .. })) {
                self.useless.insert((action.workload.clone(), pull.lever.clone()));
                self.seen = None;
            }
        }
    }

    /// Searches the levers anew if anything they depend on has changed.
    fn look(&mut self, decisions: &Decisions, full: bool) {
        let governed = || decisions.entitlements.iter().filter(|e| e.tier > 0);
        if decisions.protected.is_empty() {
            self.pulls.clear();
            self.strikes.clear();
            self.useless.clear();
            self.places.clear();
            self.seen = None;
            return;
        }
        let now = self.fingerprint(decisions);
        let doubtful = self.strikes.values().any(|strikes| *strikes > 0);
        if self.seen == Some(now) && !full && !doubtful && decisions.changes.is_empty() {
            return;
        }
        self.seen = Some(now);
        let tree = match self.hands.survey(SURVEY_LIMIT) {
            Ok(survey) => Some(Tree::new(survey, SURVEY_LIMIT)),
            Err(error) if error.code == ErrorCode::NOT_SUPPORTED => None,
            Err(error) => {
                // Levers do not change because a backend was slow.
                tracing::warn!(%error, "the tree of contexts could not be surveyed");
                self.seen = None;
                return;
            }
        };
        let roles = self.roles(decisions, tree.as_ref());
        let sessions = self.hands.sessions();
        let tolerated: BTreeSet<String> = self.tolerated();
        let abilities = self.abilities();
        let mut scene = Scene::new(tree.as_ref(), &roles, &sessions, &tolerated, abilities);
        scene.leaf_only = mutation::leaf_only();
        let prefix = self.prefix();
        self.pulls = governed()
            .map(|entitlement| {
                let name = format!("{prefix}{}", entitlement.workload);
                let names = lever::Names { own: &name, prefix: &prefix };
                let found =
                    lever::search(&scene, names, &entitlement.members, &decisions.protected);
                (entitlement.workload.clone(), self.without_useless(&entitlement.workload, found))
            })
            .collect();
        self.useless.retain(|(workload, _)| self.pulls.contains_key(workload));
        self.places = lever::places(&scene, &decisions.protected);
        if let Some(tree) = &tree {
            self.remember_origins(tree);
        }
        let in_use: BTreeSet<String> = self.held().collect();
        self.strikes.retain(|path, _| in_use.contains(path));
        for path in in_use {
            let strikes = self.strikes.entry(path.clone()).or_default();
            *strikes = if scene.tally(&path).unknown > 0 { *strikes + 1 } else { 0 };
        }
    }

    /// Paths of contexts that are not ours and are levers.
    fn held(&self) -> impl Iterator<Item = String> + '_ {
        self.pulls.values().flatten().filter_map(|pull| match &pull.lever {
            Lever::Adopt { context } | Lever::Raise { context, .. } => {
                Some(context.path.to_string())
            }
            _ => None,
        })
    }

    fn tolerated(&self) -> BTreeSet<String> {
        let patient = |path: &String| self.strikes.get(path).is_none_or(|s| *s < STRIKES);
        self.held().filter(patient).collect()
    }

    fn without_useless(&self, workload: &Name, pulls: Vec<Pull>) -> Vec<Pull> {
        let given_up = |pull: Pull| {
            let Lever::Raise { context, because } = &pull.lever else { return pull };
            if !self.useless.contains(&(workload.clone(), pull.lever.clone())) {
                return pull;
            }
            let because = format!("{because}; raising {} did not help", context.path);
            let lever = match &pull.cap {
                Some(context) => Lever::Quota { context: context.clone(), because },
                None => Lever::None { because },
            };
            Pull { lever, ..pull }
        };
        pulls.into_iter().map(given_up).collect()
    }

    /// The weight a context had before we turned it is looked up once, before we do.
    fn remember_origins(&mut self, tree: &Tree) {
        for path in self.held().collect::<Vec<_>>() {
            let context = tree.context(&path);
            let weight = tree.node(&path).map_or(DEFAULT_WEIGHT, |node| node.weight);
            self.origins.entry(context).or_insert(weight);
        }
    }

    fn abilities(&self) -> Abilities {
        let can = |knob| self.hands.level(knob) != Level::UNAVAILABLE;
        Abilities {
            weight: can(Capability::CPU_WEIGHT),
            place: can(Capability::CONTEXT) && can(Capability::MEMBERS),
            quota: can(Capability::CPU_LIMIT),
            tasks: can(Capability::SCHED_CLASS) || can(Capability::PRIORITY),
            autogroup: can(Capability::AUTOGROUP),
            sessions_apart: self.hands.autogroups(),
            managed: false,
        }
    }

    fn roles(&mut self, decisions: &Decisions, tree: Option<&Tree>) -> Roles {
        let mut roles = Roles::default();
        for member in decisions.protected.iter().flat_map(|workload| workload.members.iter()) {
            roles.set(member.task.pid, Role::Protected);
        }
        let held = decisions.entitlements.iter().filter(|entitlement| entitlement.tier > 0);
        for member in held.flat_map(|entitlement| entitlement.members.iter()) {
            roles.set(member.task.pid, Role::BestEffort);
        }
        // In the root everybody competes for themselves, so who is there decides nothing.
        let elsewhere = tree.into_iter().flat_map(Tree::nodes).filter(|(path, _)| *path != "/");
        for pid in elsewhere.flat_map(|(_, node)| node.pids.iter().copied()) {
            if roles.of(pid) == Role::Unknown && self.hands.passing(pid, decisions.provenance.at_ns)
            {
                roles.set(pid, Role::Passing);
            }
        }
        roles
    }

    /// Everything the levers depend on, except births inside our own contexts.
    fn fingerprint(&self, decisions: &Decisions) -> u64 {
        let prefix = self.prefix();
        let mut hasher = DefaultHasher::new();
        let mut add = |members: &[crate::flow::message::Member]| {
            for member in members {
                let placed =
                    member.contexts.iter().any(|c| super::tree::last(&c.path).starts_with(&prefix));
                if !placed {
                    (member.task, &member.contexts, member.session).hash(&mut hasher);
                }
            }
        };
        for entitlement in decisions.entitlements.iter().filter(|e| e.tier > 0) {
            add(&entitlement.members);
        }
        for workload in &decisions.protected {
            add(&workload.members);
        }
        for entitlement in &decisions.entitlements {
            (&entitlement.workload, entitlement.tier).hash(&mut hasher);
        }
        hasher.finish()
    }

    fn wants(&mut self, decisions: &Decisions) -> Wants {
        let mut wants = Wants::new();
        for (workload, tasks) in &self.launched {
            let context = ContextId::ours(&self.context_name(workload));
            wants.insert(Subject::Context(context), self.launched_want(workload, tasks));
        }
        for entitlement in decisions.entitlements.iter().filter(|e| e.tier > 0) {
            let Some(pulls) = self.pulls.get(&entitlement.workload) else { continue };
            let pulls = self.with_newcomers(entitlement, pulls);
            want::add(&mut wants, entitlement, &pulls, |context| {
                self.origins.get(context).copied().unwrap_or(DEFAULT_WEIGHT)
            });
        }
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
        let mut want = Want::new(workload.clone(), "launched".to_owned());
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
        let all: BTreeSet<ContextId> = adopted.chain(self.places.iter().cloned()).collect();
        all.into_iter().collect()
    }

    fn state(&self, decisions: &Decisions) -> Enforcement {
        let ours = self.book.subjects().into_iter().filter(|subject| subject.is_ours());
        Enforcement {
            provenance: decisions.provenance,
            dry_run: self.settings.dry_run,
            workloads: tell::governed(decisions, &self.pulls, &self.book),
            foreign: self.book.foreign().cloned().collect(),
            refused: self.book.refused().cloned().collect(),
            in_doubt: self.book.doubts().cloned().collect(),
            contexts: ours
                .filter_map(|subject| match subject {
                    Subject::Context(context) => Some(context.clone()),
                    Subject::Task(_) => None,
                })
                .collect(),
        }
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
