//! The sidecar, as the demo starts and stops it: another process, told what to protect on its
//! command line and asked over its control socket what it decided.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::role::{Role, Session};
use super::{Error, hog};
use crate::control::{Method, request};

/// The subcommand, and how it is called in messages.
const COMMAND: &str = "attach";
const NAME: &str = "outrigger attach";
/// How long the sidecar may take to put everything back.
const PATIENCE: Duration = Duration::from_secs(15);

/// Who is to be protected, and who may be held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// The service and its client.
    pub protected: Vec<u32>,
    /// The hogs.
    pub best_effort: Vec<u32>,
    /// An ancestor of all of the above.
    pub ancestor: u32,
    /// A private directory for whatever the governor needs.
    pub directory: PathBuf,
}

/// What was done and why, in one sentence and in full.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// In which round, from 1; the demo fills it in.
    pub round: u32,
    /// Number of the action. It is reported once when it is done, and again, with the same
    /// number, when its effect has been measured.
    pub seq: u64,
    /// For people.
    pub text: String,
    /// As the governor reported it.
    pub detail: Value,
}

/// Somebody who can govern. The demo has one, [`Sidecar`]; tests have others, to show that the
/// demo notices when nothing is done or something is left behind.
pub trait Governor {
    /// Begins to govern.
    ///
    /// # Errors
    /// When that is impossible.
    fn govern(&self, targets: &Targets) -> Result<Box<dyn Governed>, Error>;
}

/// A governor at work. Dropping it ends the work too.
pub trait Governed {
    /// Decisions that are new, or told differently, since the last call.
    ///
    /// # Errors
    /// When the governor is no longer there.
    fn decisions(&mut self) -> Result<Vec<Decision>, Error>;

    /// How the names of the cgroups begin that it makes; other sidecars on the machine make others.
    fn mark(&self) -> &str;

    /// Ends the work; everything has been put back on return.
    ///
    /// # Errors
    /// When the governor failed or did not end in time.
    fn stop(self: Box<Self>) -> Result<(), Error>;
}

/// `outrigger attach`, as one would type it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sidecar;

/// The running sidecar.
#[derive(Debug)]
struct Running {
    role: Option<Role>,
    mark: String,
    socket: PathBuf,
    seen: BTreeMap<u64, String>,
}

// === impl Targets ===

impl Targets {
    /// Every process of the demo that somebody could have changed.
    pub fn everybody(&self) -> Vec<u32> {
        self.protected.iter().chain(&self.best_effort).copied().collect()
    }
}

// === impl Sidecar ===

impl Governor for Sidecar {
    fn govern(&self, targets: &Targets) -> Result<Box<dyn Governed>, Error> {
        let file = targets.directory.join("outrigger.toml");
        let socket = targets.directory.join("control.sock");
        fs::write(&file, places(&targets.directory, &socket))
            .map_err(|error| Error::Govern(format!("cannot write {}: {error}", file.display())))?;
        let mut command = Role::command(COMMAND, arguments(targets, &file));
        // If the demo dies, the sidecar is asked to restore, not killed.
        let role = Role::start(NAME, &mut command, Session::Shared, libc::SIGTERM)?;
        // A context is called `outrigger-attach-PIDtSTART-WORKLOAD`.
        let mark = format!("outrigger-{COMMAND}-{}t", role.pid());
        Ok(Box::new(Running { role: Some(role), mark, socket, seen: BTreeMap::new() }))
    }
}

/// By process number and ancestor: nothing else on the machine is the demo's business.
fn arguments(targets: &Targets, file: &Path) -> Vec<OsString> {
    let protected = targets.protected.iter().flat_map(|pid| ["--pid".into(), pid.to_string()]);
    let hogs = format!("name={},descendant_of={}", hog::NAME, targets.ancestor);
    let mut arguments: Vec<OsString> = protected.map(OsString::from).collect();
    arguments.extend(["--best-effort".into(), hogs.into(), "--config".into(), file.into()]);
    arguments
}

