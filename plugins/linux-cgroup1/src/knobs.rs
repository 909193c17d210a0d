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
use crate::{blkio, cpuset, memory, pids, quota, share, unified};
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

/// The hierarchy a knob acts in; `None` if it is no knob of a context.
pub fn space_of(knob: Capability) -> Option<Space> {
    Some(match knob {
        Capability::CPU_WEIGHT
        | Capability::CPU_IDLE
        | Capability::CPU_LIMIT
        | Capability::CPU_BURST => Space::Cpu,
        Capability::MEMORY_LIMIT => Space::Memory,
        Capability::PIDS_LIMIT => Space::Pids,
        Capability::CPUSET => Space::Cpuset,
        Capability::IO_READ_LIMIT | Capability::IO_WRITE_LIMIT => Space::Blkio,
        Capability::FREEZE | Capability::KILL => Space::Unified,
        _ => return None,
    })
}

/// Whether a setting asks for no more than what a task has outside any context, so that no
/// directory need be made for it.
pub fn asks_nothing(setting: &Setting) -> bool {
    match setting.knob {
        Capability::MEMORY_LIMIT
        | Capability::PIDS_LIMIT
        | Capability::IO_READ_LIMIT
        | Capability::IO_WRITE_LIMIT => setting.value == -1,
        Capability::CPUSET => setting.text.is_empty(),
        _ => false,
    }
}

/// Turns the knobs of a context in their fixed order.
pub fn prepare(settings: &[Setting], groups: &Groups, scope: Scope<'_>, draft: &mut Draft) {
    let last = |knob| settings.iter().rev().find(|setting| setting.knob == knob);
    let value = |knob| last(knob).map(|setting: &Setting| setting.value);
    for setting in settings {
        refuse_unreachable(setting, groups, scope.places, draft);
    }
    if let (Some(setting), Some(group)) = (last(Capability::CPUSET), groups.get(Space::Cpuset)) {
        draft.attempt(setting.knob, |draft| cpuset::prepare(group, &setting.text, draft));
    }
    if let Some(group) = groups.get(Space::Cpu) {
        let (weight, idle) = (value(Capability::CPU_WEIGHT), value(Capability::CPU_IDLE));
        if weight.is_some() || idle.is_some() {
            share::prepare(group, weight, idle, draft);
        }
        let (limit, burst) = (value(Capability::CPU_LIMIT), value(Capability::CPU_BURST));
        if limit.is_some() || burst.is_some() {
            quota::prepare(group, limit, burst, draft);
        }
    }
    if let (Some(bytes), Some(group)) = (value(Capability::MEMORY_LIMIT), groups.get(Space::Memory))
    {
        draft.attempt(Capability::MEMORY_LIMIT, |draft| memory::prepare(group, bytes, draft));
    }
    if let (Some(count), Some(group)) = (value(Capability::PIDS_LIMIT), groups.get(Space::Pids)) {
        draft.attempt(Capability::PIDS_LIMIT, |draft| pids::prepare(group, count, draft));
    }
    if let Some(group) = groups.get(Space::Blkio) {
        for knob in [Capability::IO_READ_LIMIT, Capability::IO_WRITE_LIMIT] {
            throttle(knob, settings, group, draft);
        }
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
        put_members(settings, groups, Rules { places: scope.places, ours, launched: false }, draft);
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
fn refuse_unreachable(setting: &Setting, groups: &Groups, places: &Places, draft: &mut Draft) {
    if matches!(setting.knob, Capability::CONTEXT | Capability::MEMBERS) || asks_nothing(setting) {
        return;
    }
    let Some(space) = space_of(setting.knob) else {
        let message = match setting.knob {
            Capability::MEMORY_HIGH | Capability::MEMORY_LOW => {
                "cgroup v1 has neither memory.high nor memory.low; memory.limit is there"
            }
            _ => "it is no knob of a v1 cgroup",
        };
        draft.refuse(setting.knob, Error::not_supported("configure", message));
        return;
    };
    if groups.get(space).is_none() {
        let error = places.open(space).err();
        let error = error.unwrap_or_else(|| crate::place::not_mounted(space));
        draft.refuse(setting.knob, error);
    }
}

fn throttle(knob: Capability, settings: &[Setting], group: &Group, draft: &mut Draft) {
    let mut content = None;
    for setting in settings.iter().filter(|setting| setting.knob == knob) {
        match blkio::merge(group, knob, &setting.text, setting.value, content.clone()) {
            Ok(merged) => content = Some(merged),
            Err(error) => draft.refuse(knob, error),
        }
    }
    if let Some(content) = content {
        draft.attempt(knob, |draft| blkio::prepare(group, knob, &content, draft));
    }
}

/// Puts the tasks that are asked for into every hierarchy of the context; and those that are in
/// its CPU cgroup already into the ones that come later.
fn put_members(settings: &[Setting], groups: &Groups, rules: Rules<'_>, draft: &mut Draft) {
    let asked = settings.iter().filter(|setting| setting.knob == Capability::MEMBERS);
    let every: Vec<&Group> = groups.0.iter().collect();
    let mut named: HashSet<TaskId> = HashSet::new();
    for setting in asked {
        let rules = Rules { launched: setting.text == LAUNCHED, ..rules };
        named.extend(setting.tasks.iter().copied());
        members::prepare(&setting.tasks, &every, rules, draft);
    }
    let Some(cpu) = groups.get(Space::Cpu).filter(|group| group.exists) else { return };
    let later: Vec<&Group> =
        groups.0.iter().filter(|group| !group.exists && group.path == cpu.path).collect();
    if later.is_empty() {
        return;
    }
    let mut present = members::present(cpu);
    present.retain(|task| !named.contains(task));
    members::prepare(&present, &later, rules, draft);
}
