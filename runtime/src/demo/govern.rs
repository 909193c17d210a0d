//! The sidecar, as the demo starts and stops it: another process with a policy file, asked over
//! its control socket what it decided.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::Error;
use super::role::{Role, Session};

/// How long the sidecar may take to put everything back.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long an answer from the control socket may take.
const ANSWER: Duration = Duration::from_secs(1);

/// Who is to be protected, and who may be held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// The service and its client.
    pub protected: Vec<u32>,
    /// The hogs.
    pub best_effort: Vec<u32>,
    /// A private directory for whatever the governor needs.
    pub directory: PathBuf,
}

/// What was done and why, in one sentence and in full.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// In which round, from 1.
    pub round: u32,
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
    /// Decisions since the last call.
    fn decisions(&mut self) -> Vec<Decision>;

    /// Ends the work; everything has been put back on return.
    ///
    /// # Errors
    /// When the governor failed or did not end in time.
    fn stop(self: Box<Self>) -> Result<(), Error>;
}

/// `outrigger daemon` with a generated policy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sidecar;

/// The running sidecar.
#[derive(Debug)]
struct Running {
    role: Option<Role>,
    socket: PathBuf,
    seen: u64,
}

// === impl Targets ===

impl Targets {
    /// Every process of the demo that somebody could have changed.
    pub fn everybody(&self) -> Vec<u32> {
        self.protected.iter().chain(&self.best_effort).copied().collect()
    }
}

// === impl Decision ===

impl Decision {
    /// The same, with the round it belongs to.
    #[must_use]
    pub fn in_round(mut self, round: u32) -> Self {
        self.round = round;
        self
    }
}

// === impl Sidecar ===

impl Governor for Sidecar {
    fn govern(&self, targets: &Targets) -> Result<Box<dyn Governed>, Error> {
        let file = targets.directory.join("outrigger.toml");
        let socket = targets.directory.join("control.sock");
        fs::write(&file, policy(targets, &socket))
            .map_err(|error| Error::Govern(format!("cannot write {}: {error}", file.display())))?;
        let mut command = Role::command("daemon", ["--config".into(), file.into()]);
        // If the demo dies, the sidecar is asked to restore, not killed.
        let role = Role::start("outrigger daemon", &mut command, Session::Shared, libc::SIGTERM)?;
        Ok(Box::new(Running { role: Some(role), socket, seen: 0 }))
    }
}

/// The policy of the demo: by process number, since nothing else on the machine is its business.
fn policy(targets: &Targets, socket: &Path) -> String {
    let state = targets.directory.join("state");
    // Debug of a list of numbers and of a path is also TOML.
    format!(
        "[state]\ndir = {state:?}\n\n[control]\nsocket = {socket:?}\n\n\
         [[workload]]\nname = \"service\"\nclass = \"latency-critical\"\nmatch = [{{ pid = {:?} }}]\n\n\
         [[workload]]\nname = \"hogs\"\nclass = \"background\"\nmatch = [{{ pid = {:?} }}]\n",
        targets.protected, targets.best_effort
    )
}

// === impl Running ===

impl Governed for Running {
    fn decisions(&mut self) -> Vec<Decision> {
        // Not listening yet, or busy: asked again soon.
        let Ok(answer) = get(&self.socket, "/v1/events") else { return Vec::new() };
        let mut fresh = Vec::new();
        for event in answer.as_array().into_iter().flatten() {
            let seq = event["seq"].as_u64().unwrap_or_default();
            if seq > self.seen {
                self.seen = seq;
                fresh.push(Decision { round: 0, text: sentence(event), detail: event.clone() });
            }
        }
        fresh
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

/// One request to the control socket. HTTP/1.0, so that the answer ends with the connection.
fn get(socket: &Path, path: &str) -> io::Result<Value> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    Ok(serde_json::from_str(body)?)
}

/// An activity in one line: `hogs: weight, tier 0 to 3 by background; service waited ...`.
fn sentence(event: &Value) -> String {
    let text = |key: &str| event[key].as_str().unwrap_or_default();
    let mut line = format!("{}: {}", text("workload"), text("kind"));
    for (key, word) in [("rule", "by"), ("lever", "with")] {
        if !text(key).is_empty() {
            line.push_str(&format!(" {word} {}", text(key)));
        }
    }
    for reason in event["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        line.push_str("; ");
        line.push_str(reason);
    }
    line
}
