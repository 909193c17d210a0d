//! How things travel between the stages.

mod coalesce;
pub mod demand;
pub mod edge;
pub mod message;
pub mod stage;
