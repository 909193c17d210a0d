//! Other programs that turn the same knobs: two hands on one knob help nobody.

use serde::Serialize;
use std::fs;

/// A running program that turns knobs of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rival {
    /// Its process.
    pub pid: u32,
    /// Its short name.
    pub name: String,
    /// What that means, as the rest of a sentence.
    pub effect: String,
}

/// Short names (at most 15 bytes, as the kernel cuts them) and what their owners do.
const KNOWN: &[(&str, &str)] = &[
    ("ananicy", "sets priorities by rules of its own: what it sets is left alone"),
    ("ananicy-cpp", "sets priorities by rules of its own: what it sets is left alone"),
    ("system76-schedu", "sets priorities and cgroups: what it sets is left alone"),
    ("gamemoded", "changes priorities while a game runs: what it sets is left alone"),
    ("uresourced", "gives weights to user sessions: the lever above a session is its own"),
    ("tuned", "sets scheduler parameters of the whole host"),
    ("cgrulesengd", "moves processes between cgroups: a placed process may be moved away"),
    ("koordlet", "governs the pods of this node: let one of the two do it"),
    ("katalyst-agent", "governs the pods of this node: let one of the two do it"),
    ("crane-agent", "governs the pods of this node: let one of the two do it"),
    ("earlyoom", "kills when memory runs out, which is no conflict"),
    ("nohang", "kills when memory runs out, which is no conflict"),
    ("oomd", "kills under memory pressure, which is no conflict"),
    ("systemd-oomd", "kills under memory pressure, which is no conflict"),
];

/// Those that run now.
pub fn rivals() -> Vec<Rival> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found: Vec<Rival> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            rival(pid, name.trim_end())
        })
        .collect();
    found.sort_by_key(|rival| rival.pid);
    found
}

fn rival(pid: u32, name: &str) -> Option<Rival> {
    let (name, effect) = KNOWN.iter().find(|(known, _)| *known == name)?;
    Some(Rival { pid, name: (*name).to_owned(), effect: (*effect).to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_what_the_kernel_keeps() {
        for (name, effect) in KNOWN {
            assert!(name.len() <= 15 && !effect.is_empty(), "{name}");
        }
    }

    #[test]
    fn only_known_names_are_rivals() {
        assert!(rival(1, "ananicy-cpp").is_some_and(|rival| rival.effect.contains("priorities")));
        assert_eq!(rival(1, "bash"), None);
    }
}
