//! What is logged goes to standard error, as lines for people or for machines.
//!
//! Only the set-up; spans and events are made where things happen.

use crate::config::{LEVELS, LogConfig, LogFormat};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Reads a level or a filter.
///
/// # Errors
/// A sentence naming what was given.
pub fn filter(level: &str) -> Result<EnvFilter, String> {
    let refused = |why: String| format!("{level:?} is no log level or filter{why}");
    // A bare word is read as the name of a module by the filter: a typing error in a level would
    // switch on everything of a module that does not exist.
    if !level.contains(['=', ',', '[']) && !LEVELS.contains(&level) {
        return Err(refused(String::new()));
    }
    EnvFilter::builder().parse(level).map_err(|error| refused(format!(": {error}")))
}

/// Sends events to standard error from now on. A second call changes nothing.
pub fn start(log: &LogConfig) {
    // A filter that does not parse was refused when the configuration was read.
    let filter = filter(&log.level).unwrap_or_else(|_| EnvFilter::new("warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match log.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    if let Err(error) = set {
        tracing::debug!(%error, "a subscriber is there already");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters_are_read() {
        for good in crate::config::LEVELS.iter().chain(&["info,outrigger::backend=debug"]) {
            assert!(filter(good).is_ok(), "{good}");
        }
        assert!(filter("a=b=c").is_err());
        assert!(filter("inof").is_err());
    }
}
