//! What the performance claims come from.
//!
//! Micro-benchmarks of the paths that are walked at every tick or at every decision, under
//! criterion, and experiments with whole programs (`redis`). Figures depend on the machine, so
//! each claim of the kind "within so much of the bare call" is a ratio of two things measured in
//! turn within one run ([`compare`]), and never of figures from two.
//!
//! Nothing here asserts: a busy machine makes a bench slow, not wrong. What must hold is tested
//! in `tests`.

mod compare;
mod crowd;
mod plugin;

pub use compare::{Arm, compare};
pub use crowd::Crowd;
pub use plugin::{Plugins, loaded};
