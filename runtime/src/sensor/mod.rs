//! Takes a sweep of readings every tick and hands it to the Monitor.
//!
//! The sensor has a thread of its own that does nothing but wait for the next tick and for the
//! backends' lanes, each with a deadline: a backend that hangs costs its own readings, not the
//! tick. Whom to ask is found anew at each sweep (`observers`), so a backend that fails is
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
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The running sensor. Dropping it stops it.
pub struct Sensor {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
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
        let (stop, stopped) = mpsc::channel();
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
                next.send(sweeper.sweep(number));
                due += tick;
                let late = Instant::now().saturating_duration_since(due);
                if !late.is_zero() {
                    let missed = late.as_nanos() / tick.as_nanos().max(1) + 1;
                    due += tick * u32::try_from(missed).unwrap_or(u32::MAX);
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
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
