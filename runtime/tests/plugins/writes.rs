//! Writing through a plugin: journalled first, read back, and never lost when it is late.

use crate::support::{held, probe_with};
use outrigger::backend::{CallError, Plugin, PluginsConfig};
use outrigger_sdk::undo::{Journal, Journalled, Why, knob};
use outrigger_sdk::{Capability, Desired, Setting, TaskId};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

/// A process to write to, and a journal.
struct Bench {
    child: Child,
    journal: Journal,
    _state: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let state = tempfile::tempdir().unwrap();
        let journal = Journal::create(&state.path().join("journal")).unwrap();
        Self { child, journal, _state: state }
    }

    /// Asks for a nice value, and journals the answer.
    fn journalled(&mut self, plugin: &Plugin, nice: i64) -> Arc<Journalled> {
        let task = knob::identify(self.child.id()).unwrap();
        let task = TaskId { pid: task.pid, tid: 0, start: task.start };
        let desired = Desired::task(task, [Setting::number(Capability::PRIORITY, nice)]);
        let prepared = plugin.prepare(desired).wait().unwrap();
        let operation = prepared.into_iter().next().unwrap().operation.unwrap();
        Arc::new(self.journal.record(operation, &Why::default()).unwrap())
    }

    /// The nice value, straight from the kernel: field 19 of `stat`.
    fn nice(&self) -> String {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let after_name = &stat[stat.rfind(')').unwrap() + 2..];
        after_name.split(' ').nth(16).unwrap().to_owned()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn granted(toml: &str) -> PluginsConfig {
    let mut config = probe_with(toml);
    config.grants.insert("probe".into(), vec!["priority".into()]);
    config
}

#[test]
fn a_write_is_journalled_committed_read_back_and_undone() {
    // Without privileges a raised nice value stays.
    if !outrigger_skip::root() {
        return;
    }
    let (_directory, _registry, plugin) = held(&granted(""));
    let mut bench = Bench::new();
    let before = bench.nice();
    let journalled = bench.journalled(&plugin, 7);
    assert_eq!(bench.nice(), before, "preparing wrote");
    let read_back =
        plugin.commit(journalled.clone(), |_| panic!("it was not late")).wait().unwrap();
    assert_eq!((read_back.as_str(), bench.nice().as_str()), ("7", "7"));
    bench.journal.settle(&journalled, Ok(&read_back)).unwrap();
    let report = bench.journal.undo_all();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(bench.nice(), before);
}

#[test]
fn what_a_late_write_did_is_told_when_it_is_known() {
    let (_directory, _registry, plugin) = held(&granted("commit = 'hang'\nhang_ms = 3000"));
    let mut bench = Bench::new();
    let journalled = bench.journalled(&plugin, 7);
    let (tell, told) = channel();
    let late = plugin
        .commit(journalled.clone(), move |result| tell.send(result).unwrap())
        .wait()
        .unwrap_err();
    assert!(late.is_in_doubt(), "{late}");
    let next = plugin.commit(journalled, |_| ()).wait().unwrap_err();
    assert!(next.is_not_begun(), "{next}");
    assert!(matches!(next, CallError::Lane(_)));
    let result = told.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(result, Ok("7".to_owned()));
    assert_eq!(bench.nice(), "7");
}
