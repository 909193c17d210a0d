//! The knobs of one context, in the order that makes them possible.
//!
//! The order is fixed, whatever the order of the settings: a cpuset gets its CPUs first, then
//! come the limits, then frozen tasks are let go, members put in, and last it is frozen or
//! killed. Undo in reverse then never has a member in a half-made context. Each knob is refused
//! on its own, and none hides another.

use crate::draft::Draft;
use crate::group::Group;
use crate::members::{self, Rules};
use crate::mounts::Space;
use crate::place::Places;
use crate::version::{Asked, Version};
use crate::{pids, unified};
use outrigger_sdk::{Capability, Error, Setting, TaskId};
use std::collections::HashSet;

/// Text of a members setting: we launched these tasks, so they may come from anywhere.
const LAUNCHED: &str = "launched";

/// What bounds the reach of a desired state.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Bases of the hierarchies.
    pub places: &'a Places,
    /// Names of our contexts, if the subject is one of them.
    pub ours: Option<&'a HashSet<String>>,
}

/// The cgroup directories of one context, one per hierarchy it spans.
#[derive(Debug, Default)]
pub struct Groups(pub Vec<Group>);

impl Groups {
    /// The directory in a hierarchy.
    pub fn get(&self, space: Space) -> Option<&Group> {
        self.0.iter().find(|group| group.hierarchy.space == space)
    }
}

/// Whether a setting asks for no more than what a task has outside any context, so that no
/// directory need be made for it.
pub fn asks_nothing(setting: &Setting) -> bool {
    match setting.knob {
        Capability::MEMORY_LIMIT
        | Capability::MEMORY_HIGH
        | Capability::PIDS_LIMIT
        | Capability::IO_READ_LIMIT
        | Capability::IO_WRITE_LIMIT => setting.value == -1,
        Capability::CPUSET => setting.text.is_empty(),
        _ => false,
    }
}

/// Turns the knobs of a context in their fixed order.
pub fn prepare<V: Version>(
    settings: &[Setting],
    groups: &Groups,
    scope: Scope<'_>,
    draft: &mut Draft,
) {
    for setting in settings {
        refuse_unreachable::<V>(setting, groups, scope.places, draft);
    }
    let barred = V::enable(Asked(settings), groups, scope.ours.is_some(), draft);
    let settings: Vec<Setting> =
        settings.iter().filter(|setting| !barred.contains(&setting.knob)).cloned().collect();
    let (settings, asked) = (&settings[..], Asked(&settings));
    let value = |knob| asked.value(knob);
    V::turn(asked, groups, draft);
    let pids = V::space_of(Capability::PIDS_LIMIT).and_then(|space| groups.get(space));
    if let (Some(count), Some(group)) = (value(Capability::PIDS_LIMIT), pids) {
        draft.attempt(Capability::PIDS_LIMIT, |draft| pids::prepare(group, count, draft));
    }
    let freeze = |wanted: fn(i64) -> bool, draft: &mut Draft| {
        if let (Some(value), Some(group)) =
            (value(Capability::FREEZE).filter(|value| wanted(*value)), groups.get(Space::Unified))
        {
            draft.attempt(Capability::FREEZE, |draft| unified::freeze(group, value, draft));
        }
    };
    freeze(|value| value == 0, draft);
    if let Some(ours) = scope.ours {
        put_members::<V>(
            settings,
            groups,
            Rules { places: scope.places, ours, launched: false },
            draft,
        );
    }
    freeze(|value| value != 0, draft);
    if let (Some(value), Some(group)) = (value(Capability::KILL), groups.get(Space::Unified)) {
        draft.attempt(Capability::KILL, |draft| {
            unified::kill(group, scope.ours.is_some(), value, draft)
        });
    }
}

/// A knob whose hierarchy the context does not reach is refused with why; one that is no knob
/// of a context too.
fn refuse_unreachable<V: Version>(
    setting: &Setting,
    groups: &Groups,
    places: &Places,
    draft: &mut Draft,
) {
    if matches!(setting.knob, Capability::CONTEXT | Capability::MEMBERS) || asks_nothing(setting) {
        return;
    }
    let Some(space) = V::space_of(setting.knob) else {
        let message = V::why_no_knob(setting.knob);
        draft.refuse(setting.knob, Error::not_supported("configure", message));
        return;
    };
    if groups.get(space).is_none() {
        let error = places.open(space).err();
        let error = error.unwrap_or_else(|| crate::place::not_mounted(space));
        draft.refuse(setting.knob, error);
    }
}

/// Puts the tasks that are asked for into every hierarchy of the context; and those that are in
/// its CPU cgroup already into the ones that come later.
fn put_members<V: Version>(
    settings: &[Setting],
    groups: &Groups,
    rules: Rules<'_>,
    draft: &mut Draft,
) {
    let asked = settings.iter().filter(|setting| setting.knob == Capability::MEMBERS);
    let every: Vec<&Group> = groups.0.iter().collect();
    let mut named: HashSet<TaskId> = HashSet::new();
    for setting in asked {
        let rules = Rules { launched: setting.text == LAUNCHED, ..rules };
        named.extend(setting.tasks.iter().copied());
        members::prepare::<V>(&setting.tasks, &every, rules, draft);
    }
    let Some(cpu) = groups.get(V::CPU).filter(|group| group.exists) else { return };
    let later: Vec<&Group> =
        groups.0.iter().filter(|group| !group.exists && group.path == cpu.path).collect();
    if later.is_empty() {
        return;
    }
    let mut present = members::present(cpu);
    present.retain(|task| !named.contains(task));
    members::prepare::<V>(&present, &later, rules, draft);
}
