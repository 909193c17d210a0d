//! What the sidecar takes for contention is contention: a thread that others keep from running
//! is seen within two sweeps; a workload that its own quota stops, one that has more threads than
//! there are CPUs but the machine to itself, and a service on an idle machine never are.
//!
//! The sidecar only looks (`--dry-run`), so that what is to be seen stays as it is.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

use outrigger::demo::busy_time;
use outrigger_tests::{Group, Hogs, Mutation, Outrigger, Service, cgroups, noisy, root};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);
/// How long something is watched that must not be seen.
const WATCH: Duration = Duration::from_secs(5);
/// Sweeps in which starvation must show, and one more: it may begin just before the end of one.
const WITHIN: u64 = 2 + 1;
/// Waiting of a thread that hardly ever runs, at least, ms per second.
const STARVED: f64 = 500.0;
/// CPU that others use from which on waiting may really be their doing (the sidecar's threshold
/// is 0.1).
const OTHERS: f64 = 0.1;
/// The tests of what must not be seen.
const NEVER: [&str; 3] = [
    "its_own_quota_is_not_contention",
    "its_own_threads_are_not_contention",
    "a_service_on_an_idle_machine_does_not_contend",
];
/// How often a machine that is not idle is given another chance.
const CHANCES: u32 = 5;

/// These tests need the machine for themselves.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A sidecar that protects `pids` and looks on; it has seen them on return.
fn looking_after(pids: &[u32]) -> Outrigger {
    let list = pids.iter().map(u32::to_string).collect::<Vec<_>>();
    let mut arguments = vec!["--dry-run", "--best-effort", "name=nobody"];
    for pid in &list {
        arguments.extend(["--pid", pid]);
    }
    let mut sidecar = Outrigger::command("attach", arguments).start();
    sidecar.wait_until("it sees all whom it protects", PATIENCE, |status| {
        let workloads = status["workloads"].as_array().into_iter().flatten();
        let members = workloads
            .filter(|workload| workload["protected"] == true)
            .flat_map(|workload| workload["members"].as_array().into_iter().flatten());
        let seen: Vec<u64> = members.filter_map(|member| member["pid"].as_u64()).collect();
        status["tick"].as_u64() > Some(2) && pids.iter().all(|&pid| seen.contains(&pid.into()))
    });
    sidecar
}

fn is_contended(status: &Value) -> bool {
    status["contention"].as_array().is_some_and(|contention| !contention.is_empty())
}

fn pin(pid: u32, cpu: usize) {
    // SAFETY: all zero is a set of no CPUs; the calls read and write only that set.
    let answer = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(pid.cast_signed(), size_of_val(&set), &raw const set)
    };
    assert_eq!(answer, 0, "process {pid} cannot be pinned");
}

fn only_when_idle(pid: u32) {
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: the call reads `parameter`.
    let answer = unsafe {
        libc::sched_setscheduler(pid.cast_signed(), libc::SCHED_IDLE, &raw const parameter)
    };
    assert_eq!(answer, 0, "the policy of process {pid} cannot be changed");
}

#[test]
fn a_starved_thread_is_seen_within_two_sweeps() {
    if !root() {
        return;
    }
    let _alone = alone();
    let victim = Hogs::plan("victim").start();
    let hogs = Hogs::plan("bully").count(2).start();
    let pid = victim.pids()[0];
    // The victim has a CPU for itself as far as there are two.
    let last = available_parallelism().unwrap().get() - 1;
    pin(pid, 0);
    hogs.pids().into_iter().for_each(|hog| pin(hog, last));
    let mut sidecar = looking_after(&[pid]);

    only_when_idle(pid);
    hogs.pids().into_iter().for_each(|hog| pin(hog, 0));
    let before = sidecar.status().unwrap()["tick"].as_u64().unwrap();
    sidecar.wait_until("the victim is starved", PATIENCE, |status| {
        let tick = status["tick"].as_u64().unwrap();
        let contended = is_contended(status);
        assert!(contended || tick < before + WITHIN, "from tick {before} on: {status:#}");
        contended
    });

    // The interval in which it began may hold hardly any of it.
    let seen = sidecar.wait_until("it is starved all the time", PATIENCE, |status| {
        status["contention"][0]["wait_ms_per_s"].as_f64() > Some(STARVED)
    });
    let contention = &seen["contention"][0];
    assert!(!contention["evidence"].as_array().unwrap().is_empty(), "{contention:#}");
    let culprits = contention["culprits"].as_array().unwrap();
    let accused = |hog: &u32| culprits.iter().any(|c| c["task"]["pid"] == *hog);
    assert!(hogs.pids().iter().all(accused), "{contention:#}");
}

