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
use crate::flow::stage::Pulse;
use crate::mutation;
use crate::steward::Life;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A sign of life is given at least so often, however long the tick is.
const BEAT: Duration = Duration::from_secs(1);

/// What every sensor of a sidecar is made of, the first and those that replace it.
#[derive(Clone)]
pub struct Plan {
    /// Who can be asked.
    pub registry: Arc<Registry>,
    /// From one sweep to the next.
    pub tick: Duration,
    /// What to look at more closely.
    pub demand: Arc<Demand>,
    /// Where sweeps go.
    pub next: Arc<Edge<Sweep>>,
    /// Its signs of life.
    pub pulse: Arc<Pulse>,
    /// Sweeps so far; numbers go on where the one before has stopped.
    pub sweeps: Arc<AtomicU64>,
}

/// The running sensor. Dropping it stops it.
pub struct Sensor {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sensor {
    /// Starts sweeping at once and then every tick. If no thread can be started it is one that has
    /// ended already.
    pub fn start(plan: Plan) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name("sensor".to_owned());
        let thread = thread.spawn(move || sense(&plan, &stopped));
        let thread = thread.inspect_err(|error| tracing::error!(%error, "no sensor")).ok();
        Self { stop: Some(stop), thread }
    }
}

fn sense(plan: &Plan, stopped: &mpsc::Receiver<()>) {
    let mut sweeper = Sweeper::new(Arc::clone(&plan.registry), Arc::clone(&plan.demand));
    let mut due = Instant::now();
    loop {
        plan.pulse.beat();
        let left = due.saturating_duration_since(Instant::now());
        match stopped.recv_timeout(left.min(BEAT)) {
            Err(RecvTimeoutError::Timeout) if left > BEAT => continue,
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
        mutation::panic_in("sensor");
        let sweep = sweeper.sweep(plan.sweeps.fetch_add(1, Ordering::Relaxed) + 1);
        // Cut off meanwhile: another one has taken over.
        if stopped.try_recv() != Err(TryRecvError::Empty) {
            return;
        }
        plan.next.send(sweep);
        due += plan.tick;
        let late = Instant::now().saturating_duration_since(due);
        if !late.is_zero() {
            let missed = late.as_nanos() / plan.tick.as_nanos().max(1) + 1;
            due += plan.tick * u32::try_from(missed).unwrap_or(u32::MAX);
        }
    }
}

impl Life for Sensor {
    fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// It ends at its next wait, which is bounded by the deadlines of the sweep in progress.
    fn cut(&mut self) {
        drop(self.stop.take());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::backend::{PluginsConfig, start};

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn it_gives_signs_of_life_and_its_successor_counts_on() {
        let nowhere = tempfile::tempdir().unwrap();
        let executable = nowhere.path().join("outrigger");
        let registry = Arc::new(start(&PluginsConfig::default(), &[], Some(&executable)));
        let plan = Plan {
            registry,
            tick: Duration::from_millis(1),
            demand: Arc::default(),
            next: Arc::new(Edge::new("sweeps", 1)),
            pulse: Arc::default(),
            sweeps: Arc::default(),
        };
        let began = Instant::now();
        let wait = |what: &str, come: &dyn Fn() -> bool| {
            while !come() {
                assert!(began.elapsed() < SOON, "{what}");
                std::thread::yield_now();
            }
        };
        let mut first = Sensor::start(plan.clone());
        wait("it never swept", &|| plan.sweeps.load(Ordering::Relaxed) > 3);
        first.cut();
        wait("it never ended", &|| !first.is_alive());
        let (swept, beats) = (plan.sweeps.load(Ordering::Relaxed), plan.pulse.count());
        assert!(beats > 3);

        let second = Sensor::start(plan.clone());
        wait("nobody took over", &|| plan.sweeps.load(Ordering::Relaxed) > swept + 3);
        assert!(second.is_alive() && plan.pulse.count() > beats);
    }
}
