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
use super::table::{Table, grouped, mark, percent};
use super::verdict::{PhaseResult, Verdict};
use crate::status::plain_lines;

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
    /// Files of other cgroups that somebody else changed meanwhile.
    pub changed_by_others: Vec<Difference>,
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

    /// The effect of something it did is known: what was told is not repeated.
    pub fn decided_more(&mut self, known: &Decision, decision: &Decision) {
        let news = decision.text.strip_prefix(&known.text).unwrap_or(&decision.text);
        self.line(&format!("  > {}", news.trim_start_matches([';', ' '])));
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
        put(&format!("{begin}{}\n", plain_lines(text)));
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
        let Self { phases, verdict, setup, machine, .. } = self;
        let (verdict, rounds) = (verdict.as_ref(), setup.rounds);
        write!(f, "\n{}", Table { phases, verdict, rounds, machine })?;
        if self.restored {
            writeln!(f, "{} everything was put back", mark(true))?;
        } else {
            writeln!(f, "{} not everything was put back:", mark(false))?;
        }
        for difference in &self.differences {
            writeln!(f, "    {difference}")?;
        }
        for difference in &self.changed_by_others {
            writeln!(f, "Changed meanwhile by somebody else: {difference}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(name: Phase, p99_us: f64, kept_ratio: Option<f64>) -> PhaseResult {
        PhaseResult {
            name,
            p50_us: 50.0,
            p50_us_spread: [40.0, 60.0],
            p99_us,
            p99_us_spread: [p99_us - 1.0, p99_us + 1.0],
            p999_us: 2.0 * p99_us,
            p999_us_spread: [p99_us, 3.0 * p99_us],
            p99_ratio: p99_us / 100.0,
            kept_ratio,
            kept_ratio_spread: kept_ratio.map(|kept| [kept - 0.01, kept + 0.01]),
            others_cpus: 0.01,
            arrivals: 10,
            unanswered: 0,
        }
    }

    fn report() -> Report {
        let phases = vec![
            phase(Phase::Alone, 100.0, None),
            phase(Phase::Unmanaged, 11_000.0, Some(0.99)),
            phase(Phase::Governed, 80.0, Some(0.97)),
        ];
        Report {
            verdict: Verdict::of(&phases, 4000),
            phases,
            decisions: Vec::new(),
            restored: true,
            differences: Vec::new(),
            changed_by_others: Vec::new(),
            machine: Machine { cpus: 2, kernel: "6.1".to_owned(), tick_us: 4000 },
            setup: Setup {
                seconds: 4,
                rounds: 3,
                rate: 2000,
                work_us: 50,
                hogs: 8,
                own_sessions: false,
            },
            rounds: Vec::new(),
        }
    }

    #[test]
    fn the_table_lines_up_and_the_verdict_is_said() {
        let text = report().to_string();

        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines[2],
            concat!(
                "unmanaged  50 [40 to 60]  11,000 [10,999 to 11,001]  22,000 [11,000 to 33,000]",
                "     110.0x  99 % [98 % to 100 %]"
            )
        );
        assert!(lines[..4].iter().all(|line| line.len() == lines[0].len()), "{text}");
        assert_eq!(lines.iter().filter(|line| line.starts_with("[yes]")).count(), 4, "{text}");
    }

    #[test]
    fn what_was_not_put_back_is_listed() {
        let mut report = report();
        report.restored = false;
        report.differences = vec![Difference {
            subject: "process 7 thread 7".to_owned(),
            property: "nice".to_owned(),
            before: "0".to_owned(),
            after: "19".to_owned(),
        }];

        let text = report.to_string();

        assert!(text.contains("[NO]  not everything was put back:"), "{text}");
        assert!(text.contains("process 7 thread 7: nice was \"0\", is \"19\""), "{text}");
    }

    #[test]
    fn noise_is_admitted() {
        let mut report = report();
        assert!(!report.to_string().contains("Other programs"));

        report.phases[0].others_cpus = 0.9;

        assert!(report.to_string().contains("Other programs used up to 0.9 CPUs"));
    }
}
