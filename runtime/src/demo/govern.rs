//! The sidecar, as the demo starts and stops it: another process with a policy file, asked over
//! its control socket what it decided.

use std::collections::BTreeMap;
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
        fs::write(&file, policy(targets, &socket))
            .map_err(|error| Error::Govern(format!("cannot write {}: {error}", file.display())))?;
        let mut command = Role::command("daemon", ["--config".into(), file.into()]);
        // If the demo dies, the sidecar is asked to restore, not killed.
        let role = Role::start("outrigger daemon", &mut command, Session::Shared, libc::SIGTERM)?;
        Ok(Box::new(Running { role: Some(role), socket, seen: BTreeMap::new() }))
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
            let text = event["sentence"].as_str().unwrap_or_default();
            if self.seen.get(&seq).is_none_or(|told| told != text) {
                self.seen.insert(seq, text.to_owned());
                let text = text.to_owned();
                fresh.push(Decision { round: 0, seq, text, detail: event.clone() });
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
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    Ok(serde_json::from_str(body)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// Answers each request with the next of `bodies`.
    fn serve(listener: UnixListener, bodies: Vec<Value>) -> thread::JoinHandle<()> {
        thread::spawn(move || {
            for body in bodies {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 256];
                let count = stream.read(&mut request).unwrap();
                assert!(request[..count].starts_with(b"GET /v1/events HTTP/1.0\r\n"));
                write!(stream, "HTTP/1.0 200 OK\r\n\r\n{body}").unwrap();
            }
        })
    }

    #[test]
    fn a_decision_is_told_once_and_again_with_its_effect() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let done = serde_json::json!([{"seq": 1, "sentence": "placed"}]);
        let measured = serde_json::json!([{"seq": 1, "sentence": "placed; it helped"}]);
        let listener = UnixListener::bind(&socket).unwrap();
        let server = serve(listener, vec![done.clone(), done, measured]);
        let mut running = Running { role: None, socket, seen: BTreeMap::new() };

        let told: Vec<Vec<String>> = (0..3)
            .map(|_| running.decisions().into_iter().map(|decision| decision.text).collect())
            .collect();

        assert_eq!(told, [vec!["placed"], vec![], vec!["placed; it helped"]]);
        server.join().unwrap();
    }

    #[test]
    fn a_sidecar_that_does_not_answer_has_decided_nothing() {
        let socket = PathBuf::from("/nonexistent/control.sock");

        assert!(Running { role: None, socket, seen: BTreeMap::new() }.decisions().is_empty());
    }

    #[test]
    fn the_policy_is_valid_and_names_the_targets() {
        let targets = Targets {
            protected: vec![10, 11],
            best_effort: vec![20, 21],
            directory: PathBuf::from("/run/with \"quotes\""),
        };

        let text = policy(&targets, &targets.directory.join("control.sock"));

        let mut file: toml::Table = text.parse().unwrap();
        let socket = file["control"]["socket"].as_str().unwrap();
        assert_eq!(socket, "/run/with \"quotes\"/control.sock");
        ["state", "control"].iter().for_each(|key| drop(file.remove(*key)));
        let policy: crate::policy::Policy = file.try_into().unwrap();
        let pids: Vec<&[u32]> = policy.workloads.iter().map(|w| &*w.selectors[0].pid).collect();
        assert_eq!(pids, [&[10, 11], &[20, 21]]);
        assert!(policy.workloads[0].class.unwrap().is_protected());
        assert!(policy.workloads[1].class.unwrap().is_best_effort());
    }
}
