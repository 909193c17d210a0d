//! A sidecar that demotes what it is told to, says so, and waits to be killed.

use super::cgroup::CPU;
use super::change::{change, why};
use super::child::{keeper_program, sleep_for_good};
use outrigger_undo::{Journal, Kind, Operation, Task, keeper, knob};
use std::path::Path;

/// `STATE_DIR TEMP_DIR CONTEXT PID...`: each process gets another nice value and, if the context
/// is not `-`, goes into that new cgroup of weight 2. The file `done` in the temporary directory
/// says that all is changed, `keeper` which process the keeper is.
pub fn main(arguments: &[&str]) {
    let [state, temp, context, pids @ ..] = arguments else { panic!("missing arguments") };
    let temp = Path::new(temp);
    let handle = keeper::spawn(&keeper_program(temp), Path::new(state)).unwrap();
    std::fs::write(temp.join("keeper"), handle.pid().to_string()).unwrap();
    let mut journal = Journal::create(Path::new(state)).unwrap();
    if *context != "-" {
        change(&mut journal, Kind::Context, None, context, "present");
        change(&mut journal, Kind::File, None, &format!("{context}/cpu.shares"), "2");
    }
    let inner = context.trim_start_matches(CPU);
    for pid in pids {
        let task = knob::identify(pid.parse().unwrap()).unwrap();
        for thread in knob::threads(task.pid).unwrap() {
            change(&mut journal, Kind::Nice, Some(thread), "", "11");
        }
        if *context != "-" {
            change(&mut journal, Kind::Membership, Some(task), CPU, inner);
        }
    }
    std::fs::write(temp.join("done"), "").unwrap();
    sleep_for_good();
}

/// `STATE_DIR TEMP_DIR CONTEXT ADOPTED GROUP`: demotes and promotes all processes of a process
/// group, and turns the knobs of a cgroup that is not its own, over and over until it is killed.
pub fn restless(arguments: &[&str]) {
    let [state, temp, context, adopted, group] = arguments else { panic!("missing arguments") };
    let temp = Path::new(temp);
    let handle = keeper::spawn(&keeper_program(temp), Path::new(state)).unwrap();
    std::fs::write(temp.join("keeper"), handle.pid().to_string()).unwrap();
    let mut journal = Journal::create(Path::new(state)).unwrap();
    std::fs::write(temp.join("done"), "").unwrap();
    let inner = context.trim_start_matches(CPU);
    for round in 0u32.. {
        let idle = format!("{adopted}/cpu.idle");
        try_change(&mut journal, Kind::Context, None, context, "present");
        try_change(&mut journal, Kind::File, None, &format!("{context}/cpu.shares"), "2");
        try_change(&mut journal, Kind::File, None, &idle, "0");
        try_change(
            &mut journal,
            Kind::File,
            None,
            &format!("{adopted}/cpu.shares"),
            &(2 + round % 50).to_string(),
        );
        try_change(&mut journal, Kind::File, None, &idle, &(round % 2).to_string());
        for pid in super::of_group(group.parse().unwrap()) {
            let Some(task) = knob::identify(pid) else { continue };
            for thread in knob::threads(pid).unwrap_or_default() {
                try_change(
                    &mut journal,
                    Kind::Nice,
                    Some(thread),
                    "",
                    &(1 + round % 19).to_string(),
                );
                try_change(
                    &mut journal,
                    Kind::SchedPolicy,
                    Some(thread),
                    "",
                    ["batch", "idle"][round as usize % 2],
                );
            }
            try_change(&mut journal, Kind::Membership, Some(task), CPU, inner);
        }
        if round % 4 == 3 {
            journal.undo(|entry| entry.token % 2 == 0 || entry.operation.kind == Kind::Context);
        }
    }
}

/// As a sidecar does: what fails is settled as such.
fn try_change(journal: &mut Journal, kind: Kind, task: Option<Task>, locator: &str, after: &str) {
    let Ok(before) = knob::read(kind, task, locator) else { return };
    if before == after {
        return;
    }
    let (locator_text, after_text) = (locator.to_owned(), after.to_owned());
    let operation = Operation { kind, task, locator: locator_text, before, after: after_text };
    let journalled = journal.record(operation, &why("w")).unwrap();
    let result = knob::write(kind, task, locator, after).map_err(|error| error.to_string());
    journal.settle(&journalled, result.as_deref().map_err(String::as_str)).unwrap();
}
