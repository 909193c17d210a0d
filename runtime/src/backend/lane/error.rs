//! Why a call into a lane brought no result, and whether anything happened.

use std::sync::Arc;
use std::time::Duration;

/// Why a call brought no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaneError {
    /// It was not begun before its deadline, or too many were waiting: nothing happened.
    #[error("plugin {plugin} did not get to `{step}` in time; nothing was done")]
    Busy {
        /// Name of the plugin.
        plugin: Arc<str>,
        /// The call.
        step: &'static str,
    },
    /// An earlier call has not come back: nothing happened.
    #[error("plugin {plugin} has been in `{hanging}` for {} ms too long; `{step}` was not begun", late.as_millis())]
    InDoubt {
        /// Name of the plugin.
        plugin: Arc<str>,
        /// The call.
        step: &'static str,
        /// The call that hangs.
        hanging: &'static str,
        /// How long it is past its deadline.
        late: Duration,
    },
    /// It runs and is past its deadline: what it does is in doubt until it comes back.
    #[error("plugin {plugin} did not come back from `{step}` within {} ms", deadline.as_millis())]
    Late {
        /// Name of the plugin.
        plugin: Arc<str>,
        /// The call.
        step: &'static str,
        /// How long it was given.
        deadline: Duration,
    },
    /// The lane is gone: this call ended it, or an earlier one.
    #[error("plugin {plugin} is no longer asked: {reason}")]
    Ended {
        /// Name of the plugin.
        plugin: Arc<str>,
        /// Why, one sentence.
        reason: String,
    },
}
