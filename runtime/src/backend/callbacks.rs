//! What the host lends a plugin: its log and its clock.

use crate::clock;
use outrigger_abi::RStr;
use outrigger_abi::v1::HostCalls;
use outrigger_sdk::{Host, LogLevel};
use std::sync::RwLock;

/// Names of the plugins, by the number each hands back with every call. Plugins are never
/// unloaded, so entries are never removed.
static NAMES: RwLock<Vec<Box<str>>> = RwLock::new(Vec::new());

/// A longer message is cut: the log is ours.
const MAX_MESSAGE: usize = 4096;

/// The callbacks for one plugin.
pub fn host_for(name: &str) -> Host {
    let mut names = NAMES.write().unwrap_or_else(|poisoned| poisoned.into_inner());
    names.push(name.into());
    Host::new(HostCalls { context: names.len() as u64 - 1, log, now_ns })
}

extern "C" fn log(context: u64, level: LogLevel, message: RStr<'_>) {
    let message = message.as_str();
    let cut = (0..=MAX_MESSAGE.min(message.len())).rev().find(|at| message.is_char_boundary(*at));
    let message = &message[..cut.unwrap_or(0)];
    // A panic must not cross the boundary; a subscriber that panics loses one message.
    let _ = std::panic::catch_unwind(|| {
        let names = NAMES.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let plugin = usize::try_from(context).ok().and_then(|i| names.get(i)).map_or("?", |n| n);
        match level {
            LogLevel::ERROR => tracing::error!(plugin, "{message}"),
            LogLevel::WARN => tracing::warn!(plugin, "{message}"),
            LogLevel::INFO => tracing::info!(plugin, "{message}"),
            _ => tracing::debug!(plugin, "{message}"),
        }
    });
}

extern "C" fn now_ns(_: u64) -> u64 {
    clock::monotonic_ns()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_goes_back_and_strange_calls_do_no_harm() {
        let host = host_for("test");
        let first = host.now_ns();
        assert!(host.now_ns() >= first);
        host.log(LogLevel(99), &"ä".repeat(MAX_MESSAGE));
        log(u64::MAX, LogLevel::DEBUG, RStr::from("nobody's"));
    }
}
