//! Many knobs in few words: placing a program of eight processes turns two dozen of them. Pure.

use crate::flow::activity::KnobOutcome;
use std::collections::{BTreeMap, BTreeSet};

/// Knobs named one by one; more are counted.
const NAMED: usize = 3;

/// What was done: `cpu.shares of x 1024 -> 10, 6 processes moved from / to x, x made`.
pub(crate) fn done(outcomes: &[KnobOutcome]) -> String {
    let (failed, turned): (Vec<_>, Vec<_>) = outcomes.iter().partition(|o| o.error.is_some());
    let mut parts = named(turned.iter().filter(|o| !is_place(o)).map(|outcome| {
        let now = now(outcome);
        let mut change = format!("{} -> {now}", shown(&outcome.before));
        // The kernel normalises (shares of 1 become 2): then what was asked for is worth saying.
        if now != outcome.after && !outcome.after.is_empty() {
            change.push_str(&format!(" (asked for {})", outcome.after));
        }
        (file_or_name(outcome).to_owned(), outcome.target.clone(), change)
    }));
    for ((from, to), number) in moves(&turned) {
        parts.push(format!("{} moved from {from} to {to}", processes(number)));
    }
    for (name, made) in contexts(&turned) {
        parts.push(format!("context {name} {}", if made { "made" } else { "removed" }));
    }
    if let Some((first, rest)) = failed.split_first() {
        parts.push(failure(first));
        if !rest.is_empty() {
            parts.push(format!("{} more not turned", rest.len()));
        }
    }
    parts.join(", ")
}

/// What would be put back: `cpu.shares of x to 1024, 6 processes to /`. Contexts of ours go
/// without being mentioned where something else is.
pub(crate) fn origins(outcomes: &[KnobOutcome]) -> String {
    let turned: Vec<&KnobOutcome> = outcomes.iter().filter(|o| o.error.is_none()).collect();
    let mut parts = named(turned.iter().filter(|o| !is_place(o)).map(|outcome| {
        let change = format!("to {}", shown(&outcome.before));
        (file_or_name(outcome).to_owned(), outcome.target.clone(), change)
    }));
    for ((from, _), number) in moves(&turned) {
        parts.push(format!("{} to {from}", processes(number)));
    }
    if parts.is_empty() {
        parts.extend(contexts(&turned).into_keys().map(|name| format!("context {name}")));
    }
    parts.join(", ")
}

/// Where a context is and who is in it, not the controllers it needed on the way.
fn is_place(outcome: &KnobOutcome) -> bool {
    matches!(outcome.knob.as_str(), "context" | "context.members")
        && control_file(outcome).is_none()
}

fn now(outcome: &KnobOutcome) -> &str {
    outcome.read_back.as_deref().unwrap_or(&outcome.after)
}

fn shown(value: &str) -> &str {
    if value.is_empty() { "nothing" } else { value }
}

/// The control file, which people can look at, or the capability's name.
fn file_or_name(outcome: &KnobOutcome) -> &str {
    control_file(outcome).unwrap_or(&outcome.knob)
}

fn control_file(outcome: &KnobOutcome) -> Option<&str> {
    let (directory, file) = outcome.locator.rsplit_once('/')?;
    // A context may have a dot in its name, but no control file has its directory's.
    let known = file.contains('.') && outcome.after != "present" && outcome.after != "absent";
    (known && directory.starts_with('/')).then_some(file)
}

/// Equal changes of one knob on many targets are one part: every thread of a process, usually.
fn named(changes: impl Iterator<Item = (String, String, String)>) -> Vec<String> {
    let mut groups: Vec<(String, String, Vec<String>)> = Vec::new();
    for (knob, target, change) in changes {
        match groups.iter_mut().find(|(k, c, _)| *k == knob && *c == change) {
            Some((_, _, targets)) => targets.push(target),
            None => groups.push((knob, change, vec![target])),
        }
    }
    let mut parts: Vec<String> = groups
        .iter()
        .take(NAMED)
        .map(|(knob, change, targets)| match targets.as_slice() {
            [first, rest @ ..] if !rest.is_empty() => {
                format!("{knob} of {first} and {} more {change}", rest.len())
            }
            targets => format!("{knob} of {} {change}", targets.concat()),
        })
        .collect();
    if groups.len() > NAMED {
        parts.push(format!("{} more knobs", groups.len() - NAMED));
    }
    parts
}

