//! Version 1 of the types that cross the boundary between host and plugin.
//!
//! Nothing here belongs to one operating system: a context may be a cgroup, a job object or
//! nothing at all; a knob is a [`Capability`] with a value; what really gets written is an
//! [`Operation`] of a closed set of kinds, journalled by the host before it is committed.

// `sabi_trait` expands to impls inside a constant; the lint is about the macro's own code.
#![allow(non_local_definitions)]

mod backend;
mod capability;
mod codes;
mod context;
mod context_reading;
mod description;
mod desired;
mod error;
mod host;
mod observation;
mod operation;
mod task;
mod task_reading;
mod timer;

pub use backend::*;
pub use capability::*;
pub use context::*;
pub use context_reading::*;
pub use description::*;
pub use desired::*;
pub use error::*;
pub use host::*;
pub use observation::*;
pub use operation::*;
pub use task::*;
pub use task_reading::*;
pub use timer::*;
