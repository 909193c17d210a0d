//! From levers and entitlements to how every subject should be. Pure.
//!
//! A subject that several workloads pull at gets the strictest share (shares cost nothing while
//! nobody else wants the CPU) and the sum of their caps, or no cap if one of them has none.
//! Nothing is ever raised on the antagonist's side: somebody may have given it less.

use super::lever::{Lever, Pull};
use super::load;
use super::subject::Subject;
use super::tree::DEFAULT_WEIGHT;
use crate::flow::message::{Entitlement, Name};
use outrigger_sdk::{Capability, ContextId, Setting, TaskId};
use std::collections::{BTreeMap, BTreeSet};

/// Highest weight there is.
const MAX_WEIGHT: u32 = 10_000;

/// Smallest cap a kernel takes: 1 ms of quota in a period of 100 ms.
const MIN_CAP: u32 = 10;

/// Quota that may be saved up and used at once, us per period of 100 ms. Enough for a timer
/// tick's worth of overrun on a few CPUs; much more would let the capped return in bursts.
const BURST_US: i64 = 20_000;

/// Quota of one millicore, us per period of 100 ms.
const US_PER_MILLICORE: i64 = 100;

/// How every subject should be.
pub type Wants = BTreeMap<Subject, Want>;

/// How one subject should be, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// The workload it is done for; if several, the one that asked for the strictest share.
    pub workload: Name,
    /// By which rule.
    pub rule: String,
    /// The context is to exist (ours only).
    pub exists: bool,
    /// Run only when nobody else wants the CPU.
    pub idle: bool,
    /// CPU weight.
    pub weight: Option<u32>,
    /// CPU cap in millicores of each workload in it; one without any lifts the cap of all.
    pub caps: BTreeMap<Name, Option<u32>>,
    /// Members it should have (ours only).
    pub members: BTreeSet<TaskId>,
    /// Whether members may be taken from wherever they are, since we launched them.
    pub launched: bool,
    /// Scheduling class or priority level of a task, as [`Capability::PRIORITY`] counts.
    pub priority: Option<u8>,
    /// Nice value of the task's autogroup.
    pub autogroup: Option<i64>,
}

// === impl Want ===

impl Want {
    /// Nothing wanted yet.
    pub fn new(workload: Name, rule: String) -> Self {
        Self {
            workload,
            rule,
            exists: false,
            idle: false,
            weight: None,
            caps: BTreeMap::new(),
            members: BTreeSet::new(),
            launched: false,
            priority: None,
            autogroup: None,
        }
    }

    /// The cap of the whole subject, millicores.
    pub fn cap(&self) -> Option<u32> {
        let sum =
            self.caps.values().copied().try_fold(0u32, |sum, cap| Some(sum.saturating_add(cap?)));
        sum.filter(|_| !self.caps.is_empty())
    }

    /// The settings, in the order they are to be turned: the context before what is in it, idle
    /// before weight, quota before burst, members last so that they enter what is ready.
    ///
    /// `can` says whether a knob can be turned here at all: where it cannot, a coarser knob takes
    /// its place, or none.
    pub fn settings(&self, can: impl Fn(Capability) -> bool) -> Vec<Setting> {
        let mut settings = Vec::new();
        if self.exists {
            settings.push(Setting::number(Capability::CONTEXT, 1));
        }
        let idle = self.idle && can(Capability::CPU_IDLE);
        if idle {
            settings.push(Setting::number(Capability::CPU_IDLE, 1));
        } else if let Some(weight) = self.weight {
            settings.push(Setting::number(Capability::CPU_WEIGHT, i64::from(weight)));
        }
        if let Some(cap) = self.cap().filter(|_| can(Capability::CPU_LIMIT)) {
            let cap = i64::from(cap.max(MIN_CAP));
            settings.push(Setting::number(Capability::CPU_LIMIT, cap));
            if can(Capability::CPU_BURST) {
                let burst = BURST_US.min(cap * US_PER_MILLICORE);
                settings.push(Setting::number(Capability::CPU_BURST, burst));
            }
        }
        if !self.members.is_empty() {
            let mut members = Setting::members(self.members.iter().copied());
            if self.launched {
                members.text = "launched".into();
            }
            settings.push(members);
        }
        match self.priority {
            // The class reaches further than nice, and one knob is enough.
            Some(4) if can(Capability::SCHED_CLASS) => {
                settings.push(Setting::number(Capability::SCHED_CLASS, 2));
            }
            Some(level @ 3..) => {
                settings.push(Setting::number(Capability::PRIORITY, i64::from(level)));
            }
            _ => {}
        }
        if let Some(nice) = self.autogroup {
            settings.push(Setting::number(Capability::AUTOGROUP, nice));
        }
        settings
    }
}

