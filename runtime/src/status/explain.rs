//! Why a process runs as it does: what was done, by which rule, from which readings, what it
//! changed, and what would undo it.
//!
//! Pure: from a status and the recent actions to sentences. Knows nothing that is not in them,
//! and says so where something is not known.

mod behalf;

use super::view::{Activity, StatusView, WorkloadView};
use super::{knobs, plain, words};
use crate::enforcer::effect::PATIENCE;
use crate::flow::activity::{Action, ActionKind};
use crate::flow::message::{Contention, Culprit};
use serde::{Deserialize, Serialize};

/// Actions told in full; older ones are in the events.
const TOLD: usize = 5;

/// Whom somebody asks about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A process.
    Pid(u32),
    /// A workload.
    Workload(String),
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Who was asked about.
    pub subject: Subject,
    /// Its workload, if it has one.
    pub workload: Option<String>,
    /// Its tier; 0 is unrestricted.
    pub tier: u8,
    /// The rule that says so.
    pub rule: Option<String>,
    /// The story, one sentence each.
    pub sentences: Vec<String>,
    /// How the lever was found, or why there is none.
    pub levers: Vec<String>,
    /// What would undo it, one sentence each.
    pub undo: Vec<String>,
    /// The actions the story was told from, oldest first.
    pub actions: Vec<Activity>,
}

impl Subject {
    /// A number is a process, anything else a workload.
    pub fn parse(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Workload(text.to_owned()), Self::Pid)
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pid(pid) => write!(f, "PID {pid}"),
            Self::Workload(name) => f.write_str(name),
        }
    }
}

/// Explains a subject; `None` if there is no such workload. A process that no workload has is
/// explained by that. `actions` are all that are still known, oldest first; `exists` tells
/// whether there is a process of that number.
pub fn explain(
    view: &StatusView,
    actions: &[Activity],
    subject: &Subject,
    exists: impl FnOnce(u32) -> bool,
) -> Option<Explanation> {
    let workload = match subject {
        Subject::Pid(pid) => view.workload_of(*pid),
        Subject::Workload(name) => view.workloads.iter().find(|w| w.name == *name),
    };
    let Some(workload) = workload else {
        return match subject {
            Subject::Pid(pid) => Some(stranger(view, actions, *pid, exists(*pid))),
            Subject::Workload(_) => None,
        };
    };
    let told = about(actions, workload);
    let mut sentences = vec![who(subject, workload)];
    if workload.protected {
        sentences.extend(behalf::sentences(view, actions, workload, &told));
    } else {
        sentences.extend(held_back(view, workload, subject, &told));
    }
    Some(Explanation {
        subject: subject.clone(),
        workload: Some(workload.name.clone()),
        tier: workload.tier,
        rule: Some(workload.rule.clone()),
        levers: levers(workload, &told),
        undo: undo(view, workload),
        actions: told.into_iter().cloned().collect(),
        sentences,
    })
}

/// The latest actions on the workload, or on whoever made it wait; and if none of them tells who
/// waited because of whom, the latest that does.
fn about<'a>(actions: &'a [Activity], workload: &WorkloadView) -> Vec<&'a Activity> {
    let name = workload.name.as_str();
    let concerns = |activity: &&Activity| {
        let action = &activity.action;
        let victim = action.contention.as_ref().map(|contention| &*contention.victim);
        let measured = action.effect.as_ref().map(|effect| &*effect.victim);
        &*action.workload == name
            || (workload.protected && (victim == Some(name) || measured == Some(name)))
    };
    let names_a_culprit = |activity: &&Activity| activity.action.contention.is_some();
    let mut told: Vec<&Activity> = actions.iter().rev().filter(concerns).take(TOLD).collect();
    if !told.iter().any(names_a_culprit) {
        told.extend(actions.iter().rev().filter(concerns).find(names_a_culprit));
    }
    told.reverse();
    told
}

fn who(subject: &Subject, workload: &WorkloadView) -> String {
    let class = workload.class.name();
    let reasons = match workload.reasons.as_slice() {
        [] => String::new(),
        reasons => format!(" ({})", reasons.join("; ")),
    };
    let sure = if workload.confidence < 1.0 {
        format!(", {:.0} % sure", workload.confidence * 100.0)
    } else {
        String::new()
    };
    match subject {
        Subject::Pid(pid) => {
            let name = workload.members.iter().find(|m| m.pid == *pid).map_or("", |m| &m.name);
            let name = plain(name);
            format!(
                "PID {pid} {name} belongs to {}, which is {class} by rule {}{sure}{reasons}.",
                workload.name, workload.rule
            )
        }
        Subject::Workload(name) => {
            format!(
                "{name} ({}) is {class} by rule {}{sure}{reasons}.",
                members(workload),
                workload.rule
            )
        }
    }
}

