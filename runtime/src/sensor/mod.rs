//! Takes a sweep of readings every tick and hands it to the Monitor.
//!
//! The sensor has a thread of its own that does nothing but wait for the next tick and for the
//! backends' lanes, each with a deadline: a backend that hangs costs its own readings, not the
//! tick. Whom to ask is found anew at each sweep ([`observers`]), so a backend that fails is
//! replaced by the next known, and comes back when it answers again. What the only one tells too
//! late is told with the next sweep: names and ends are told only once. It decides nothing else,
//! keeps no readings, and never blocks on the stages behind it. What to look at more closely it
//! reads from [`Demand`].

mod observers;
mod sweep;

pub use sweep::Sweeper;

use crate::backend::Registry;
use crate::flow::demand::Demand;
use crate::flow::edge::Edge;
use crate::flow::message::Sweep;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

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
        registry: Arc<Registry>,
        tick: Duration,
        demand: Arc<Demand>,
        next: Arc<Edge<Sweep>>,
    ) -> std::io::Result<Self> {
        let state = Arc::new(SensorState::default());
        let (stop, stopped) = mpsc::channel();
        let published = Arc::clone(&state);
        let thread = std::thread::Builder::new().name("sensor".to_owned()).spawn(move || {
            let mut sweeper = Sweeper::new(registry, demand);
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
