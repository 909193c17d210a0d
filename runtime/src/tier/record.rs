//! What is kept and said of one workload.

use super::cap::CapVerdict;
use super::holding::Holding;
use crate::flow::message::{Assessment, Decisions, Entitlement, Member, Name};
use crate::policy::{CapWhen, Class, Policy, Priority};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is kept of a workload.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) holding: Holding,
    pub(super) class: Class,
    pub(super) rule: String,
    pub(super) seen_at: u64,
    /// The step at which it was last decided on.
    pub(super) step: u64,
    /// Sweeps it has waited before it was put on its ladder.
    pub(super) looks: u32,
    /// What was last said, if it was not tier 0.
    pub(super) said: Option<Entitlement>,
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

impl Record {
    pub(super) fn new(assessment: &Assessment) -> Self {
        Self {
            holding: Holding::default(),
            class: assessment.class,
            rule: assessment.rule.clone(),
            seen_at: 0,
            step: 0,
            looks: 0,
            said: None,
        }
    }

    /// The cap last said.
    pub(super) fn entitled(&self) -> Option<u32> {
        self.said.as_ref().and_then(|said| said.cap)
    }

    pub(super) fn entitlement(
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
            priority: tier.map_or(Priority::Normal, |tier| tier.priority).level(),
            members,
            rule: assessment.rule.clone(),
            allow_irreversible,
        }
    }

    /// Says what it is entitled to: always if that is not tier 0, once if it has become tier 0.
    pub(super) fn say(&mut self, entitlement: Entitlement, decisions: &mut Decisions) {
        if entitlement.tier != 0 {
            self.said = Some(entitlement.clone());
            decisions.entitlements.push(entitlement);
        } else if self.said.take().is_some() {
            decisions.entitlements.push(entitlement);
        }
    }

    pub(super) fn state(&self, name: &Name, policy: &Policy) -> HoldingState {
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

/// A percentage of the allotment, here of all CPUs, in millicores; `None` if their number is not
/// known.
fn millicores(percent: f64, cpus: u32) -> Option<u32> {
    let share = f64::from(cpus) * 10.0 * percent;
    (cpus > 0).then(|| share.round().max(1.0) as u32)
}
