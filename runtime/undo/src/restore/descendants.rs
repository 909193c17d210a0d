//! Whoever was born with a value of ours gets its journalled ancestor's origin.

use super::engine::{Engine, PATIENCE_MS, SWEEPS};
use super::kin::{Family, People};
use super::world::{Person, World};
use crate::journal::Inheritance;
use crate::{Entry, Kind, Operation};
use std::collections::HashSet;

/// A census is not atomic: a task may have a child and die before it is looked at. Only so many
/// in a row without a find are believed.
const CALM_SWEEPS: usize = 3;

impl<'w> Engine<'w> {
    /// Whoever was born with a value of ours gets its ancestor's, until nobody is found.
    pub(super) fn descendants(&mut self) {
        let lanes = self.lanes();
        if lanes.iter().all(|lane| !lane.is_selected) {
            return;
        }
        let (mut seen, mut calm) = (HashSet::new(), 0);
        let started = self.world.now_ms();
        for _ in 0..SWEEPS {
            let census = self.world.census();
            let people = People::of(&census);
            let mut found = 0;
            for (number, lane) in lanes.iter().enumerate().filter(|(_, lane)| lane.is_selected) {
                for person in &census {
                    if seen.insert((number, person.task)) && self.heal(lane, person, &people) {
                        found += 1;
                    }
                }
            }
            self.report.descendants += found;
            calm = if found == 0 { calm + 1 } else { 0 };
            if calm == CALM_SWEEPS {
                return;
            }
            if self.world.now_ms().saturating_sub(started) > PATIENCE_MS {
                break;
            }
        }
        self.report.notes.push(
            "tasks were still being born with changed values when the sweeps were given up"
                .to_owned(),
        );
    }

    /// Whether the task had a value of ours by birth, which it now has no longer.
    fn heal(&self, lane: &Lane<'_>, person: &Person, people: &People) -> bool {
        if lane.per_process && !person.is_leader() || lane.family.own(person).is_some() {
            return false;
        }
        let task = if lane.per_process { person.process() } else { person.task };
        let ancestors = lane.family.nearest(person, people, true);
        if ancestors.is_empty() {
            return false;
        }
        let Ok(current) = self.world.read(lane.kind, Some(task), lane.locator) else {
            return false;
        };
        let Some(ancestor) = ancestors.iter().find(|ancestor| ancestor.may_have_given(&current))
        else {
            return false;
        };
        if !self.selected.contains(&ancestor.token) || current == ancestor.origin() {
            return false;
        }
        let origin = match lane.kind {
            Kind::Membership => self.living(lane.locator, ancestor.origin()),
            _ => Some(ancestor.origin().to_owned()),
        };
        origin.is_some_and(|origin| {
            self.world.write(lane.kind, Some(task), lane.locator, &origin).is_ok()
        })
    }

    fn lanes(&self) -> Vec<Lane<'w>> {
        let mut lanes: Vec<Lane<'w>> = Vec::new();
        for entry in &self.all {
            let operation = &entry.operation;
            let locator = operation.locator.as_str();
            let Some(per_process) = operation.kind.inherited_per_process(self.world, locator)
            else {
                continue;
            };
            let known = lanes.iter().any(|lane| {
                (lane.kind, lane.locator) == (operation.kind, operation.locator.as_str())
            });
            if known {
                continue;
            }
            let (kind, locator) = (operation.kind, operation.locator.as_str());
            let same = |entry: &&&'w Entry| {
                entry.operation.kind == kind && entry.operation.locator == locator
            };
            let is_selected =
                self.all.iter().filter(same).any(|entry| self.selected.contains(&entry.token));
            let family = Family::of(self.all.iter().filter(same).copied());
            lanes.push(Lane { kind, locator, per_process, is_selected, family });
        }
        lanes
    }
}

/// One kind of knob that is inherited at fork.
struct Lane<'e> {
    kind: Kind,
    locator: &'e str,
    per_process: bool,
    is_selected: bool,
    family: Family<'e>,
}

impl Kind {
    /// Whether children are born with it, and if so whether all threads of a process share it.
    fn inherited_per_process(self, world: &dyn World, locator: &str) -> Option<bool> {
        match self {
            Self::Nice | Self::SchedPolicy | Self::Affinity | Self::IoPriority => Some(false),
            Self::OomScoreAdj | Self::Rlimit => Some(true),
            Self::Membership => Some(!world.splits_threads(locator)),
            // A session gets an autogroup of its own; the others are about no task.
            Self::Autogroup | Self::File | Self::Context => None,
        }
    }
}

/// What to put back in the end for a task that was born with a value its journalled ancestor had
/// from us; `None` if its value is its own.
pub(crate) fn inheritance<'e>(
    world: &dyn World,
    entries: impl Iterator<Item = &'e Entry>,
    operation: &Operation,
) -> Option<Inheritance> {
    let (kind, locator) = (operation.kind, operation.locator.as_str());
    kind.inherited_per_process(world, locator)?;
    let line = world.line(operation.task?);
    let family = Family::of(entries.filter(|entry| {
        (entry.operation.kind, entry.operation.locator.as_str()) == (kind, locator)
    }));
    let ancestors = family.nearest(line.first()?, &People::of(&line), true);
    let giver = ancestors.iter().find(|ancestor| ancestor.may_have_given(&operation.before))?;
    Some(Inheritance { origin: giver.origin().to_owned(), since: giver.gives_since() })
}
