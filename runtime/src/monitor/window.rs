//! The core of the Monitor: two sweeps in, rates out.
//!
//! Pure: the only time it knows is the one the sweeps carry, so a missed tick is nothing special,
//! merely a longer interval.

use super::track::{ContextTrack, Span, TaskTrack};
use crate::flow::message::{ContextSignals, Signals, Sweep, TaskSignals};
use outrigger_sdk::{ContextId, Observation, TaskId, TaskInfo, TaskReading};
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How far more than all CPUs together a newborn may seem to have used before it is taken for
/// an old process that was merely found late. Clocks and sweeps are not one instant.
const NEWBORN_SLACK: f64 = 1.05;

/// What is kept from sweep to sweep. Bounded by the number of living processes: a number that
/// is used again displaces whoever had it.
#[derive(Debug, Default)]
pub struct Window {
    tasks: HashMap<u32, TaskTrack>,
    contexts: HashMap<ContextId, ContextTrack>,
    host_pressure: Option<(u64, u64)>,
    host_cpu: Option<(u64, u64)>,
    last_at: Option<u64>,
    /// The last sweep that read everything: in it, absent meant unchanged.
    complete_at: Option<u64>,
    newest_start: u64,
    /// Who told of processes last.
    observer: Option<Arc<str>>,
    state: WindowState,
}

/// What `status` shows of the Monitor.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WindowState {
    /// Last sweep.
    pub tick: u64,
    /// Length of the last interval, ns.
    pub interval_ns: u64,
    /// Processes known.
    pub tasks: usize,
    /// Of those, processes that moved in the last interval.
    pub active: usize,
    /// Contexts read.
    pub contexts: usize,
    /// Sweeps that came late or not at all.
    pub missed_ticks: u64,
    /// Sweeps in which some backend could not be read.
    pub incomplete_sweeps: u64,
    /// What failed in the last sweep, one sentence each.
    pub failures: Vec<String>,
    /// Processes that could not be read in the last sweep.
    pub unreadable: u32,
}

impl Window {
    /// Works one sweep into rates.
    #[must_use]
    pub fn step(&mut self, sweep: Sweep) -> Signals {
        let Sweep { provenance, observation, observer, full, failures } = sweep;
        let now = provenance.at_ns;
        let interval_ns = self.last_at.map_or(0, |last| now.saturating_sub(last));
        let span = Span { before: self.complete_at, now };
        let mut signals = Signals {
            provenance,
            interval_ns,
            cpus: observation.cpus,
            unreadable: observation.unreadable,
            gone: observation.gone.to_vec(),
            // us per ns, and ns per ns.
            host_pressure: host(&mut self.host_pressure, observation.host_pressure_us, now)
                .map(|rate| (rate * 1000.0).min(1.0)),
            host_millicores: host(&mut self.host_cpu, observation.host_cpu_ns, now)
                .map(|rate| rate * 1000.0),
            ..Signals::default()
        };
        for task in &signals.gone {
            if self.tasks.get(&task.pid).is_some_and(|track| track.start == task.start) {
                self.tasks.remove(&task.pid);
            }
        }
        if observer.is_some() && self.observer != observer {
            self.tasks.values_mut().for_each(TaskTrack::restart);
            self.observer = observer;
        }
        let born = self.newborn(&observation.infos, span);
        for info in &observation.infos {
            self.know(info.task, &mut signals.gone);
        }
        if full {
            self.forget_untold(&observation, &mut signals.gone);
        }
        signals.infos = observation.infos.into_iter().map(Arc::new).collect();
        signals.tasks.reserve(observation.tasks.len());
        for reading in &observation.tasks {
            self.know(reading.task, &mut signals.gone);
            if born.contains(&reading.task)
                && let Some(before) = span.before
                && plausible(reading, now.saturating_sub(before), signals.cpus)
            {
                let track = TaskTrack::born(reading.task.start, before);
                self.tasks.insert(reading.task.pid, track);
            }
            signals.tasks.extend(self.task(reading, span));
        }
        signals.contexts = self.contexts(&observation.contexts, now, failures.is_empty());
        let newest = self.newest_start;
        self.newest_start = signals
            .infos
            .iter()
            .map(|i| i.task)
            .chain(signals.tasks.iter().map(|t| t.task))
            .fold(newest, |newest, task| newest.max(task.start));
        if failures.is_empty() {
            self.complete_at = Some(now);
        }
        self.last_at = Some(now);
        self.account(&signals, failures);
        signals
    }