fn members(workload: &WorkloadView) -> String {
    match workload.members.as_slice() {
        [] => "no living process".to_owned(),
        [one] => format!("PID {} {}", one.pid, plain(&one.name)),
        [first, rest @ ..] => {
            format!("PID {} {} and {} more", first.pid, plain(&first.name), rest.len())
        }
    }
}

fn story(told: &[&Activity]) -> impl Iterator<Item = String> {
    told.iter().map(|activity| {
        format!("At {} UTC: {}.", words::clock(activity.wall_ms), activity.sentence)
    })
}

/// Culprits that nobody said may be held back: what can be done about them is the reader's.
fn out_of_reach(view: &StatusView, contention: &Contention) -> Option<String> {
    let best_effort = |name: &str| {
        view.workloads.iter().any(|workload| workload.name == name && !workload.protected)
    };
    let free: Vec<&Culprit> = contention
        .culprits
        .iter()
        .filter(|culprit| !culprit.workload.as_deref().is_some_and(best_effort))
        .collect();
    let first = free.first()?;
    let sum = free.iter().map(|culprit| culprit.millicores).sum();
    let others = match free.len() {
        1 => String::new(),
        number => format!(" and {} others", number - 1),
    };
    Some(format!(
        "Of that, {} is held by PID {} {}{others}, which nothing says may be held back: name them \
         with --best-effort or in the configuration.",
        words::cpus(sum),
        first.task.pid,
        plain(&first.name)
    ))
}

fn held_back(
    view: &StatusView,
    workload: &WorkloadView,
    subject: &Subject,
    told: &[&Activity],
) -> Vec<String> {
    let mut sentences: Vec<String> = story(told).collect();
    sentences.extend(own_part(subject, told));
    let uses = words::cpus(workload.millicores);
    if workload.tier == 0 {
        let class = format!("what is {} is not held back", workload.class.name());
        let guilty = view.contention.iter().find(|contention| {
            contention.culprits.iter().any(|c| c.workload.as_deref() == Some(&workload.name))
        });
        let why = match (&view.why_idle, guilty) {
            _ if !workload.class.is_best_effort() => class.as_str(),
            (Some(why), _) => why.as_str(),
            (None, Some(_)) => "it has not been decided on yet",
            (None, None) => "nobody waits because of it",
        };
        sentences.push(format!("It is in tier 0, unrestricted: {why}; it uses {uses} now."));
        sentences.extend(guilty.map(|guilty| format!("But {}.", words::contention(guilty))));
        return sentences;
    }
    let entitled = entitled(workload);
    if workload.knobs.is_empty() {
        let why = match workload.levers.first() {
            _ if view.dry_run => "it is a dry run",
            Some(lever) if lever.starts_with("no lever") => "there is no lever",
            _ => "no knob has been turned",
        };
        sentences
            .push(format!("It should be in {entitled}, but runs free: {why}; it uses {uses} now."));
        return sentences;
    }
    sentences.push(format!("It is in {entitled}; it uses {uses} now."));
    if told.is_empty() {
        sentences.push(format!("In force: {}.", knobs::done(&workload.knobs)));
    }
    sentences.extend(workload.shares.iter().map(words::share));
    let victims: Vec<&WorkloadView> = view.workloads.iter().filter(|w| w.protected).collect();
    let named = |victim: &&&WorkloadView| told.iter().any(|told| is_for(told, &victim.name));
    let concerned: Vec<&WorkloadView> = victims.iter().filter(named).copied().collect();
    for victim in if concerned.is_empty() { victims } else { concerned } {
        if let Some(wait) = victim.wait_ms_per_s {
            sentences.push(format!("{} waits {} now.", victim.name, words::wait(wait)));
        }
    }
    sentences.extend(unmeasured(view, told));
    sentences
}

/// Tier, share and cap.
fn entitled(workload: &WorkloadView) -> String {
    let cap = match workload.cap_millicores {
        Some(cap) => format!("at most {}", words::cpus(f64::from(cap))),
        None => "no cap".to_owned(),
    };
    let share = if workload.idle {
        "it runs when nobody else wants the CPU".to_owned()
    } else {
        format!("weight {} of 100", workload.weight)
    };
    format!("tier {}: {share}, {cap}", workload.tier)
}

