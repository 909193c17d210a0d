//! One thread per plugin, in which all its calls run, each with a deadline.
//!
//! A call is a closure. Whoever asked waits for it, blocking or asynchronously, until its
//! deadline; a plugin that hangs takes its own thread with it and nobody else's.
//!
//! # What a missed deadline means
//!
//! A call that is still in the queue is withdrawn: it never runs, so nothing has happened. A
//! call that runs cannot be stopped: the lane is then *in doubt*. It refuses everything at once
//! until the late call comes back, whose result goes to the function given for that purpose
//! before the lane takes the next call: what was in doubt is known first.
//!
//! A panic that gets past the SDK's guard ends the lane for good: whatever state the backend is
//! in, it is not asked again. Its thread ends and the backend is leaked, since dropping it would
//! run its code again.

mod cell;
mod error;
mod pending;

pub use error::LaneError;
pub use pending::Pending;

use cell::Cell;
use outrigger_sdk::Backend;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Calls that may wait in a lane. Its callers are the sensor, the enforcer and the command line,
/// each with one or two calls at a time; more means that the plugin is not keeping up.
const QUEUE: usize = 16;

type Job = Box<dyn FnOnce(&mut dyn Backend) -> Result<(), String> + Send>;

/// Receives the result of a call that came back late (or why it never will), and how long the
/// call took.
pub type OnLate<T> = Box<dyn FnOnce(Result<T, String>, Duration) + Send>;

/// A plugin's thread. Clones share it; it ends when the last one is dropped.
#[derive(Clone)]
pub struct Lane {
    name: Arc<str>,
    queue: SyncSender<Job>,
    condition: Arc<Mutex<Condition>>,
}

/// What a lane is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Takes calls.
    Ready,
    /// A call is past its deadline and has not come back.
    InDoubt {
        /// Which.
        step: &'static str,
        /// When it was given up.
        since: Instant,
    },
    /// Its thread is gone.
    Ended {
        /// Why, one sentence.
        reason: String,
    },
}

/// Why a lane could not be opened.
#[derive(Debug)]
pub enum OpenError<E> {
    /// The backend was not made.
    Refused(E),
    /// It took too long, or panicked.
    Lane(LaneError),
}

impl Lane {
    /// Starts the thread `lane-NAME`, on which `make` makes the backend.
    ///
    /// # Errors
    /// `make` refused, panicked, or was not done by the deadline. Then the thread is left to
    /// itself: it ends when `make` returns.
    pub fn open<M: Send + 'static, E: Send + 'static>(
        name: &str,
        deadline: Duration,
        make: impl FnOnce() -> Result<(Box<dyn Backend>, M), E> + Send + 'static,
    ) -> Result<(Self, M), OpenError<E>> {
        let (queue, jobs) = mpsc::sync_channel(QUEUE);
        let lane =
            Self { name: name.into(), queue, condition: Arc::new(Mutex::new(Condition::Ready)) };
        let cell = Arc::new(Cell::new());
        let made = cell.clone();
        let condition = lane.condition.clone();
        let thread = std::thread::Builder::new().name(format!("lane-{name}")).spawn(move || {
            let started = Instant::now();
            made.begin();
            match catch_unwind(AssertUnwindSafe(make)) {
                Ok(Ok((backend, more))) => {
                    // If nobody waits any more, the channel is closed and the loop ends at once.
                    made.complete(Ok(more), started);
                    serve(backend, &jobs, &condition);
                }
                Ok(Err(error)) => {
                    made.complete(Err(error), started);
                }
                Err(payload) => {
                    let reason = format!("it panicked in `create`: {}", panic_text(payload));
                    made.abandon(reason, started);
                }
            }
        });
        if let Err(error) = thread {
            let reason = format!("no thread could be started for it: {error}");
            return Err(OpenError::Lane(LaneError::Ended { plugin: lane.name.clone(), reason }));
        }
        let pending = Pending {
            cell,
            lane,
            step: "create",
            deadline,
            until: Instant::now() + deadline,
            on_late: None,
        };
        let lane = pending.lane.clone();
        match pending.wait() {
            Ok(Ok(more)) => Ok((lane, more)),
            Ok(Err(error)) => Err(OpenError::Refused(error)),
            Err(error) => Err(OpenError::Lane(error)),
        }
    }

    /// Name of the plugin.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What the lane is doing.
    pub fn condition(&self) -> Condition {
        lock(&self.condition).clone()
    }

    /// Hands a call to the lane. The answer must be waited for; dropping it gives the call up.
    ///
    /// `on_late` gets the result if the call comes back after it was given up; it runs on the
    /// lane's thread and should be short.
    ///
    /// # Errors
    /// The call was not begun and never will be.
    pub fn submit<T: Send + 'static>(
        &self,
        step: &'static str,
        deadline: Duration,
        call: impl FnOnce(&mut dyn Backend) -> T + Send + 'static,
        on_late: Option<OnLate<T>>,
    ) -> Result<Pending<T>, LaneError> {
        let plugin = self.name.clone();
        match &*lock(&self.condition) {
            Condition::Ready => {}
            Condition::InDoubt { step: hanging, since } => {
                return Err(LaneError::InDoubt { plugin, step, hanging, late: since.elapsed() });
            }
            Condition::Ended { reason } => {
                return Err(LaneError::Ended { plugin, reason: reason.clone() });
            }
        }
        let cell = Arc::new(Cell::new());
        // If the thread ends with the call still queued, dropping the job tells who waits.
        let ticket = cell::Ticket::new(cell.clone());
        let condition = self.condition.clone();
        let job: Job = Box::new(move |backend| {
            if !ticket.begin() {
                return Ok(());
            }
            let started = Instant::now();
            match catch_unwind(AssertUnwindSafe(|| call(backend))) {
                Ok(value) => {
                    if ticket.complete(value, started) {
                        *lock(&condition) = Condition::Ready;
                    }
                    Ok(())
                }
                Err(payload) => {
                    let reason = format!("it panicked in `{step}`: {}", panic_text(payload));
                    *lock(&condition) = Condition::Ended { reason: reason.clone() };
                    ticket.abandon(reason.clone(), started);
                    Err(reason)
                }
            }
        });
        match self.queue.try_send(job) {
            Ok(()) => Ok(Pending {
                cell,
                lane: self.clone(),
                step,
                deadline,
                until: Instant::now() + deadline,
                on_late,
            }),
            Err(TrySendError::Full(_)) => Err(LaneError::Busy { plugin, step }),
            Err(TrySendError::Disconnected(_)) => {
                let reason = match self.condition() {
                    Condition::Ended { reason } => reason,
                    _ => "its thread has ended".to_owned(),
                };
                Err(LaneError::Ended { plugin, reason })
            }
        }
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane")
            .field("name", &self.name)
            .field("condition", &self.condition())
            .finish_non_exhaustive()
    }
}

fn serve(mut backend: Box<dyn Backend>, jobs: &Receiver<Job>, condition: &Mutex<Condition>) {
    while let Ok(job) = jobs.recv() {
        if let Err(reason) = job(&mut *backend) {
            *lock(condition) = Condition::Ended { reason };
            std::mem::forget(backend);
            return;
        }
    }
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(backend))) {
        tracing::debug!(reason = panic_text(payload), "a backend panicked when it was dropped");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these.
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn panic_text(payload: Box<dyn std::any::Any + Send>) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
        .to_owned();
    // A payload may panic when it is dropped.
    std::mem::forget(payload);
    text
}

#[cfg(test)]
mod tests;
