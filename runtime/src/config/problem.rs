//! What is wrong with a configuration, all of it at once.

use serde::Serialize;

/// One thing that is wrong: where, what was given, what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// `FILE:LINE:COLUMN`, `environment NAME` or `command line --option`.
    pub place: String,
    /// Dotted path of the key, such as `timing.tick` or `workload[0].match[1].name`; empty if
    /// the file as a whole is meant.
    pub key: String,
    /// What is wrong, with what was given.
    pub message: String,
    /// What is allowed, if that can be said in a few words.
    pub allowed: Option<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.allowed {
            Some(allowed) => write!(f, "; allowed: {allowed}"),
            None => Ok(()),
        }
    }
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", self.lines())]
pub struct ConfigError {
    /// Everything found, in the order of the sources.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// A single problem.
    pub fn one(place: impl Into<String>, key: &str, message: impl Into<String>) -> Self {
        let (place, message) = (place.into(), message.into());
        Self { problems: vec![Problem { place, key: key.into(), message, allowed: None }] }
    }

    fn lines(&self) -> String {
        self.problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
    }
}

/// The candidate most like `given`, if one is like it at all: a slip of the keyboard away.
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let bound = (given.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|candidate| (distance(given, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= bound && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one into the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1; b.len() + 1];
        for j in 0..b.len() {
            let replaced = last[j] + usize::from(a[i] != b[j]);
            row[j + 1] = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                row[j + 1] = row[j + 1].min(before_last[j - 1] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised() {
        let keys = ["tick", "dwell", "cool_down", "flap_budget"];
        assert_eq!(nearest("tik", keys), Some("tick"));
        assert_eq!(nearest("dwlel", keys), Some("dwell"));
        assert_eq!(nearest("cooldown", keys), Some("cool_down"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("x", keys), None);
    }

    #[test]
    fn a_problem_names_place_given_and_allowed() {
        let problem = Problem {
            place: "a.toml:3:1".into(),
            key: "timing.tik".into(),
            message: "unknown key".into(),
            allowed: Some("tick, dwell".into()),
        };
        assert_eq!(
            problem.to_string(),
            "a.toml:3:1: timing.tik: unknown key; allowed: tick, dwell"
        );
    }
}
