//! Outrigger keeps an application fast when something beside it goes wild.

pub mod backend;
pub mod classifier;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod demo;
pub mod doctor;
pub mod enforcer;
pub mod flow;
pub mod launch;
pub mod monitor;
mod mutation;
pub mod paths;
pub mod peers;
pub mod policy;
pub mod sensor;
pub mod sidecar;
pub mod status;
pub mod steward;
pub mod telemetry;
pub mod tier;
