//! The core of the Classifier: signals in, assessments out.
//!
//! Pure: it reads no clock and asks nobody. Everything it says can be worked out again from the
//! policy and the signals it was given.

use super::behaviour::Behaviour;
use super::census::{Census, Entry};
use super::contention::{FULL, Finding, Judge};
use super::members::Members;
use super::neighbours::{Interval, Neighbourhood};
use super::scene::{Places, gather, used};
use crate::flow::message::{
    Assessment, Assessments, Contention, Culprit, Name, Signals, TaskSignals,
};
use crate::policy::{Class, NEIGHBOURS, Neighbours, Policy, Problem, Thresholds};
use outrigger_sdk::TaskId;
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// Culprits named per contention.
const CULPRITS: usize = 8;
/// Use below which nobody is a culprit, millicores.
const CULPRIT_LEAST: f64 = 10.0;
/// After a start the processes are told with the first complete sweep. Until then, but no longer
/// than so many ticks, what is missing does not mean that it ended.
const COLD_TICKS: u32 = 8;

/// The rules and all they remember.
#[derive(Debug)]
pub struct Rules {
    census: Census,
    workloads: Vec<Kept>,
    neighbours: Option<Neighbourhood>,
    neighbour_members: Members,
    thresholds: Thresholds,
    let_go_ns: u64,
    cold: u32,
    state: RulesState,
}

/// What is kept of a workload from tick to tick.
#[derive(Debug)]
struct Kept {
    name: Name,
    class: Option<Class>,
    rule: String,
    allow_irreversible: bool,
    behaviour: Behaviour,
    judge: Judge,
    members: Members,
}

/// What `status` shows of the Classifier.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RulesState {
    /// Last sweep.
    pub tick: u64,
    /// Processes known.
    pub tasks: usize,
    /// Active processes whose names were never told.
    pub strangers: usize,
    /// Whether it still waits for the first complete sweep.
    pub cold: bool,
    /// Workloads with living members.
    pub populated: usize,
    /// Protected workloads that are contended.
    pub contended: Vec<Name>,
    /// Workloads, each with the number of processes that might belong to it if everything about
    /// them could be read.
    pub undecided: Vec<(Name, usize)>,
    /// Processes held to be neighbours of a protected one.
    pub neighbours: usize,
}

impl Rules {
    /// The rules of a policy. `exempt`: numbers of processes that are never anybody's member.
    ///
    /// # Errors
    /// Selectors that do not compile.
    pub fn new(
        policy: &Policy,
        exempt: impl IntoIterator<Item = u32>,
    ) -> Result<Self, Vec<Problem>> {
        Ok(Self {
            census: Census::new(policy, exempt.into_iter().collect())?,
            workloads: policy.workloads.iter().map(Kept::new).collect(),
            neighbours: neighbourhood(policy),
            neighbour_members: Members::default(),
            thresholds: policy.contention,
            let_go_ns: nanoseconds(policy),
            cold: COLD_TICKS,
            state: RulesState::default(),
        })
    }

    /// Puts another policy in force. What is known of the processes stays, and of workloads that
    /// keep their name also what was learned about them.
    ///
    /// # Errors
    /// Selectors that do not compile; the old policy stays.
    pub fn set_policy(&mut self, policy: &Policy) -> Result<(), Vec<Problem>> {
        self.census.set_policy(policy)?;
        let mut before = std::mem::take(&mut self.workloads);
        self.workloads = policy.workloads.iter().map(Kept::new).collect();
        for kept in &mut self.workloads {
            if let Some(old) = before.iter_mut().find(|old| old.name == kept.name) {
                kept.judge = old.judge;
                kept.behaviour = std::mem::take(&mut old.behaviour);
            }
        }
        self.neighbours = neighbourhood(policy);
        self.neighbour_members = Members::default();
        (self.thresholds, self.let_go_ns) = (policy.contention, nanoseconds(policy));
        Ok(())
    }

    /// Processes to be looked at closely: the members of protected workloads.
    #[must_use]
    pub fn focus(assessments: &Assessments) -> Vec<TaskId> {
        let protected = assessments.workloads.iter().filter(|a| a.class.is_protected());
        protected.flat_map(|a| a.members.iter().map(|member| member.task)).collect()
    }

