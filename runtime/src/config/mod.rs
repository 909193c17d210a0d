//! Configuration: layers, merged, with the origin of every value.
//!
//! Built-in defaults < the file < `conf.d/*.toml` beside it, in the order of their names <
//! environment (`OUTRIGGER__SECTION__KEY`) < command line. Tables merge key by key; a workload
//! replaces the one of the same name and is added otherwise; every other array is replaced.
//!
//! What the values mean is not decided here: the policy's own validation says whether they make
//! sense together.

mod expression;
mod file;
mod given;
mod layers;
mod problem;
mod required;
mod shape;
mod show;

pub use crate::backend::PluginsConfig;
pub use expression::{ExpressionError, selector};
pub use given::Given;
pub use layers::{Examined, Loaded, Sources, examine, load};
pub use problem::{ConfigError, Problem};
pub use shape::{FORMATS, LEVELS};
pub use show::{json, text};

use crate::policy::Policy;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// What is protected, what may be held back, and how far.
    pub policy: Policy,
    /// Which plugins are loaded, and what they may do.
    pub plugins: PluginsConfig,
    /// Where state lives.
    pub state: StateConfig,
    /// What is logged, and how.
    pub log: LogConfig,
    /// How others reach the sidecar.
    pub control: ControlConfig,
}

/// `[state]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StateConfig {
    /// Directory for journals and sockets, best on a tmpfs. Without it:
    /// [`Surroundings::state_dir`](crate::paths::Surroundings::state_dir).
    pub dir: Option<PathBuf>,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// A level, or a filter such as `info,outrigger::backend=debug`.
    pub level: String,
    /// Lines for people or for machines.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object for each line.
    Json,
}

/// `[control]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlConfig {
    /// Path of the control socket. Without it: `control.sock` in the state directory for the
    /// daemon, and in the instance's own directory for `run` and `attach`.
    pub socket: Option<PathBuf>,
}

impl Default for LogConfig {
    fn default() -> Self {
        // `run` shares its standard error with the program it runs: only what somebody should
        // act on belongs there unasked.
        Self { level: "warn".to_owned(), format: LogFormat::Text }
    }
}
