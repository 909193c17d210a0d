//! How things travel between the stages.

pub mod demand;
pub mod message;