/// Why nothing is in force on a workload that is to be held back.
fn unfinished(workload: &WorkloadView) -> &str {
    workload.levers.first().map_or("no knob has been turned yet", String::as_str)
}

/// Whether an action was for this protected workload.
fn is_for(activity: &Activity, victim: &str) -> bool {
    let Action { contention, effect, .. } = &activity.action;
    contention.as_ref().is_some_and(|contention| *contention.victim == *victim)
        || effect.as_ref().is_some_and(|effect| *effect.victim == *victim)
}

/// What the process itself held, if the story names another first.
fn own_part(subject: &Subject, told: &[&Activity]) -> Option<String> {
    let Subject::Pid(pid) = subject else { return None };
    let latest = told.iter().rev().find_map(|activity| activity.action.contention.as_ref())?;
    let others = latest.culprits.iter().skip(1);
    let own = others.into_iter().find(|culprit| culprit.task.pid == *pid)?;
    Some(format!("{} of that.", words::culprit(own)))
}

/// Why no effect is told, if something was turned and none is.
fn unmeasured(view: &StatusView, told: &[&Activity]) -> Option<String> {
    if told.iter().any(|activity| activity.action.effect.is_some()) {
        return None;
    }
    let turned = told.iter().rev().find(|activity| activity.action.is_turn())?;
    let age = view.tick.saturating_sub(turned.action.provenance.tick);
    Some(if age < PATIENCE {
        "Its effect is being measured.".to_owned()
    } else {
        "Its effect could not be measured: nobody could tell how long the protected waited."
            .to_owned()
    })
}

fn levers(workload: &WorkloadView, told: &[&Activity]) -> Vec<String> {
    if !workload.levers.is_empty() {
        return workload.levers.clone();
    }
    let latest = told.iter().rev().find(|activity| !activity.action.lever.is_empty());
    latest
        .map(|activity| match activity.action.kind {
            ActionKind::NoLever => format!("no lever, because {}", activity.action.lever),
            _ => activity.action.lever.clone(),
        })
        .into_iter()
        .collect()
}

fn undo(view: &StatusView, workload: &WorkloadView) -> Vec<String> {
    if workload.knobs.is_empty() {
        return Vec::new();
    }
    vec![
        format!(
            "`outrigger pause --instance {}`, or the end of process {} in any way, puts back {}.",
            view.instance,
            view.pid,
            knobs::origins(&workload.knobs)
        ),
        "By itself it goes up a tier at a time once nobody has waited for the cool-down."
            .to_owned(),
    ]
}

/// A process that no workload has: what is known of it all the same.
fn stranger(view: &StatusView, actions: &[Activity], pid: u32, exists: bool) -> Explanation {
    let touched = |activity: &&Activity| {
        let Action { knobs, contention, .. } = &activity.action;
        let culprits = contention.iter().flat_map(|contention| &contention.culprits);
        knobs.iter().any(|knob| knob.pid == Some(pid))
            || culprits.into_iter().any(|culprit| culprit.task.pid == pid)
    };
    let mut told: Vec<&Activity> = actions.iter().rev().filter(touched).take(TOLD).collect();
    told.reverse();
    let first = match (exists, told.is_empty()) {
        (_, _) if pid == view.pid => format!("PID {pid} is the sidecar itself."),
        (true, true) => format!("PID {pid} belongs to no workload: it is left alone."),
        (true, false) => format!("PID {pid} belongs to no workload now: it is left alone."),
        (false, true) => format!("There is no process {pid}, and nothing is known of one."),
        (false, false) => format!("There is no process {pid} any more."),
    };
    let mut sentences = vec![first];
    sentences.extend(story(&told));
    let guilty = view.contention.iter().find(|c| c.culprits.iter().any(|x| x.task.pid == pid));
    if let Some(contention) = guilty.filter(|_| exists) {
        sentences.push(format!("But {}.", words::contention(contention)));
        sentences.push(
            "To hold it back, name it: --best-effort, or a batch workload in the configuration."
                .to_owned(),
        );
    }
    Explanation {
        subject: Subject::Pid(pid),
        workload: None,
        tier: 0,
        rule: None,
        sentences,
        levers: Vec::new(),
        undo: Vec::new(),
        actions: told.into_iter().cloned().collect(),
    }
}

impl std::fmt::Display for Explanation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for sentence in &self.sentences {
            writeln!(f, "{sentence}")?;
        }
        for lever in &self.levers {
            writeln!(f, "Lever: {lever}")?;
        }
        for undo in &self.undo {
            writeln!(f, "Undo: {undo}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
