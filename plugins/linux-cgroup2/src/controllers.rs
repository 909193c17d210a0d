//! Which controllers a group has: `cgroup.subtree_control` of every group above it.
//!
//! A group has the files of a controller only if its parent hands the controller down, and the
//! parent can do that only if it has the controller itself. So a chain of groups, from the root
//! of what is mounted to the parent, is gone through from above. Each change is journalled like
//! any other. A group other than the root that holds processes cannot hand anything down
//! (Documentation/admin-guide/cgroup-v2.rst, "No Internal Process Constraint").

use outrigger_cgroup::draft::Draft;
use outrigger_cgroup::group::Group;
use outrigger_cgroup::place::OUR_PREFIX;
use outrigger_cgroup::version::Asked;
use outrigger_sdk::undo::knob::identify;
use outrigger_sdk::{Capability, Error, ErrorCode, maker};

const HANDED_DOWN: &str = "cgroup.subtree_control";
const AVAILABLE: &str = "cgroup.controllers";
const TYPE: &str = "cgroup.type";

/// A file that a controller, and nothing else, brings along.
const MARKS: [(&str, &str); 5] = [
    ("cpu", "cpu.weight"),
    ("cpuset", "cpuset.cpus"),
    ("io", "io.stat"),
    ("memory", "memory.current"),
    ("pids", "pids.max"),
];

/// The controller a knob needs.
pub fn of(knob: Capability) -> Option<&'static str> {
    Some(match knob {
        Capability::CPU_WEIGHT
        | Capability::CPU_IDLE
        | Capability::CPU_LIMIT
        | Capability::CPU_BURST => "cpu",
        Capability::MEMORY_LIMIT | Capability::MEMORY_HIGH | Capability::MEMORY_LOW => "memory",
        Capability::PIDS_LIMIT => "pids",
        Capability::CPUSET => "cpuset",
        Capability::IO_READ_LIMIT | Capability::IO_WRITE_LIMIT | Capability::IO_WEIGHT => "io",
        _ => return None,
    })
}

/// The group as a controller sees it: one that does not have it yet starts afresh with it.
pub fn seen(group: &Group, controller: &str) -> Group {
    let mark = MARKS.iter().find(|(known, _)| *known == controller).map_or("", |(_, mark)| mark);
    let exists = group.exists && group.dir.join(mark).exists();
    Group { exists, ..group.clone() }
}

/// Prepares the controllers that settings need in a group. One of ours always gets `cpu`. Answers
/// the knobs that cannot be turned because their controller is not to be had; they are refused.
pub fn enable(asked: Asked<'_>, group: &Group, ours: bool, draft: &mut Draft) -> Vec<Capability> {
    let mut needed: Vec<(&str, Capability)> = Vec::new();
    if let Some(first) = asked.0.first().filter(|_| ours) {
        needed.push(("cpu", first.knob));
    }
    for setting in asked.0 {
        if let Some(controller) = of(setting.knob)
            && !needed.iter().any(|(known, _)| *known == controller)
        {
            needed.push((controller, setting.knob));
        }
    }
    needed.retain(|(controller, _)| !seen(group, controller).exists);
    let mut barred = Vec::new();
    for parent in above(group) {
        let nearest = group.parent().is_some_and(|nearest| nearest.path == parent.path);
        while let Err((controller, error)) = hand_down(&parent, &needed, ours && nearest, draft) {
            let knob = |(known, knob)| (known == controller).then_some(knob);
            let first = needed.iter().copied().find_map(knob);
            let others = asked.0.iter().map(|setting| setting.knob);
            let mut refused: Vec<Capability> = first
                .into_iter()
                .chain(others.filter(|knob| of(*knob) == Some(controller)))
                .collect();
            refused.dedup();
            refused.iter().for_each(|knob| draft.refuse(*knob, error.clone()));
            barred.extend(refused);
            needed.retain(|(known, _)| *known != controller);
        }
    }
    barred
}

/// The groups above, the topmost first.
fn above(group: &Group) -> Vec<Group> {
    let mut chain: Vec<Group> = std::iter::successors(group.parent(), Group::parent).collect();
    chain.reverse();
    chain
}

/// The error names the controller that is not to be had.
fn hand_down<'a>(
    parent: &Group,
    needed: &[(&'a str, Capability)],
    base: bool,
    draft: &mut Draft,
) -> Result<(), (&'a str, Error)> {
    let Some(&(first, knob)) = needed.first() else { return Ok(()) };
    let told = |error: Error| (first, error);
    let now = parent.read(HANDED_DOWN).map_err(told)?;
    let has = |text: &str, name: &str| text.split_whitespace().any(|one| one == name);
    let missing: Vec<&(&'a str, Capability)> =
        needed.iter().filter(|(name, _)| !has(&now, name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let tree = above(parent).into_iter().next().unwrap_or_else(|| parent.clone());
    let known = tree.read(AVAILABLE).map_err(told)?;
    for (name, _) in &missing {
        if !has(&known, name) {
            let message = format!(
                "the {name} controller is not available in {}; the kernel, its command line or \
                 whoever delegated the subtree withholds it",
                tree.path
            );
            return Err((*name, Error::not_supported("enable", message)));
        }
    }
    if !parent.is_root() && parent.read(TYPE).is_ok_and(|kind| kind == "domain") {
        let tasks = parent.read("cgroup.procs").map_err(told)?;
        match tasks.lines().count() {
            0 => {}
            _ if base => make_room(parent, &tasks, knob, draft).map_err(told)?,
            count => {
                let message = format!(
                    "{} holds {count} processes itself, and such a group cannot hand controllers \
                     to the ones below it",
                    parent.path
                );
                return Err((first, Error::new(ErrorCode::NOT_DELEGATED, "enable", message)));
            }
        }
    }
    // In the kernel's order, as it will be read back.
    let after: Vec<&str> = known
        .split_whitespace()
        .filter(|name| has(&now, name) || missing.iter().any(|(known, _)| known == name))
        .collect();
    draft.file(knob, parent, HANDED_DOWN, &now, &after.join(" "));
    Ok(())
}

/// Moves everybody who is directly in the base, which was delegated to us, into a leaf beside
/// our contexts: as a rule ourselves.
fn make_room(base: &Group, tasks: &str, knob: Capability, draft: &mut Draft) -> Result<(), Error> {
    let own = identify(std::process::id()).ok_or_else(|| {
        Error::not_supported("enable", "/proc does not show this process; mount it")
    })?;
    let leaf = format!("{}/{OUR_PREFIX}-{}-rest", base.path, maker::tag(own));
    let leaf = Group::at(&base.hierarchy, &leaf)?;
    if !leaf.exists {
        draft.context(knob, &leaf, true);
    }
    for pid in tasks.lines().filter_map(|line| line.trim().parse().ok()) {
        // Who is gone needs no room.
        if let Some(task) = identify(pid) {
            draft.member(knob, task, &leaf, &base.path);
        }
    }
    Ok(())
}
