//! Fixtures of the end-to-end tests: real processes, real cgroups, the built program.
//!
//! Everything here cleans up after itself, also when a test panics. The tests judge by what the
//! kernel says ([`Snapshot`], CPU times) and by what the command line prints; they know nothing
//! of the inside.

mod comparison;
mod group;
mod hogs;
mod leftovers;
mod mutation;
mod outrigger;
mod requirement;
mod scene;
mod seeds;
mod service;
mod wait;

pub use ::outrigger::demo::Summary;
pub use ::outrigger::demo::snapshot::{Difference, Snapshot};
pub use comparison::{Compared, Comparison};
pub use group::{Group, Hierarchy};
pub use hogs::{Hogs, Plan};
pub use leftovers::remove_leftovers;
pub use mutation::Mutation;
pub use outrigger::{Outrigger, Start, program};
pub use requirement::{cgroups, installed, noisy, root, skip};
pub use scene::{Backends, Scene};
pub use seeds::{Draw, Seeds};
pub use service::{Service, Usage};
pub use wait::{until, until_some};
