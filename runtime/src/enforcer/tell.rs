//! Turns what was done into what is told. Pure, but for the running number.

use super::apply::Sort;
use super::book::Book;
use super::hands::{Fate, Undone};
use super::lever::{Lever, Pull};
use super::subject::KnobKey;
use crate::flow::activity::{Action, ActionKind, Governed, KnobFailure, KnobOutcome};
use crate::flow::message::{Decisions, Name, TierChange};
use outrigger_sdk::{Capability, Error, ErrorCode};
use std::collections::{BTreeMap, BTreeSet};

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
            let mut change = change;
            for (kind, knobs) in told {
                let lever = match kind {
                    ActionKind::NoLever => reasons(mine),
                    _ => lever.clone(),
                };
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
        let from = changes.get(&change.workload).map_or(change.from, |earlier| earlier.from);
        changes.insert(change.workload.clone(), TierChange { from, ..change.clone() });
    }
    changes
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
