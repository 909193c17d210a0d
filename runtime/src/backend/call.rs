//! A call into a plugin, from the caller's point of view: a result, or why there is none.

use super::health::{Event, Health};
use super::lane::{LaneError, Pending};
use crate::clock::monotonic_ns;
use outrigger_sdk::{Error, ErrorCode};
use std::sync::Arc;

/// Why a call brought no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The plugin is quarantined: nothing was done.
    #[error("plugin {plugin} is quarantined: {reason}")]
    Quarantined {
        /// Its name.
        plugin: Arc<str>,
        /// Why, one sentence.
        reason: String,
    },
    /// The plugin was not granted this: nothing was done.
    #[error("plugin {plugin} was not granted {capability}; add it to plugins.grants.{plugin}")]
    NotGranted {
        /// Its name.
        plugin: Arc<str>,
        /// What it would need.
        capability: outrigger_sdk::Capability,
    },
    /// The lane brought no answer.
    #[error(transparent)]
    Lane(#[from] LaneError),
    /// The backend answered with an error.
    #[error(transparent)]
    Backend(#[from] Error),
}

impl CallError {
    /// Whether the call may still be doing something: its knob is in doubt.
    pub const fn is_in_doubt(&self) -> bool {
        matches!(self, Self::Lane(LaneError::Late { .. }))
    }

    /// Whether the call certainly was not begun.
    pub const fn is_not_begun(&self) -> bool {
        matches!(
            self,
            Self::Quarantined { .. }
                | Self::NotGranted { .. }
                | Self::Lane(LaneError::Busy { .. } | LaneError::InDoubt { .. })
        )
    }
}

impl From<CallError> for Error {
    /// In the words of the ABI: [`ErrorCode::DEADLINE`] only if the call is in doubt.
    fn from(error: CallError) -> Self {
        let code = match &error {
            CallError::Backend(error) => return error.clone(),
            CallError::Lane(LaneError::Late { .. }) => ErrorCode::DEADLINE,
            CallError::Lane(LaneError::Ended { .. }) => ErrorCode::PANIC,
            CallError::NotGranted { .. } => ErrorCode::PRIVILEGE,
            CallError::Quarantined { .. }
            | CallError::Lane(LaneError::Busy { .. } | LaneError::InDoubt { .. }) => {
                ErrorCode::NOT_SUPPORTED
            }
        };
        Self::new(code, "call", error.to_string())
    }
}

/// A call that is under way, or was refused at once. Waiting for it is [`Call::wait`] or
/// [`Call::finish`]; dropping it gives it up.
#[must_use = "a call that nobody waits for is given up"]
pub struct Call<T: Send + 'static> {
    pub(super) pending: Result<Pending<Result<T, Error>>, CallError>,
    pub(super) health: Arc<Health>,
}

impl<T: Send + 'static> Call<T> {
    /// Blocks until the answer is there or its deadline has passed. Not for actors.
    ///
    /// # Errors
    /// No answer, or an error as the answer.
    pub fn wait(self) -> Result<T, CallError> {
        judged(&self.health, self.pending?.wait())
    }

    /// Waits until the answer is there or its deadline has passed. Needs tokio's timer.
    ///
    /// # Errors
    /// No answer, or an error as the answer.
    pub async fn finish(self) -> Result<T, CallError> {
        judged(&self.health, self.pending?.finish().await)
    }
}

/// What the waiting tells about the plugin's health; what the answer tells was noted on the lane.
fn judged<T>(health: &Health, result: Result<Result<T, Error>, LaneError>) -> Result<T, CallError> {
    match result {
        Ok(answer) => Ok(answer?),
        Err(error) => {
            let reason = error.to_string();
            match &error {
                LaneError::Late { .. } => health.event(Event::Late { reason }, monotonic_ns()),
                LaneError::Ended { .. } => health.event(Event::Ended { reason }, monotonic_ns()),
                // An earlier call's fault, noted when that one was given up.
                LaneError::Busy { .. } | LaneError::InDoubt { .. } => {}
            }
            Err(error.into())
        }
    }
}