    /// How the Classifier is.
    #[must_use]
    pub fn state(&self) -> RulesState {
        self.state.clone()
    }

    /// Judges one interval. `peers`: socket peers of protected processes.
    #[must_use]
    pub fn step(&mut self, signals: Signals, peers: &HashSet<TaskId>) -> Assessments {
        self.census.remove(&signals.gone);
        self.census.admit(&signals.infos);
        let strangers = self.census.note(signals.provenance.tick, &signals.tasks);
        self.warm_up(strangers);
        let used = used(&signals);
        let full = FULL * 1000.0 * f64::from(signals.cpus.max(1));
        let spare = used.is_some_and(|used| used < full);

        let mut places = self.places(&signals);
        let mut workloads = Vec::new();
        let mut contention = Vec::new();
        for index in 0..self.workloads.len() {
            if self.census.is_empty(index) {
                continue;
            }
            let (assessment, found) =
                self.assess(index, &signals, places.remove(&index), used, spare);
            workloads.push(assessment);
            contention.extend(found);
        }
        workloads.extend(self.neighbours(&signals, peers, spare));
        self.blame(&mut contention, &signals);

        self.state = RulesState {
            tick: signals.provenance.tick,
            tasks: self.census.len(),
            strangers,
            cold: self.cold > 0,
            populated: workloads.len(),
            contended: contention.iter().map(|c| Name::clone(&c.victim)).collect(),
            undecided: self.undecided(),
            neighbours: self.neighbours.as_ref().map_or(0, |n| n.chosen().len()),
        };
        Assessments {
            provenance: signals.provenance,
            interval_ns: signals.interval_ns,
            cpus: signals.cpus,
            used_millicores: used,
            partial: self.cold > 0,
            workloads,
            contention,
        }
    }

