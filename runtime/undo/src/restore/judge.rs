//! Whose value is it, and in which order are ours put back. Pure.

use crate::{Entry, Kind};
use std::cmp::Reverse;
use std::path::Path;

/// What to do about a knob whose present value is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is ours: put the origin back.
    Restore,
    /// It is as it was found.
    Unchanged,
    /// It is somebody else's.
    Foreign,
}

pub(super) fn judge(entry: &Entry, current: &str) -> Verdict {
    let asked = |value: &str| entry.in_doubt.iter().any(|(_, asked)| asked == value);
    if current == entry.origin() {
        Verdict::Unchanged
    } else if entry.ours() == Some(current) || asked(current) {
        Verdict::Restore
    } else if entry.kind_is_normalised() && !entry.in_doubt.is_empty() {
        // The writer died between its write and the answer, and the kernel may have made another
        // number of what was written. In that moment it is far more likely ours than foreign.
        Verdict::Restore
    } else {
        Verdict::Foreign
    }
}

impl Entry {
    fn kind_is_normalised(&self) -> bool {
        self.operation.kind == Kind::File
    }

    /// Whether a descendant with this value may have it from us.
    pub(super) fn may_have_given(&self, value: &str) -> bool {
        self.left
            .iter()
            .chain(self.in_doubt.iter().map(|(_, asked)| asked))
            .any(|ours| ours == value)
    }
}

/// Selected entries in the order of the work.
pub(super) struct Order<'e> {
    /// Knobs, newest first.
    pub(super) knobs: Vec<&'e Entry>,
    /// Contexts of ours to be removed, the innermost first.
    pub(super) contexts: Vec<&'e Entry>,
    /// Knobs of those contexts, which need no restoring if the context goes.
    pub(super) inside: Vec<&'e Entry>,
}

impl<'e> Order<'e> {
    pub(super) fn of(selected: impl Iterator<Item = &'e Entry>) -> Self {
        let (mut contexts, mut others): (Vec<_>, Vec<_>) =
            selected.partition(|entry| entry.operation.kind == Kind::Context);
        contexts.sort_by_key(|entry| {
            (
                Reverse(Path::new(&entry.operation.locator).components().count()),
                Reverse(entry.token),
            )
        });
        others.sort_by_key(|entry| Reverse(entry.token));
        let (inside, knobs) = others.into_iter().partition(|entry| {
            entry.operation.kind == Kind::File
                && contexts.iter().any(|context| is_in(entry, context))
        });
        Self { knobs, contexts, inside }
    }
}

/// Whether a file belongs to a context or to one within it.
pub(super) fn is_in(file: &Entry, context: &Entry) -> bool {
    Path::new(&file.operation.locator).starts_with(&context.operation.locator)
}

/// Whether writing one of two knobs may change what the other reads as: files of one cgroup
/// (idle and weight, quota and burst).
pub(super) fn are_coupled(one: &Entry, other: &Entry) -> bool {
    let directory = |entry: &Entry| match entry.operation.kind {
        Kind::File => Path::new(&entry.operation.locator).parent().map(Path::to_owned),
        _ => None,
    };
    directory(one).is_some() && directory(one) == directory(other)
}

/// The paths from a cgroup to the root of its hierarchy, itself first.
pub(super) fn upwards(path: &str) -> impl Iterator<Item = &str> {
    Path::new(path).ancestors().filter_map(Path::to_str)
}

#[cfg(test)]
mod tests {
    use super::{Order, Verdict, are_coupled, judge, upwards};
    use crate::journal::Kin;
    use crate::{Entry, Kind, Operation, Why};

    fn entry(token: u64, kind: Kind, locator: &str, left: &[&str], in_doubt: &[&str]) -> Entry {
        Entry {
            token,
            operation: Operation {
                kind,
                task: None,
                locator: locator.to_owned(),
                before: "origin".to_owned(),
                after: "asked".to_owned(),
            },
            why: Why::default(),
            since: 0,
            born_ours: None,
            kin: Kin::default(),
            left: left.iter().map(|value| (*value).to_owned()).collect(),
            in_doubt: in_doubt.iter().map(|value| (9, (*value).to_owned())).collect(),
        }
    }

    #[test]
    fn only_what_we_left_is_ours() {
        let settled = entry(1, Kind::File, "/c/x", &["old", "ours"], &[]);
        assert_eq!(judge(&settled, "ours"), Verdict::Restore);
        assert_eq!(judge(&settled, "origin"), Verdict::Unchanged);
        assert_eq!(judge(&settled, "theirs"), Verdict::Foreign);
        assert_eq!(judge(&settled, "old"), Verdict::Foreign);
    }

    #[test]
    fn in_doubt_a_file_may_hold_what_the_kernel_made_of_it_but_a_nice_value_not() {
        assert_eq!(judge(&entry(1, Kind::File, "/c/x", &[], &["1"]), "2"), Verdict::Restore);
        assert_eq!(judge(&entry(1, Kind::Nice, "", &["5"], &["19"]), "19"), Verdict::Restore);
        assert_eq!(judge(&entry(1, Kind::Nice, "", &["5"], &["19"]), "5"), Verdict::Restore);
        assert_eq!(judge(&entry(1, Kind::Nice, "", &["5"], &["19"]), "7"), Verdict::Foreign);
    }

    #[test]
    fn newest_first_inner_contexts_first_and_their_files_last() {
        let entries = [
            entry(1, Kind::Context, "/c/a", &["present"], &[]),
            entry(2, Kind::Context, "/c/a/b", &["present"], &[]),
            entry(3, Kind::File, "/c/a/b/cpu.shares", &["2"], &[]),
            entry(4, Kind::File, "/c/ab/cpu.shares", &["2"], &[]),
            entry(5, Kind::Nice, "", &["19"], &[]),
        ];
        let order = Order::of(entries.iter());
        let tokens = |list: &[&Entry]| list.iter().map(|entry| entry.token).collect::<Vec<_>>();
        assert_eq!(tokens(&order.knobs), [5, 4]);
        assert_eq!(tokens(&order.contexts), [2, 1]);
        assert_eq!(tokens(&order.inside), [3]);
    }

    #[test]
    fn only_files_of_one_cgroup_are_coupled() {
        let one = entry(1, Kind::File, "/c/a/cpu.shares", &[], &[]);
        assert!(are_coupled(&one, &entry(2, Kind::File, "/c/a/cpu.idle", &[], &[])));
        assert!(!are_coupled(&one, &entry(2, Kind::File, "/c/b/cpu.idle", &[], &[])));
        let nice = entry(3, Kind::Nice, "", &[], &[]);
        assert!(!are_coupled(&nice, &nice));
    }

    #[test]
    fn the_way_up_ends_at_the_root() {
        assert_eq!(upwards("/a/b").collect::<Vec<_>>(), ["/a/b", "/a", "/"]);
    }
}
