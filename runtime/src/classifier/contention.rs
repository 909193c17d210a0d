//! Whether a protected workload waited because of others.
//!
//! A workload can wait for a CPU for three reasons, and only one of them is anybody else's
//! doing: its own quota stopped it, its own threads had the CPUs, or others had. Several eyes
//! look, since each is blind to something:
//!
//! - *pressure*: the share of time in which some task of a context waited (PSI), live, but only
//!   where nobody else lives in the context;
//! - *starved threads*: runnable at two sweeps without having run between. Each is counted as
//!   waiting for the whole interval, because the kernel will tell only afterwards;
//! - *run-queue delay* summed over all threads, for members that no pressure covers. Late by
//!   nature: the kernel adds a wait when it is over.
//!
//! What an eye saw is then attributed. At any moment at which a task waits behind its own
//! workload, a thread of that workload runs, so of the time in which some task waited no more
//! than the workload's own CPU time can be its own doing: the rest is *certainly* others'. On a
//! machine without idle CPU, or for a starved thread, a waiting thread waits behind whoever runs, so
//! others account for a part in proportion to their CPU time. Either way they cannot account for
//! more than they used, and if that explains less than a tenth the workload is in its own way.
//!
//! An interval in which its own quota acted is unusable: neither contention nor its end.
//!
//! Not seen: delay (but not pressure or starvation) caused by a competitor pinned to the same
//! CPU on a machine that has idle CPUs elsewhere.

use super::occupancy::Standing;
use crate::flow::message::ContextSignals;
use crate::mutation;
use crate::policy::Thresholds;

/// Part of all CPUs in use above which the machine has no idle CPU to speak of.
pub(super) const FULL: f64 = 0.9;
/// Others that explain a smaller part of the waiting than this are not its reason.
const LEAST_EXPLAINED: f64 = 0.1;
/// After its own quota acted, a workload counts as contended only if two usable intervals in a
/// row say so, for so long, ns: the kernel counts a throttled period when it is over, and the
/// interval in which it began looks like contention.
const WARY_NS: u64 = 10_000_000_000;

/// What is known of one protected workload and its interval.
#[derive(Debug, Default)]
pub(super) struct Scene<'a> {
    /// When, ns.
    pub(super) at_ns: u64,
    /// CPUs online.
    pub(super) cpus: u32,
    /// CPU used by everybody, millicores.
    pub(super) used: f64,
    /// Of that, by processes that did not live to be read, millicores.
    pub(super) unseen: f64,
    /// CPU used by its members, millicores.
    pub(super) own: f64,
    /// Contexts it lives in.
    pub(super) contexts: Vec<(Standing, &'a ContextSignals)>,
    /// Run-queue delay of the members that no pressure covers, thread-seconds per second.
    pub(super) delay: Option<f64>,
    /// Threads of it that starved.
    pub(super) starved: u32,
}

/// What the eyes saw, all together.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Finding {
    /// Nobody could look, or the workload's own quota acted.
    Unusable,
    /// It did not wait because of others. Waiting in ms per second.
    Clear(f64),
    /// It did; with what was seen, one phrase per eye.
    Contended(f64, Vec<String>),
}

/// What is remembered of one protected workload.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Judge {
    contended: bool,
    suspected: bool,
    throttled_at: Option<u64>,
}

enum Eye<'a> {
    Pressure(&'a ContextSignals, f64),
    Starved(u32),
    Delay(f64),
}

