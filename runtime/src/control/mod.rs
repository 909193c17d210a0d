//! How others reach a running sidecar: HTTP/1.1 with JSON over a Unix socket.
//!
//! | | |
//! |---|---|
//! | `GET /v1/status` | [`StatusView`](crate::status::StatusView) |
//! | `GET /v1/explain/{pid or workload}` | [`Explanation`](crate::status::Explanation) |
//! | `GET /v1/events?after=SEQ` | recent [`Activity`](crate::status::Activity), oldest first |
//! | `POST /v1/pause`, `POST /v1/resume` | `{"paused": bool, "changed": bool}` |
//!
//! Only the same user and root may connect. The server has a thread of its own and only reads
//! what the stages have published: a slow or hostile client cannot delay a decision.

mod client;
mod server;

pub use client::{ClientError, Method, request};
pub(crate) use server::clear;
pub use server::{Server, ServerError};
