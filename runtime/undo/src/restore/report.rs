//! What became of each change when it was to be put back, item by item.

use crate::Operation;
use serde::{Deserialize, Serialize};

/// What became of one knob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// It is as it was found.
    Restored,
    /// It already was.
    Unchanged,
    /// The task, file or context does not exist any more.
    Gone,
    /// Somebody else changed it after us. Theirs stays.
    Foreign {
        /// What is there.
        found: String,
    },
    /// The cgroup it came from does not exist any more; it is in the nearest one above that.
    Moved {
        /// Where it is now.
        to: String,
    },
    /// It was a file of a context of ours, and went with it.
    Dropped,
    /// What was written cannot be taken back, and was allowed as such.
    Irreversible,
    /// It is still changed.
    Failed {
        /// Why.
        error: String,
    },
}

/// One knob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// What had been changed: `before` is what was there first, `after` what was asked for last.
    pub operation: Operation,
    /// Number of its first journal record.
    pub token: u64,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What became of all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// One for each knob.
    pub items: Vec<Item>,
    /// Tasks that were born with our values, or into our contexts, and got their ancestor's.
    #[serde(default)]
    pub descendants: u64,
    /// Journal lines that could not be used; what they held may still be changed.
    #[serde(default)]
    pub unreadable: u64,
    /// Anything else worth telling, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Report {
    /// Nothing is left changed that could have been put back.
    pub fn is_clean(&self) -> bool {
        self.unreadable == 0 && self.failures().next().is_none()
    }

    /// The knobs that are still changed.
    pub fn failures(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| matches!(item.outcome, Outcome::Failed { .. }))
    }
}
