//! A sidecar from its start to its end, with its control socket: common to `run`, `attach` and
//! `daemon`.

use super::output::{Failure, tell};
use super::{DONE, FAILED, targets};
use crate::config::{Config, Loaded};
use crate::control::Server;
use crate::launch::{Arrived, SignalInbox};
use crate::paths::Instance;
use crate::sidecar::{Ended, Order, Sidecar, StartError};
use crate::status::{Hub, Identity, Mode, obstacle, words};
use outrigger_undo::{Outcome, Report};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often a sidecar without a child is asked whether it has given up.
const LOOK: Duration = Duration::from_millis(500);

/// How long the first complete look may take before it is said that it is at work all the same.
const FIRST_LOOK: Duration = Duration::from_secs(5);
/// How often a dry run tells what is new.
const TELL: Duration = Duration::from_millis(250);

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
    irreversible: bool,
    telling: Option<Telling>,
}

/// Starts a sidecar and opens its control socket.
pub(super) fn begin(plan: Plan<'_>) -> Result<Serving, StartError> {
    let Plan { loaded, config, plugin_dirs, instance, mode, dry_run } = plan;
    // The daemon's directory may be a living daemon's.
    let discard = || {
        if mode != Mode::Daemon {
            instance.remove();
        }
    };
    if let Some(problem) = config.policy.problems().first() {
        discard();
        return Err(StartError::Policy(format!("{}: {problem}", loaded.origin(&problem.key))));
    }
    let irreversible = config.policy.workloads.iter().any(|workload| workload.allow_irreversible);
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
    let sidecar = Sidecar::start(order).inspect_err(|_| discard())?;
    let hub = sidecar.hub();
    let telling = dry_run.then(|| Telling::start(sidecar.hub()));
    let mut serving = Serving { sidecar, server: None, instance, irreversible, telling };
    match offer(&socket, hub) {
        Ok(server) => {
            serving.server = server;
            Ok(serving)
        }
        Err(error) => {
            serving.end();
            Err(error)
        }
    }
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

    /// Why nothing can be done on this host; `None` if something can.
    pub fn obstacle(&self) -> Option<String> {
        obstacle(&self.sidecar.hub().view().capabilities, self.irreversible)
    }

    /// Waits until everybody has been looked at once, and answers why nothing can be done or
    /// nobody is there to do it for.
    pub fn idleness(&self) -> Option<String> {
        let hub = self.sidecar.hub();
        let deadline = Instant::now() + FIRST_LOOK;
        while !hub.has_looked() && !self.sidecar.has_ended() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let view = hub.view();
        let nobody = !view.workloads.iter().any(|workload| workload.protected);
        let idle = || view.why_idle.clone().filter(|_| nobody || !hub.identity().holds_back);
        self.obstacle().or_else(idle)
    }

    /// Says that it is at work, or why it is not; with `require` the latter is a failure.
    ///
    /// # Errors
    /// It is required, and nothing can be done; by then everything has ended.
    pub fn announce(self, require: bool) -> Result<Self, Failure> {
        let id = &self.instance.id;
        match self.idleness() {
            Some(why) if require => {
                self.end();
                Err(Failure::host(why))
            }
            Some(why) => {
                tell(&format!("{id} watches, but nothing is done: {why}"));
                Ok(self)
            }
            None => {
                tell(&format!("{id} is at work; `outrigger status` tells how, Ctrl-C ends it"));
                Ok(self)
            }
        }
    }

    /// Stays until a signal ends it, it gives up, or `is_over`; then puts everything back.
    pub fn stay(self, inbox: &SignalInbox, is_over: impl Fn() -> bool) -> Result<u8, Failure> {
        let is_daemon = self.sidecar.hub().identity().mode == Mode::Daemon;
        let mut code = DONE;
        loop {
            match inbox.wait(Some(LOOK)) {
                // Service managers send it to have a configuration read again.
                Ok(Some(Arrived { signal: libc::SIGHUP, .. })) if is_daemon => {
                    tell(
                        "SIGHUP: there is nothing to reload yet; restart to change the configuration",
                    );
                }
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
        let end = self.end();
        Ok(end.exit_with(code.max(end.code)))
    }

    /// Puts everything back.
    pub fn end(self) -> End {
        let Self { sidecar, server, instance, telling, .. } = self;
        let ended = sidecar.stop();
        drop(telling);
        // Until now `status` could tell what is going on.
        drop(server);
        if let Some(farewell) = farewell(&ended) {
            tell(&farewell);
        }
        let Ended { gave_up, left, stuck } = ended;
        if left.is_empty() {
            instance.remove();
        }
        let code = if gave_up.is_none() && left.is_empty() { DONE } else { FAILED };
        End { code, stuck }
    }
}

/// Tells on standard error what a dry run would do, as it comes. Dropping it ends it.
struct Telling {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Telling {
    fn start(hub: Arc<Hub>) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("telling".into()).spawn(move || {
            let mut last = 0;
            loop {
                let over = stopped.recv_timeout(TELL) != Err(mpsc::RecvTimeoutError::Timeout);
                for activity in hub.activity(last) {
                    last = activity.action.seq;
                    tell(&words::brief(&activity.action));
                }
                if over {
                    break;
                }
            }
        });
        if let Err(error) = &thread {
            tracing::warn!(%error, "what would be done is not told here, but by `outrigger status`");
        }
        Self { stop: Some(stop), thread: thread.ok() }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        drop(self.stop.take());
        // It only prints: a panic in it changes nothing.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// How a sidecar ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// Whether everything could be put back.
    pub code: u8,
    stuck: bool,
}

impl End {
    /// Gives the exit code back, unless a thread of this process is stuck in putting back: then
    /// the process ends here and now, so that the keeper can act.
    pub fn exit_with(self, code: u8) -> u8 {
        if self.stuck {
            // SAFETY: ends the process without running anything more of it.
            unsafe { libc::_exit(code.into()) };
        }
        code
    }
}

/// What is to be said at the end, if anything.
fn farewell(Ended { gave_up, left, .. }: &Ended) -> Option<String> {
    if left.is_empty() {
        return gave_up.as_ref().map(|why| format!("{why}; everything was put back"));
    }
    let mut text = gave_up.iter().fold(String::new(), |text, why| text + why + "\n");
    text.push_str("not everything could be put back:");
    for sentence in left {
        text.push_str("\n  ");
        text.push_str(sentence);
    }
    text.push_str("\nthe keeper tries again now, and `outrigger restore` whenever you like");
    Some(text)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_last_words_do_not_contradict_themselves() {
        let gave_up = Some("stage tier hangs".to_owned());
        let left = vec!["Nice of 7: no".to_owned()];
        assert_eq!(farewell(&Ended::default()), None);
        let all_back = farewell(&Ended { gave_up: gave_up.clone(), ..Ended::default() }).unwrap();
        assert_eq!(all_back, "stage tier hangs; everything was put back");
        let not_all = farewell(&Ended { gave_up, left, stuck: false }).unwrap();
        assert!(not_all.starts_with("stage tier hangs\nnot everything could be put back:"));
        assert!(not_all.contains("\n  Nice of 7: no\n") && !not_all.contains("everything was"));
    }
}
