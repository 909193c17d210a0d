//! A call on its way: waiting for it, or giving it up.

use super::cell::{Cell, Taken};
use super::{Condition, Lane, LaneError, OnLate, lock};
use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A call that was handed to a lane.
#[must_use = "a call that nobody waits for is given up"]
pub struct Pending<T: Send + 'static> {
    pub(super) cell: Arc<Cell<T>>,
    pub(super) lane: Lane,
    pub(super) step: &'static str,
    pub(super) deadline: Duration,
    pub(super) until: Instant,
    pub(super) on_late: Option<OnLate<T>>,
}

impl<T: Send + 'static> Pending<T> {
    /// Blocks until the result is there or the deadline has passed. Not for actors.
    ///
    /// # Errors
    /// No result; whether anything happened, the error tells.
    pub fn wait(mut self) -> Result<T, LaneError> {
        self.cell.wait(self.until);
        self.settle()
    }

    /// Waits until the result is there or the deadline has passed. Needs tokio's timer.
    ///
    /// # Errors
    /// As [`Pending::wait`].
    pub async fn finish(mut self) -> Result<T, LaneError> {
        let done = poll_fn(|context| self.cell.poll(context));
        // Whether it was the call or the clock, the cell knows.
        let _ = tokio::time::timeout_at(self.until.into(), done).await;
        self.settle()
    }

    fn settle(&mut self) -> Result<T, LaneError> {
        let plugin = self.lane.name.clone();
        let step = self.step;
        let deadline = self.deadline;
        let late = || {
            let since = Instant::now();
            *lock(&self.lane.condition) = Condition::InDoubt { step, since };
        };
        match self.cell.take(&mut self.on_late, late) {
            Taken::Value(value) => Ok(value),
            Taken::Ended(reason) => Err(LaneError::Ended { plugin, reason }),
            Taken::NotBegun => Err(LaneError::Busy { plugin, step }),
            Taken::Late => Err(LaneError::Late { plugin, step, deadline }),
        }
    }
}

impl<T: Send + 'static> Drop for Pending<T> {
    fn drop(&mut self) {
        // Whoever stops waiting early gives the call up like one whose deadline has passed.
        let _ = self.settle();
    }
}
