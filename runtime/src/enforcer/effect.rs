//! Did it help? Measures each action by what the one who waited waits afterwards. Pure.
//!
//! The measure is the median over the next `SAMPLES` usable sweeps: the first of them still
//! holds a part of the time before, and one odd sweep shall not decide. Actions close to each
//! other are measured each by itself, so a later one may take credit with an earlier one; the
//! numbers say what was seen, not what would have been.
//!
//! Against an action counts only waiting that is still others' doing: who has more threads than
//! there are CPUs waits however well it is protected, and after a moment of contention that is
//! over, nobody can tell.

use crate::flow::activity::{Action, Effect};
use crate::flow::message::{Name, Protected};
use std::collections::VecDeque;

/// Usable sweeps that are looked at.
const SAMPLES: usize = 4;

/// Sweeps after which a measurement is given up: the victim left, or no sweep was usable.
pub const PATIENCE: u64 = 40;

/// Actions measured at a time; the oldest makes room.
const OPEN: usize = 64;

/// Waiting below which nothing can be said about an effect, ms per second.
const NOISE: f64 = 5.0;

/// Part of the waiting that must have gone for an action to have helped.
const WORTH: f64 = 0.2;

/// Actions whose effect is not known yet.
#[derive(Debug, Default)]
pub struct Ledger {
    open: VecDeque<Measure>,
}

/// An action whose effect is known.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The action, with its effect.
    pub action: Action,
    /// Whether it took a noticeable part of the waiting away; `None` if that cannot be told.
    pub helped: Option<bool>,
}

#[derive(Debug)]
struct Measure {
    action: Action,
    victim: Name,
    before: f64,
    /// Whether the victim waited because of others before.
    contended: bool,
    after: Vec<f64>,
    /// Sweeps of `after` in which it still did.
    still: usize,
}

// === impl Ledger ===

impl Ledger {
    /// Starts to measure an action by whom it was for, or else by whoever waited most when it
    /// was taken; not if nobody could tell.
    pub fn begin(&mut self, action: &Action, protected: &[Protected]) {
        let (victim, before, contended) = match &action.contention {
            Some(contention) => (contention.victim.clone(), contention.wait_ms_per_s, true),
            None => {
                let known = protected.iter().filter_map(|workload| {
                    Some((&workload.workload, workload.wait_ms_per_s?, workload.contended))
                });
                let worst =
                    known.max_by(|one, other| one.2.cmp(&other.2).then(one.1.total_cmp(&other.1)));
                match worst {
                    Some((workload, wait, contended)) => (workload.clone(), wait, contended),
                    None => return,
                }
            }
        };
        if self.open.len() == OPEN {
            self.open.pop_front();
        }
        let (action, after) = (action.clone(), Vec::new());
        self.open.push_back(Measure { action, victim, before, contended, after, still: 0 });
    }

    /// Takes in how the protected fare at the sweep `tick`; answers the actions whose effect is
    /// now known.
    pub fn observe(&mut self, tick: u64, protected: &[Protected]) -> Vec<Measured> {
        let mut done = Vec::new();
        self.open.retain_mut(|measure| {
            let seen = protected.iter().find(|workload| workload.workload == measure.victim);
            if let Some((workload, wait)) = seen.and_then(|w| Some((w, w.wait_ms_per_s?))) {
                measure.after.push(wait);
                measure.still += usize::from(workload.contended);
            }
            if measure.after.len() >= SAMPLES {
                done.push(measure.judge());
                return false;
            }
            tick.saturating_sub(measure.action.provenance.tick) < PATIENCE
        });
        done
    }
}

// === impl Measure ===

impl Measure {
    fn judge(&mut self) -> Measured {
        let after = median(&mut self.after);
        let mut action = self.action.clone();
        action.effect = Some(Effect {
            victim: self.victim.clone(),
            wait_before_ms_per_s: self.before,
            wait_after_ms_per_s: after,
            contended: self.contended,
        });
        let still = self.still * 2 > self.after.len();
        // Who did not wait because of others before had nothing to gain.
        let helped = helped(self.before, after, still).filter(|_| self.contended);
        Measured { action, helped }
    }
}

