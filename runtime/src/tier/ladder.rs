//! The core of the tier stage: assessments in, decisions out.
//!
//! Pure and level-triggered: what everybody is entitled to is said in full at every tick, and the
//! only time it knows is the one the assessments carry.

use super::cap::CapVerdict;
use super::holding::{Holding, Moment, Move, Terms, nanoseconds};
use crate::flow::message::{
    Assessment, Assessments, Contention, Decisions, Entitlement, Member, Name, Protected,
    TierChange,
};
use crate::policy::{CapWhen, Class, Policy};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Part of all CPUs in use below which some CPU counts as idle.
const FULL: f64 = 0.9;

/// Every workload on its ladder.
#[derive(Debug)]
pub struct Ladder {
    policy: Policy,
    rungs: BTreeMap<Class, Vec<u8>>,
    records: BTreeMap<Name, Record>,
    paused: bool,
    last_at: Option<u64>,
    tick: u64,
    steps: u64,
}

/// What is kept of a workload.
#[derive(Debug)]
struct Record {
    holding: Holding,
    class: Class,
    rule: String,
    seen_at: u64,
    /// The step at which it was last decided on.
    step: u64,
    /// What was last said, if it was not tier 0.
    said: Option<Entitlement>,
}

/// What `status` and `explain` show of the tiers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LadderState {
    /// Last sweep.
    pub tick: u64,
    /// Whether everybody is in tier 0 because somebody asked for that.
    pub paused: bool,
    /// Every workload that is held, or was within the flap window.
    pub workloads: Vec<HoldingState>,
}

/// How one workload stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HoldingState {
    /// Which.
    pub workload: Name,
    /// Its class.
    pub class: Class,
    /// Whether it is on a ladder now.
    pub held: bool,
    /// Its tier.
    pub tier: u8,
    /// Cap in force, millicores.
    pub cap: Option<u32>,
    /// Whether a cap helps.
    pub cap_verdict: CapVerdict,
    /// Since when it is in this tier, ns of the monotonic clock.
    pub since_ns: u64,
    /// Contended ticks since its last move.
    pub contended_ticks: u32,
    /// Time without contention so far, ms.
    pub quiet_ms: u64,
    /// Time without contention after which it may climb, ms.
    pub cool_down_ms: u64,
    /// Times contention came back after a climb: each doubles the cool-down.
    pub relapses: u32,
    /// Changes within the flap window.
    pub changes: usize,
    /// Changes allowed within the flap window.
    pub flap_budget: u32,
    /// Why it does not move.
    pub why: String,
}

/// What all workloads share of one tick.
struct Tick<'a> {
    now: u64,
    elapsed: u64,
    spare: bool,
    cpus: u32,
    contention: Vec<Charge<'a>>,
    protected: BTreeMap<Name, (Option<f64>, bool)>,
}

/// A contention, and whether the culprits that could be named account for it.
struct Charge<'a> {
    contention: &'a Contention,
    explained: bool,
}

