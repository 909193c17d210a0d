//! What the enforcer has seen of the host: the levers, and what they depend on.
//!
//! Looking costs a survey, so it looks only when something a lever depends on has changed, and
//! now and then for what nobody tells of. It remembers what only looking back can tell: weights
//! before they were turned, levers that did not help, strangers in a subtree that is held back.

use super::effect::Measured;
use super::hands::Hands;
use super::lever::{self, Lever, Names, Pull};
use super::scene::{Abilities, Role, Roles, Scene};
use super::tree::{DEFAULT_WEIGHT, Tree, last};
use crate::flow::activity::PlaceShare;
use crate::flow::message::{Decisions, Entitlement, Member, Name};
use crate::mutation;
use outrigger_sdk::{Capability, ContextId, ErrorCode, Level};
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

/// Contexts looked at in one survey.
pub const SURVEY_LIMIT: u32 = 4096;

/// Surveys in a row in which a process the policy does not name may sit in a subtree that is
/// held back, before it is let go: forks are unknown for a sweep or two.
const STRIKES: u32 = 3;

/// See the module.
#[derive(Debug, Default)]
pub struct Outlook {
    /// How the names of our contexts begin.
    prefix: String,
    /// Levers per workload, as last searched.
    pulls: BTreeMap<Name, Vec<Pull>>,
    /// Levers that were pulled and did not help.
    useless: BTreeSet<(Name, Lever)>,
    /// Weights that contexts had before we turned them.
    origins: BTreeMap<ContextId, u32>,
    /// Surveys in a row with a stranger, by path.
    strikes: BTreeMap<String, u32>,
    places: Vec<ContextId>,
    shares: Vec<PlaceShare>,
    /// Fingerprint of what was there at the last look.
    seen: Option<u64>,
}

// === impl Outlook ===

