//! The CPU clock of the own thread: promised within 10 % of the bare system call.
//!
//! The backend is linked in for the direct call, and loaded for the one across the boundary. So
//! this bench must not link the runtime, whose built-in fallback is a second plugin in one
//! executable; what it shares with the others it includes as a file.

#[path = "../src/compare.rs"]
mod compare;

use std::path::PathBuf;

use compare::{Arm, compare};
use criterion::{Criterion, criterion_group, criterion_main};
use outrigger_linux_proc::LinuxProc;
use outrigger_sdk::{Backend, Host, Loaded, TaskId, Timer};

fn bare() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn read(backend: &dyn Backend) -> u64 {
    backend.timer(Timer::THREAD, TaskId::default()).expect("one's own clock can be read")
}

/// Beside the executable of a bench, cargo keeps the libraries it depends on.
fn library() -> PathBuf {
    let bench = std::env::current_exe().expect("the kernel knows what it runs");
    bench.with_file_name("liboutrigger_linux_proc.so")
}

fn timer(criterion: &mut Criterion) {
    let direct = LinuxProc::create(Host::silent(), "{}").expect("it runs on any Linux");
    let module = outrigger_abi::load::v1(&library()).expect("it was built with this bench");
    let loaded = Loaded::create_from(module, Host::silent(), "{}").expect("as the direct one");
    // What the compiler cannot see through is what the host has too: a trait object.
    let (direct, loaded): (Box<dyn Backend>, Box<dyn Backend>) =
        (Box::new(direct), Box::new(loaded));

    let mut group = criterion.benchmark_group("own-thread CPU clock");
    group.bench_function("bare clock_gettime", |bencher| bencher.iter(bare));
    group.bench_function("linux-proc, linked", |bencher| bencher.iter(|| read(&*direct)));
    group.bench_function("linux-proc, loaded plugin", |bencher| bencher.iter(|| read(&*loaded)));
    group.finish();

    compare(
        "own-thread CPU clock",
        vec![
            Arm::new("bare clock_gettime", bare),
            Arm::new("linux-proc, linked", || read(&*direct)),
            Arm::new("linux-proc, loaded plugin", || read(&*loaded)),
        ],
    );
}

criterion_group!(benches, timer);
criterion_main!(benches);
