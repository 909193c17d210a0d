//! The smallest set of changes from what is in force to what is wanted. Pure.
//!
//! Level-triggered: nothing differs, nothing is planned. Holding back comes before letting go,
//! so that a change of lever leaves no gap. Letting go is undoing our own writes, never a new
//! write, with two exceptions while the context stays governed: a cap is lifted by asking for
//! none (switching the kernel's quota machinery off and on again stalls everybody, so the
//! backend parks it), and an idle flag is cleared before the weight that replaces it.

use super::book::Book;
use super::subject::{KnobKey, Subject};
use super::want::Wants;
use crate::flow::message::Name;
use outrigger_sdk::{Capability, Setting, TaskId};
use std::collections::BTreeSet;

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Settings to bring about, subject by subject.
    pub steps: Vec<Step>,
    /// Knobs whose writes are to be taken back.
    pub releases: Vec<KnobKey>,
}

/// Settings of one subject, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// On what.
    pub subject: Subject,
    /// For whom.
    pub workload: Name,
    /// By which rule.
    pub rule: String,
    /// How it should be.
    pub settings: Vec<Setting>,
}

/// Makes the plan for one sweep. `full` asks for everything again, to catch drift and threads
/// born meanwhile; what is as it should be costs a reading and no write.
pub fn plan(
    wants: &Wants,
    book: &Book,
    can: impl Fn(Capability) -> bool + Copy,
    tick: u64,
    full: bool,
) -> Plan {
    let mut plan = Plan::default();
    let mut wanted: BTreeSet<KnobKey> = BTreeSet::new();
    for (subject, want) in wants {
        let mut settings = want.settings(can);
        replace_lifted(subject, book, &mut settings);
        wanted.extend(settings.iter().flat_map(|setting| keys(subject, setting)));
        let burst = settings.iter().find(|s| s.knob == Capability::CPU_BURST).cloned();
        let due =
            settings.into_iter().filter_map(|setting| due(subject, book, setting, tick, full));
        let mut settings: Vec<Setting> = due.collect();
        // The backend balances the two, so it has to hear of both.
        if let Some(at) = settings.iter().position(|s| s.knob == Capability::CPU_LIMIT)
            && !settings.iter().any(|s| s.knob == Capability::CPU_BURST)
            && let Some(burst) = burst
        {
            settings.insert(at + 1, burst);
        }
        let step = Step {
            subject: subject.clone(),
            workload: want.workload.clone(),
            rule: want.rule.clone(),
            settings,
        };
        if !step.settings.is_empty() {
            plan.steps.push(step);
        }
    }
    // A wider context before a narrower one.
    plan.steps.sort_by_key(|step| match &step.subject {
        Subject::Context(context) => (0, context.path.matches('/').count()),
        Subject::Task(_) => (1, 0),
    });
    let released = book.all().map(|(key, _)| key).filter(|key| {
        // Burst goes with the parked quota; a weight cannot be written while idle is set.
        let kept = match key.knob {
            Capability::CPU_BURST => wanted.contains(&key.subject.knob(Capability::CPU_LIMIT)),
            Capability::CPU_WEIGHT => wanted.contains(&key.subject.knob(Capability::CPU_IDLE)),
            _ => false,
        };
        !wanted.contains(key) && !kept && !book.in_doubt(key) && !book.backs_off(key, tick)
    });
    plan.releases = released.cloned().collect();
    plan
}

/// The knobs a setting is about: one, or one per member.
pub fn keys(subject: &Subject, setting: &Setting) -> Vec<KnobKey> {
    match setting.knob {
        Capability::MEMBERS => setting.tasks.iter().map(|task| subject.member(*task)).collect(),
        knob => vec![subject.knob(knob)],
    }
}

/// What is in force and not wanted on a subject that stays governed is written, not undone.
fn replace_lifted(subject: &Subject, book: &Book, settings: &mut Vec<Setting>) {
    let asked = |settings: &[Setting], knob| settings.iter().any(|setting| setting.knob == knob);
    let in_force = |knob| book.in_force(&subject.knob(knob)).is_some();
    if in_force(Capability::CPU_LIMIT)
        && !asked(settings, Capability::CPU_LIMIT)
        && (asked(settings, Capability::CPU_WEIGHT) || asked(settings, Capability::CPU_IDLE))
    {
        settings.push(Setting::number(Capability::CPU_LIMIT, -1));
    }
    if in_force(Capability::CPU_IDLE)
        && let Some(at) = settings.iter().position(|s| s.knob == Capability::CPU_WEIGHT)
    {
        settings.insert(at, Setting::number(Capability::CPU_IDLE, 0));
    }
}

/// The part of a setting that is to be asked for now.
fn due(
    subject: &Subject,
    book: &Book,
    mut setting: Setting,
    tick: u64,
    full: bool,
) -> Option<Setting> {
    let open = |key: &KnobKey| !book.in_doubt(key) && !book.backs_off(key, tick);
    if setting.knob == Capability::MEMBERS {
        let missing = setting.tasks.iter().copied().filter(|task: &TaskId| {
            let key = subject.member(*task);
            open(&key) && (full || book.in_force(&key).is_none())
        });
        setting.tasks = missing.collect::<Vec<_>>().into();
        return (!setting.tasks.is_empty()).then_some(setting);
    }
    let key = subject.knob(setting.knob);
    let differs = book.in_force(&key).is_none_or(|in_force| in_force.setting != setting);
    (open(&key) && (full || differs)).then_some(setting)
}
