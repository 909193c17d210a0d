//! The experiment: which phase follows which, what is measured in each, and what is compared.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::govern::{Decision, Governed};
use super::machine::Machine;
use super::report::{Live, Report, Setup};
use super::role::Session;
use super::snapshot::{self, Difference, Snapshot};
use super::stage::Stage;
use super::summary::Summary;
use super::verdict::{Verdict, summarise};
use super::{Args, Error, Governor, interrupt};

/// Between a change (hogs started, sidecar at work) and the measurement. Long enough for the
/// kernel to spread the hogs over the CPUs and for the sidecar's first reaction.
const SETTLE: Duration = Duration::from_secs(1);
/// How long the sidecar may take to do something. What it does later is measured too, but a
/// phase in which it did nothing by then is measured as it is.
const REACTION: Duration = Duration::from_secs(10);
/// How often signals and the sidecar's decisions are looked at while a phase lasts.
const GLANCE: Duration = Duration::from_millis(100);

/// What is beside the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing.
    Alone,
    /// Hogs.
    Unmanaged,
    /// Hogs and the sidecar.
    Governed,
}

/// The figures of one phase of one round.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// Which phase.
    pub phase: Phase,
    /// Of which round, from 1.
    pub round: u32,
    /// Length of the window in seconds.
    pub seconds: f64,
    /// What the service's client saw.
    pub latency: Summary,
    /// Share of the CPU left free by service and load that the hogs used.
    pub kept_ratio: Option<f64>,
    /// CPUs that everything else on the machine used meanwhile, the sidecar included.
    pub others_cpus: f64,
}

/// Everything found so far.
struct Experiment<'a> {
    governor: &'a dyn Governor,
    live: &'a mut Live,
    stage: Stage,
    machine: Machine,
    setup: Setup,
    measurements: Vec<Measurement>,
    decisions: Vec<Decision>,
    differences: Vec<Difference>,
    changed_by_others: Vec<Difference>,
    /// How the names of cgroups begin that the sidecars of this run made.
    marks: Vec<String>,
}

// === impl Phase ===

impl Phase {
    /// In the order in which they are run.
    pub const ALL: [Self; 3] = [Self::Alone, Self::Unmanaged, Self::Governed];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Unmanaged => "unmanaged",
            Self::Governed => "governed",
        }
    }
}

/// Runs all rounds. The phases are interleaved, so that a machine that becomes slower meanwhile
/// does not favour one of them.
///
/// # Errors
/// When a phase fails or the demo is interrupted; all processes are gone by then.
pub(super) fn run(args: &Args, governor: &dyn Governor, live: &mut Live) -> Result<Report, Error> {
    let before = Snapshot::take(&[std::process::id()]);
    let machine = Machine::read();
    let setup = Setup::of(args, &machine);
    live.opening(&setup, &machine);
    let stage = Stage::set(args)?;
    let mut experiment = Experiment {
        governor,
        live,
        stage,
        machine,
        setup,
        measurements: Vec::new(),
        decisions: Vec::new(),
        differences: Vec::new(),
        changed_by_others: Vec::new(),
        marks: Vec::new(),
    };
    for round in 1..=args.rounds {
        for phase in Phase::ALL {
            experiment.phase(phase, round)?;
        }
    }
    Ok(experiment.close(&before))
}

// === impl Experiment ===