impl Outlook {
    /// Nothing seen yet.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..Self::default() }
    }

    /// The levers of every governed workload.
    pub fn pulls(&self) -> &BTreeMap<Name, Vec<Pull>> {
        &self.pulls
    }

    /// Where the protected sit.
    pub fn places(&self) -> &[ContextId] {
        &self.places
    }

    /// What the places of the workloads are worth.
    pub fn shares(&self) -> &[PlaceShare] {
        &self.shares
    }

    /// The weight a context had before we turned it.
    pub fn origin(&self, context: &ContextId) -> u32 {
        self.origins.get(context).copied().unwrap_or(DEFAULT_WEIGHT)
    }

    /// Contexts that are not turned any more may have another weight the next time.
    pub fn forget_origins(&mut self, mut wanted: impl FnMut(&ContextId) -> bool) {
        self.origins.retain(|context, _| wanted(context));
    }

    /// What was seen is not to be relied on: the next sweep looks again.
    pub fn look_again(&mut self) {
        self.seen = None;
    }

    /// What did not help is not tried again, as long as the workload is held back at all.
    pub fn learn(&mut self, measured: &[Measured]) {
        for Measured { action, .. } in measured.iter().filter(|m| m.helped == Some(false)) {
            let pulls = self.pulls.get(&action.workload).into_iter().flatten();
            for pull in pulls.filter(|pull| matches!(pull.lever, Lever::Raise { .. })) {
                self.useless.insert((action.workload.clone(), pull.lever.clone()));
                self.seen = None;
            }
        }
    }

    /// Searches the levers anew if anything they depend on has changed, or if `full`. `places`:
    /// full paths of contexts of ours.
    pub fn look(
        &mut self,
        hands: &mut dyn Hands,
        decisions: &Decisions,
        places: &BTreeSet<String>,
        full: bool,
    ) {
        if decisions.protected.is_empty() {
            *self = Self {
                prefix: std::mem::take(&mut self.prefix),
                origins: std::mem::take(&mut self.origins),
                ..Self::default()
            };
            return;
        }
        let now = self.fingerprint(decisions);
        let doubtful = self.strikes.values().any(|strikes| *strikes > 0);
        if self.seen == Some(now) && !full && !doubtful && decisions.changes.is_empty() {
            return;
        }
        let tree = match hands.survey(SURVEY_LIMIT) {
            Ok(survey) => Some(Tree::new(survey, SURVEY_LIMIT)),
            Err(error) if error.code == ErrorCode::NOT_SUPPORTED => None,
            Err(error) => {
                // Levers do not change because a backend was slow.
                tracing::warn!(%error, "the tree of contexts could not be surveyed");
                self.seen = None;
                return;
            }
        };
        self.seen = Some(now);
        let abilities = abilities(hands);
        let roles = roles(hands, decisions, tree.as_ref());
        // Who shares a session matters only where tasks cannot be put into contexts.
        let sessions = match tree {
            Some(_) if abilities.place && abilities.weight => BTreeMap::new(),
            _ => hands.sessions(),
        };
        let tolerated = self.tolerated();
        let mut scene = Scene::new(tree.as_ref(), &roles, &sessions, &tolerated, abilities);
        scene.leaf_only = mutation::leaf_only();
        self.pulls = governed(decisions)
            .map(|entitlement| {
                let workload = &entitlement.workload;
                let own = format!("{}{workload}", self.prefix);
                let names = Names { own: &own, prefix: &self.prefix, places };
                let pulls =
                    lever::search(&scene, names, &entitlement.members, &decisions.protected);
                (workload.clone(), self.without_useless(workload, pulls))
            })
            .collect();
        self.useless.retain(|(workload, _)| self.pulls.contains_key(workload));
        self.places = lever::places(&scene, &decisions.protected);
        if let Some(tree) = &tree {
            self.remember_origins(tree);
            self.shares = shares(tree, decisions);
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
            // Without a weight of its own it gets the default with the controller.
            let weight = tree.node(&path).map(|node| node.weight).filter(|weight| *weight > 0);
            let weight = weight.unwrap_or(DEFAULT_WEIGHT);
            self.origins.entry(tree.context(&path)).or_insert(weight);
        }
    }

    /// Everything the levers depend on, except births inside our own contexts.
    fn fingerprint(&self, decisions: &Decisions) -> u64 {
        let mut hasher = DefaultHasher::new();
        let mut add = |members: &[Member]| {
            for member in members {
                let mut contexts = member.contexts.iter();
                if !contexts.any(|context| last(&context.path).starts_with(&self.prefix)) {
                    (member.task, &member.contexts, member.session).hash(&mut hasher);
                }
            }
        };
        governed(decisions).for_each(|entitlement| add(&entitlement.members));
        decisions.protected.iter().for_each(|workload| add(&workload.members));
        for entitlement in &decisions.entitlements {
            (&entitlement.workload, entitlement.tier).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// Who is held back at all.
fn governed(decisions: &Decisions) -> impl Iterator<Item = &Entitlement> {
    decisions.entitlements.iter().filter(|entitlement| entitlement.tier > 0)
}

fn abilities(hands: &dyn Hands) -> Abilities {
    let can = |knob| hands.level(knob) != Level::UNAVAILABLE;
    Abilities {
        weight: can(Capability::CPU_WEIGHT),
        place: can(Capability::CONTEXT) && can(Capability::MEMBERS),
        quota: can(Capability::CPU_LIMIT),
        tasks: can(Capability::SCHED_CLASS) || can(Capability::PRIORITY),
        autogroup: can(Capability::AUTOGROUP),
        sessions_apart: hands.autogroups(),
        managed: false,
    }
}

fn roles(hands: &mut dyn Hands, decisions: &Decisions, tree: Option<&Tree>) -> Roles {
    let mut roles = Roles::default();
    for member in decisions.protected.iter().flat_map(|workload| workload.members.iter()) {
        roles.set(member.task.pid, Role::Protected);
    }
    for member in governed(decisions).flat_map(|entitlement| entitlement.members.iter()) {
        roles.set(member.task.pid, Role::BestEffort);
    }
    // In the root everybody competes for themselves, so who is there decides nothing.
    let elsewhere = tree.into_iter().flat_map(Tree::nodes).filter(|(path, _)| *path != "/");
    for pid in elsewhere.flat_map(|(_, node)| node.pids.iter().copied()) {
        if roles.of(pid) == Role::Unknown && hands.passing(pid, decisions.provenance.at_ns) {
            roles.set(pid, Role::Passing);
        }
    }
    roles
}

/// What the places of the protected and of the governed are worth against each other: of
/// anybody else it is not known whether they want the CPU. The root is everybody's.
fn shares(tree: &Tree, decisions: &Decisions) -> Vec<PlaceShare> {
    let protected = decisions.protected.iter().map(|w| (&w.workload, &w.members));
    let workloads = protected.chain(governed(decisions).map(|e| (&e.workload, &e.members)));
    let workloads: Vec<_> = workloads.collect();
    let known: BTreeSet<u32> = workloads
        .iter()
        .flat_map(|(_, members)| members.iter().map(|member| member.task.pid))
        .collect();
    let mut shares = Vec::new();
    for (workload, members) in workloads {
        let seats = members.iter().filter_map(|member| tree.seat(member.task.pid));
        for path in seats.filter(|path| *path != "/").collect::<BTreeSet<&str>>() {
            let share = tree.effective_share(path, |pid| known.contains(&pid));
            shares.push(PlaceShare {
                workload: workload.clone(),
                path: path.to_owned(),
                fraction: share.fraction,
                steps: share.steps,
            });
        }
    }
    shares
}
