//! A cap on trial: quotas cost work, so one stays only if it helps whom it is for.

use crate::flow::message::Name;
use serde::{Deserialize, Serialize};

/// Part of the waiting before that must at most be left for a cap to have helped.
const HELPED: f64 = 0.75;

/// What is known about whether a cap helps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapVerdict {
    /// None was tried, or nobody could tell.
    #[default]
    Untried,
    /// One is being tried.
    OnTrial,
    /// The victim waited less.
    Helped,
    /// It did not: shares alone from then on, for a flap window.
    DidNotHelp,
}

/// The contention that goes on at the last tier although shares act.
#[derive(Clone, Debug, Default)]
pub(super) struct Persistence {
    victim: Option<Name>,
    ticks: u32,
    wait: f64,
}

impl Persistence {
    /// One more contended tick.
    pub(super) fn note(&mut self, victim: &Name, wait: f64) {
        if self.victim.as_ref() != Some(victim) {
            *self = Self { victim: Some(Name::clone(victim)), ..Self::default() };
        }
        self.ticks += 1;
        self.wait += wait;
    }

    /// How bad it is, ms per second.
    pub(super) fn mean(&self) -> f64 {
        self.wait / f64::from(self.ticks.max(1))
    }

    /// How long it has gone on, ticks.
    pub(super) fn ticks(&self) -> u32 {
        self.ticks
    }
}

/// A cap in force.
#[derive(Clone, Debug)]
pub(super) struct Cap {
    /// Whom it is for.
    pub(super) victim: Name,
    baseline: f64,
    ticks: u32,
    wait: f64,
    blind: u32,
    decided: bool,
}

/// What one more tick says about a cap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Say {
    /// Nothing new.
    Nothing,
    /// It helped: waiting before and after, ms per second.
    Helped(f64, f64),
    /// It did not.
    DidNotHelp(f64, f64),
    /// Nobody has been able to tell for long.
    Blind,
}

impl Cap {
    /// A cap against what persisted; `None` if nothing did.
    pub(super) fn against(persistence: &Persistence) -> Option<Self> {
        let victim = persistence.victim.clone()?;
        let baseline = persistence.mean();
        Some(Self { victim, baseline, ticks: 0, wait: 0.0, blind: 0, decided: false })
    }

    /// Takes in what the victim waited in this interval, if that is known. Judged after `trial`
    /// usable ticks; the first, in which it came into force, does not count.
    pub(super) fn observe(&mut self, wait: Option<f64>, trial: u32) -> Say {
        let Some(wait) = wait else {
            self.blind += 1;
            return if self.blind >= trial.saturating_mul(4) { Say::Blind } else { Say::Nothing };
        };
        self.blind = 0;
        if self.decided {
            return Say::Nothing;
        }
        self.ticks += 1;
        if self.ticks > 1 {
            self.wait += wait;
        }
        if self.ticks <= trial {
            return Say::Nothing;
        }
        self.decided = true;
        let after = self.wait / f64::from(trial.max(1));
        if after <= self.baseline * HELPED {
            Say::Helped(self.baseline, after)
        } else {
            Say::DidNotHelp(self.baseline, after)
        }
    }
}