/// What the waiting before and after says, and whether what is left is others' doing.
fn helped(before: f64, after: f64, still_contended: bool) -> Option<bool> {
    if before < NOISE {
        return None;
    }
    let helped = after <= before * (1.0 - WORTH);
    (helped || still_contended).then_some(helped)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values {
        [] => 0.0,
        _ if values.len() % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::flow::activity::ActionKind;
    use crate::flow::message::Provenance;
    use std::sync::Arc;

    fn action(tick: u64) -> Action {
        Action {
            seq: 7,
            provenance: Provenance { tick, ..Default::default() },
            workload: "batch".into(),
            kind: ActionKind::Weight,
            dry_run: false,
            tier: 2,
            rule: "workload.batch".to_owned(),
            change: None,
            contention: None,
            lever: String::new(),
            knobs: Vec::new(),
            effect: None,
        }
    }

    fn waits(wait: Option<f64>) -> [Protected; 1] {
        [Protected {
            workload: "redis".into(),
            members: Arc::from([]),
            wait_ms_per_s: wait,
            contended: true,
        }]
    }

    #[test]
    fn the_effect_is_the_median_of_the_next_four_usable_sweeps() {
        let mut ledger = Ledger::default();
        ledger.begin(&action(1), &waits(Some(340.0)));
        for (tick, wait) in [(2, Some(300.0)), (3, None), (4, Some(4.0)), (5, Some(6.0))] {
            assert!(ledger.observe(tick, &waits(wait)).is_empty());
        }
        let done = ledger.observe(6, &waits(Some(2.0)));
        let effect = done[0].action.effect.as_ref().unwrap();
        assert_eq!((effect.wait_before_ms_per_s, effect.wait_after_ms_per_s), (340.0, 5.0));
        assert_eq!((done[0].action.seq, done[0].helped), (7, Some(true)));
        assert!(ledger.observe(7, &waits(Some(2.0))).is_empty(), "told once");
    }

    #[test]
    fn nobody_could_tell_nothing_to_measure() {
        let mut ledger = Ledger::default();
        ledger.begin(&action(1), &[]);
        ledger.begin(&action(1), &waits(None));
        assert!(ledger.open.is_empty());
    }

    #[test]
    fn an_action_that_came_in_time_is_measured_and_says_nothing_against_its_lever() {
        let mut ledger = Ledger::default();
        let mut calm = waits(Some(20.0));
        calm[0].contended = false;
        ledger.begin(&action(1), &calm);
        let done: Vec<_> = (2..6).flat_map(|tick| ledger.observe(tick, &calm)).collect();
        let effect = done[0].action.effect.as_ref().unwrap();
        assert_eq!((effect.wait_before_ms_per_s, effect.contended), (20.0, false));
        assert_eq!(done[0].helped, None);
    }

    #[test]
    fn whom_it_was_for_is_the_measure_then_who_suffers_then_who_waits() {
        let measured = |action: &Action, protected: &[Protected]| {
            let mut ledger = Ledger::default();
            ledger.begin(action, protected);
            ledger.open[0].victim.to_string()
        };
        let [redis] = waits(Some(340.0));
        let busy = Protected { workload: "busy".into(), contended: false, ..redis.clone() };
        let busy = Protected { wait_ms_per_s: Some(900.0), ..busy };
        assert_eq!(measured(&action(1), &[busy.clone(), redis.clone()]), "redis");
        assert_eq!(measured(&action(1), std::slice::from_ref(&busy)), "busy");
        let mut named = action(1);
        named.contention = Some(crate::flow::message::Contention {
            victim: "web".into(),
            wait_ms_per_s: 60.0,
            evidence: Vec::new(),
            culprits: Vec::new(),
        });
        assert_eq!(measured(&named, &[busy, redis]), "web");
    }

    #[test]
    fn a_victim_that_left_is_given_up() {
        let mut ledger = Ledger::default();
        ledger.begin(&action(1), &waits(Some(50.0)));
        for tick in 2..=PATIENCE + 1 {
            assert!(ledger.observe(tick, &[]).is_empty());
        }
        assert!(ledger.open.is_empty());
    }

    #[test]
    fn too_little_waiting_says_nothing() {
        assert_eq!(helped(3.0, 3.0, true), None);
        assert_eq!(helped(100.0, 95.0, true), Some(false));
        assert_eq!(helped(100.0, 80.0, true), Some(true));
        assert_eq!(helped(100.0, 80.0, false), Some(true));
    }

    #[test]
    fn waiting_that_is_not_others_doing_says_nothing_against_an_action() {
        let verdict = |contended: [bool; SAMPLES]| {
            let mut ledger = Ledger::default();
            ledger.begin(&action(1), &waits(Some(340.0)));
            let sweeps = (2..).zip(contended).flat_map(|(tick, contended)| {
                let mut protected = waits(Some(340.0));
                protected[0].contended = contended;
                ledger.observe(tick, &protected)
            });
            let done: Vec<_> = sweeps.collect();
            assert_eq!(done.len(), 1);
            done[0].helped
        };
        // Its own threads keep it waiting; only for a moment it seemed to be somebody else.
        assert_eq!(verdict([true, false, false, false]), None);
        assert_eq!(verdict([true, true, false, false]), None);
        assert_eq!(verdict([true, true, false, true]), Some(false));
    }
}