    /// How the Monitor is.
    #[must_use]
    pub fn state(&self) -> WindowState {
        self.state.clone()
    }

    /// Processes started since the last complete sweep. One that is merely found late (after a
    /// gap, or because this stage was rebuilt) started before the newest that was known then.
    fn newborn(&self, infos: &[TaskInfo], span: Span) -> HashSet<TaskId> {
        if span.before.is_none() || self.last_at != span.before {
            return HashSet::new();
        }
        let new = infos.iter().map(|info| info.task).filter(|task| {
            task.start >= self.newest_start
                && self.tasks.get(&task.pid).is_none_or(|track| track.start != task.start)
        });
        new.collect()
    }

    /// Where all the living were told, whoever was not is gone: another backend told of them, which
    /// cannot say any more how they ended.
    fn forget_untold(&mut self, told: &Observation, gone: &mut Vec<TaskId>) {
        let infos = told.infos.iter().map(|info| info.task.pid);
        let living: HashSet<u32> = infos.chain(told.tasks.iter().map(|r| r.task.pid)).collect();
        self.tasks.retain(|&pid, track| {
            let lives = living.contains(&pid);
            if !lives {
                gone.push(TaskId { pid, tid: 0, start: track.start });
            }
            lives
        });
    }

    /// Makes room for a process; whoever had its number before is gone, told or not.
    fn know(&mut self, task: TaskId, gone: &mut Vec<TaskId>) {
        let track = self.tasks.entry(task.pid).or_insert_with(|| TaskTrack::new(task.start));
        if track.start != task.start {
            gone.push(TaskId { start: track.start, ..task });
            *track = TaskTrack::new(task.start);
        }
    }

    fn task(&mut self, reading: &TaskReading, span: Span) -> Option<TaskSignals> {
        self.tasks.get_mut(&reading.task.pid).map(|track| track.advance(reading, span))
    }

    fn contexts(
        &mut self,
        readings: &[outrigger_sdk::ContextReading],
        now: u64,
        complete: bool,
    ) -> Vec<ContextSignals> {
        if complete && self.contexts.len() > readings.len() {
            self.contexts.retain(|context, _| readings.iter().any(|r| r.context == *context));
        }
        let mut signals = Vec::with_capacity(readings.len());
        for reading in readings {
            signals.push(match self.contexts.get_mut(&reading.context) {
                Some(track) => track.advance(reading, now),
                None => {
                    let (track, first) = ContextTrack::first(reading, now);
                    self.contexts.insert(reading.context.clone(), track);
                    first
                }
            });
        }
        signals
    }

    fn account(&mut self, signals: &Signals, failures: Vec<String>) {
        let state = &mut self.state;
        let tick = signals.provenance.tick;
        if state.tick != 0 {
            state.missed_ticks += tick.saturating_sub(state.tick + 1);
        }
        state.tick = tick;
        state.interval_ns = signals.interval_ns;
        state.tasks = self.tasks.len();
        state.active = signals.tasks.len();
        state.contexts = self.contexts.len();
        state.unreadable = signals.unreadable;
        state.incomplete_sweeps += u64::from(!failures.is_empty());
        state.failures = failures;
    }
}

/// Growth per ns of a counter of the host, 0 of which means that there is none.
fn host(kept: &mut Option<(u64, u64)>, value: u64, now: u64) -> Option<f64> {
    if value == 0 {
        return None;
    }
    let (before, at) = kept.replace((value, now))?;
    let grown = value.checked_sub(before)?;
    let interval = now.checked_sub(at).filter(|&interval| interval > 0)?;
    Some(grown as f64 / interval as f64)
}

/// Whether all CPU time a newborn has used fits into the interval.
fn plausible(reading: &TaskReading, interval_ns: u64, cpus: u32) -> bool {
    reading.cpu_ns as f64 <= interval_ns as f64 * f64::from(cpus.max(1)) * NEWBORN_SLACK
}

#[cfg(test)]
mod tests;
