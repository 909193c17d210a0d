//! Keys that must be there, all of those that are not at once: serde stops at the first.

use super::file::join;
use super::layers::first_origin;
use super::problem::Problem;
use config::{Map, Value, ValueKind};

/// A key of every entry of a section: its name, what it has to be, and what stands in for it while
/// the rest is looked at.
type Required = (&'static str, &'static str, fn() -> ValueKind);

const WORKLOAD: [Required; 2] = [
    ("name", "1 to 64 of `a` to `z`, `0` to `9` and `-`", || ValueKind::String(String::new())),
    ("match", "an array of selectors, such as [{ name = \"stress-ng*\" }]", || {
        ValueKind::Array(Vec::new())
    }),
];
const TIER: [Required; 2] = [
    ("share", "a whole number from 1 to 10000", || ValueKind::I64(100)),
    ("priority", "realtime, high, normal, low or idle", || ValueKind::String("normal".into())),
];
const LADDER: [Required; 2] = [
    ("rest", "the number of a tier", || ValueKind::I64(0)),
    ("floor", "the number of a tier", || ValueKind::I64(0)),
];

/// Complains about what is missing and nobody has complained about, and puts something in its place.
pub(super) fn complete(values: &mut Map<String, Value>, problems: &mut Vec<Problem>) {
    if let Some(ValueKind::Array(workloads)) = kind(values, "workload") {
        for (index, workload) in workloads.iter_mut().enumerate() {
            entry(workload, &format!("workload[{index}]"), &WORKLOAD, problems);
        }
    }
    for (section, required) in [("tiers", TIER), ("ladder", LADDER)] {
        if let Some(ValueKind::Table(entries)) = kind(values, section) {
            let mut entries: Vec<_> = entries.iter_mut().collect();
            entries.sort_by_key(|(name, _)| *name);
            for (name, value) in entries {
                entry(value, &join(section, name), &required, problems);
            }
        }
    }
}

fn kind<'a>(values: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut ValueKind> {
    values.get_mut(key).map(|value| &mut value.kind)
}

fn entry(value: &mut Value, path: &str, required: &[Required], problems: &mut Vec<Problem>) {
    let place = first_origin(value).unwrap_or("configuration").to_owned();
    let ValueKind::Table(keys) = &mut value.kind else { return };
    for (name, allowed, stand_in) in required {
        if keys.contains_key(*name) {
            continue;
        }
        keys.insert((*name).to_owned(), Value::new(Some(&place), stand_in()));
        let key = join(path, name);
        if !problems.iter().any(|problem| problem.key == key) {
            let (place, message) = (place.clone(), "is missing".to_owned());
            let allowed = Some((*allowed).to_owned());
            problems.push(Problem { place, key, message, allowed });
        }
    }
}