/// Watches for a while; fails if contention is seen in it, unless somebody else was at work.
fn is_never_contended(sidecar: &mut Outrigger, own: impl Fn() -> Duration) {
    for _ in 0..CHANCES {
        match watch(sidecar, &own) {
            None => return,
            Some((status, others)) => {
                let contention = &status["contention"];
                assert!(others > OTHERS, "others used {others:.2} CPUs: {contention:#}");
                eprintln!("again: others used {others:.2} CPUs when contention was seen");
            }
        }
    }
    noisy("others are at work on this machine");
}

/// CPU time of this test and of what it has run to ask the sidecar.
fn asking() -> Duration {
    [libc::RUSAGE_SELF, libc::RUSAGE_CHILDREN].into_iter().map(used).sum()
}

fn used(who: libc::c_int) -> Duration {
    // SAFETY: all zero is a usage; the call writes only that.
    let usage = unsafe {
        let mut usage: libc::rusage = mem::zeroed();
        assert_eq!(libc::getrusage(who, &raw mut usage), 0, "getrusage(2) knows {who}");
        usage
    };
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs())
            + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// The first status that tells of contention, and how many CPUs others used around that time.
fn watch(sidecar: &mut Outrigger, own: impl Fn() -> Duration) -> Option<(Value, f64)> {
    let own = || own() + asking();
    // Contention of a sweep is about the interval before it, so two looks back are needed.
    let mut looks = [(Instant::now(), busy_time().unwrap(), own()); 3];
    let end = Instant::now() + WATCH;
    while Instant::now() < end {
        // The one sleep that is no waiting: about once each sweep is enough.
        sleep(Duration::from_millis(240));
        let status = sidecar.status().expect("it answers");
        looks.rotate_left(1);
        looks[2] = (Instant::now(), busy_time().unwrap(), own());
        if is_contended(&status) {
            let [(begun, all, own), _, (ended, all_now, own_now)] = looks;
            let others = all_now.saturating_sub(all).saturating_sub(own_now.saturating_sub(own));
            return Some((status, others.as_secs_f64() / (ended - begun).as_secs_f64()));
        }
    }
    None
}

#[test]
fn its_own_quota_is_not_contention() {
    if !(root() && cgroups()) {
        return;
    }
    let _alone = alone();
    let group = Group::create("throttled");
    group.set_quota(Duration::from_millis(20));
    let victims = Hogs::plan("victim").count(2).in_group(group.path()).start();
    let throttled = || -> u64 {
        let stat = fs::read_to_string(group.path().join("cpu.stat")).unwrap();
        stat.lines().find_map(|line| line.strip_prefix("nr_throttled ")).unwrap().parse().unwrap()
    };
    let mut sidecar = looking_after(&victims.pids());
    let before = throttled();

    is_never_contended(&mut sidecar, || victims.cpu_time());

    assert!(throttled() > before + 10, "it was to be throttled all the time");
}

#[test]
fn its_own_threads_are_not_contention() {
    if !root() {
        return;
    }
    let _alone = alone();
    let cpus = available_parallelism().unwrap().get();
    let victims = Hogs::plan("victim").count(3 * cpus).start();
    let mut sidecar = looking_after(&victims.pids());

    is_never_contended(&mut sidecar, || victims.cpu_time());
}

#[test]
fn a_service_on_an_idle_machine_does_not_contend() {
    if !root() {
        return;
    }
    let _alone = alone();
    let service = Service::start(None);
    let pids = service.pids();
    let mut sidecar = looking_after(&pids);

    is_never_contended(&mut sidecar, || service.cpu_time());
}

#[test]
fn a_sensor_that_sees_nothing_or_everything_is_noticed() {
    if !(root() && cgroups()) {
        return;
    }
    let _alone = alone();
    Mutation::Blind.reddens("a_starved_thread_is_seen_within_two_sweeps");
    for test in NEVER {
        Mutation::Jumpy.reddens(test);
    }
}
