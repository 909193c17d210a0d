//! From counters to rates: the first stage that knows two sweeps.
//!
//! It has no opinion: what a process is, and whether anybody suffers, is for the stages after it.

mod track;
mod window;

pub use window::{Window, WindowState};

use crate::flow::message::{Signals, Sweep};
use crate::flow::stage::Core;
use arc_swap::ArcSwap;
use std::sync::Arc;

/// The stage: the core, and where `status` reads how it is.
#[derive(Debug, Default)]
pub struct Monitor {
    window: Window,
    view: Arc<ArcSwap<WindowState>>,
}

impl Monitor {
    /// A monitor that has seen nothing. What it keeps comes back with the next complete sweep.
    #[must_use]
    pub fn new(view: Arc<ArcSwap<WindowState>>) -> Self {
        Self { window: Window::default(), view }
    }
}

impl Core for Monitor {
    type In = Sweep;
    type Out = Signals;

    fn step(&mut self, sweep: Sweep) -> Signals {
        let signals = self.window.step(sweep);
        self.view.store(Arc::new(self.window.state()));
        signals
    }
}
