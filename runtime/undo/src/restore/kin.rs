//! From whom a task has inherited. Pure.
//!
//! The kernel copies nice values, policies, masks, limits and membership at fork, so a child of a
//! demoted process is demoted, and so are its children. Ancestry is read off parents; a child
//! whose parent has died belongs to init or a subreaper, and is recognised by the session and
//! process group that were journalled with its ancestor.

use super::world::Person;
use crate::Entry;
use std::collections::HashMap;

/// Clock ticks by which a start time may seem earlier than a record that was written before it:
/// both are rounded down.
const ROUNDING: u64 = 1;
/// Longer chains of parents than any system has; stops at a loop in a census that is not atomic.
const LONGEST_CHAIN: usize = 4096;

/// Processes of a census by number, each by its leader.
pub(super) struct People(HashMap<u32, Person>);

impl People {
    pub(super) fn of(census: &[Person]) -> Self {
        let mut people = HashMap::new();
        for person in census {
            // A leader that ended before its threads does not show; any thread stands for it.
            let known = people.entry(person.task.pid).or_insert(*person);
            if person.is_leader() {
                *known = *person;
            }
        }
        Self(people)
    }
}

/// Entries about one kind of knob, by process.
pub(super) struct Family<'e> {
    by_process: HashMap<u32, Vec<&'e Entry>>,
}

impl<'e> Family<'e> {
    pub(super) fn of(entries: impl Iterator<Item = &'e Entry>) -> Self {
        let mut by_process: HashMap<u32, Vec<&Entry>> = HashMap::new();
        for entry in entries {
            if let Some(task) = entry.operation.task {
                by_process.entry(task.pid).or_default().push(entry);
            }
        }
        // The leader's first, then the oldest thread's: the likeliest to have forked.
        for entries in by_process.values_mut() {
            entries.sort_by_key(|entry| {
                let task = entry.operation.task.unwrap_or_default();
                (task.tid != 0 && task.tid != task.pid, task.tid)
            });
        }
        Self { by_process }
    }

    /// The entry of this very task, as a thread or as the process it leads.
    pub(super) fn own(&self, person: &Person) -> Option<&'e Entry> {
        self.by_process.get(&person.task.pid)?.iter().copied().find(|entry| {
            let task = entry.operation.task;
            task == Some(person.task) || person.is_leader() && task == Some(person.process())
        })
    }

    /// The entry of this task's process as a whole.
    pub(super) fn of_process(&self, person: &Person) -> Option<&'e Entry> {
        let entries = self.by_process.get(&person.task.pid)?;
        entries.iter().copied().find(|entry| entry.operation.task == Some(person.process()))
    }

    /// The entries of the nearest journalled ancestor, likeliest first; its own process counts.
    /// With `inherited_only`, none if the task, or anybody between, was born before the change.
    pub(super) fn nearest(
        &self,
        person: &Person,
        people: &People,
        inherited_only: bool,
    ) -> Vec<&'e Entry> {
        let of_process = self.entries_of(person.task.pid, person.process_start);
        if !of_process.is_empty() {
            return after(of_process, person.task.start, inherited_only);
        }
        let (mut child, mut hops) = (*person, 0);
        loop {
            let parent = people.0.get(&child.parent);
            let mut found = parent
                .map(|parent| self.entries_of(parent.task.pid, parent.process_start))
                .unwrap_or_default();
            if is_orphan(&child, parent) {
                found.extend(self.of_kin(&child));
            }
            if !found.is_empty() {
                return after(found, child.process_start, inherited_only);
            }
            hops += 1;
            match parent {
                Some(parent) if parent.task.pid != child.task.pid && hops < LONGEST_CHAIN => {
                    child = *parent;
                }
                _ => return Vec::new(),
            }
        }
    }

    /// Entries about this very process: the number may be another's now.
    fn entries_of(&self, pid: u32, start: u64) -> Vec<&'e Entry> {
        let entries = self.by_process.get(&pid).into_iter().flatten().copied();
        entries.filter(|entry| is_about(entry, start)).collect()
    }

    /// Entries of processes that stood where this orphan stands. Whether those still live does
    /// not matter: it may be the parent between that has died.
    fn of_kin(&self, orphan: &Person) -> Vec<&'e Entry> {
        let all = self.by_process.values().flatten().copied();
        let stands =
            |entry: &&Entry| (entry.kin.session, entry.kin.group) == (orphan.session, orphan.group);
        let mut kin: Vec<&Entry> = all.filter(stands).collect();
        kin.sort_by_key(|entry| entry.token);
        kin
    }
}

/// Whether a process was left by its parent: whoever has it now stands elsewhere. Leaders of a
/// session or group stand apart by their own choice.
fn is_orphan(child: &Person, parent: Option<&Person>) -> bool {
    let together = |parent: &Person| (parent.session, parent.group) == (child.session, child.group);
    child.group != child.task.pid
        && child.session != child.task.pid
        && !parent.is_some_and(together)
}

