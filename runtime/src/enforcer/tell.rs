//! Turns what was done into what is told. Pure, but for the running number.

use super::apply::Sort;
use super::book::Book;
use super::hands::{Fate, Undone};
use super::lever::{Lever, Pull};
use super::subject::KnobKey;
use crate::flow::activity::{Action, ActionKind, Governed, KnobFailure, KnobOutcome};
use crate::flow::message::{Contention, Culprit, Decisions, Entitlement, Name, TierChange};
use outrigger_sdk::{Capability, Error, ErrorCode};
use std::collections::{BTreeMap, BTreeSet};

/// Culprits told with an action.
const NAMED: usize = 8;

/// Use from which a member is told as a culprit, millicores.
const LEAST: f64 = 10.0;

/// The rule by which a launched program has a context of its own.
pub const LAUNCHED: &str = "launched";

/// Numbers the actions and remembers what was said already.
#[derive(Debug, Default)]
pub struct Teller {
    seq: u64,
    no_lever: BTreeMap<Name, String>,
}

// === impl Teller ===

impl Teller {
    /// Everything worth telling about one sweep.
    pub fn actions(
        &mut self,
        decisions: &Decisions,
        pulls: &BTreeMap<Name, Vec<Pull>>,
        mut news: BTreeMap<(Name, Sort), Vec<KnobOutcome>>,
        mut restored: BTreeMap<Name, Vec<KnobOutcome>>,
        dry_run: bool,
    ) -> Vec<Action> {
        let mut changes = changes(decisions);
        self.no_lever.retain(|workload, _| pulls.contains_key(workload));
        let workloads: BTreeSet<Name> = changes
            .keys()
            .chain(news.keys().map(|(workload, _)| workload))
            .chain(restored.keys())
            .chain(pulls.keys())
            .cloned()
            .collect();
        let mut actions = Vec::new();
        for workload in workloads {
            let change = changes.remove(&workload);
            let mut told: Vec<(ActionKind, Vec<KnobOutcome>)> = Vec::new();
            if let Some(knobs) = news.remove(&(workload.clone(), Sort::Turned)) {
                told.push((kind_of(&knobs), knobs));
            }
            told.extend(restored.remove(&workload).map(|knobs| (ActionKind::Restore, knobs)));
            for (sort, kind) in [
                (Sort::Foreign, ActionKind::Foreign),
                (Sort::Refused, ActionKind::Refused),
                (Sort::InDoubt, ActionKind::InDoubt),
            ] {
                told.extend(news.remove(&(workload.clone(), sort)).map(|knobs| (kind, knobs)));
            }
            let mine = pulls.get(&workload).map_or(&[][..], Vec::as_slice);
            let lever = sentence(mine);
            let stuck = !mine.is_empty() && mine.iter().all(|pull| pull.lever.is_none());
            if stuck && (change.is_some() || self.no_lever.get(&workload) != Some(&lever)) {
                self.no_lever.insert(workload.clone(), lever.clone());
                told.push((ActionKind::NoLever, Vec::new()));
            } else if !stuck {
                self.no_lever.remove(&workload);
            }
            if told.is_empty() && change.is_some() {
                told.push((ActionKind::Tier, Vec::new()));
            }
            let entitlement = decisions.entitlements.iter().find(|e| e.workload == workload);
            let tier = entitlement.map(|e| e.tier).or(change.as_ref().map(|change| change.to));
            let rule = entitlement.map(|e| &e.rule).or(change.as_ref().map(|change| &change.rule));
            // Only what was launched has news without being held back.
            let rule = rule.map_or_else(|| LAUNCHED.to_owned(), String::clone);
            let caused = change.as_ref().and_then(|change| change.contention.as_ref());
            let contention = caused
                .or_else(|| blamed(decisions, &workload))
                .map(|contention| with_own_part(contention, entitlement));
            let mut change = change;
            for (kind, knobs) in told {
                let lever = match kind {
                    ActionKind::NoLever => reasons(mine),
                    _ => lever.clone(),
                };
                // What is taken back, or left to somebody else, is not done because of it.
                let because = !matches!(kind, ActionKind::Restore | ActionKind::Foreign);
                self.seq += 1;
                actions.push(Action {
                    seq: self.seq,
                    provenance: decisions.provenance,
                    workload: workload.clone(),
                    kind,
                    dry_run,
                    tier: tier.unwrap_or(0),
                    rule: rule.clone(),
                    change: change.take(),
                    contention: contention.clone().filter(|_| because),
                    lever,
                    knobs,
                    effect: None,
                });
            }
        }
        actions
    }
}

/// One change per workload: merged sweeps may bring several.
fn changes(decisions: &Decisions) -> BTreeMap<Name, TierChange> {
    let mut changes: BTreeMap<Name, TierChange> = BTreeMap::new();
    for change in &decisions.changes {
        let earlier = changes.get(&change.workload);
        let from = earlier.map_or(change.from, |earlier| earlier.from);
        let cause = earlier.and_then(|earlier| earlier.contention.clone());
        let contention = change.contention.clone().or(cause);
        let merged = TierChange { from, contention, ..change.clone() };
        changes.insert(change.workload.clone(), merged);
    }
    changes
}

