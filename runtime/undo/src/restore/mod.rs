//! Putting everything back: by a living sidecar, by the keeper of a dead one, or by hand.
//!
//! Deciding is apart from doing: whose value it is and in which order things go back is worked
//! out over plain data, and everything that touches a system goes through [`World`].

mod contexts;
mod descendants;
mod engine;
mod judge;
mod kin;
#[cfg(all(test, target_os = "linux"))]
mod model;
mod report;
mod world;

#[cfg(target_os = "linux")]
mod from_file;
#[cfg(target_os = "linux")]
mod kernel;

#[cfg(target_os = "linux")]
pub(crate) use descendants::inheritance;
pub use engine::give_back;
#[cfg(target_os = "linux")]
pub use from_file::{Outstanding, outstanding, restore};
#[cfg(target_os = "linux")]
pub use kernel::Kernel;
pub use report::{Item, Outcome, Report};
pub use world::{Person, Place, World};