impl Experiment<'_> {
    fn phase(&mut self, phase: Phase, round: u32) -> Result<(), Error> {
        self.live.phase(phase, round, self.setup.rounds);
        if phase != Phase::Alone {
            let session = if self.setup.own_sessions { Session::Own } else { Session::Shared };
            self.stage.release_hogs(self.setup.hogs, session)?;
        }
        self.pause(SETTLE)?;
        let measured = match phase {
            Phase::Alone | Phase::Unmanaged => self.measure(phase, round, None),
            Phase::Governed => self.govern(round),
        };
        self.stage.remove_hogs()?;
        let measurement = measured?;
        self.live.measured(&measurement);
        self.measurements.push(measurement);
        Ok(())
    }

    /// A governed phase. The sidecar is stopped while the hogs still live: only of living
    /// processes can be seen that they got back what they had.
    fn govern(&mut self, round: u32) -> Result<Measurement, Error> {
        let targets = self.stage.targets();
        let before = Snapshot::take(&targets.everybody());
        let mut governed = self.governor.govern(&targets)?;
        let measured = self
            .await_reaction(governed.as_mut(), round)
            .and_then(|()| self.pause(SETTLE))
            .and_then(|()| self.measure(Phase::Governed, round, Some(governed.as_mut())));
        self.marks.push(governed.mark().to_owned());
        let stopped = governed.stop();
        let (found, others) = left_behind(&before, &targets.everybody(), &self.marks);
        self.live.restored(&found);
        let found_nothing = found.is_empty();
        self.differences.extend(found);
        self.changed_by_others.extend(others);
        let measurement = measured?;
        // A sidecar that knows that it left something behind fails; what it left says more.
        if found_nothing {
            stopped?;
        }
        Ok(measurement)
    }

    fn await_reaction(&mut self, governed: &mut dyn Governed, round: u32) -> Result<(), Error> {
        let begun = Instant::now();
        while begun.elapsed() < REACTION && self.listen(governed, round)? == 0 {
            self.pause(GLANCE)?;
        }
        Ok(())
    }

    /// Shows and keeps new decisions; returns how many there were.
    fn listen(&mut self, governed: &mut dyn Governed, round: u32) -> Result<usize, Error> {
        let fresh = governed.decisions()?;
        let count = fresh.len();
        for decision in fresh {
            let decision = Decision { round, ..decision };
            let told = |known: &&mut Decision| (known.round, known.seq) == (round, decision.seq);
            match self.decisions.iter_mut().find(told) {
                Some(known) => {
                    self.live.decided_more(known, &decision);
                    *known = decision;
                }
                None => {
                    self.live.decided(&decision);
                    self.decisions.push(decision);
                }
            }
        }
        Ok(count)
    }

    fn measure(
        &mut self,
        phase: Phase,
        round: u32,
        mut governed: Option<&mut dyn Governed>,
    ) -> Result<Measurement, Error> {
        let length = Duration::from_secs(self.setup.seconds);
        self.stage.begin()?;
        let before = self.stage.usage()?;
        let begun = Instant::now();
        let mut shown = 0;
        while begun.elapsed() < length {
            self.pause(GLANCE.min(length.saturating_sub(begun.elapsed())))?;
            if let Some(governed) = governed.as_deref_mut() {
                self.listen(governed, round)?;
            }
            let second = begun.elapsed().as_secs();
            if second > shown {
                shown = second;
                self.live.second(second, self.setup.seconds, &self.stage.peek()?);
            }
        }
        let after = self.stage.usage()?;
        let latency = self.stage.end()?;
        let kept = after.kept_since(&before, self.machine.cpus);
        Ok(Measurement {
            phase,
            round,
            seconds: after.since(&before).as_secs_f64(),
            latency,
            kept_ratio: (phase != Phase::Alone).then_some(kept),
            others_cpus: after.others_since(&before),
        })
    }

    /// Sleeps, attentive to signals and to processes that end.
    fn pause(&mut self, time: Duration) -> Result<(), Error> {
        let end = Instant::now() + time;
        loop {
            interrupt::check()?;
            self.stage.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            sleep(left.min(GLANCE));
        }
    }

    fn close(mut self, before: &Snapshot) -> Report {
        drop(self.stage);
        let (found, others) = left_behind(before, &[std::process::id()], &self.marks);
        self.differences.extend(found);
        for other in others {
            if !self.changed_by_others.contains(&other) {
                self.changed_by_others.push(other);
            }
        }
        let phases = summarise(&self.measurements);
        Report {
            verdict: Verdict::of(&phases, self.machine.tick_us),
            phases,
            decisions: self.decisions,
            restored: self.differences.is_empty(),
            differences: self.differences,
            changed_by_others: self.changed_by_others,
            machine: self.machine,
            setup: self.setup,
            rounds: self.measurements,
        }
    }
}

/// What is different now and may be our sidecar's doing, and what can only be somebody else's: a
/// file of a cgroup that is not the sidecar's and that none of our processes is in or below. The
/// sidecar is not asked, lest what it forgot be forgiven. Cgroups that other sidecars made
/// meanwhile are neither.
fn left_behind(
    before: &Snapshot,
    pids: &[u32],
    marks: &[String],
) -> (Vec<Difference>, Vec<Difference>) {
    let mut found = before.differences(&Snapshot::take(pids));
    let is_marked = |difference: &Difference| {
        let mut names = difference.subject.split('/');
        names.any(|name| marks.iter().any(|mark| name.starts_with(mark.as_str())))
    };
    found.retain(|difference| difference.property != snapshot::EXISTENCE || is_marked(difference));
    found.into_iter().partition(|difference| is_marked(difference) || before.concerns(difference))
}
