//! The result as a table and the verdict in words, for the demo and for whoever repeats its
//! experiment with other programs.

use std::fmt;

use super::machine::Machine;
use super::verdict::{HARM, KEPT, PROTECTED, PhaseResult, Verdict};

/// Share of the machine that others may use before the figures are called doubtful.
const NOISE: f64 = 0.1;

/// What is printed at the end.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// Medians and spreads per phase.
    pub phases: &'a [PhaseResult],
    /// Against the bar; none if a phase is missing.
    pub verdict: Option<&'a Verdict>,
    /// Over how many rounds.
    pub rounds: u32,
    /// Where; its tick is what the bar allows.
    pub machine: &'a Machine,
}

// === impl Table ===

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = ["phase", "p50 us", "p99 us", "p99.9 us", "p99 ratio", "CPU kept by hogs"];
        let mut table = vec![heads.map(str::to_owned)];
        table.extend(self.phases.iter().map(row));
        let width = |column: usize| table.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths: [usize; 6] = std::array::from_fn(width);
        for [first, rest @ ..] in &table {
            write!(f, "{first:<0$}", widths[0])?;
            for (cell, width) in rest.iter().zip(&widths[1..]) {
                write!(f, "  {cell:>width$}")?;
            }
            writeln!(f)?;
        }
        match self.rounds {
            1 => writeln!(f, "One round only: for medians and spreads, let it do --rounds 3.")?,
            rounds => {
                writeln!(f, "Medians over {rounds} rounds; smallest to largest in brackets.")?;
            }
        }
        let others = self.phases.iter().map(|phase| phase.others_cpus).fold(0.0, f64::max);
        if others > NOISE * self.machine.cpus as f64 {
            writeln!(
                f,
                "Other programs used up to {others:.1} CPUs meanwhile: for figures that mean \
                 something, let the machine be quiet."
            )?;
        }
        if let Some(verdict) = self.verdict {
            self.judge(verdict, f)?;
        }
        Ok(())
    }
}

impl Table<'_> {
    fn judge(&self, verdict: &Verdict, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} unmanaged, the hogs hurt: p99 at least {HARM:.0}x alone",
            mark(verdict.unmanaged_hurts)
        )?;
        writeln!(
            f,
            "{} governed, the service is protected: p99 at most {} us \
             (the larger of {PROTECTED:.0}x alone and alone plus one tick of {} us)",
            mark(verdict.governed_protects),
            grouped(verdict.governed_p99_bar_us),
            grouped(self.machine.tick_us as f64)
        )?;
        writeln!(
            f,
            "{} the hogs keep at least {} of the CPU the service leaves free",
            mark(verdict.work_kept),
            percent(KEPT)
        )
    }
}

fn row(phase: &PhaseResult) -> [String; 6] {
    let kept = phase.kept_ratio.zip(phase.kept_ratio_spread).map(|(kept, [min, max])| {
        format!("{} [{} to {}]", percent(kept), percent(min), percent(max))
    });
    [
        phase.name.name().to_owned(),
        with_spread(phase.p50_us, phase.p50_us_spread),
        with_spread(phase.p99_us, phase.p99_us_spread),
        with_spread(phase.p999_us, phase.p999_us_spread),
        format!("{:.1}x", phase.p99_ratio),
        kept.unwrap_or_else(|| "-".to_owned()),
    ]
}

pub(super) fn mark(kept: bool) -> &'static str {
    if kept { "[yes]" } else { "[NO] " }
}

fn with_spread(median: f64, [min, max]: [f64; 2]) -> String {
    format!("{} [{} to {}]", grouped(median), grouped(min), grouped(max))
}

pub(super) fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}

/// A whole number with a comma every three digits.
pub(super) fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_in_threes() {
        assert_eq!(grouped(0.4), "0");
        assert_eq!(grouped(999.0), "999");
        assert_eq!(grouped(14_153.2), "14,153");
        assert_eq!(grouped(1_234_567.0), "1,234,567");
    }
}
