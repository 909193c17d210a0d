//! Where one workload stands on its ladder, and what moves it.
//!
//! Fast down: every `down_after` contended ticks one tier, as far as the class allows. At the
//! last tier, if contention goes on although shares act, and more than half as bad as before, a
//! cap is tried, and dropped again if it does not help.
//!
//! Slow up: one tier after a cool-down without contention, and only if the workload would not
//! take the CPU from its victim at once: either it wanted none all that time, or the machine had
//! idle CPU for half a cool-down longer than it had none. A contention-free time on a full machine proves that the tier
//! works, not that it is no longer needed. Each contention after a climb doubles the cool-down,
//! up to the flap window, until a whole window has passed without a change.
//!
//! The flap budget is never exceeded, and never stands in the way of protection: a climb is made
//! only if enough of the budget is left to come all the way down again, and with less than that
//! left the next step down leads straight to the last tier.

use super::budget::Budget;
use super::cap::{Cap, CapVerdict, Persistence, Say};
use crate::flow::message::{Contention, Name};
use crate::policy::{CapWhen, Tier, Timing};
use std::collections::{BTreeMap, BTreeSet};

/// Doublings of the cool-down.
const RELAPSES: u32 = 5;
/// Part of the waiting that is left when a share has done its work: what goes on then is paid for
/// with a cap only if more than this is left. Quotas cost far more work than shares.
const SHARES_HELPED: f64 = 0.5;
/// Waiting that is worth a cap at all, ms per second. A quota hands out the CPU in bursts and so
/// costs a protected workload some 100 ms per second itself; shares leave a few tens at worst.
const WORTH_A_CAP: f64 = 200.0;
/// Use below which a workload wants nothing, millicores.
const NOTHING: f64 = 1.0;

/// What the policy says, as one workload needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) timing: &'a Timing,
    pub(super) tiers: &'a BTreeMap<u8, Tier>,
}

/// One tick, seen from one workload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment<'a> {
    pub(super) now: u64,
    /// Time since the tick before, ns.
    pub(super) elapsed: u64,
    /// Whether some CPU was idle.
    pub(super) spare: bool,
    /// What the workload used, millicores.
    pub(super) millicores: f64,
    /// The worst contention it is blamed for.
    pub(super) blamed: Option<&'a Contention>,
    /// How much each protected workload waited, if that is known, and whether it is contended.
    pub(super) protected: &'a BTreeMap<Name, (Option<f64>, bool)>,
}

/// What happened at a tick.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Move {
    pub(super) from: u8,
    pub(super) reasons: Vec<String>,
    pub(super) contention: Option<Contention>,
}

/// One workload on its ladder.
#[derive(Clone, Debug, Default)]
pub(super) struct Holding {
    /// Tiers from rest to floor; empty while nothing holds it.
    rungs: Vec<u8>,
    at: usize,
    cap: Option<Cap>,
    pub(super) verdict: CapVerdict,
    verdict_at: u64,
    pub(super) since: u64,
    pub(super) contended_ticks: u32,
    persistence: Persistence,
    /// The most its victims waited before it was in its last tier, ms per second.
    onset: f64,
    /// Whom it made wait since it left its rest.
    victims: BTreeSet<Name>,
    pub(super) quiet_ns: u64,
    /// Time with idle CPU, less the time without; never more than a cool-down.
    spare_ns: u64,
    /// Time since it last used anything.
    unused_ns: u64,
    pub(super) relapses: u32,
    climbed_at: Option<u64>,
    budget: Budget,
    /// Why it does not move, for people.
    pub(super) why: &'static str,
}

impl Holding {
    /// Its tier; 0 if nothing holds it.
    pub(super) fn tier(&self) -> u8 {
        self.rungs.get(self.at).copied().unwrap_or(0)
    }

    pub(super) fn is_held(&self) -> bool {
        !self.rungs.is_empty()
    }

    pub(super) fn is_capped(&self) -> bool {
        self.cap.is_some()
    }

    /// Changes within the flap window.
    pub(super) fn changes(&self) -> usize {
        self.budget.spent()
    }

    /// Lets go of it at once, whatever the budget says; what was learned stays.
    pub(super) fn release(&mut self) {
        (self.rungs, self.at) = (Vec::new(), 0);
        self.drop_cap();
        self.victims.clear();
        self.contended_ticks = 0;
        self.persistence = Persistence::default();
        self.forget_quiet();
        self.why = "";
    }

