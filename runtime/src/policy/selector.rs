//! Which processes a workload is made of.

use serde::{Deserialize, Serialize};

/// Every key that is present must match; a list matches if one of its items does. Texts are
/// globs (`*`, `?`, `[...]`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Selector {
    /// Path of the executable.
    #[serde(skip_serializing_if = "Vec::is_empty", with = "one_or_many")]
    pub exe: Vec<String>,
    /// Kernel's short name.
    #[serde(skip_serializing_if = "Vec::is_empty", with = "one_or_many")]
    pub name: Vec<String>,
    /// Whole command line, arguments joined by blanks.
    #[serde(skip_serializing_if = "Vec::is_empty", with = "one_or_many")]
    pub command: Vec<String>,
    /// Name of one of its threads.
    #[serde(skip_serializing_if = "Vec::is_empty", with = "one_or_many")]
    pub thread: Vec<String>,
    /// Effective user number.
    #[serde(skip_serializing_if = "Vec::is_empty", with = "one_or_many")]
    pub uid: Vec<u32>,
    /// Path of its cgroup in any hierarchy.
    #[serde(skip_serializing_if = "Vec::is_empty", with = "one_or_many")]
    pub cgroup: Vec<String>,
    /// Short name or executable of its parent.
    #[serde(skip_serializing_if = "Vec::is_empty", with = "one_or_many")]
    pub parent: Vec<String>,
    /// Short name or executable of any ancestor, or an ancestor's process number.
    #[serde(skip_serializing_if = "Vec::is_empty", with = "one_or_many")]
    pub descendant_of: Vec<String>,
    /// Process number (for `run` and `attach`); together with `start` where that is known.
    #[serde(skip_serializing_if = "Vec::is_empty", with = "one_or_many")]
    pub pid: Vec<u32>,
    /// Processes that are not meant although all of the above matches. Only the command line makes
    /// these: in a file the order of the workloads says the same.
    #[serde(skip)]
    pub except: Vec<Selector>,
}

/// `name = "x"` is `name = ["x"]`.
mod one_or_many {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany<T> {
        One(T),
        Many(Vec<T>),
    }

    pub fn serialize<T: Serialize, S: Serializer>(
        items: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        items.serialize(serializer)
    }

    pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        Ok(match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(item) => vec![item],
            OneOrMany::Many(items) => items,
        })
    }
}
