//! The plugin host: finds backends, decides whether to believe them, and asks them.
//!
//! ```text
//! locate → ownership → elf → preflight → load → schema → (create) → probe → negotiate → registry
//! ```
//!
//! Everything the operating system can do for us is done by plugins, and a plugin is code we have
//! not seen. So the host looks at who could have written a file before its first instruction runs,
//! refuses what does not fit in one sentence, runs every call of a plugin on the plugin's own
//! thread with a deadline ([`lane`]), looks at what it wants to write before it is journalled
//! ([`vet`]), and stops asking it for a while when it misbehaves ([`health`]).
//!
//! Deliberately not here: what to do with an observation, which knob to turn, the journal. And no
//! library is ever unloaded: threads and thread-locals of its may still be alive.

pub mod call;
mod callbacks;
pub mod config;
pub mod deadline;
mod elf;
pub mod health;
pub mod host;
pub mod inspect;
pub mod lane;
pub mod load;
pub mod locate;
pub mod negotiate;
pub mod ownership;
pub mod plugin;
pub mod preflight;
pub mod registry;
mod schema;
pub mod vet;

pub use call::{Call, CallError};
pub use config::PluginsConfig;
pub use host::start;
pub use lane::LaneError;
pub use negotiate::FALLBACK;
pub use plugin::{Plugin, Trust};
pub use registry::{Candidate, Refusal, Registry, Route};
