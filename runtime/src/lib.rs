//! Outrigger keeps an application fast when something beside it goes wild.

pub mod demo;
pub mod flow;
pub mod policy;
pub mod steward;
