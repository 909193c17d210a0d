//! Takes a sweep of readings every tick and hands it to the Monitor.
//!
//! The sensor has a thread of its own that does nothing but wait for the next tick and for the
//! backends' lanes, each with a deadline: a backend that hangs costs its own readings, not the
//! tick. What it tells too late is told with the next sweep: names and ends are told only once.
//! The sensor decides nothing, keeps no history, and never blocks on the stages behind it. What to
//! look at more closely it reads from [`Demand`].

use crate::backend::{Plugin, Registry};
use crate::clock;
use crate::flow::demand::Demand;
use crate::flow::edge::{Coalesce, Edge};
use crate::flow::message::{Provenance, Sweep};
use outrigger_sdk::{Capability, ContextId, Observation, ObserveRequest, TaskId};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A backend that is read, and what of.
#[derive(Clone)]
pub struct Source {
    /// Who.
    pub plugin: Arc<Plugin>,
    /// Whether it sees processes.
    pub tasks: bool,
    /// Whether it sees contexts.
    pub contexts: bool,
}

/// Who is read: the best backend for processes and the best for contexts, each once.
pub fn sources(registry: &Registry) -> Vec<Source> {
    let mut sources: Vec<Source> = Vec::new();
    let mut add = |capability: Capability, tasks: bool| {
        let Some(plugin) = registry.route(capability).and_then(|route| route.best()) else {
            return;
        };
        let known = sources.iter_mut().find(|source| Arc::ptr_eq(&source.plugin, plugin));
        match known {
            Some(source) if tasks => source.tasks = true,
            Some(source) => source.contexts = true,
            None => sources.push(Source { plugin: Arc::clone(plugin), tasks, contexts: !tasks }),
        }
    };
    add(Capability::OBSERVE_TASKS, true);
    add(Capability::OBSERVE_CONTEXTS, false);
    add(Capability::OBSERVE_PRESSURE, false);
    sources
}

/// How sweeping goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SensorStats {
    /// Sweeps taken.
    pub ticks: u64,
    /// Ticks that passed without a sweep because the one before was not done.
    pub missed: u64,
    /// Duration of the last sweep, microseconds.
    pub last_us: u64,
    /// Longest sweep so far, microseconds.
    pub longest_us: u64,
    /// Backends that could not be read at the last sweep, one sentence each.
    pub failures: Vec<String>,
}

/// What the sensor publishes, for `status`.
#[derive(Debug, Default)]
pub struct SensorState {
    ticks: AtomicU64,
    missed: AtomicU64,
    last_us: AtomicU64,
    longest_us: AtomicU64,
    failures: RwLock<Vec<String>>,
}

/// The running sensor. Dropping it stops it.
pub struct Sensor {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    state: Arc<SensorState>,
}

impl Sensor {
    /// Starts sweeping at once and then every `tick`.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(
        sources: Vec<Source>,
        tick: Duration,
        demand: Arc<Demand>,
        next: Arc<Edge<Sweep>>,
    ) -> std::io::Result<Self> {
        let state = Arc::new(SensorState::default());
        let (stop, stopped) = mpsc::channel();
        let published = Arc::clone(&state);
        let thread = std::thread::Builder::new().name("sensor".to_owned()).spawn(move || {
            let mut sweeper = Sweeper::new(sources, demand);
            let mut due = Instant::now();
            let mut number = 0;
            loop {
                match stopped.recv_timeout(due.saturating_duration_since(Instant::now())) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
                number += 1;
                let began = Instant::now();
                let sweep = sweeper.sweep(number);
                published.note(began.elapsed(), &sweep.failures);
                next.send(sweep);
                due += tick;
                let late = Instant::now().saturating_duration_since(due);
                if !late.is_zero() {
                    let missed = late.as_nanos() / tick.as_nanos().max(1) + 1;
                    let missed = u32::try_from(missed).unwrap_or(u32::MAX);
                    published.missed.fetch_add(u64::from(missed), Ordering::Relaxed);
                    due += tick * missed;
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread), state })
    }

    /// Where its state can be read at any time.
    pub fn state(&self) -> Arc<SensorState> {
        Arc::clone(&self.state)
    }

    /// Stops sweeping and waits for the sweep in progress (bounded by its deadlines).
    pub fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A sensor that panicked has stopped as well.
            let _ = thread.join();
        }
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        self.stop();
    }
}