/// How many processes went from where to where. One in several hierarchies is one process.
fn moves<'a>(outcomes: &[&'a KnobOutcome]) -> BTreeMap<(&'a str, &'a str), usize> {
    let mut who: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for outcome in outcomes.iter().filter(|outcome| outcome.knob == "context.members") {
        let process = outcome.target.rsplit("process ").next().unwrap_or_default();
        who.entry((outcome.before.as_str(), now(outcome))).or_default().insert(process);
    }
    who.into_iter().map(|(places, processes)| (places, processes.len())).collect()
}

fn processes(number: usize) -> String {
    if number == 1 { "1 process".to_owned() } else { format!("{number} processes") }
}

/// Contexts that were made (`true`) or removed, once however many hierarchies they are in.
fn contexts<'a>(outcomes: &[&'a KnobOutcome]) -> BTreeMap<&'a str, bool> {
    let contexts = outcomes.iter().filter(|outcome| outcome.knob == "context" && is_place(outcome));
    contexts.map(|outcome| (outcome.target.as_str(), now(outcome) == "present")).collect()
}

fn failure(outcome: &KnobOutcome) -> String {
    let head = format!("{} of {} not turned", file_or_name(outcome), outcome.target);
    match &outcome.error {
        Some(error) => format!("{head}: {} ({})", error.message, error.code),
        None => head,
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::knob;
    use super::*;
    use crate::flow::activity::KnobFailure;

    fn outcome(name: &str, target: &str, locator: &str, before: &str, after: &str) -> KnobOutcome {
        KnobOutcome {
            knob: name.into(),
            target: target.into(),
            locator: locator.into(),
            before: before.into(),
            after: after.into(),
            read_back: Some(after.into()),
            ..knob()
        }
    }

    fn placed() -> Vec<KnobOutcome> {
        let mut all = Vec::new();
        for mount in ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"] {
            all.push(outcome("context", "ours", &format!("{mount}/ours"), "absent", "present"));
            for process in ["process 7", "process 8", "process 9"] {
                all.push(outcome("context.members", process, mount, "/", "/ours"));
            }
        }
        all.push(outcome("cpu.weight", "ours", "/sys/fs/cgroup/cpu/ours/cpu.shares", "1024", "10"));
        all
    }

    #[test]
    fn placing_is_told_in_one_breath() {
        assert_eq!(
            done(&placed()),
            "cpu.shares of ours 1024 -> 10, 3 processes moved from / to /ours, context ours made"
        );
        assert_eq!(origins(&placed()), "cpu.shares of ours to 1024, 3 processes to /");
        assert_eq!(origins(&placed()[..1]), "context ours");
    }

    #[test]
    fn controllers_on_the_way_are_told_as_files() {
        let tree = "/sys/fs/cgroup";
        let mut v2 =
            vec![outcome("context", "ours.x", &format!("{tree}/ours.x"), "absent", "present")];
        let file = format!("{tree}/cgroup.subtree_control");
        v2.push(outcome("context", tree, &file, "memory", "cpu memory"));
        assert_eq!(
            done(&v2),
            "cgroup.subtree_control of /sys/fs/cgroup memory -> cpu memory, context ours.x made"
        );
    }

    #[test]
    fn threads_are_counted() {
        let threads: Vec<_> = (1..=5)
            .map(|tid| {
                let target = format!("thread {tid} of process 1");
                outcome("sched.class", &target, "", "other", "idle")
            })
            .collect();
        assert_eq!(done(&threads), "sched.class of thread 1 of process 1 and 4 more other -> idle");
    }

    #[test]
    fn many_different_knobs_are_counted() {
        let knobs: Vec<_> =
            (1..=5).map(|n| outcome(&format!("k{n}"), "process 1", "", "0", "1")).collect();
        assert!(done(&knobs).ends_with("k3 of process 1 0 -> 1, 2 more knobs"), "{}", done(&knobs));
    }

    #[test]
    fn what_was_not_turned_says_why_and_what_the_kernel_made_of_a_value_is_told() {
        let mut refused = knob();
        refused.error = Some(KnobFailure {
            code: "os_refused".into(),
            message: "write: EINVAL".into(),
            os_code: 22,
        });
        assert!(done(&[refused]).ends_with("not turned: write: EINVAL (os_refused)"));
        let mut normalised = knob();
        normalised.read_back = Some("2".into());
        normalised.after = "1".into();
        assert!(done(&[normalised]).ends_with("1024 -> 2 (asked for 1)"));
    }
}