/// The worst waiting that a workload is named for.
fn blamed<'a>(decisions: &'a Decisions, workload: &Name) -> Option<&'a Contention> {
    let named = decisions.contention.iter().filter(|contention| {
        contention.culprits.iter().any(|culprit| culprit.workload.as_ref() == Some(workload))
    });
    named.max_by(|one, other| one.wait_ms_per_s.total_cmp(&other.wait_ms_per_s))
}

/// The same, with the part first that the workload itself has in it: on a busy machine its
/// members need not be among the largest.
fn with_own_part(contention: &Contention, entitlement: Option<&Entitlement>) -> Contention {
    let part = |entitlement: &Entitlement| -> Vec<Culprit> {
        let counts = entitlement.members.iter().filter(|member| member.millicores >= LEAST);
        let own = counts.map(|member| Culprit {
            task: member.task,
            name: member.name.clone(),
            workload: Some(entitlement.workload.clone()),
            millicores: member.millicores,
        });
        own.collect()
    };
    let mut culprits = entitlement.map(part).unwrap_or_default();
    culprits.sort_by(|one, other| other.millicores.total_cmp(&one.millicores));
    let known = |culprit: &&Culprit| !culprits.iter().any(|own| own.task == culprit.task);
    let others: Vec<Culprit> = contention.culprits.iter().filter(known).cloned().collect();
    culprits.truncate(NAMED - others.len().min(NAMED / 2));
    culprits.extend(others);
    culprits.truncate(NAMED);
    Contention { culprits, ..contention.clone() }
}

/// The levers of a workload in one line.
fn sentence(pulls: &[Pull]) -> String {
    let texts: Vec<String> = pulls.iter().map(|pull| pull.lever.to_string()).collect();
    texts.join("; ")
}

/// Why there is no lever, one clause for each place.
fn reasons(pulls: &[Pull]) -> String {
    let because = pulls.iter().filter_map(|pull| match &pull.lever {
        Lever::None { because } => Some(because.as_str()),
        _ => None,
    });
    because.collect::<Vec<_>>().join("; ")
}

/// The most telling of the knobs names the action.
fn kind_of(knobs: &[KnobOutcome]) -> ActionKind {
    let kinds = || knobs.iter().filter_map(|knob| Capability::from_name(&knob.knob));
    [ActionKind::Place, ActionKind::Cap, ActionKind::Weight]
        .into_iter()
        .find(|kind| kinds().any(|knob| ActionKind::of(knob) == *kind))
        .unwrap_or(ActionKind::Priority)
}

/// What became of one change that was taken back.
pub fn restored(undone: &Undone, key: &KnobKey) -> KnobOutcome {
    let operation = &undone.operation;
    let error = match &undone.fate {
        Fate::Restored(_) => None,
        Fate::Gone => Some(Error::new(ErrorCode::GONE, "restore", "the target is gone")),
        Fate::Foreign(found) => Some(Error::new(
            ErrorCode::FOREIGN,
            "restore",
            format!("somebody changed it to {found} since; theirs stays"),
        )),
        Fate::Failed(why) => Some(Error::new(ErrorCode::OS, "restore", why.as_str())),
    };
    KnobOutcome {
        knob: key.knob.to_string(),
        target: operation.task.map_or_else(|| key.subject.to_string(), |task| task.to_string()),
        pid: operation.task.map(|task| task.pid),
        locator: operation.locator.clone(),
        before: operation.after.clone(),
        after: operation.before.clone(),
        read_back: match &undone.fate {
            Fate::Restored(value) => Some(value.clone()),
            _ => None,
        },
        error: error.as_ref().map(KnobFailure::from),
        backend: String::new(),
        token: Some(undone.token),
    }
}

/// Every governed workload as it stands.
pub fn governed(
    decisions: &Decisions,
    pulls: &BTreeMap<Name, Vec<Pull>>,
    book: &Book,
) -> Vec<Governed> {
    let mut knobs: BTreeMap<&Name, Vec<KnobOutcome>> = BTreeMap::new();
    for (_, in_force) in book.all() {
        knobs.entry(&in_force.workload).or_default().extend(in_force.operations.values().cloned());
    }
    let governed = decisions.entitlements.iter().filter(|entitlement| entitlement.tier > 0);
    governed
        .map(|entitlement| Governed {
            workload: entitlement.workload.clone(),
            tier: entitlement.tier,
            rule: entitlement.rule.clone(),
            levers: pulls
                .get(&entitlement.workload)
                .into_iter()
                .flatten()
                .map(|pull| pull.lever.to_string())
                .collect(),
            knobs: knobs.remove(&entitlement.workload).unwrap_or_default(),
        })
        .collect()
}
