//! A sidecar that demotes what it is told to, says so, and waits to be killed.

use super::cgroup::CPU;
use super::change::change;
use super::child::{keeper_program, sleep_for_good};
use outrigger_undo::{Journal, Kind, keeper, knob};
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