    /// The contexts that were read, by the workloads that live in them.
    fn places<'a>(&self, signals: &'a Signals) -> HashMap<usize, Places<'a>> {
        let mut places: HashMap<usize, Places<'a>> = HashMap::new();
        for context in &signals.contexts {
            for (workload, standing) in self.census.occupancy.standings(&context.context) {
                places.entry(workload).or_default().push((standing, context));
            }
        }
        places
    }

    fn warm_up(&mut self, strangers: usize) {
        if strangers == 0 && self.census.len() > 0 {
            self.cold = 0;
        } else {
            self.cold = self.cold.saturating_sub(1);
        }
    }

    fn assess(
        &mut self,
        index: usize,
        signals: &Signals,
        places: Option<Places<'_>>,
        used: Option<f64>,
        spare: bool,
    ) -> (Assessment, Option<Contention>) {
        let tick = signals.provenance.tick;
        let dirty = self.census.take_dirty(index);
        let kept = &mut self.workloads[index];
        kept.members.refresh(dirty, tick, || self.census.members(index));
        let millicores = kept.members.millicores();
        kept.behaviour.observe(signals.interval_ns, millicores, spare);
        let (class, rule, confidence, mut reasons) = match kept.class {
            Some(class) => (
                class,
                kept.rule.clone(),
                1.0,
                vec![format!("the policy calls it {}", class.name())],
            ),
            None => {
                let judged = kept.behaviour.judge(signals.cpus);
                (judged.class, judged.rule.into(), judged.confidence, vec![judged.reason])
            }
        };
        let mut found = None;
        let mut wait_ms_per_s = None;
        if class.is_protected()
            && let Some(used) = used
        {
            let members = || self.census.members(index);
            let contexts = places.unwrap_or_default();
            let scene = gather(members, signals, contexts, used, millicores);
            match kept.judge.judge(&scene, &self.thresholds) {
                Finding::Unusable => {
                    reasons.push("this interval says nothing about waiting".into())
                }
                Finding::Clear(wait) => wait_ms_per_s = Some(wait),
                Finding::Contended(wait, evidence) => {
                    wait_ms_per_s = Some(wait);
                    let victim = Name::clone(&kept.name);
                    let culprits = Vec::new();
                    found = Some(Contention { victim, wait_ms_per_s: wait, evidence, culprits });
                }
            }
        }
        let assessment = Assessment {
            workload: Name::clone(&kept.name),
            class,
            rule,
            confidence,
            reasons,
            members: kept.members.list(),
            millicores,
            wait_ms_per_s,
            allow_irreversible: kept.allow_irreversible,
        };
        (assessment, found)
    }

    fn neighbours(
        &mut self,
        signals: &Signals,
        peers: &HashSet<TaskId>,
        spare: bool,
    ) -> Option<Assessment> {
        let neighbourhood = self.neighbours.as_mut()?;
        let named = self.workloads.iter().enumerate();
        let protected = named.filter(|(_, kept)| kept.class.is_some_and(Class::is_protected));
        let protected: Vec<&Entry> =
            protected.flat_map(|(index, _)| self.census.members(index)).collect();
        let tick = signals.provenance.tick;
        let changed = if protected.is_empty() {
            neighbourhood.clear()
        } else {
            let interval = Interval {
                tick,
                ns: signals.interval_ns,
                spare,
                tasks: &signals.tasks,
                let_go_ns: self.let_go_ns,
            };
            neighbourhood.step(&self.census, &protected, peers, &interval)
        };
        let chosen = neighbourhood.chosen();
        self.neighbour_members
            .refresh(changed, tick, || chosen.iter().filter_map(|&task| self.census.get(task)));
        (!chosen.is_empty()).then(|| Assessment {
            workload: NEIGHBOURS.into(),
            class: Class::Batch,
            rule: "neighbours.same-session".into(),
            confidence: 0.6,
            reasons: vec!["CPU-heavy, of the user and session of a protected process".into()],
            members: self.neighbour_members.list(),
            millicores: self.neighbour_members.millicores(),
            wait_ms_per_s: None,
            allow_irreversible: false,
        })
    }

    /// Names the largest users outside each victim.
    fn blame(&self, contention: &mut [Contention], signals: &Signals) {
        if contention.is_empty() {
            return;
        }
        let used = |task: &TaskSignals| task.millicores.unwrap_or(0.0);
        let mut users: Vec<&TaskSignals> =
            signals.tasks.iter().filter(|task| used(task) >= CULPRIT_LEAST).collect();
        users.sort_by(|a, b| used(b).total_cmp(&used(a)).then(a.task.cmp(&b.task)));
        for contention in contention {
            let culprits = users.iter().map(|task| self.culprit(task, used(task)));
            let others = culprits.filter(|c| c.workload.as_ref() != Some(&contention.victim));
            contention.culprits = others.take(CULPRITS).collect();
        }
    }

    fn culprit(&self, signals: &TaskSignals, millicores: f64) -> Culprit {
        let entry = self.census.get(signals.task);
        let named = entry.and_then(|e| e.workload).map(|w| Name::clone(&self.workloads[w].name));
        let neighbour =
            self.neighbours.as_ref().is_some_and(|n| n.chosen().contains(&signals.task));
        Culprit {
            task: signals.task,
            name: entry.map_or_else(String::new, |entry| entry.info.name.to_string()),
            workload: named.or_else(|| neighbour.then(|| NEIGHBOURS.into())),
            millicores,
        }
    }

    fn undecided(&self) -> Vec<(Name, usize)> {
        let counts = self
            .workloads
            .iter()
            .enumerate()
            .map(|(index, kept)| (Name::clone(&kept.name), self.census.undecided(index)));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

impl Kept {
    fn new(workload: &crate::policy::Workload) -> Self {
        Self {
            name: workload.name.as_str().into(),
            class: workload.class,
            rule: format!("workload.{}", workload.name),
            allow_irreversible: workload.allow_irreversible,
            behaviour: Behaviour::default(),
            judge: Judge::default(),
            members: Members::default(),
        }
    }
}

fn neighbourhood(policy: &Policy) -> Option<Neighbourhood> {
    match policy.neighbours {
        Neighbours::Untouched => None,
        Neighbours::SameSession => Some(Neighbourhood::default()),
    }
}

/// A neighbour is let go after the time after which a workload may climb a tier.
fn nanoseconds(policy: &Policy) -> u64 {
    u64::try_from(policy.timing.cool_down.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
