//! An independent look at everything Outrigger may change, to prove that it was put back.
//!
//! It shares no code with what makes the changes, nor with the journal: a mistake there must not
//! be able to hide here. It reads `/proc` and the cgroup file systems and never writes.

mod groups;
mod tasks;

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use groups::Groups;
pub use tasks::{TaskState, Tasks};

/// Beginning of the name of every cgroup that Outrigger creates.
const OURS: &str = "outrigger";

/// The property of a cgroup that is new, in a [`Difference`].
pub const EXISTENCE: &str = "existence";

/// The state of some processes, and of all cgroups, at one time.
///
/// It is not atomic: take it when nothing is being changed.
#[derive(Clone, Debug)]
pub struct Snapshot {
    tasks: Tasks,
    groups: Groups,
}

/// One thing that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is about: a thread, or a path below a cgroup mount.
    pub subject: String,
    /// Which of its properties.
    pub property: String,
    /// What was there first.
    pub before: String,
    /// What is there now.
    pub after: String,
}

// === impl Snapshot ===

impl Snapshot {
    /// Reads the threads of `pids` and of all their descendants, and all cgroups.
    ///
    /// Processes that are gone, and cgroup mounts that cannot be read, are not in it.
    pub fn take(pids: &[u32]) -> Self {
        Self { tasks: Tasks::read(pids), groups: Groups::read() }
    }

    /// The same without cgroups (and whatever is below them) whose name begins with one of
    /// `prefixes`: on a machine where others are at work, theirs.
    #[must_use]
    pub fn without_groups(mut self, prefixes: &[&str]) -> Self {
        let theirs = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        self.groups.keep(|path| !path.iter().filter_map(OsStr::to_str).any(theirs));
        self
    }

    /// The threads in it.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// What is different in `later`; empty if everything was put back.
    ///
    /// - Threads that are in both: every property.
    /// - Threads born in between: against their nearest ancestor in this snapshot, whose state
    ///   they inherited. Gone ones cannot have anything put back.
    /// - Cgroups that are in both: every file Outrigger may write.
    /// - Cgroups that are new and named like Outrigger's. Other people's come and go.
    pub fn differences(&self, later: &Self) -> Vec<Difference> {
        let mut found = self.tasks.differences(&later.tasks);
        found.extend(self.groups.differences(&later.groups));
        found
    }

    /// Whether a difference can be due to somebody who governs the threads of this snapshot: it is
    /// about a thread, or about a cgroup that one of them is in or below. Whatever holds one group
    /// back in favour of another is a file of one of the two or of their ancestors.
    pub fn concerns(&self, difference: &Difference) -> bool {
        let mut names = self.groups.names(Path::new(&difference.subject)).peekable();
        let inside = |name: &PathBuf| self.tasks.groups().any(|g| Path::new(g).starts_with(name));
        names.peek().is_none() || names.any(|name| inside(&name))
    }
}

// === impl Difference ===

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, property, before, after } = self;
        write!(f, "{subject}: {property} was {before:?}, is {after:?}")
    }
}

#[cfg(test)]
mod tests;