/// Adds what one workload is entitled to at its levers. `origin` is the weight a context had
/// before we turned it, `load` what a member weighs among tasks ([`load::NICE_0`] is everybody's).
pub fn add(
    wants: &mut Wants,
    entitlement: &Entitlement,
    pulls: &[Pull],
    origin: impl Fn(&ContextId) -> u32,
    mut load: impl FnMut(TaskId) -> u32,
) {
    let mut placed = None;
    let caps: BTreeSet<&ContextId> = pulls.iter().filter_map(|pull| pull.cap.as_ref()).collect();
    // The cap is the workload's; where it sits in several places each gets an equal part.
    let part = entitlement.cap.map(|cap| cap / u32::try_from(caps.len().max(1)).unwrap_or(1));
    for pull in pulls {
        match &pull.lever {
            Lever::Own { name } | Lever::Place { name } => {
                let want = entry(wants, Subject::Context(ContextId::ours(name)), entitlement);
                want.exists = true;
                want.members.extend(pull.members.iter().copied());
                let (weight, idle) =
                    *placed.get_or_insert_with(|| placed_weight(entitlement, pulls, &mut load));
                want.share(entitlement, weight);
                want.idle |= idle;
            }
            Lever::Adopt { context } => {
                let weight = entitlement.weight.min(origin(context));
                let want = entry(wants, Subject::Context(context.clone()), entitlement);
                want.share(entitlement, weight);
            }
            Lever::Raise { context, .. } => {
                let scaled = u64::from(origin(context)) * u64::from(DEFAULT_WEIGHT)
                    / u64::from(entitlement.weight.max(1));
                let weight = u32::try_from(scaled).unwrap_or(MAX_WEIGHT).min(MAX_WEIGHT);
                if weight > origin(context) {
                    let want = entry(wants, Subject::Context(context.clone()), entitlement);
                    want.weight = Some(want.weight.unwrap_or(0).max(weight));
                }
            }
            Lever::Tasks if entitlement.priority >= 3 => {
                for member in &pull.members {
                    let want = entry(wants, Subject::Task(*member), entitlement);
                    want.priority = want.priority.max(Some(entitlement.priority));
                }
            }
            Lever::Sessions { .. } if entitlement.priority >= 3 => {
                if let Some(holder) = holder(&pull.members) {
                    let want = entry(wants, Subject::Task(holder), entitlement);
                    want.autogroup = Some(if entitlement.priority >= 4 { 19 } else { 10 });
                }
            }
            Lever::Tasks | Lever::Sessions { .. } | Lever::Quota { .. } | Lever::None { .. } => {}
        }
        if let Some(context) = &pull.cap
            && (part.is_some() || wants.contains_key(&Subject::Context(context.clone())))
        {
            let want = entry(wants, Subject::Context(context.clone()), entitlement);
            want.caps.insert(entitlement.workload.clone(), part);
        }
    }
}

/// The one process that stands for its session: the eldest is the likeliest to last.
pub fn holder(members: &[TaskId]) -> Option<TaskId> {
    members.iter().copied().min_by_key(|task| (task.start, task.pid))
}

/// The weight of our own context and whether it is to be idle: what the workload is entitled to,
/// and never more than its members weighed by themselves, since somebody may have given them
/// less (`nice`, `chrt --idle`).
fn placed_weight(
    entitlement: &Entitlement,
    pulls: &[Pull],
    load: &mut impl FnMut(TaskId) -> u32,
) -> (u32, bool) {
    let enough = entitlement.weight.saturating_mul(load::NICE_0) / DEFAULT_WEIGHT;
    let placed = pulls
        .iter()
        .filter(|pull| matches!(pull.lever, Lever::Own { .. } | Lever::Place { .. }))
        .flat_map(|pull| pull.members.iter());
    let mut sum: u32 = 0;
    // Ordinary members are enough at once.
    for member in placed {
        sum = sum.saturating_add(load(*member));
        if sum >= enough {
            return (entitlement.weight, false);
        }
    }
    // The least weight is still more than the idle class has.
    let idle = (1..load::NICE_0 / DEFAULT_WEIGHT).contains(&sum);
    ((sum.saturating_mul(DEFAULT_WEIGHT) / load::NICE_0).max(1), idle)
}

fn entry<'a>(wants: &'a mut Wants, subject: Subject, entitlement: &Entitlement) -> &'a mut Want {
    wants
        .entry(subject)
        .or_insert_with(|| Want::new(entitlement.workload.clone(), entitlement.rule.clone()))
}

impl Want {
    fn share(&mut self, entitlement: &Entitlement, weight: u32) {
        if self.weight.is_none_or(|other| weight < other) {
            self.weight = Some(weight);
            self.workload = entitlement.workload.clone();
            self.rule = entitlement.rule.clone();
        }
        self.idle |= entitlement.idle;
    }
}