    /// Puts it on a ladder, or on another one. That follows from its class and is not flapping,
    /// so it costs nothing; but whoever has used up the budget enters as low as is needed to get
    /// to the last tier with what is left.
    pub(super) fn hold(&mut self, rungs: &[u8], terms: Terms<'_>, now: u64) -> bool {
        if self.rungs == rungs || rungs.is_empty() {
            return false;
        }
        let tier = self.tier();
        let last = rungs.len() - 1;
        self.budget.forget(now, nanoseconds(terms.timing.flap_window));
        let left = self.budget.left(terms.timing.flap_budget);
        let lowest_needed = if self.budget.spent() == 0 { 0 } else { last.saturating_sub(left) };
        self.at = rungs.iter().position(|&rung| rung >= tier).unwrap_or(last).max(lowest_needed);
        self.rungs = rungs.to_vec();
        if self.tier() != tier {
            self.drop_cap();
            self.since = now;
        }
        true
    }

    /// One tick; at most one move.
    pub(super) fn step(&mut self, moment: &Moment<'_>, terms: Terms<'_>) -> Option<Move> {
        let Moment { now, .. } = *moment;
        let window = nanoseconds(terms.timing.flap_window);
        self.budget.forget(now, window);
        if self.budget.spent() == 0 {
            self.relapses = 0;
        }
        if self.verdict == CapVerdict::DidNotHelp && now.saturating_sub(self.verdict_at) >= window {
            self.verdict = CapVerdict::Untried;
        }
        if let Some(dropped) = self.judge_cap(moment, terms) {
            return Some(dropped);
        }
        if let Some(contention) = moment.blamed {
            return self.contended(moment, contention, terms);
        }
        let suffers = |victim: &Name| match moment.protected.get(victim) {
            Some((wait, contended)) => *contended || wait.is_none(),
            None => false,
        };
        if self.victims.iter().any(suffers) {
            self.why = "a workload it made wait still does, or it cannot be told";
            return None;
        }
        self.quiet(moment, terms)
    }

    fn contended(
        &mut self,
        moment: &Moment<'_>,
        contention: &Contention,
        terms: Terms<'_>,
    ) -> Option<Move> {
        self.forget_quiet();
        self.victims.insert(Name::clone(&contention.victim));
        self.contended_ticks = self.contended_ticks.saturating_add(1);
        let below = self.rungs.len() - 1 - self.at;
        if below > 0 {
            let before = if self.at == 0 && self.contended_ticks == 1 { 0.0 } else { self.onset };
            self.onset = before.max(contention.wait_ms_per_s);
            return self.down(below, moment, contention, terms);
        }
        self.why = "it is in its last tier";
        self.persistence.note(&contention.victim, contention.wait_ms_per_s);
        self.try_cap(moment, contention, terms)
    }

    fn down(
        &mut self,
        below: usize,
        moment: &Moment<'_>,
        contention: &Contention,
        terms: Terms<'_>,
    ) -> Option<Move> {
        let Terms { timing, .. } = terms;
        let left = self.budget.left(timing.flap_budget);
        if self.contended_ticks < timing.down_after {
            self.why = "contention is not confirmed yet";
            return None;
        }
        if left == 0 {
            self.why = "its changes for this window are used up";
            return None;
        }
        let from = self.tier();
        self.relapse(moment.now, timing);
        self.at += if left < below { below } else { 1 };
        self.moved(moment.now);
        Some(Move {
            from,
            reasons: vec![suffering(contention)],
            contention: Some(contention.clone()),
        })
    }

    fn try_cap(
        &mut self,
        moment: &Moment<'_>,
        contention: &Contention,
        terms: Terms<'_>,
    ) -> Option<Move> {
        let tier = self.tier();
        let possible = terms
            .tiers
            .get(&tier)
            .is_some_and(|tier| tier.cap.is_some() && tier.when == CapWhen::Contended);
        let ticks = self.persistence.ticks();
        // One to set it, and one to take it back if it does not help.
        let mean = self.persistence.mean();
        let helped = mean < WORTH_A_CAP || mean < self.onset * SHARES_HELPED;
        let affordable = self.budget.left(terms.timing.flap_budget) >= 2;
        if !possible
            || self.cap.is_some()
            || self.verdict == CapVerdict::DidNotHelp
            || ticks < terms.timing.cap_after
            || helped
            || !affordable
        {
            return None;
        }
        self.cap = Cap::against(&self.persistence);
        self.verdict = CapVerdict::OnTrial;
        self.persistence = Persistence::default();
        self.relapse(moment.now, terms.timing);
        self.moved(moment.now);
        let why = format!("its share did not end that in {ticks} ticks: a cap is tried");
        let reasons = vec![suffering(contention), why];
        Some(Move { from: tier, reasons, contention: Some(contention.clone()) })
    }