impl Ladder {
    /// A ladder on which nobody stands yet. The policy must be without problems; a class whose
    /// ladder leads over undefined tiers is left alone.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        let mut ladder = Self {
            policy: Policy::default(),
            rungs: BTreeMap::new(),
            records: BTreeMap::new(),
            paused: false,
            last_at: None,
            tick: 0,
            steps: 0,
        };
        ladder.set_policy(policy);
        ladder
    }

    /// Puts another policy in force from the next tick on. Where everybody stands stays, as far
    /// as the new ladders have that tier.
    pub fn set_policy(&mut self, policy: &Policy) {
        let ladders = policy.ladder.iter().filter(|(class, _)| class.is_best_effort());
        self.rungs = ladders.map(|(&class, &ladder)| (class, policy.rungs(ladder))).collect();
        self.policy = policy.clone();
    }

    /// While paused everybody is in tier 0.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// How everybody stands.
    #[must_use]
    pub fn state(&self) -> LadderState {
        let workloads = self.records.iter().map(|(name, record)| record.state(name, &self.policy));
        LadderState { tick: self.tick, paused: self.paused, workloads: workloads.collect() }
    }

    /// Decides on one interval.
    #[must_use]
    pub fn step(&mut self, assessments: &Assessments) -> Decisions {
        let now = assessments.provenance.at_ns;
        let elapsed = self.last_at.map_or(0, |last| now.saturating_sub(last));
        self.last_at = Some(now);
        self.tick = assessments.provenance.tick;
        self.steps += 1;
        let mut decisions = Decisions {
            provenance: assessments.provenance,
            protected: protected(assessments),
            ..Decisions::default()
        };
        let full = FULL * 1000.0 * f64::from(assessments.cpus.max(1));
        let fares = decisions.protected.iter();
        let tick = Tick {
            now,
            elapsed,
            spare: assessments.used_millicores.is_some_and(|used| used < full),
            cpus: assessments.cpus,
            contention: charges(assessments),
            protected: fares
                .map(|p| (Name::clone(&p.workload), (p.wait_ms_per_s, p.contended)))
                .collect(),
        };
        for assessment in &assessments.workloads {
            let said = |name| self.records.get(name).is_some_and(|record| record.said.is_some());
            if !(assessments.partial && !self.paused && said(&assessment.workload)) {
                self.decide(assessment, &tick, &mut decisions);
            }
        }
        self.absent(assessments, &tick, &mut decisions);
        decisions
    }

    /// Decides on one living workload.
    fn decide(&mut self, assessment: &Assessment, tick: &Tick<'_>, decisions: &mut Decisions) {
        let rungs = match self.rungs.get(&assessment.class) {
            Some(rungs) if !self.paused => &rungs[..],
            _ => &[],
        };
        let record = match self.records.get_mut(&assessment.workload) {
            Some(record) => record,
            None if rungs.is_empty() => return,
            None => self
                .records
                .entry(Name::clone(&assessment.workload))
                .or_insert_with(|| Record::new(assessment)),
        };
        (record.seen_at, record.step) = (tick.now, self.steps);
        let before = record.entitled();
        let from = record.holding.tier();
        record.class = assessment.class;
        record.rule.clone_from(&assessment.rule);
        let terms = Terms { timing: &self.policy.timing, tiers: &self.policy.tiers };
        let moved = if rungs.is_empty() {
            record.holding.release();
            let why = if self.paused { "paused" } else { "its class is not held back" };
            Some(Move { from, reasons: vec![why.into()], contention: None })
        } else if record.holding.hold(rungs, terms, tick.now) {
            let least = rungs[0];
            let mut reasons =
                vec![format!("{} means tier {least} at least", assessment.class.name())];
            reasons.extend(assessment.reasons.iter().cloned());
            Some(Move { from, reasons, contention: None })
        } else {
            let others = self.policy.contention.others_millicores;
            let moment = Moment {
                now: tick.now,
                elapsed: tick.elapsed,
                spare: tick.spare,
                millicores: assessment.millicores,
                blamed: blamed(assessment, &tick.contention, others),
                protected: &tick.protected,
            };
            record.holding.step(&moment, terms)
        };
        let members = Arc::clone(&assessment.members);
        let allow = assessment.allow_irreversible;
        let entitlement = record.entitlement(assessment, members, allow, tick.cpus, &self.policy);
        if let Some(moved) = moved
            && (moved.from, before) != (entitlement.tier, entitlement.cap)
        {
            decisions.changes.push(change(&entitlement, moved));
        }
        record.say(entitlement, decisions);
    }

    /// Lets go of workloads that are gone, and forgets them after a flap window. While not
    /// everybody is known, whoever is missing may still be there: then what was said holds, with
    /// the members it was said of.
    fn absent(&mut self, assessments: &Assessments, tick: &Tick<'_>, decisions: &mut Decisions) {
        let (window, step) = (nanoseconds(self.policy.timing.flap_window), self.steps);
        self.records.retain(|_, record| {
            if record.step == step {
                return true;
            }
            if assessments.partial && !self.paused {
                record.seen_at = tick.now;
                decisions.entitlements.extend(record.said.clone());
                return true;
            }
            record.holding.release();
            if let Some(said) = record.said.take() {
                let from = said.tier;
                let why = if self.paused { "paused" } else { "no member is alive" };
                let free = unrestricted(said, &self.policy);
                let moved = Move { from, reasons: vec![why.into()], contention: None };
                decisions.changes.push(change(&free, moved));
                decisions.entitlements.push(free);
            }
            tick.now.saturating_sub(record.seen_at) < window
        });
    }
}

impl Record {
    fn new(assessment: &Assessment) -> Self {
        Self {
            holding: Holding::default(),
            class: assessment.class,
            rule: assessment.rule.clone(),
            seen_at: 0,
            step: 0,
            said: None,
        }
    }

    /// The cap last said.
    fn entitled(&self) -> Option<u32> {
        self.said.as_ref().and_then(|said| said.cap)
    }

    fn entitlement(
        &self,
        assessment: &Assessment,
        members: Arc<[Member]>,
        allow_irreversible: bool,
        cpus: u32,
        policy: &Policy,
    ) -> Entitlement {
        let number = self.holding.tier();
        let tier = policy.tiers.get(&number).copied();
        let cap = tier.and_then(|tier| {
            let acts = match tier.when {
                CapWhen::Contended => self.holding.is_capped(),
                CapWhen::Always => self.holding.is_held(),
                CapWhen::Never => false,
            };
            tier.cap.filter(|_| acts && number != 0).and_then(|percent| millicores(percent, cpus))
        });
        Entitlement {
            workload: Name::clone(&assessment.workload),
            tier: number,
            weight: tier.map_or(100, |tier| tier.share),
            idle: tier.is_some_and(|tier| tier.idle),
            cap,
            priority: tier.map_or(crate::policy::Priority::Normal, |tier| tier.priority).level(),
            members,
            rule: assessment.rule.clone(),
            allow_irreversible,
        }
    }

