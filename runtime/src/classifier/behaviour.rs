//! What a workload is that the policy names but does not classify, judged by what it does.
//!
//! Modest on purpose: it tells apart only who keeps CPUs busy and who does not. It never calls
//! anything protected (whoever is to be protected is named), and it looks only at workloads the
//! policy names, never at strangers.

use crate::policy::Class;
use std::collections::VecDeque;

/// How long it looks before it says anything, ns.
const WINDOW_NS: u64 = 10_000_000_000;
/// Mean use from which a workload keeps a CPU busy, millicores.
const BUSY: f64 = 800.0;
/// Mean use below which it no longer does, provided that it could have used more, millicores.
const CALM: f64 = 400.0;
/// Part of all CPUs from which it takes everything there is.
const EVERYTHING: f64 = 0.9;

/// Rule that makes a workload [`Class::Batch`].
const BUSY_RULE: &str = "behaviour.keeps-a-cpu-busy";
/// Rule that makes a workload [`Class::Runaway`].
const EVERYTHING_RULE: &str = "behaviour.takes-every-cpu";
/// Neither applies.
const NONE_RULE: &str = "behaviour.none";

/// A class, the rule that gave it, how sure, and why.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judgement {
    pub(super) class: Class,
    pub(super) rule: &'static str,
    /// 0..=1.
    pub(super) confidence: f64,
    pub(super) reason: String,
}

/// The last ten seconds of one workload.
#[derive(Debug)]
pub(super) struct Behaviour {
    samples: VecDeque<Sample>,
    total: Sample,
    class: Class,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    ns: u64,
    /// millicores times ns
    used: f64,
    /// Time in which some CPU was idle, ns.
    spare_ns: u64,
}

impl Default for Behaviour {
    fn default() -> Self {
        let (samples, total) = (VecDeque::new(), Sample::default());
        Self { samples, total, class: Class::Unknown }
    }
}

impl Behaviour {
    /// Takes in one interval: its length, the workload's use, and whether some CPU was idle.
    pub(super) fn observe(&mut self, ns: u64, millicores: f64, spare: bool) {
        if ns == 0 {
            return;
        }
        let sample =
            Sample { ns, used: millicores * ns as f64, spare_ns: if spare { ns } else { 0 } };
        self.samples.push_back(sample);
        self.total.add(sample, 1.0);
        while let Some(&oldest) = self.samples.front()
            && self.total.ns - oldest.ns >= WINDOW_NS
        {
            self.total.add(oldest, -1.0);
            self.samples.pop_front();
        }
    }

    /// What the workload is, as far as can be told.
    pub(super) fn judge(&mut self, cpus: u32) -> Judgement {
        let seconds = WINDOW_NS / 1_000_000_000;
        if self.total.ns < WINDOW_NS {
            let reason = format!("watched for less than {seconds} s");
            return Judgement { class: self.class, rule: NONE_RULE, confidence: 0.0, reason };
        }
        let mean = self.total.used / self.total.ns as f64;
        let all = f64::from(cpus.max(1)) * 1000.0;
        // On little use alone nobody is acquitted: whoever is held back uses little.
        let could_have_more = self.total.spare_ns * 2 >= self.total.ns;
        if mean >= BUSY {
            let everything = mean >= all * EVERYTHING && cpus > 1;
            let worse = everything || self.class == Class::Runaway;
            self.class = if worse { Class::Runaway } else { Class::Batch };
        } else if mean < CALM && could_have_more {
            self.class = Class::Unknown;
        }
        let (rule, confidence) = match self.class {
            Class::Runaway => (EVERYTHING_RULE, 0.8),
            Class::Batch => (BUSY_RULE, 0.7),
            _ => (NONE_RULE, 0.5),
        };
        let reason = format!("used {:.2} of {cpus} CPUs over {seconds} s", mean / 1000.0);
        Judgement { class: self.class, rule, confidence, reason }
    }
}

impl Sample {
    fn add(&mut self, other: Self, sign: f64) {
        self.used += sign * other.used;
        if sign > 0.0 {
            self.ns += other.ns;
            self.spare_ns += other.spare_ns;
        } else {
            self.ns -= other.ns;
            self.spare_ns -= other.spare_ns;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: u64 = 250_000_000;

    fn run(behaviour: &mut Behaviour, ticks: u32, millicores: f64, spare: bool) -> Class {
        for _ in 0..ticks {
            behaviour.observe(TICK, millicores, spare);
        }
        behaviour.judge(4).class
    }

    #[test]
    fn ten_seconds_of_a_busy_cpu_are_batch_and_less_is_nothing() {
        let mut behaviour = Behaviour::default();
        assert_eq!(run(&mut behaviour, 39, 1000.0, true), Class::Unknown);
        assert_eq!(run(&mut behaviour, 1, 1000.0, true), Class::Batch);
        assert_eq!(behaviour.judge(4).rule, BUSY_RULE);
    }

    #[test]
    fn a_burst_is_nothing() {
        let mut behaviour = Behaviour::default();
        run(&mut behaviour, 100, 10.0, true);
        assert_eq!(run(&mut behaviour, 20, 1000.0, true), Class::Unknown);
    }

    #[test]
    fn every_cpu_taken_is_runaway() {
        let mut behaviour = Behaviour::default();
        assert_eq!(run(&mut behaviour, 40, 3900.0, false), Class::Runaway);
    }

    #[test]
    fn who_uses_little_because_it_is_held_back_is_not_acquitted() {
        let mut behaviour = Behaviour::default();
        run(&mut behaviour, 40, 1000.0, true);
        assert_eq!(run(&mut behaviour, 40, 5.0, false), Class::Batch);
        assert_eq!(run(&mut behaviour, 40, 5.0, true), Class::Unknown);
    }
}
