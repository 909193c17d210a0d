//! The experiment of the README with real programs: redis under open-loop load beside
//! `stress-ng`, alone, unmanaged and governed in turn. The test judges by it, the bench prints it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use outrigger::demo::{Machine, Measurement, Phase, PhaseResult, Table, Verdict, summarise};

use crate::{Difference, Hogs, Mutation, Outrigger, Service, Snapshot, Usage};

/// Hogs; with two CPUs and one service, each CPU has a queue.
const HOGS: usize = 8;
/// Between a change and the measurement: the kernel spreads the hogs over the CPUs, and what was
/// waiting is answered.
const SETTLE: Duration = Duration::from_secs(1);
/// How long the sidecar may take to do something. If it does nothing by then, the phase is
/// measured as it is.
const REACTION: Duration = Duration::from_secs(10);
/// How often it is asked.
const GLANCE: Duration = Duration::from_millis(200);
/// How long it may take to put everything back.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// How often the three phases are repeated.
    pub rounds: u32,
    /// Length of one measurement.
    pub time: Duration,
    /// A fault of the sidecar.
    pub mutation: Option<Mutation>,
}

/// What came out.
#[derive(Debug)]
pub struct Compared {
    /// Every measurement.
    pub measurements: Vec<Measurement>,
    /// Medians and spreads.
    pub phases: Vec<PhaseResult>,
    /// Against the bar of the demo.
    pub verdict: Verdict,
    /// What was not as before, after any of the governed phases.
    pub differences: Vec<Difference>,
    /// Where it ran.
    pub machine: Machine,
}

// === impl Comparison ===

impl Comparison {
    /// Runs all phases, in turn, so that a machine that becomes slower meanwhile favours none.
    /// Says on standard error what it does.
    ///
    /// # Panics
    /// When one of the programs cannot be started or ends early; ask [`crate::installed`] first.
    pub fn run(self) -> Compared {
        let machine = Machine::read();
        let mut service = Service::redis();
        let (mut measurements, mut differences) = (Vec::new(), Vec::new());
        for round in 1..=self.rounds {
            for phase in Phase::ALL {
                let (measurement, found) = self.phase(&mut service, phase, round);
                let latency = &measurement.latency;
                eprintln!(
                    "round {round}/{} {:<9}  p50 {:>6.0} us  p99 {:>6.0} us  p99.9 {:>6.0} us  kept {}",
                    self.rounds,
                    phase.name(),
                    latency.p50_us,
                    latency.p99_us,
                    latency.p999_us,
                    measurement.kept_ratio.map_or("-".to_owned(), |kept| format!("{kept:.2}")),
                );
                measurements.push(measurement);
                differences.extend(found);
            }
        }
        let phases = summarise(&measurements);
        let verdict = Verdict::of(&phases, machine.tick_us).expect("all phases were measured");
        Compared { measurements, phases, verdict, differences, machine }
    }

    fn phase(
        self,
        service: &mut Service,
        phase: Phase,
        round: u32,
    ) -> (Measurement, Vec<Difference>) {
        let hogs = (phase != Phase::Alone).then(|| Hogs::stress_ng(HOGS));
        sleep(SETTLE);
        let (usage, differences) = match (phase, &hogs) {
            (Phase::Governed, Some(hogs)) => self.governed(service, hogs),
            _ => (service.watch(self.time, hogs.as_ref()), Vec::new()),
        };
        let kept_ratio = hogs.as_ref().map(|_| usage.kept_ratio);
        drop(hogs);
        let (seconds, Usage { latency, others_cpus, .. }) = (self.time.as_secs_f64(), usage);
        let measurement = Measurement { phase, round, seconds, latency, kept_ratio, others_cpus };
        (measurement, differences)
    }

    /// With the sidecar, started as a user starts it. It is stopped while the hogs still live:
    /// only of living processes can be seen that they got back what they had.
    fn governed(self, service: &mut Service, hogs: &Hogs) -> (Usage, Vec<Difference>) {
        let everybody = [&service.pids()[..], &hogs.pids()].concat();
        let look = || Snapshot::take(&everybody).without_groups(&["outrigger-test-"]);
        let before = look();
        let mut sidecar = self.attach(service.pids());
        let begun = Instant::now();
        while !has_acted(&sidecar) && begun.elapsed() < REACTION {
            sleep(GLANCE);
        }
        sleep(SETTLE);
        let usage = service.watch(self.time, Some(hogs));
        sidecar.signal(libc::SIGTERM);
        let status = sidecar.wait(PATIENCE);
        // With a fault it may rightly say itself that something is left.
        assert!(status.success() || self.mutation.is_some(), "the sidecar ended with {status}");
        let differences = before.differences(&look());
        (usage, differences)
    }

    fn attach(self, pids: [u32; 2]) -> Outrigger {
        let [redis, client] = pids.map(|pid| pid.to_string());
        let arguments = ["--pid", &redis, "--pid", &client, "--best-effort", "name=stress-ng*"];
        Outrigger::command("attach", arguments).mutated(self.mutation).start()
    }
}

fn has_acted(sidecar: &Outrigger) -> bool {
    let status = sidecar.status().unwrap_or_default();
    status["actions"].as_array().is_some_and(|actions| !actions.is_empty())
}

// === impl Compared ===

impl std::fmt::Display for Compared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rounds = self.measurements.iter().map(|m| m.round).max().unwrap_or_default();
        let Self { phases, verdict, machine, .. } = self;
        write!(f, "{}", Table { phases, verdict: Some(verdict), rounds, machine })?;
        if self.differences.is_empty() {
            writeln!(f, "[yes] everything was put back")?;
        } else {
            writeln!(f, "[NO]  not everything was put back:")?;
        }
        self.differences.iter().try_for_each(|difference| writeln!(f, "    {difference}"))
    }
}
