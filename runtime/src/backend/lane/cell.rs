//! The place where a call's result is handed over, or the call is given up: never both.

use super::{OnLate, lock, panic_text};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

enum Phase<T> {
    /// In the queue.
    Queued,
    /// On the lane's thread.
    Running,
    /// Come back; not yet taken.
    Done(T),
    /// Will never come back.
    Ended(String),
    /// Given up while it ran.
    GivenUp(Option<OnLate<T>>),
    /// Taken, or withdrawn before it ran.
    Over,
}

pub(super) enum Taken<T> {
    Value(T),
    Ended(String),
    NotBegun,
    Late,
}

pub(super) struct Cell<T> {
    state: Mutex<(Phase<T>, Option<Waker>)>,
    changed: Condvar,
}

impl<T> Cell<T> {
    pub(super) fn new() -> Self {
        Self { state: Mutex::new((Phase::Queued, None)), changed: Condvar::new() }
    }

    /// Lane's side: the call is about to run. `false` if it was withdrawn.
    pub(super) fn begin(&self) -> bool {
        let mut state = lock(&self.state);
        let queued = matches!(state.0, Phase::Queued);
        if queued {
            state.0 = Phase::Running;
        }
        queued
    }

    /// Lane's side: the call came back. `true` if that was late.
    pub(super) fn complete(&self, value: T, started: Instant) -> bool {
        self.end(Phase::Done, value, Ok, started)
    }

    /// Lane's side: the call will never come back.
    pub(super) fn abandon(&self, reason: String, started: Instant) {
        self.end(Phase::Ended, reason, Err, started);
    }

    fn end<V>(
        &self,
        phase: impl FnOnce(V) -> Phase<T>,
        value: V,
        result: impl FnOnce(V) -> Result<T, String>,
        started: Instant,
    ) -> bool {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut state.0, Phase::Over) {
            Phase::GivenUp(on_late) => {
                drop(state);
                if let Some(on_late) = on_late {
                    let result = result(value);
                    let took = started.elapsed();
                    let told = catch_unwind(AssertUnwindSafe(|| on_late(result, took)));
                    if let Err(payload) = told {
                        tracing::error!(
                            reason = panic_text(payload),
                            "the late result of a plugin call was lost"
                        );
                    }
                }
                true
            }
            Phase::Queued | Phase::Running => {
                state.0 = phase(value);
                self.wake(state.1.take());
                false
            }
            over => {
                state.0 = over;
                false
            }
        }
    }

    fn wake(&self, waker: Option<Waker>) {
        self.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Caller's side: blocks until there is something to take or `until` has passed.
    pub(super) fn wait(&self, until: Instant) {
        let mut state = lock(&self.state);
        while matches!(state.0, Phase::Queued | Phase::Running) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = match self.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Caller's side: ready when there is something to take.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if matches!(state.0, Phase::Queued | Phase::Running) {
            state.1 = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Caller's side: takes the result, or gives the call up. `late` runs before the lane can
    /// learn that its call was given up.
    pub(super) fn take(&self, on_late: &mut Option<OnLate<T>>, late: impl FnOnce()) -> Taken<T> {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut state.0, Phase::Over) {
            Phase::Done(value) => Taken::Value(value),
            Phase::Ended(reason) => Taken::Ended(reason),
            Phase::Queued | Phase::Over => Taken::NotBegun,
            Phase::Running => {
                late();
                state.0 = Phase::GivenUp(on_late.take());
                Taken::Late
            }
            given_up @ Phase::GivenUp(_) => {
                state.0 = given_up;
                Taken::Late
            }
        }
    }
}

/// The lane's end of a cell: dropped without an answer, it says that none will come.
pub(super) struct Ticket<T>(Arc<Cell<T>>);

impl<T> Ticket<T> {
    pub(super) fn new(cell: Arc<Cell<T>>) -> Self {
        Self(cell)
    }
}

impl<T> std::ops::Deref for Ticket<T> {
    type Target = Cell<T>;
    fn deref(&self) -> &Cell<T> {
        &self.0
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        self.0.abandon("its thread ended before the call".to_owned(), Instant::now());
    }
}