impl Eye<'_> {
    /// Waiting, ms per second of wall time, at most 1000.
    fn wait(&self) -> f64 {
        match self {
            Self::Pressure(_, share) => share * 1000.0,
            Self::Starved(_) => 1000.0,
            Self::Delay(rate) => (rate * 1000.0).min(1000.0),
        }
    }

    /// The part of it that is others' doing.
    fn attributed(&self, scene: &Scene<'_>) -> f64 {
        let (wait, others) = (self.wait(), scene.others());
        let full = scene.used >= FULL * 1000.0 * f64::from(scene.cpus.max(1));
        let (by_share, by_time) = match self {
            Self::Pressure(..) => (full, true),
            Self::Starved(_) => (true, true),
            Self::Delay(_) => (full, false),
        };
        let share = if by_share && scene.used > 0.0 { wait * others / scene.used } else { 0.0 };
        let certain = if by_time { wait - scene.own } else { 0.0 };
        let attributed = share.max(certain).clamp(0.0, others);
        if attributed < wait * LEAST_EXPLAINED { 0.0 } else { attributed }
    }

    fn phrase(&self) -> String {
        match self {
            Self::Pressure(context, share) => format!(
                "some task of {} waited for a CPU {:.0} % of the time",
                context.context.path,
                share * 100.0
            ),
            Self::Starved(1) => "a runnable thread has not run since the last sweep".into(),
            Self::Starved(n) => format!("{n} runnable threads have not run since the last sweep"),
            Self::Delay(rate) => {
                format!("its threads waited {:.0} ms per second for a CPU, summed", rate * 1000.0)
            }
        }
    }
}

impl Scene<'_> {
    fn others(&self) -> f64 {
        (self.used - self.own).max(0.0)
    }

    fn eyes(&self) -> Vec<Eye<'_>> {
        let mut eyes = Vec::with_capacity(3);
        let sole = self.contexts.iter().filter(|(standing, _)| *standing == Standing::Sole);
        let pressures = sole.filter_map(|(_, context)| Some((*context, context.pressure?)));
        if let Some((context, share)) = pressures.max_by(|a, b| a.1.total_cmp(&b.1)) {
            eyes.push(Eye::Pressure(context, share));
        }
        eyes.extend((self.starved > 0).then_some(Eye::Starved(self.starved)));
        eyes.extend(self.delay.map(Eye::Delay));
        eyes
    }
}

impl Judge {
    /// Judges one interval.
    pub(super) fn judge(&mut self, scene: &Scene<'_>, thresholds: &Thresholds) -> Finding {
        if mutation::blind() || mutation::jumpy() {
            let all = Finding::Contended(1000.0, vec!["so the mutation has it".to_owned()]);
            return if mutation::blind() { Finding::Clear(0.0) } else { all };
        }
        if scene.contexts.iter().any(|(_, context)| context.throttled) {
            self.throttled_at = Some(scene.at_ns);
            self.suspected = false;
            return Finding::Unusable;
        }
        let eyes = scene.eyes();
        let Some(wait) = eyes.iter().map(Eye::wait).max_by(f64::total_cmp) else {
            return Finding::Unusable;
        };
        let bar = if self.contended { thresholds.clear_ms_per_s } else { thresholds.wait_ms_per_s };
        let attributed = eyes.iter().map(|eye| eye.attributed(scene)).fold(0.0, f64::max);
        let seen = attributed > bar && scene.others() > thresholds.others_millicores;
        let wary = self.throttled_at.is_some_and(|at| scene.at_ns.saturating_sub(at) < WARY_NS);
        let believed = seen && (self.contended || self.suspected || !wary);
        (self.contended, self.suspected) = (believed, seen);
        if !believed {
            return Finding::Clear(wait);
        }
        let mut evidence: Vec<String> =
            eyes.iter().filter(|e| e.attributed(scene) > bar).map(Eye::phrase).collect();
        evidence.push(format!(
            "others used {:.1} of {} CPUs, it used {:.1}",
            scene.others() / 1000.0,
            scene.cpus,
            scene.own / 1000.0
        ));
        if scene.unseen > thresholds.others_millicores {
            let cpus = scene.unseen / 1000.0;
            evidence.push(format!("{cpus:.1} CPUs went to processes too short-lived to be read"));
        }
        Finding::Contended(wait, evidence)
    }
}

#[cfg(test)]
mod tests;