    /// Says what it is entitled to: always if that is not tier 0, once if it has become tier 0.
    fn say(&mut self, entitlement: Entitlement, decisions: &mut Decisions) {
        if entitlement.tier != 0 {
            self.said = Some(entitlement.clone());
            decisions.entitlements.push(entitlement);
        } else if self.said.take().is_some() {
            decisions.entitlements.push(entitlement);
        }
    }

    fn state(&self, name: &Name, policy: &Policy) -> HoldingState {
        let holding = &self.holding;
        HoldingState {
            workload: Name::clone(name),
            class: self.class,
            held: holding.is_held(),
            tier: holding.tier(),
            cap: self.entitled(),
            cap_verdict: holding.verdict,
            since_ns: holding.since,
            contended_ticks: holding.contended_ticks,
            quiet_ms: holding.quiet_ns / 1_000_000,
            cool_down_ms: holding.cool_down(&policy.timing) / 1_000_000,
            relapses: holding.relapses,
            changes: holding.changes(),
            flap_budget: policy.timing.flap_budget,
            why: holding.why.into(),
        }
    }
}

/// The worst contention a workload has a part in: it is named, or it used as much as counts, or
/// the culprits could not be named (they did not live long enough) and it used something.
fn blamed<'a>(
    assessment: &Assessment,
    charges: &[Charge<'a>],
    others: f64,
) -> Option<&'a Contention> {
    let part = |charge: &&Charge<'a>| {
        let culprits = &charge.contention.culprits;
        culprits.iter().any(|culprit| culprit.workload.as_ref() == Some(&assessment.workload))
            || assessment.millicores >= others
            || (!charge.explained && assessment.millicores > 0.0)
    };
    let worst = |a: &&Contention, b: &&Contention| a.wait_ms_per_s.total_cmp(&b.wait_ms_per_s);
    charges.iter().filter(part).map(|charge| charge.contention).max_by(worst)
}

/// Culprits that used less than half of what others used do not account for it.
fn charges<'a>(assessments: &'a Assessments) -> Vec<Charge<'a>> {
    let protected = assessments.workloads.iter().filter(|a| a.class.is_protected());
    let own: BTreeMap<&Name, f64> = protected.map(|a| (&a.workload, a.millicores)).collect();
    let charge = |contention: &'a Contention| {
        let Contention { victim, culprits, .. } = contention;
        let named: f64 = culprits.iter().map(|culprit| culprit.millicores).sum();
        let others =
            assessments.used_millicores.map_or(0.0, |used| used - own.get(victim).unwrap_or(&0.0));
        Charge { contention, explained: !culprits.is_empty() && named * 2.0 >= others }
    };
    assessments.contention.iter().map(charge).collect()
}

fn protected(assessments: &Assessments) -> Vec<Protected> {
    let protected = assessments.workloads.iter().filter(|a| a.class.is_protected());
    let contended = |name: &Name| assessments.contention.iter().any(|c| c.victim == *name);
    protected
        .map(|assessment| Protected {
            workload: Name::clone(&assessment.workload),
            members: Arc::clone(&assessment.members),
            wait_ms_per_s: assessment.wait_ms_per_s,
            contended: contended(&assessment.workload),
        })
        .collect()
}

/// A percentage of the allotment, here of all CPUs, in millicores; `None` if their number is not
/// known.
fn millicores(percent: f64, cpus: u32) -> Option<u32> {
    let share = f64::from(cpus) * 10.0 * percent;
    (cpus > 0).then(|| share.round().max(1.0) as u32)
}

/// Tier 0 for whoever is gone.
fn unrestricted(said: Entitlement, policy: &Policy) -> Entitlement {
    Entitlement {
        tier: 0,
        weight: policy.tiers.get(&0).map_or(100, |tier| tier.share),
        idle: false,
        cap: None,
        priority: crate::policy::Priority::Normal.level(),
        members: Arc::default(),
        ..said
    }
}

fn change(entitlement: &Entitlement, moved: Move) -> TierChange {
    TierChange {
        workload: Name::clone(&entitlement.workload),
        from: moved.from,
        to: entitlement.tier,
        cap: entitlement.cap,
        rule: entitlement.rule.clone(),
        reasons: moved.reasons,
        contention: moved.contention,
    }
}

#[cfg(test)]
mod tests;
