//! Outrigger keeps an application fast when something beside it goes wild.

pub mod demo;
pub mod config;
pub mod flow;
pub mod paths;
pub mod policy;
pub mod steward;
pub mod telemetry;
