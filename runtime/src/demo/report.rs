//! What the demo shows: progress while it runs, and the result as a table or as JSON.

use std::fmt;
use std::io::{IsTerminal, Write, stderr};

use serde::Serialize;

use super::Args;
use super::govern::Decision;
use super::machine::Machine;
use super::phases::{Measurement, Phase};
use super::snapshot::Difference;
use super::summary::Summary;
use super::verdict::{HARM, KEPT, PROTECTED, PhaseResult, Verdict};

/// Share of the machine that others may use before the figures are called doubtful.
const NOISE: f64 = 0.1;

/// The result. Its fields are the keys of `outrigger demo --json`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Medians and spreads per phase.
    pub phases: Vec<PhaseResult>,
    /// What the sidecar did and why, in order.
    pub decisions: Vec<Decision>,
    /// Whether everything was as before, each time the sidecar had stopped and at the end.
    pub restored: bool,
    /// What was not.
    pub differences: Vec<Difference>,
    /// Against the bar that the demo sets itself.
    pub verdict: Option<Verdict>,
    /// Where it ran.
    pub machine: Machine,
    /// What was run.
    pub setup: Setup,
    /// Every single measurement.
    pub rounds: Vec<Measurement>,
}

/// The parameters of the run.
#[derive(Clone, Debug, Serialize)]
pub struct Setup {
    /// Length of one phase.
    pub seconds: u64,
    /// Number of rounds.
    pub rounds: u32,
    /// Requests per second.
    pub rate: u32,
    /// CPU time of one request, microseconds.
    pub work_us: u64,
    /// Number of hogs.
    pub hogs: u32,
    /// Whether each hog had a session of its own.
    pub own_sessions: bool,
}

/// Progress on standard error: where it is a terminal, the seconds of a phase overwrite each
/// other; elsewhere each has a line.
#[derive(Debug, Default)]
pub struct Live {
    pending: bool,
}

// === impl Setup ===

impl Setup {
    /// From the command line and what it leaves to the machine.
    pub fn of(args: &Args, machine: &Machine) -> Self {
        let Args { seconds, rounds, rate, work_us, own_sessions, .. } = *args;
        let hogs = args.hogs_on(machine.cpus);
        Self { seconds, rounds, rate, work_us, hogs, own_sessions }
    }
}

// === impl Live ===

impl Live {
    /// Before anything else.
    pub fn opening(&mut self, setup: &Setup, machine: &Machine) {
        let Setup { rate, work_us, hogs, rounds, seconds, .. } = *setup;
        self.line(&format!(
            "A service of {rate} requests/s, {work_us} us of CPU each, and {hogs} CPU hogs on {} CPUs; \
             {rounds} rounds of three phases of {seconds} s.",
            machine.cpus
        ));
    }

    /// A phase begins.
    pub fn phase(&mut self, phase: Phase, round: u32, rounds: u32) {
        self.line(&format!("round {round}/{rounds} · {}", phase.name()));
    }

    /// A second of a phase is over.
    pub fn second(&mut self, second: u64, of: u64, so_far: &Summary) {
        let line = format!(
            "  {second}/{of} s   p50 {} us   p99 {} us   {} requests",
            grouped(so_far.p50_us),
            grouped(so_far.p99_us),
            so_far.arrivals
        );
        if stderr().is_terminal() {
            self.pending = true;
            // Erase the line; write it without ending it.
            put(&format!("\r\x1b[2K{line}"));
        } else {
            self.line(&line);
        }
    }

    /// The sidecar did something.
    pub fn decided(&mut self, decision: &Decision) {
        self.line(&format!("  > {}", decision.text));
    }

    /// A phase is over.
    pub fn measured(&mut self, measurement: &Measurement) {
        let latency = &measurement.latency;
        let kept = measurement.kept_ratio.map(|kept| format!("   hogs kept {}", percent(kept)));
        self.line(&format!(
            "  = p50 {} us   p99 {} us   p99.9 {} us{}",
            grouped(latency.p50_us),
            grouped(latency.p99_us),
            grouped(latency.p999_us),
            kept.unwrap_or_default()
        ));
    }

    /// The sidecar has stopped, and the machine was looked at.
    pub fn restored(&mut self, differences: &[Difference]) {
        if differences.is_empty() {
            self.line("  everything is as it was before the sidecar started");
        }
        for difference in differences {
            self.line(&format!("  NOT RESTORED: {difference}"));
        }
    }

    fn line(&mut self, text: &str) {
        let begin = if std::mem::take(&mut self.pending) { "\r\x1b[2K" } else { "" };
        put(&format!("{begin}{text}\n"));
    }
}

/// Progress that cannot be shown does not stop the demo.
fn put(text: &str) {
    let mut out = stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

// === impl Report ===

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = |cells: [&str; 6]| {
            let [phase, p50, p99, p999, ratio, kept] = cells;
            format!("{phase:<10} {p50:>26} {p99:>26} {p999:>26} {ratio:>9} {kept:>19}")
        };
        writeln!(f)?;
        let heads = ["phase", "p50 us", "p99 us", "p99.9 us", "p99 ratio", "CPU kept by hogs"];
        writeln!(f, "{}", cells(heads).trim_end())?;
        for phase in &self.phases {
            let kept = phase.kept_ratio.zip(phase.kept_ratio_spread).map(|(kept, [min, max])| {
                format!("{} [{} to {}]", percent(kept), percent(min), percent(max))
            });
            let row = cells([
                phase.name.name(),
                &with_spread(phase.p50_us, phase.p50_us_spread),
                &with_spread(phase.p99_us, phase.p99_us_spread),
                &with_spread(phase.p999_us, phase.p999_us_spread),
                &format!("{:.1}x", phase.p99_ratio),
                kept.as_deref().unwrap_or("-"),
            ]);
            writeln!(f, "{}", row.trim_end())?;
        }
        writeln!(f, "Medians over {} rounds; smallest to largest in brackets.", self.setup.rounds)?;
        let others = self.phases.iter().map(|phase| phase.others_cpus).fold(0.0, f64::max);
        if others > NOISE * self.machine.cpus as f64 {
            writeln!(
                f,
                "Other programs used up to {others:.1} CPUs meanwhile: for figures that mean \
                 something, let the machine be quiet."
            )?;
        }
        if let Some(verdict) = &self.verdict {
            self.judge(verdict, f)?;
        }
        if self.restored {
            writeln!(f, "{} everything was put back", mark(true))?;
        } else {
            writeln!(f, "{} not everything was put back:", mark(false))?;
        }
        for difference in &self.differences {
            writeln!(f, "    {difference}")?;
        }
        Ok(())
    }
}

impl Report {
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

fn mark(kept: bool) -> &'static str {
    if kept { "[yes]" } else { "[NO] " }
}

fn with_spread(median: f64, [min, max]: [f64; 2]) -> String {
    format!("{} [{} to {}]", grouped(median), grouped(min), grouped(max))
}

fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}

/// A whole number with a comma every three digits.
fn grouped(value: f64) -> String {
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