impl SensorState {
    /// A copy of what is known now.
    pub fn stats(&self) -> SensorStats {
        SensorStats {
            ticks: self.ticks.load(Ordering::Relaxed),
            missed: self.missed.load(Ordering::Relaxed),
            last_us: self.last_us.load(Ordering::Relaxed),
            longest_us: self.longest_us.load(Ordering::Relaxed),
            failures: self.failures.read().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    fn note(&self, took: Duration, failures: &[String]) {
        let us = took.as_micros() as u64;
        self.ticks.fetch_add(1, Ordering::Relaxed);
        self.last_us.store(us, Ordering::Relaxed);
        self.longest_us.fetch_max(us, Ordering::Relaxed);
        let mut known = self.failures.write().unwrap_or_else(PoisonError::into_inner);
        if *known != failures {
            known.clear();
            known.extend_from_slice(failures);
        }
    }
}

/// Takes sweeps, one when asked: the sensor without its thread.
pub struct Sweeper {
    sources: Vec<Source>,
    buffers: Vec<Observation>,
    demand: Arc<Demand>,
    /// Where answers arrive that came after their deadline.
    late: (mpsc::Sender<Observation>, mpsc::Receiver<Observation>),
}

impl Sweeper {
    /// Of these sources, looking at what `demand` says.
    pub fn new(sources: Vec<Source>, demand: Arc<Demand>) -> Self {
        Self { sources, buffers: Vec::new(), demand, late: mpsc::channel() }
    }

    /// Asks all sources at once, then waits for each, which takes until the deadline at most.
    pub fn sweep(&mut self, tick: u64) -> Sweep {
        let provenance =
            Provenance { tick, at_ns: clock::monotonic_ns(), wall_ms: clock::wall_ms() };
        let (focus, contexts) = (self.demand.focus(), self.demand.contexts());
        let full = self.demand.take_full();
        let mut failures = Vec::new();
        let mut answers = Vec::with_capacity(self.sources.len());
        for source in &self.sources {
            let request = request(source, tick, full, &focus, &contexts);
            let mut buffer = self.buffers.pop().unwrap_or_default();
            buffer.clear();
            let late = self.late.0.clone();
            answers.push(source.plugin.observe(request, buffer, move |observation| {
                // A sensor that has stopped needs no more.
                let _ = late.send(observation);
            }));
        }
        let mut merged: Option<Observation> = None;
        for answer in answers {
            match answer.wait() {
                Ok(observation) => match &mut merged {
                    None => merged = Some(observation),
                    Some(merged) => self.buffers.push(merge(merged, observation)),
                },
                Err(error) => failures.push(error.to_string()),
            }
        }
        if full && !failures.is_empty() {
            // What was asked for was not told: ask again.
            self.demand.request_full();
        }
        let mut observation = merged.unwrap_or_default();
        for mut late in self.late.1.try_iter() {
            // A lane hands over what is late before it takes the next call: this is the older.
            late.coalesce(observation);
            observation = late;
        }
        observation.at_ns = provenance.at_ns;
        Sweep { provenance, observation, failures }
    }
}

fn request(
    source: &Source,
    tick: u64,
    full: bool,
    focus: &[TaskId],
    contexts: &[ContextId],
) -> ObserveRequest {
    ObserveRequest {
        tick,
        full,
        focus: if source.tasks { focus.to_vec().into() } else { Default::default() },
        contexts: if source.contexts { contexts.to_vec().into() } else { Default::default() },
    }
}

/// Adds `other`'s readings to `into`; returns `other`'s emptied buffers for the next sweep.
fn merge(into: &mut Observation, mut other: Observation) -> Observation {
    into.tasks.extend(other.tasks.drain(..));
    into.infos.extend(other.infos.drain(..));
    into.gone.extend(other.gone.drain(..));
    into.contexts.extend(other.contexts.drain(..));
    into.host_pressure_us = into.host_pressure_us.max(other.host_pressure_us);
    into.host_cpu_ns = into.host_cpu_ns.max(other.host_cpu_ns);
    into.cpus = into.cpus.max(other.cpus);
    into.unreadable = into.unreadable.max(other.unreadable);
    other
}