    /// Drops a cap that does not help, or of which nobody can tell.
    fn judge_cap(&mut self, moment: &Moment<'_>, terms: Terms<'_>) -> Option<Move> {
        let cap = self.cap.as_mut()?;
        let wait = moment.protected.get(&cap.victim).and_then(|(wait, _)| *wait);
        let (verdict, reason) = match cap.observe(wait, terms.timing.cap_trial) {
            Say::Nothing => return None,
            Say::Helped(..) => {
                self.verdict = CapVerdict::Helped;
                return None;
            }
            Say::DidNotHelp(before, after) => (
                CapVerdict::DidNotHelp,
                format!(
                    "the cap did not help: {} waited {before:.0} ms per second before and {after:.0} ms with it",
                    cap.victim
                ),
            ),
            Say::Blind => (
                CapVerdict::Untried,
                format!("nobody can tell any more whether the cap helps {}", cap.victim),
            ),
        };
        let from = self.tier();
        self.cap = None;
        (self.verdict, self.verdict_at) = (verdict, moment.now);
        self.moved(moment.now);
        Some(Move { from, reasons: vec![reason], contention: None })
    }

    fn quiet(&mut self, moment: &Moment<'_>, terms: Terms<'_>) -> Option<Move> {
        let Terms { timing, .. } = terms;
        self.contended_ticks = 0;
        self.persistence = Persistence::default();
        if self.at == 0 && self.cap.is_none() {
            self.victims.clear();
            self.why = "it rests";
            return None;
        }
        self.quiet_ns += moment.elapsed;
        let cool_down = self.cool_down(timing);
        self.spare_ns = match moment.spare {
            true => (self.spare_ns + moment.elapsed).min(cool_down),
            false => self.spare_ns.saturating_sub(moment.elapsed),
        };
        self.unused_ns =
            if moment.millicores < NOTHING { self.unused_ns + moment.elapsed } else { 0 };
        if self.quiet_ns < cool_down {
            self.why = "it cools down";
            return None;
        }
        if moment.now.saturating_sub(self.since) < nanoseconds(timing.dwell) {
            self.why = "it stays in a tier for a while";
            return None;
        }
        let seconds = self.quiet_ns as f64 / 1e9;
        let from = self.tier();
        if self.drop_cap() {
            self.climbed(moment.now);
            let reasons = vec![format!("no contention for {seconds:.0} s: the cap ends")];
            return Some(Move { from, reasons, contention: None });
        }
        let reason = if self.unused_ns >= cool_down {
            "it wanted no CPU"
        } else if self.spare_ns >= cool_down / 2 {
            "the machine had idle CPU"
        } else {
            self.why = "the machine has no idle CPU: with more it would make others wait again";
            return None;
        };
        // The climb, and all the way down again.
        let cost = 1 + self.rungs.len() - self.at;
        if self.budget.left(timing.flap_budget) < cost {
            self.why = "its changes for this window are used up";
            return None;
        }
        self.at -= 1;
        self.climbed(moment.now);
        let reasons = vec![format!("no contention for {seconds:.0} s"), reason.into()];
        Some(Move { from, reasons, contention: None })
    }

    /// Time without contention after which it may climb, ns.
    pub(super) fn cool_down(&self, timing: &Timing) -> u64 {
        let once = nanoseconds(timing.cool_down);
        let doubled = once.saturating_mul(1 << self.relapses.min(RELAPSES));
        doubled.min(nanoseconds(timing.flap_window).max(once))
    }

    fn climbed(&mut self, now: u64) {
        self.moved(now);
        self.forget_quiet();
        self.climbed_at = Some(now);
    }

    fn relapse(&mut self, now: u64, timing: &Timing) {
        let recent = |at: u64| now.saturating_sub(at) < nanoseconds(timing.flap_window);
        if self.climbed_at.take().is_some_and(recent) {
            self.relapses = (self.relapses + 1).min(RELAPSES);
        }
    }

    fn moved(&mut self, now: u64) {
        self.since = now;
        self.contended_ticks = 0;
        self.budget.spend(now);
        self.why = "it has just moved";
    }

    fn drop_cap(&mut self) -> bool {
        if self.verdict == CapVerdict::OnTrial {
            self.verdict = CapVerdict::Untried;
        }
        self.cap.take().is_some()
    }

    fn forget_quiet(&mut self) {
        (self.quiet_ns, self.spare_ns, self.unused_ns) = (0, 0, 0);
    }
}

fn suffering(contention: &Contention) -> String {
    format!(
        "{} waited {:.0} ms of the last second because of others",
        contention.victim, contention.wait_ms_per_s
    )
}

pub(super) fn nanoseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
