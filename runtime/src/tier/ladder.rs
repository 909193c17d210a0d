//! The core of the tier stage: assessments in, decisions out.
//!
//! Pure and level-triggered: what everybody is entitled to is said in full at every tick, and the
//! only time it knows is the one the assessments carry.
//!
//! Nobody is held back unless somebody protected is alive. Nor is anybody put on a ladder before
//! it is known how the protected fare, so that what is done can be explained by what it costs
//! them, and its effect be measured; but no longer than a few sweeps, because a workload whose
//! waiting cannot be read is protected all the same.

use super::blame::{Charge, blamed, charges};
use super::holding::{Moment, Move, Terms, nanoseconds};
use super::record::{HoldingState, Record};
use crate::flow::message::{
    Assessment, Assessments, Decisions, Entitlement, Name, Protected, TierChange,
};
use crate::policy::{Class, Policy};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Part of all CPUs in use below which some CPU counts as idle.
const FULL: f64 = 0.9;

/// Sweeps that a workload waits at most before it is put on its ladder. A protected process is
/// looked at closely from the sweep after it was found, and has a rate at the one after that;
/// twice as many, since a sweep may be lost or unusable.
const FIRST_LOOKS: u32 = 4;

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

/// What all workloads share of one tick.
struct Tick<'a> {
    now: u64,
    elapsed: u64,
    spare: bool,
    cpus: u32,
    /// Nobody's rates are known yet.
    blind: bool,
    /// It is known of everybody who is protected how much they wait.
    known: bool,
    contention: Vec<Charge<'a>>,
    protected: BTreeMap<Name, (Option<f64>, bool)>,
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
            contention: assessments.contention.clone(),
            ..Decisions::default()
        };
        let full = FULL * 1000.0 * f64::from(assessments.cpus.max(1));
        let fares = decisions.protected.iter();
        let tick = Tick {
            now,
            elapsed,
            spare: assessments.used_millicores.is_some_and(|used| used < full),
            cpus: assessments.cpus,
            blind: assessments.interval_ns == 0,
            known: decisions.protected.iter().all(|p| p.wait_ms_per_s.is_some()),
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
            Some(rungs) if !self.paused && !tick.protected.is_empty() => &rungs[..],
            _ => &[],
        };
        let record = match self.records.get_mut(&assessment.workload) {
            Some(record) => record,
            None if rungs.is_empty() || tick.blind => return,
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
        if rungs.is_empty() {
            record.looks = 0;
        } else if !(record.holding.is_held() || tick.known || record.looks >= FIRST_LOOKS) {
            record.looks += 1;
            return;
        }
        let terms = Terms { timing: &self.policy.timing, tiers: &self.policy.tiers };
        let moved = if rungs.is_empty() {
            record.holding.release();
            let why = match self.rungs.contains_key(&assessment.class) {
                _ if self.paused => "paused",
                true => "nobody who is protected is alive",
                false => "its class is not held back",
            };
            Some(Move { from, reasons: vec![why.into()], contention: None })
        } else if record.holding.hold(rungs, terms, tick.now) {
            let least = rungs[0];
            let mut reasons =
                vec![format!("{} means tier {least} at least", assessment.class.name())];
            reasons.extend(assessment.reasons.iter().cloned());
            reasons.push(format!("it used {:.1} CPUs", assessment.millicores / 1000.0));
            let others = self.policy.contention.others_millicores;
            let contention = blamed(assessment, &tick.contention, others).cloned();
            Some(Move { from, reasons, contention })
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
            record.looks = 0;
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
