//! What the records add up to: the knobs that are not as they were found. Pure.

use super::Record;
use super::entry::{Entry, Key, key};
use crate::Kind;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Outstanding entries by the number of their first record.
#[derive(Debug, Default)]
pub(crate) struct Book {
    entries: BTreeMap<u64, Entry>,
    by_key: HashMap<Key, u64>,
    /// Which entry an unanswered record belongs to.
    by_token: HashMap<u64, u64>,
    last_token: u64,
    /// Values that were asked for or left since the book was last empty: what a newborn may have
    /// inherited.
    given: HashSet<(Kind, String)>,
}

impl Book {
    pub(crate) fn next_token(&self) -> u64 {
        self.last_token + 1
    }

    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn find(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(self.by_key.get(key)?)
    }

    /// Whether any task ever had this value from us. Quick, and sometimes wrongly yes.
    pub(crate) fn may_have_given(&self, kind: Kind, value: &str) -> bool {
        // Most values are short; a borrowed key would need a type of its own.
        !self.entries.is_empty() && self.given.contains(&(kind, value.to_owned()))
    }

    /// The entry an unanswered record belongs to.
    pub(crate) fn of_token(&self, token: u64) -> Option<&Entry> {
        self.entries.get(self.by_token.get(&token)?)
    }

    /// Takes one record in. Records about what is not there are of no consequence: the same
    /// journal must read well after any number of lines were lost.
    pub(crate) fn apply(&mut self, record: Record) {
        match record {
            Record::Owner { .. } | Record::Failed { .. } | Record::Unknown => {}
            Record::Will { token, mut operation, why, at, kin, born_with } => {
                self.last_token = self.last_token.max(token);
                self.given.insert((operation.kind, operation.after.clone()));
                let known = self.by_key.get(&key(&operation, &kin)).copied();
                if let Some(entry) = known.and_then(|known| self.entries.get_mut(&known)) {
                    entry.announce(token, &operation, why);
                    self.by_token.insert(token, entry.token);
                } else {
                    let in_doubt = vec![(token, operation.after.clone())];
                    let mut left = Vec::new();
                    let born_ours = born_with.as_ref().map(|born_with| born_with.since);
                    if let Some(born_with) = born_with {
                        left.push(std::mem::replace(&mut operation.before, born_with.origin));
                    }
                    self.insert(Entry {
                        token,
                        operation,
                        why,
                        since: at,
                        born_ours,
                        kin,
                        left,
                        in_doubt,
                    });
                }
            }
            Record::Did { token, value } => {
                let entry = self.by_token.remove(&token).unwrap_or(token);
                if let Some(entry) = self.entries.get_mut(&entry) {
                    self.given.insert((entry.operation.kind, value.clone()));
                    entry.settle(token, &value);
                }
            }
            Record::Closed { token } => {
                if let Some(entry) = self.entries.remove(&token) {
                    self.by_key.remove(&entry.key());
                    for (token, _) in entry.in_doubt {
                        self.by_token.remove(&token);
                    }
                }
                if self.entries.is_empty() {
                    self.given.clear();
                }
            }
            Record::Kept { entry } => self.insert(entry),
        }
    }

