//! Changing things the way a sidecar does: record, write, settle.

use outrigger_undo::{Journal, Kind, Operation, Task, Why, knob};

/// An empty journal, and the directory it is in.
pub fn journal() -> (Journal, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Journal::create(dir.path()).unwrap(), dir)
}

pub fn why(workload: &str) -> Why {
    Why { workload: workload.to_owned(), rule: "test".to_owned(), tick: 1 }
}

/// An operation from what is there now.
pub fn operation(kind: Kind, task: Option<Task>, locator: &str, after: &str) -> Operation {
    let before = knob::read(kind, task, locator).unwrap();
    Operation { kind, task, locator: locator.to_owned(), before, after: after.to_owned() }
}

/// Journals and writes; answers the value read back.
pub fn change(
    journal: &mut Journal,
    kind: Kind,
    task: Option<Task>,
    locator: &str,
    after: &str,
) -> String {
    change_for(journal, "w", kind, task, locator, after)
}

pub fn change_for(
    journal: &mut Journal,
    workload: &str,
    kind: Kind,
    task: Option<Task>,
    locator: &str,
    after: &str,
) -> String {
    let operation = operation(kind, task, locator, after);
    let journalled = journal.record(operation, &why(workload)).unwrap();
    let value = knob::write(kind, task, locator, after).unwrap();
    journal.settle(&journalled, Ok(&value)).unwrap();
    value
}

/// The outcomes of a report as they are serialised, oldest change first.
pub fn outcomes(report: &outrigger_undo::Report) -> Vec<String> {
    let name = |item| serde_json::to_value(item).unwrap()["result"].as_str().unwrap().to_owned();
    report.items.iter().map(name).collect()
}
