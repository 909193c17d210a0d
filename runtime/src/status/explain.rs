//! Why a process runs as it does: what was done, by which rule, from which readings, what it
//! changed, and what would undo it.
//!
//! Pure: from a status and the recent actions to sentences. Knows nothing that is not in them,
//! and says so where something is not known.

use super::view::{Activity, StatusView, WorkloadView};
use super::{knobs, words};
use crate::flow::activity::ActionKind;
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
/// explained by that. `actions` are all that are still known, oldest first.
pub fn explain(view: &StatusView, actions: &[Activity], subject: &Subject) -> Option<Explanation> {
    let workload = match subject {
        Subject::Pid(pid) => view.workload_of(*pid),
        Subject::Workload(name) => view.workloads.iter().find(|w| w.name == *name),
    };
    let Some(workload) = workload else {
        return match subject {
            Subject::Pid(pid) => Some(stranger(view, *pid)),
            Subject::Workload(_) => None,
        };
    };
    let told = about(actions, workload);
    let mut sentences = vec![who(subject, workload)];
    if workload.protected {
        sentences.extend(protected(view, workload, &told));
    } else {
        sentences.extend(held_back(view, workload, &told));
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

/// The latest actions on the workload, or on whoever made it wait.
fn about<'a>(actions: &'a [Activity], workload: &WorkloadView) -> Vec<&'a Activity> {
    let name = workload.name.as_str();
    let concerns = |activity: &&Activity| {
        let action = &activity.action;
        let contention = action.change.as_ref().and_then(|change| change.contention.as_ref());
        let victims = contention.map(|contention| &*contention.victim);
        let measured = action.effect.as_ref().map(|effect| &*effect.victim);
        &*action.workload == name
            || (workload.protected && (victims == Some(name) || measured == Some(name)))
    };
    let mut told: Vec<&Activity> = actions.iter().rev().filter(concerns).take(TOLD).collect();
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
        [one] => format!("PID {} {}", one.pid, one.name),
        [first, rest @ ..] => format!("PID {} {} and {} more", first.pid, first.name, rest.len()),
    }
}

fn story(told: &[&Activity]) -> impl Iterator<Item = String> {
    told.iter().map(|activity| {
        format!("At {} UTC: {}.", words::clock(activity.wall_ms), activity.sentence)
    })
}

fn protected(view: &StatusView, workload: &WorkloadView, told: &[&Activity]) -> Vec<String> {
    let mut sentences: Vec<String> = story(told).collect();
    match view.contention.iter().find(|c| *c.victim == *workload.name) {
        Some(contention) => {
            sentences.push(format!("Now: {}.", words::contention(contention)));
            if !contention.evidence.is_empty() {
                sentences.push(format!("Seen by: {}.", contention.evidence.join("; ")));
            }
            sentences.extend(out_of_reach(view, contention));
        }
        None => sentences.push(match workload.wait_ms_per_s {
            Some(wait) => format!("It waits {} now.", words::wait(wait)),
            None => "How long it waits now is not known: its own quota stopped it, or nobody \
                     could look."
                .to_owned(),
        }),
    }
    sentences.extend(workload.shares.iter().map(words::share));
    if told.is_empty() {
        let why = view.why_idle.as_deref().unwrap_or("it has not waited because of others");
        sentences.push(format!("Nothing was done for it: {why}."));
    }
    sentences
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
        first.name
    ))
}

fn held_back(view: &StatusView, workload: &WorkloadView, told: &[&Activity]) -> Vec<String> {
    let mut sentences: Vec<String> = story(told).collect();
    let measured = told.iter().any(|activity| activity.action.effect.is_some());
    if workload.tier == 0 {
        let why = view.why_idle.as_deref().unwrap_or("nobody waits because of it");
        sentences.push(format!("It is in tier 0, unrestricted: {why}."));
        return sentences;
    }
    let cap = match workload.cap_millicores {
        Some(cap) => format!("at most {}", words::cpus(f64::from(cap))),
        None => "no cap".to_owned(),
    };
    let share = if workload.idle {
        "it runs when nobody else wants the CPU".to_owned()
    } else {
        format!("weight {} of 100", workload.weight)
    };
    sentences.push(format!(
        "It is in tier {}: {share}, {cap}; it uses {} now.",
        workload.tier,
        words::cpus(workload.millicores)
    ));
    if told.is_empty() && !workload.knobs.is_empty() {
        sentences.push(format!("In force: {}.", knobs::done(&workload.knobs)));
    }
    sentences.extend(workload.shares.iter().map(words::share));
    for victim in view.workloads.iter().filter(|w| w.protected) {
        if let Some(wait) = victim.wait_ms_per_s {
            sentences.push(format!("{} waits {} now.", victim.name, words::wait(wait)));
        }
    }
    if !measured && told.iter().any(|activity| activity.action.change.is_some()) {
        sentences.push("Its effect has not been measured yet.".to_owned());
    }
    sentences
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

fn stranger(view: &StatusView, pid: u32) -> Explanation {
    let mut sentences = vec![format!("PID {pid} belongs to no workload: it is left alone.")];
    let guilty = view.contention.iter().find(|c| c.culprits.iter().any(|x| x.task.pid == pid));
    if let Some(contention) = guilty {
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
        actions: Vec::new(),
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