/// A configuration that keeps the demo's sidecar apart from real ones and says no more. Debug of
/// a path is also TOML.
fn places(directory: &Path, socket: &Path) -> String {
    format!("[state]\ndir = {:?}\n\n[control]\nsocket = {socket:?}\n", directory.join("state"))
}

// === impl Running ===

impl Governed for Running {
    fn decisions(&mut self) -> Result<Vec<Decision>, Error> {
        if let Some(role) = &mut self.role {
            role.check()?;
        }
        // Not listening yet, or busy: asked again soon.
        let Ok(answer) = request(&self.socket, Method::Get, "/v1/events") else {
            return Ok(Vec::new());
        };
        let mut fresh = Vec::new();
        for event in answer.as_array().into_iter().flatten() {
            let seq = event["seq"].as_u64().unwrap_or_default();
            let text = event["sentence"].as_str().unwrap_or_default();
            if self.seen.get(&seq).is_none_or(|told| told != text) {
                self.seen.insert(seq, text.to_owned());
                let text = text.to_owned();
                fresh.push(Decision { round: 0, seq, text, detail: event.clone() });
            }
        }
        Ok(fresh)
    }

    fn mark(&self) -> &str {
        &self.mark
    }

    fn stop(mut self: Box<Self>) -> Result<(), Error> {
        self.role.take().map_or(Ok(()), |role| role.stop(libc::SIGTERM, PATIENCE))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only after an error or a panic, and then that is what is reported.
        if let Some(role) = self.role.take() {
            let _ = role.stop(libc::SIGTERM, PATIENCE);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::control::Server;
    use crate::flow::activity::{Action, ActionKind, Effect};
    use crate::status::{Hub, Identity, tests::action};

    fn running(socket: PathBuf) -> Running {
        Running { role: None, mark: String::new(), socket, seen: BTreeMap::new() }
    }

    #[test]
    fn a_decision_is_told_once_and_again_with_its_effect() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let hub = Arc::new(Hub::new(Identity::default()));
        let _server = Server::start(&socket, Arc::clone(&hub)).unwrap();
        let mut running = running(socket);
        let mut told = || -> Vec<u64> {
            running.decisions().unwrap().iter().map(|decision| decision.seq).collect()
        };

        hub.add_action(action(1, ActionKind::Place));
        assert_eq!(told(), [1]);
        hub.add_action(action(2, ActionKind::Weight));
        assert_eq!(told(), [2]);
        assert!(told().is_empty());
        let effect = Effect {
            victim: "app".into(),
            wait_before_ms_per_s: 9.0,
            wait_after_ms_per_s: 1.0,
            contended: true,
        };
        hub.add_action(Action { effect: Some(effect), ..action(1, ActionKind::Place) });
        assert_eq!(told(), [1]);
    }

    #[test]
    fn a_sidecar_that_does_not_answer_has_decided_nothing() {
        let mut running = running(PathBuf::from("/nonexistent/control.sock"));

        assert_eq!(running.decisions().unwrap(), []);
    }

    #[test]
    fn the_command_line_names_the_targets_and_nothing_else() {
        let targets = Targets {
            protected: vec![10, 11],
            best_effort: vec![20, 21],
            ancestor: 9,
            directory: PathBuf::from("/run/demo"),
        };

        let arguments =
            arguments(&targets, Path::new("/run/demo/outrigger.toml")).join(" ".as_ref());

        assert_eq!(
            arguments,
            "--pid 10 --pid 11 --best-effort name=demo-hog,descendant_of=9 \
             --config /run/demo/outrigger.toml"
        );
    }

    #[test]
    fn paths_are_quoted() {
        let directory = Path::new("/run/with \"quotes\"");

        let file: toml::Table = places(directory, &directory.join("s")).parse().unwrap();

        assert_eq!(file["state"]["dir"].as_str().unwrap(), "/run/with \"quotes\"/state");
        assert_eq!(file["control"]["socket"].as_str().unwrap(), "/run/with \"quotes\"/s");
    }
}