/// Whether an entry is about the process of its number that began at `start`. A leader begins
/// with its process; of another thread only the record's time is known.
fn is_about(entry: &Entry, start: u64) -> bool {
    match entry.operation.task {
        Some(task) if task.tid == 0 || task.tid == task.pid => task.start == start,
        _ => start <= entry.since + ROUNDING,
    }
}

fn after(entries: Vec<&Entry>, born: u64, inherited_only: bool) -> Vec<&Entry> {
    let inherits = |entry: &&Entry| !inherited_only || born + ROUNDING >= entry.gives_since();
    entries.into_iter().filter(inherits).collect()
}

#[cfg(test)]
mod tests {
    use super::{Family, People};
    use crate::journal::Kin;
    use crate::restore::world::Person;
    use crate::{Entry, Kind, Operation, Task, Why};

    fn entry(token: u64, pid: u32, tid: u32, since: u64) -> Entry {
        let operation = Operation {
            kind: Kind::Nice,
            task: Some(Task { pid, tid, start: 1 }),
            locator: String::new(),
            before: "0".to_owned(),
            after: "19".to_owned(),
        };
        let kin = Kin { session: 5, group: 6, autogroup: None };
        Entry {
            token,
            operation,
            why: Why::default(),
            since,
            born_ours: None,
            kin,
            left: vec!["19".to_owned()],
            in_doubt: vec![],
        }
    }
    fn person(pid: u32, start: u64, parent: u32, session: u32, group: u32) -> Person {
        Person { task: Task { pid, tid: pid, start }, process_start: start, parent, session, group }
    }
    fn tokens(entries: &[Entry], census: &[Person], of: Person) -> Vec<u64> {
        let family = Family::of(entries.iter());
        family.nearest(&of, &People::of(census), true).iter().map(|entry| entry.token).collect()
    }

    #[test]
    fn a_grandchild_has_it_from_the_nearest_journalled_ancestor() {
        let entries = [entry(1, 10, 0, 100), entry(2, 20, 0, 100)];
        let census = [
            person(1, 0, 0, 1, 1),
            person(10, 1, 1, 5, 6),
            person(20, 1, 10, 5, 6),
            person(30, 200, 20, 5, 6),
            person(40, 300, 30, 5, 6),
        ];
        assert_eq!(tokens(&entries, &census, census[4]), [2]);
    }

    #[test]
    fn who_was_born_before_the_change_has_not_inherited_nor_have_their_children() {
        let entries = [entry(1, 10, 0, 100)];
        let census = [person(10, 1, 1, 5, 6), person(20, 50, 10, 5, 6), person(30, 200, 20, 5, 6)];
        assert!(tokens(&entries, &census, census[1]).is_empty());
        assert!(tokens(&entries, &census, census[2]).is_empty());
    }

    #[test]
    fn an_orphan_is_recognised_by_session_and_group_and_others_are_not() {
        let entries = [entry(1, 10, 0, 100)];
        let orphan = person(30, 200, 1, 5, 6);
        let other_group = person(31, 200, 1, 5, 7);
        let leader = person(5, 200, 1, 5, 6);
        let census = [person(1, 0, 0, 1, 1), orphan, other_group, leader];
        assert_eq!(tokens(&entries, &census, orphan), [1]);
        assert!(tokens(&entries, &census, other_group).is_empty());
        assert!(tokens(&entries, &census, leader).is_empty());
    }

    #[test]
    fn a_sibling_of_a_dead_target_with_a_living_parent_is_no_orphan() {
        let entries = [entry(1, 10, 0, 100)];
        let census = [person(9, 0, 1, 5, 6), person(30, 200, 9, 5, 6)];
        assert!(tokens(&entries, &census, census[1]).is_empty());
    }

    #[test]
    fn a_process_that_took_over_the_number_is_nobodys_ancestor() {
        let entries = [entry(1, 10, 0, 100)];
        let census = [person(10, 150, 1, 9, 9), person(30, 200, 10, 9, 9)];
        assert!(tokens(&entries, &census, census[1]).is_empty());
    }

    #[test]
    fn a_thread_has_it_from_its_own_process_the_leader_first() {
        let entries = [entry(1, 10, 12, 100), entry(2, 10, 10, 100)];
        let census = [person(10, 1, 1, 5, 6)];
        let born = Person { task: Task { pid: 10, tid: 15, start: 200 }, ..census[0] };
        assert_eq!(tokens(&entries, &census, born), [2, 1]);
        let old = Person { task: Task { pid: 10, tid: 15, start: 50 }, ..census[0] };
        assert!(tokens(&entries, &census, old).is_empty());
    }
}
