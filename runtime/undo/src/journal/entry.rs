//! One outstanding change: everything needed to put it back.

use crate::{Kind, Operation, Task};
use serde::{Deserialize, Serialize};

/// Who decided a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// For which workload.
    pub workload: String,
    /// By which rule.
    pub rule: String,
    /// In which tick.
    pub tick: u64,
}

/// Where a task stood when it was journalled. Lets descendants be found after it is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kin {
    /// Its session.
    pub session: u32,
    /// Its process group.
    pub group: u32,
    /// Name of its autogroup, for changes of that: the knob is shared by a whole session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autogroup: Option<String>,
}

/// For a task that was born with a value its ancestor had from us: what its own would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inheritance {
    /// What to put back in the end.
    pub(crate) origin: String,
    /// Since when the ancestor had a value of ours.
    pub(crate) since: u64,
}

/// Two operations with equal keys turn the same knob.
pub(crate) type Key = (Kind, Option<Task>, String);

/// A knob that is not as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Number of the first record about this knob.
    pub token: u64,
    /// What, where, with the value that was there first as `before` and the last value asked for
    /// as `after`.
    pub operation: Operation,
    /// Who decided last.
    pub why: Why,
    /// Clock ticks since boot when the first record was written. What was born earlier has not
    /// inherited from us.
    pub since: u64,
    /// For a task born with our value: since when its ancestor had that. Its own children may
    /// have it although they are older than the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born_ours: Option<u64>,
    /// Where the task stood.
    #[serde(default)]
    pub kin: Kin,
    /// Values as read back after our writes, oldest first, none twice in a row.
    #[serde(default)]
    pub left: Vec<String>,
    /// Writes that were announced and not answered: record number and value asked for.
    #[serde(default)]
    pub in_doubt: Vec<(u64, String)>,
}

/// Read-back values that are remembered for each knob: more than a ladder has tiers.
const REMEMBERED: usize = 8;

impl Entry {
    /// The value that was there before anything was changed.
    pub fn origin(&self) -> &str {
        &self.operation.before
    }

    /// The value we left, as read back; `None` until the first write was answered.
    pub fn ours(&self) -> Option<&str> {
        self.left.last().map(String::as_str)
    }

    /// Since when children may have been born with a value of ours.
    pub(crate) fn gives_since(&self) -> u64 {
        self.born_ours.unwrap_or(self.since)
    }

    pub(crate) fn key(&self) -> Key {
        key(&self.operation, &self.kin)
    }

    /// A new write is announced. A value that is neither ours nor the origin was somebody's
    /// decision: what is put back in the end is that.
    pub(crate) fn announce(&mut self, token: u64, operation: &Operation, why: Why) {
        let expected = self.in_doubt.iter().any(|(_, value)| *value == operation.before)
            || self.left.contains(&operation.before)
            || self.operation.after == operation.before;
        if !expected && self.in_doubt.is_empty() {
            self.operation.before.clone_from(&operation.before);
        }
        self.operation.after.clone_from(&operation.after);
        self.why = why;
        self.in_doubt.push((token, operation.after.clone()));
    }

    /// An announced write was answered with the value read back.
    pub(crate) fn settle(&mut self, token: u64, value: &str) {
        self.in_doubt.retain(|(announced, _)| *announced != token);
        self.leave(value);
    }

    /// The value is now this one, by our doing.
    pub(crate) fn leave(&mut self, value: &str) {
        if self.ours() != Some(value) {
            self.left.push(value.to_owned());
        }
        if self.left.len() > REMEMBERED {
            self.left.remove(0);
        }
    }
}

/// An autogroup is one knob however many processes share it.
pub(crate) fn key(operation: &Operation, kin: &Kin) -> Key {
    match (operation.kind, &kin.autogroup) {
        (Kind::Autogroup, Some(name)) => (Kind::Autogroup, None, name.clone()),
        (kind, _) => (kind, operation.task, operation.locator.clone()),
    }
}