    fn insert(&mut self, entry: Entry) {
        let values = entry.left.iter().chain(entry.in_doubt.iter().map(|(_, asked)| asked));
        self.given.extend(values.map(|value| (entry.operation.kind, value.clone())));
        let tokens = entry.in_doubt.iter().map(|(token, _)| *token);
        self.last_token = tokens.clone().chain([self.last_token, entry.token]).max().unwrap_or(0);
        self.by_token.extend(tokens.map(|token| (token, entry.token)));
        self.by_key.insert(entry.key(), entry.token);
        self.entries.insert(entry.token, entry);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Inheritance;
    use super::{Book, Record};
    use crate::{Kind, Operation, Task, Why};

    fn will(token: u64, before: &str, after: &str) -> Record {
        let operation = Operation {
            kind: Kind::File,
            task: None,
            locator: "/x/cpu.shares".to_owned(),
            before: before.to_owned(),
            after: after.to_owned(),
        };
        Record::Will {
            token,
            operation,
            why: Why::default(),
            at: token,
            kin: Default::default(),
            born_with: None,
        }
    }
    fn did(token: u64, value: &str) -> Record {
        Record::Did { token, value: value.to_owned() }
    }
    fn book(records: impl IntoIterator<Item = Record>) -> Book {
        let mut book = Book::default();
        records.into_iter().for_each(|record| book.apply(record));
        book
    }

    #[test]
    fn one_knob_keeps_its_first_origin_and_its_last_value() {
        let book = book([will(1, "1024", "1"), did(1, "2"), will(2, "2", "10"), did(2, "10")]);
        let entry = book.entries().next().unwrap();
        assert_eq!(
            (entry.origin(), entry.ours(), entry.token, book.len()),
            ("1024", Some("10"), 1, 1)
        );
        assert!(entry.in_doubt.is_empty());
        assert_eq!(book.next_token(), 3);
    }

    #[test]
    fn a_value_somebody_else_set_in_between_becomes_the_origin() {
        let book = book([will(1, "1024", "10"), did(1, "10"), will(2, "700", "20"), did(2, "20")]);
        assert_eq!(book.entries().next().unwrap().origin(), "700");
    }

    #[test]
    fn an_unanswered_write_stays_in_doubt_until_its_answer() {
        let mut book = book([will(1, "1024", "10"), did(1, "10"), will(2, "10", "20")]);
        assert_eq!(book.entries().next().unwrap().in_doubt, [(2, "20".to_owned())]);
        assert_eq!(book.of_token(2).unwrap().token, 1);
        book.apply(did(2, "20"));
        assert!(book.entries().next().unwrap().in_doubt.is_empty());
    }

    #[test]
    fn what_is_closed_is_forgotten_and_may_begin_anew() {
        let book = book([
            will(1, "1024", "10"),
            did(1, "10"),
            Record::Closed { token: 1 },
            will(2, "5", "6"),
        ]);
        let entry = book.entries().next().unwrap();
        assert_eq!((entry.token, entry.origin(), book.len()), (2, "5", 1));
    }

    #[test]
    fn writing_anew_loses_nothing() {
        let old = book([will(1, "1024", "10"), did(1, "10"), will(2, "10", "20")]);
        let new = book(old.entries().map(|entry| Record::Kept { entry: entry.clone() }));
        assert!(old.entries().eq(new.entries()));
        assert_eq!(old.next_token(), new.next_token());
        assert_eq!(new.of_token(2).unwrap().token, 1);
    }

    #[test]
    fn a_newborn_has_its_ancestors_origin_and_what_it_was_born_with_is_ours() {
        let Record::Will { token, operation, why, at, kin, .. } = will(1, "10", "20") else {
            panic!()
        };
        let born_with = Some(Inheritance { origin: "1024".to_owned(), since: 0 });
        let book = book([Record::Will { token, operation, why, at, kin, born_with }]);
        let entry = book.entries().next().unwrap();
        assert_eq!((entry.origin(), entry.ours(), entry.gives_since()), ("1024", Some("10"), 0));
        assert!(book.may_have_given(Kind::File, "20") && !book.may_have_given(Kind::Nice, "20"));
    }

    #[test]
    fn processes_of_one_autogroup_share_one_entry() {
        let will = |token, pid: u32, before: &str| {
            let task = Some(Task { pid, tid: 0, start: 1 });
            let operation = Operation {
                kind: Kind::Autogroup,
                task,
                locator: String::new(),
                before: before.to_owned(),
                after: "19".to_owned(),
            };
            let kin = super::super::Kin {
                autogroup: Some("/autogroup-7".to_owned()),
                ..Default::default()
            };
            Record::Will { token, operation, why: Why::default(), at: 1, kin, born_with: None }
        };
        let book = book([will(1, 10, "0"), did(1, "19"), will(2, 11, "19"), did(2, "19")]);
        assert_eq!(book.len(), 1);
        assert_eq!(book.entries().next().unwrap().origin(), "0");
    }
}
