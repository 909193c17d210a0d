//! From the figures of the rounds to medians, spreads, and a verdict. Pure arithmetic.

use serde::Serialize;

use super::phases::{Measurement, Phase};

/// Unmanaged, the 99th percentile is to be at least this many times what it is alone: else the
/// machine was not under stress, and protecting it proves nothing.
pub const HARM: f64 = 20.0;
/// Governed, it is to be at most this many times what it is alone, or alone plus one tick,
/// whichever is larger.
pub const PROTECTED: f64 = 2.0;
/// Of the CPU that service and load leave free, the hogs are still to get this share.
pub const KEPT: f64 = 0.85;

/// The middle of some values, and how far they reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The median; the mean of the middle two of an even number.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

/// One phase over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseResult {
    /// Which phase.
    pub name: Phase,
    /// Median latency in microseconds; the median of it over the rounds.
    pub p50_us: f64,
    /// Smallest and largest of it over the rounds.
    pub p50_us_spread: [f64; 2],
    /// 99th percentile likewise.
    pub p99_us: f64,
    /// Smallest and largest of it.
    pub p99_us_spread: [f64; 2],
    /// 99.9th percentile likewise.
    pub p999_us: f64,
    /// Smallest and largest of it.
    pub p999_us_spread: [f64; 2],
    /// Median 99th percentile over that of the phase "alone".
    pub p99_ratio: f64,
    /// Share of the CPU left free by service and load that the hogs used; none without hogs.
    pub kept_ratio: Option<f64>,
    /// Smallest and largest of it.
    pub kept_ratio_spread: Option<[f64; 2]>,
    /// CPUs that everything else on the machine used meanwhile, median.
    pub others_cpus: f64,
    /// Requests due, all rounds.
    pub arrivals: u64,
    /// Of these, without a response two seconds after the end of their round.
    pub unanswered: u64,
}

/// The three promises, and whether this run kept them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// Without Outrigger the hogs did real harm: 99th percentile at least 20 times that of alone.
    pub unmanaged_hurts: bool,
    /// With it the service was protected: at most `governed_p99_bar_us`.
    pub governed_protects: bool,
    /// And the hogs kept their work: at least 85 % of the CPU that the service left free.
    pub work_kept: bool,
    /// What the governed 99th percentile had to stay within, in microseconds.
    pub governed_p99_bar_us: f64,
    /// All three.
    pub met: bool,
}

// === impl Spread ===

impl Spread {
    /// Of `values`; `None` without any.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Some(Self { median, min, max })
    }

    fn range(self) -> [f64; 2] {
        [self.min, self.max]
    }
}

// === impl PhaseResult ===

/// Summarises each phase that was measured at least once, in the order of [`Phase::ALL`].
pub fn summarise(rounds: &[Measurement]) -> Vec<PhaseResult> {
    let p99_of = |phase| {
        let of_phase = rounds.iter().filter(|round| round.phase == phase);
        Spread::of(of_phase.map(|round| round.latency.p99_us))
    };
    let alone = p99_of(Phase::Alone).map_or(f64::NAN, |spread| spread.median);
    Phase::ALL.iter().filter_map(|&phase| summarise_phase(phase, rounds, alone)).collect()
}

fn summarise_phase(phase: Phase, rounds: &[Measurement], alone: f64) -> Option<PhaseResult> {
    let rounds: Vec<&Measurement> = rounds.iter().filter(|round| round.phase == phase).collect();
    let p50 = Spread::of(rounds.iter().map(|round| round.latency.p50_us))?;
    let p99 = Spread::of(rounds.iter().map(|round| round.latency.p99_us))?;
    let p999 = Spread::of(rounds.iter().map(|round| round.latency.p999_us))?;
    let kept = Spread::of(rounds.iter().filter_map(|round| round.kept_ratio));
    let others = Spread::of(rounds.iter().map(|round| round.others_cpus))?;
    Some(PhaseResult {
        name: phase,
        p50_us: p50.median,
        p50_us_spread: p50.range(),
        p99_us: p99.median,
        p99_us_spread: p99.range(),
        p999_us: p999.median,
        p999_us_spread: p999.range(),
        p99_ratio: p99.median / alone,
        kept_ratio: kept.map(|spread| spread.median),
        kept_ratio_spread: kept.map(Spread::range),
        others_cpus: others.median,
        arrivals: rounds.iter().map(|round| round.latency.arrivals).sum(),
        unanswered: rounds.iter().map(|round| round.latency.unanswered).sum(),
    })
}

// === impl Verdict ===

impl Verdict {
    /// `None` unless all three phases were measured.
    pub fn of(phases: &[PhaseResult], tick_us: u64) -> Option<Self> {
        let find = |name| phases.iter().find(|phase| phase.name == name);
        let alone = find(Phase::Alone)?;
        let unmanaged = find(Phase::Unmanaged)?;
        let governed = find(Phase::Governed)?;
        let bar = (PROTECTED * alone.p99_us).max(alone.p99_us + tick_us as f64);
        let unmanaged_hurts = unmanaged.p99_us >= HARM * alone.p99_us;
        let governed_protects = governed.p99_us <= bar;
        let work_kept = governed.kept_ratio.is_some_and(|kept| kept >= KEPT);
        Some(Self {
            unmanaged_hurts,
            governed_protects,
            work_kept,
            governed_p99_bar_us: bar,
            met: unmanaged_hurts && governed_protects && work_kept,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::demo::summary::Summary;

    const TICK_US: u64 = 4000;

    fn round(phase: Phase, p99_us: f64, kept_ratio: Option<f64>) -> Measurement {
        let latency = Summary { arrivals: 10, p99_us, ..Summary::default() };
        Measurement { phase, round: 1, latency, kept_ratio, seconds: 1.0, others_cpus: 0.0 }
    }

    fn verdict(alone: f64, unmanaged: f64, governed: f64, kept: f64) -> Verdict {
        let phases = summarise(&[
            round(Phase::Alone, alone, None),
            round(Phase::Unmanaged, unmanaged, Some(0.99)),
            round(Phase::Governed, governed, Some(kept)),
        ]);
        Verdict::of(&phases, TICK_US).unwrap()
    }

    #[test]
    fn the_median_is_the_middle_and_one_bad_round_does_not_move_it() {
        let spread = Spread::of([900.0, 100.0, 110.0]).unwrap();

        assert_eq!(spread, Spread { median: 110.0, min: 100.0, max: 900.0 });
        assert_eq!(Spread::of([1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn the_bar_is_a_tick_above_alone_when_alone_is_short() {
        let verdict = verdict(200.0, 20_000.0, 4100.0, 0.9);

        assert_eq!(verdict.governed_p99_bar_us, 4200.0);
        assert!(verdict.met, "{verdict:?}");
    }

    #[test]
    fn the_bar_is_twice_alone_when_alone_is_long() {
        assert!(verdict(10_000.0, 300_000.0, 19_000.0, 0.9).met);
        assert!(!verdict(10_000.0, 300_000.0, 21_000.0, 0.9).governed_protects);
    }

    #[test]
    fn each_promise_can_be_broken() {
        assert!(!verdict(200.0, 3999.0, 300.0, 0.9).unmanaged_hurts);
        assert!(!verdict(200.0, 20_000.0, 4300.0, 0.9).governed_protects);
        assert!(!verdict(200.0, 20_000.0, 300.0, 0.84).work_kept);
    }

    #[test]
    fn without_all_three_phases_there_is_no_verdict() {
        let phases = summarise(&[round(Phase::Alone, 1.0, None)]);

        assert!(Verdict::of(&phases, TICK_US).is_none());
    }
}
