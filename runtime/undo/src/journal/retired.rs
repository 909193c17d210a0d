//! Tasks that ended in a context of ours that stays.
//!
//! Nothing of theirs is to be put back. But children that were born in the context sit there
//! still, and when it is removed they go where their ancestor came from: only the entry of the
//! dead knows where that is. So it is kept, out of sight, until the context goes, as long as
//! somebody might descend from it. That spares the sweep through all processes that closing it
//! would need.

use crate::restore::{Item, Outcome, Person, World};
use crate::{Entry, Kind};
use std::collections::{BTreeSet, HashSet};

/// Retired entries from which on it is worth a look at all processes who might still descend
/// from one.
const ROOM: usize = 64;

/// Entries of the dead, by the number of their first record.
#[derive(Debug)]
pub(super) struct Retired {
    tokens: BTreeSet<u64>,
    room: usize,
}

/// What is to be done about the entries that somebody selected.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// To be put back now.
    pub(super) now: HashSet<u64>,
    /// Ended in a context that stays.
    pub(super) ended: Vec<u64>,
}

impl Default for Retired {
    fn default() -> Self {
        Self { tokens: BTreeSet::new(), room: ROOM }
    }
}

impl Retired {
    /// Sorts out the ended among the selected; whoever retired earlier is selected with its
    /// context.
    pub(super) fn choose(
        &self,
        world: &dyn World,
        all: &[&Entry],
        select: &dyn Fn(&Entry) -> bool,
    ) -> Choice {
        let mut choice = Choice::default();
        let mut staying = HashSet::new();
        for context in all.iter().filter(|entry| entry.operation.kind == Kind::Context) {
            if !select(context)
                && let Some(place) = world.place(&context.operation.locator)
            {
                staying.insert((place.mount, place.path));
            }
        }
        for entry in all {
            let operation = &entry.operation;
            let stays = operation.kind == Kind::Membership
                && staying.contains(&(operation.locator.clone(), operation.after.clone()));
            let retired = self.tokens.contains(&entry.token);
            let has_ended = || {
                let now = world.read(operation.kind, operation.task, &operation.locator);
                now.is_err_and(|error| error.is_gone())
            };
            if stays && (retired || select(entry) && has_ended()) {
                if !retired {
                    choice.ended.push(entry.token);
                }
            } else if retired || select(entry) {
                choice.now.insert(entry.token);
            }
        }
        choice
    }

    /// Retires the ended; answers whose entries nobody needs any more.
    pub(super) fn retire(&mut self, world: &dyn World, all: &[&Entry], ended: &[u64]) -> Vec<u64> {
        self.tokens.extend(ended);
        let mut needless: BTreeSet<u64> = BTreeSet::new();
        let of = |token: &u64| all.iter().find(|entry| entry.token == *token);
        for entry in ended.iter().filter_map(of) {
            let stands_in = |other: &&&Entry| {
                !needless.contains(&other.token)
                    && other.token < entry.token
                    && is_interchangeable(other, entry)
            };
            if all.iter().any(|other| stands_in(&other)) {
                needless.insert(entry.token);
            }
        }
        if self.tokens.len() - needless.len() > self.room {
            let census = world.census();
            let retired = all.iter().filter(|entry| self.tokens.contains(&entry.token));
            let childless = retired.filter(|entry| !census.iter().any(|p| may_descend(p, entry)));
            needless.extend(childless.map(|entry| entry.token));
            self.room = ROOM.max(2 * (self.tokens.len() - needless.len()));
        }
        self.tokens.retain(|token| !needless.contains(token));
        needless.into_iter().collect()
    }

    /// These are closed.
    pub(super) fn forget(&mut self, items: &[Item]) {
        for item in items.iter().filter(|item| !matches!(item.outcome, Outcome::Failed { .. })) {
            self.tokens.remove(&item.token);
        }
    }
}

/// Whether whoever descends from the younger's task goes where a descendant of the elder's goes:
/// the dead have no children but orphans, and those are recognised by session and group.
fn is_interchangeable(elder: &Entry, younger: &Entry) -> bool {
    let (one, other) = (&elder.operation, &younger.operation);
    (one.kind, &one.locator, &one.before, &one.after)
        == (other.kind, &other.locator, &other.before, &other.after)
        && elder.kin == younger.kin
        && elder.gives_since() <= younger.gives_since()
        && younger.left.iter().all(|value| elder.left.contains(value))
}

/// Whether somebody alive may descend from an ended task, or is of its process.
fn may_descend(person: &Person, ended: &Entry) -> bool {
    (person.session, person.group) == (ended.kin.session, ended.kin.group)
        || ended.operation.task.is_some_and(|task| task.pid == person.task.pid)
}
