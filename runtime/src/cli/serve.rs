//! A sidecar from its start to its end, with its control socket: common to `run`, `attach` and
//! `daemon`.

use super::output::{Failure, tell};
use super::{DONE, FAILED, targets};
use crate::config::{Config, Loaded};
use crate::control::Server;
use crate::launch::SignalInbox;
use crate::paths::Instance;
use crate::sidecar::{Ended, Order, Sidecar, StartError};
use crate::status::{Hub, Identity, Mode};
use outrigger_undo::{Outcome, Report};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often a sidecar without a child is asked whether it has given up.
const LOOK: Duration = Duration::from_millis(500);

/// What is needed to begin.
pub(super) struct Plan<'a> {
    pub loaded: &'a Loaded,
    pub config: Config,
    pub plugin_dirs: &'a [PathBuf],
    pub instance: Instance,
    pub mode: Mode,
    pub dry_run: bool,
}

/// A sidecar at work, and its socket.
pub(super) struct Serving {
    pub sidecar: Sidecar,
    server: Option<Server>,
    instance: Instance,
}

/// Starts a sidecar and opens its control socket.
pub(super) fn begin(plan: Plan<'_>) -> Result<Serving, StartError> {
    let Plan { loaded, config, plugin_dirs, instance, mode, dry_run } = plan;
    if let Some(problem) = config.policy.problems().first() {
        return Err(StartError::Failed(format!("{}: {problem}", loaded.origin(&problem.key))));
    }
    let (protects, holds_back) = targets::covers(&config.policy);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let identity = Identity {
        instance: instance.id.clone(),
        pid: std::process::id(),
        mode,
        started_wall_ms: u64::try_from(now.as_millis()).unwrap_or_default(),
        dry_run,
        protects,
        holds_back,
    };
    let socket = config.control.socket.clone().unwrap_or_else(|| instance.socket.clone());
    let plugin_dirs = plugin_dirs.to_vec();
    let order = Order { config, plugin_dirs, instance: instance.clone(), identity };
    let sidecar = Sidecar::start(order).inspect_err(|_| {
        // The daemon's directory may be a living daemon's, which is why we could not start.
        if mode != Mode::Daemon {
            instance.remove();
        }
    })?;
    let server = offer(&socket, sidecar.hub())?;
    Ok(Serving { sidecar, server, instance })
}

/// Without a control socket the main job can still be done, unless another sidecar has it.
fn offer(socket: &Path, hub: Arc<Hub>) -> Result<Option<Server>, StartError> {
    use crate::control::ServerError;
    match Server::start(socket, hub) {
        Ok(server) => Ok(Some(server)),
        Err(error @ ServerError::Taken(_)) => Err(StartError::Failed(error.to_string())),
        Err(error) => {
            tell(&format!("{error}; status and explain will not work"));
            Ok(None)
        }
    }
}

impl Serving {
    /// Where it listens.
    pub fn socket(&self) -> Option<&Path> {
        self.server.as_ref().map(Server::path)
    }

    /// Stays until a signal ends it, it gives up, or `is_over`; then puts everything back.
    pub fn stay(self, inbox: &SignalInbox, is_over: impl Fn() -> bool) -> Result<u8, Failure> {
        let mut code = DONE;
        loop {
            match inbox.wait(Some(LOOK)) {
                Ok(Some(_)) => break,
                Ok(None) if is_over() => break,
                Ok(None) => {}
                Err(error) => {
                    tell(&format!("signals cannot be read: {error}"));
                    code = FAILED;
                    break;
                }
            }
            if self.sidecar.has_ended() {
                code = FAILED;
                break;
            }
        }
        let ended = self.end();
        Ok(code.max(ended))
    }

    /// Puts everything back; the exit code says whether that was possible.
    pub fn end(self) -> u8 {
        let Self { sidecar, server, instance } = self;
        let Ended { gave_up, left } = sidecar.stop();
        // Until now `status` could tell what is going on.
        drop(server);
        if let Some(why) = &gave_up {
            tell(&format!("{why}; everything is put back"));
        }
        if left.is_empty() {
            instance.remove();
        } else {
            tell(&format!(
                "not everything could be put back:\n  {}\n`outrigger restore` tries again",
                left.join("\n  ")
            ));
        }
        if gave_up.is_none() && left.is_empty() { DONE } else { FAILED }
    }
}

/// What could not be put back, item by item.
pub(super) fn leftovers(report: &Report) -> String {
    let mut text = String::from("not everything could be put back:");
    for item in report.failures() {
        if let Outcome::Failed { error } = &item.outcome {
            let operation = &item.operation;
            let on = operation.task.map_or_else(|| operation.locator.clone(), |t| t.to_string());
            text.push_str(&format!(
                "\n  {:?} of {on} to {}: {error}",
                operation.kind, operation.before
            ));
        }
    }
    if report.unreadable > 0 {
        text.push_str(&format!("\n  {} damaged lines of the journal", report.unreadable));
    }
    text
}
