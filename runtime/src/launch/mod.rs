//! `outrigger run -- CMD`: starts CMD inside its context, without a race, and stays out of its way.
//!
//! ```text
//! run ── spawn ──> shim (`outrigger launch`), in a process group of its own, waits at the gate
//!  │                │
//!  ├ puts it into its context, starts to watch
//!  └ opens the gate ┴─> exec CMD: the same process number, and already governed
//! ```
//!
//! From then on whoever started `outrigger run` should not notice that CMD is one process further
//! away: the terminal, stopping and continuing, signals and the exit code are CMD's own. Afterwards
//! nothing that CMD started is left behind.
//!
//! Nothing here knows how the context is made; [`Hooks`] are what the sidecar lends us.

mod broken_pipe;
mod gate;
mod shim;
mod signals;
mod stragglers;
mod supervise;
mod terminal;

pub use gate::{Held, LaunchError, hold};
pub use shim::shim;
pub use signals::{Arrived, OriginalMask, SignalInbox};
pub use stragglers::{Fate, Straggler, sweep};
pub use supervise::{Ended, supervise};

/// Exit code of `run` when Outrigger itself failed and CMD did not run.
pub const EXIT_OURS: u8 = 125;
/// Exit code of `run` when CMD cannot be executed.
pub const EXIT_NOT_EXECUTABLE: u8 = 126;
/// Exit code of `run` when CMD is not found.
pub const EXIT_NOT_FOUND: u8 = 127;

/// What the sidecar knows that the process table does not tell.
pub struct Hooks {
    /// Processes still in CMD's context. Empty if there is no context.
    pub stragglers: Box<dyn Fn() -> Vec<u32>>,
    /// Children of this process that belong to the sidecar (the keeper): neither reaped nor
    /// ended here.
    pub spared: Box<dyn Fn() -> Vec<u32>>,
}

impl Hooks {
    /// Without a sidecar: only the process table counts.
    pub fn none() -> Self {
        Self { stragglers: Box::new(Vec::new), spared: Box::new(Vec::new) }
    }
}
