//! Where the sidecar stands: what the stages publish, and what people and machines get to read.
//!
//! The stages store what they know into the [`Hub`] with one atomic exchange each; views are
//! worked out only when somebody asks, on the asker's thread. Nothing here can delay a decision
//! or change anything, apart from the switch that pauses.

pub mod explain;
mod hub;
mod knobs;
mod obstacle;
mod plain;
pub mod render;
mod view;
pub(crate) mod words;

pub use explain::{Explanation, Subject, explain};
pub use hub::{Facts, Hub, Identity, Mode};
pub(crate) use obstacle::obstacle;
pub(crate) use plain::{plain, plain_lines};
pub use view::{
    Activity, BackendView, CapabilityView, MemberView, Published, StageView, StatusView, Usage,
    WorkloadView,
};

#[cfg(test)]
pub(crate) use view::tests;
