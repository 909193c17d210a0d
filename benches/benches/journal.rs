//! What it costs to write a change down before it is made, and its outcome after: paid once for
//! each knob that is turned. The journal is on a tmpfs, as it should be.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use outrigger_undo::{Journal, Kind, Operation, Task, Why, knob};
use tempfile::TempDir;

/// A tmpfs that everybody may use.
const TMPFS: &str = "/dev/shm";
/// A change that is never made: the journal only writes it down.
fn operation(kind: Kind, task: Option<Task>, locator: &str, before: u32) -> Operation {
    let (before, after) = (before.to_string(), (before + 1).to_string());
    Operation { kind, task, locator: locator.to_owned(), before, after }
}

fn journal(criterion: &mut Criterion) {
    let directory = TempDir::new_in(TMPFS).expect("there is a tmpfs");
    let mut journal = Journal::create(directory.path()).expect("the directory is new");
    assert!(journal.is_on_tmpfs());
    let own = knob::identify(std::process::id()).expect("we are alive");
    let why = Why::default();
    let mut group = criterion.benchmark_group("journal");
    for (name, kind, task, locator) in [
        ("record and settle, a process's knob", Kind::OomScoreAdj, Some(own), ""),
        ("record and settle, a cgroup file", Kind::File, None, "/nonexistent/cpu.shares"),
    ] {
        let mut before = 0;
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || {
                    before += 1;
                    operation(kind, task, locator, before)
                },
                |operation| {
                    let journalled = journal.record(operation, &why).expect("it can be written");
                    let value = journalled.operation().after.clone();
                    journal.settle(&journalled, Ok(&value)).expect("it can be written");
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, journal);
criterion_main!(benches);
