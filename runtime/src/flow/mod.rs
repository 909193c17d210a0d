//! How things travel between the stages.

pub mod activity;
mod coalesce;
pub mod demand;
pub mod edge;
pub mod message;
pub mod stage;
