//! Empties contexts of ours and removes them.

use super::Outcome;
use super::engine::{Engine, PATIENCE_MS, SWEEPS, failed};
use super::judge::{Order, Verdict, is_in, judge};
use super::kin::{Family, People};
use super::world::{Person, Place};
use crate::knob::KnobErrorCode;
use crate::{Entry, Kind, Task};

const ABSENT: &str = "absent";

impl<'w> Engine<'w> {
    /// Removes the contexts. The knobs of one that goes need no restoring; those of one that has
    /// to stay are put back like any other.
    pub(super) fn contexts(&mut self, order: &Order<'w>) {
        let mut kept: Vec<&Entry> = Vec::new();
        for context in &order.contexts {
            let outcome = self.remove(context);
            if matches!(outcome, Outcome::Failed { .. }) {
                kept.push(context);
            }
            self.tell(context, outcome);
        }
        let (staying, dropped): (Vec<&Entry>, Vec<&Entry>) = (order.inside.iter().copied())
            .partition(|file| kept.iter().any(|context| is_in(file, context)));
        for file in dropped {
            self.tell(file, Outcome::Dropped);
        }
        self.knobs(&staying);
    }

    fn remove(&mut self, context: &Entry) -> Outcome {
        let locator = context.operation.locator.as_str();
        match self.world.read(Kind::Context, None, locator) {
            Ok(current) => match judge(context, &current) {
                Verdict::Restore => {}
                Verdict::Unchanged => return Outcome::Unchanged,
                Verdict::Foreign => return Outcome::Foreign { found: current },
            },
            Err(error) => return failed(&error),
        }
        let Some(place) = self.world.place(locator) else { return Outcome::Gone };
        let started = self.world.now_ms();
        let mut last = String::new();
        for _ in 0..SWEEPS {
            let progress = self.clear(locator, &place, &mut last);
            match self.world.write(Kind::Context, None, locator, ABSENT) {
                Ok(_) => return Outcome::Restored,
                Err(error) if error.is_gone() => return Outcome::Restored,
                Err(error) if error.code() == KnobErrorCode::Os => last = error.to_string(),
                Err(error) => return failed(&error),
            }
            if self.world.now_ms().saturating_sub(started) > PATIENCE_MS {
                break;
            }
            if !progress {
                self.world.rest();
            }
        }
        Outcome::Failed { error: format!("it does not come empty: {last}") }
    }

    /// One sweep through a context and those somebody made within it, which go with it, the
    /// innermost first. `place` is the outermost, which is ours. Answers whether anything could
    /// be moved or removed.
    fn clear(&mut self, context: &str, place: &Place, last: &mut String) -> bool {
        let mut progress = false;
        for name in self.world.children(context) {
            let child = format!("{context}/{name}");
            progress |= self.clear(&child, place, last);
            match self.world.write(Kind::Context, None, &child, ABSENT) {
                Ok(_) => progress = true,
                Err(error) if error.is_gone() => {}
                Err(error) => *last = error.to_string(),
            }
        }
        self.evacuate(context, place, last) || progress
    }

    /// One sweep through one context: everything inside goes where it or its ancestor came from, else one up.
    /// Answers whether anything could be moved.
    fn evacuate(&mut self, context: &str, place: &Place, last: &mut String) -> bool {
        let members = match self.world.members(context) {
            Ok(members) => members,
            Err(error) => {
                *last = error.to_string();
                return false;
            }
        };
        if members.is_empty() {
            return false;
        }
        let census = self.world.census();
        let people = People::of(&census);
        let same = |entry: &&&'w Entry| {
            entry.operation.kind == Kind::Membership && entry.operation.locator == place.mount
        };
        let family = Family::of(self.all.iter().filter(same).copied());
        let mut moved = false;
        for member in members {
            let person = census.iter().find(|person| is_same(person, member));
            let (to, journalled) = self.destination(&family, &people, person, place);
            let to = to.unwrap_or_else(|| "/".to_owned());
            match self.world.write(Kind::Membership, Some(member), &place.mount, &to) {
                Ok(_) => {
                    moved = true;
                    self.report.descendants += u64::from(!journalled);
                }
                Err(error) if error.is_gone() => {}
                Err(error) => *last = error.to_string(),
            }
        }
        moved
    }

    /// Where a member of a context goes, and whether it has a journal entry of its own.
    fn destination(
        &self,
        family: &Family<'w>,
        people: &People,
        person: Option<&Person>,
        place: &Place,
    ) -> (Option<String>, bool) {
        let own =
            person.and_then(|person| family.own(person).or_else(|| family.of_process(person)));
        let ancestor = || family.nearest(person?, people, false).first().copied();
        let origin = own
            .or_else(ancestor)
            .map(Entry::origin)
            .filter(|origin| !is_within(origin, &place.path));
        let up =
            place.path.rsplit_once('/').map_or("/", |(up, _)| if up.is_empty() { "/" } else { up });
        (self.living(&place.mount, origin.unwrap_or(up)), own.is_some())
    }
}

fn is_same(person: &Person, member: Task) -> bool {
    if member.tid == 0 {
        person.is_leader() && person.process() == member
    } else {
        person.task == member
    }
}

/// Whether a path is the context's own or below it.
fn is_within(path: &str, context: &str) -> bool {
    path.strip_prefix(context).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
