//! Commands that talk to a running sidecar: here a socket with something published behind it.

use super::{outrigger, stderr, stdout};
use outrigger::control::Server;
use outrigger::paths::{Instance, StateDir};
use outrigger::status::{Hub, Identity};
use serde_json::Value;
use std::process::Output;
use std::sync::Arc;

struct Place {
    directory: tempfile::TempDir,
    running: Vec<(Server, Arc<Hub>)>,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), running: Vec::new() }
    }
    fn start(&mut self, instance: &Instance) {
        let identity = Identity { instance: instance.id.clone(), ..Identity::default() };
        let hub = Arc::new(Hub::new(identity));
        let server = Server::start(&instance.socket, Arc::clone(&hub)).unwrap();
        self.running.push((server, hub));
    }
    fn state(&self) -> StateDir {
        StateDir::new(self.directory.path().join("s"))
    }
    fn ask(&self, arguments: &[&str]) -> Output {
        let state = self.state();
        outrigger().args(arguments).arg("--state-dir").arg(state.path()).output().unwrap()
    }
}

#[test]
fn nobody_to_ask_is_a_failure_in_words() {
    let place = Place::new();
    for command in [&["status"][..], &["explain", "12"], &["pause"], &["resume"]] {
        let output = place.ask(command);
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        assert!(stderr(&output).contains("no sidecar is running"), "{command:?}");
    }
    assert_eq!(place.ask(&["restore"]).status.code(), Some(0));
}

#[test]
fn restoring_leaves_the_directory_of_one_that_is_just_starting() {
    let place = Place::new();
    let starting = Instance::create(&place.state(), "run", std::process::id()).unwrap();
    // Beyond the largest number there can be (PID_MAX_LIMIT).
    let dead = Instance::create(&place.state(), "run", (1 << 22) + 1).unwrap();

    assert_eq!(place.ask(&["restore"]).status.code(), Some(0));

    assert!(starting.directory.exists() && !dead.directory.exists());
}

#[test]
fn a_sidecar_whose_socket_is_taken_leaves_nothing_behind() {
    let mut place = Place::new();
    let other = Instance::create(&place.state(), "attach", 17).unwrap();
    place.start(&other);
    let config = place.directory.path().join("taken.toml");
    std::fs::write(&config, format!("control.socket = {:?}\n", other.socket)).unwrap();
    let pid = std::process::id().to_string();

    let output = place.ask(&["attach", "--pid", &pid, "--config", config.to_str().unwrap()]);

    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("another sidecar listens on"), "{output:?}");
    let left: Vec<String> =
        place.state().instances().unwrap().into_iter().map(|instance| instance.id).collect();
    assert_eq!(left, ["attach-17"]);
}

#[test]
fn the_only_sidecar_is_found_and_told_to_pause() {
    let mut place = Place::new();
    let instance = Instance::create(&place.state(), "run", 17).unwrap();
    place.start(&instance);

    let status: Value = serde_json::from_slice(&place.ask(&["status", "--json"]).stdout).unwrap();
    assert_eq!(status["instance"], "run-17");
    assert_eq!(status["why_idle"], "no sweep has been made yet");
    assert!(stdout(&place.ask(&["status"])).contains("nothing is done: no sweep"));

    let hub = Arc::clone(&place.running[0].1);
    assert_eq!(stdout(&place.ask(&["pause", "--dry-run"])), "run-17 would be told to pause\n");
    assert!(!hub.view().paused);
    assert!(stdout(&place.ask(&["pause"])).contains("run-17 is paused"));
    assert!(hub.view().paused);
    let answer: Value = serde_json::from_slice(&place.ask(&["resume", "--json"]).stdout).unwrap();
    assert_eq!((&answer["paused"], &answer["changed"]), (&false.into(), &true.into()));
    assert!(!hub.view().paused);
}

#[test]
fn of_several_sidecars_one_must_be_named() {
    let mut place = Place::new();
    let run = Instance::create(&place.state(), "run", 17).unwrap();
    let daemon = Instance::daemon(&place.state()).unwrap();
    // A third one is dead: it has a directory and nobody answers.
    Instance::create(&place.state(), "run", 18).unwrap();
    place.start(&run);
    place.start(&daemon);

    let output = place.ask(&["status"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("daemon, run-17; say which with --instance"));
    let output = place.ask(&["status", "--instance", "daemon", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["instance"], "daemon");
    // Whom a process belongs to is asked of all.
    let output = place.ask(&["explain", &std::process::id().to_string()]);
    assert!(stdout(&output).contains("belongs to no workload"), "{output:?}");
    // No process can have this number.
    let output = place.ask(&["explain", "4294967295"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("There is no process 4294967295"), "{output:?}");
    assert_eq!(place.ask(&["explain", "nobody"]).status.code(), Some(1));
    assert_eq!(place.ask(&["explain", "../status"]).status.code(), Some(2));
}
