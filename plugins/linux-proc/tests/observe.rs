//! What a sweep sees, on the real kernel and with real processes.
#![allow(clippy::unwrap_used)]

mod support;

use outrigger_sdk::{
    Backend, ContextId, ErrorCode, Fields, Observation, ObserveRequest, TaskId, TaskInfo, Timer,
};
use std::io::BufRead as _;
use std::path::PathBuf;
use std::time::Duration;
use support::{
    Victim, backend, burn, pin, policy, reading, role, some_cpu, stat_field, sweep, sweep_until,
    ways,
};

/// What this program does when a test starts it again; nothing otherwise.
#[test]
fn child() {
    let Some(role) = role() else { return };
    let spin = || loop {
        std::hint::spin_loop();
    };
    match role.as_str() {
        "idle" => println!("\nready"),
        "starved" => {
            pin(some_cpu());
            std::thread::spawn(spin);
            std::thread::spawn(move || {
                assert!(policy(libc::SCHED_IDLE, 0));
                println!("\nready");
                spin()
            });
        }
        "crowd" => {
            pin(some_cpu());
            println!("\nready");
            let burner = || std::thread::spawn(|| burn(Duration::from_millis(400)));
            let burners: Vec<_> = (0..4).map(|_| burner()).collect();
            burners.into_iter().for_each(|burner| burner.join().unwrap());
            println!("\ndone");
        }
        "named" => {
            std::thread::Builder::new().name("worker-7".into()).spawn(spin).unwrap();
            println!("\nready");
        }
        "leaderless" => {
            std::thread::spawn(spin);
            println!("\nready");
            // SAFETY: ends this thread only; nothing of its stack is used by the other.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        }
        other => panic!("no role {other}"),
    }
    // Until the test closes the pipe or kills us.
    for _ in std::io::stdin().lock().lines() {}
    std::process::exit(0);
}

#[test]
fn a_birth_an_exec_and_an_end_are_seen_both_ways() {
    for way in ways() {
        let mut backend = backend(way);
        sweep(&mut backend, &[]);
        let mut victim = Victim::shell("read line; exec sleep 1000");
        let id = victim.id();
        let all = Fields::EXE.with(Fields::COMMAND).with(Fields::CONTEXTS);
        let info = sweep_until(&mut backend, &[], "the birth", |seen| {
            let named = |info: &&TaskInfo| info.task == id && info.name == "sh";
            seen.infos.iter().filter(|info| info.present.has(all)).find(named).cloned()
        });
        assert_eq!((info.parent, info.kernel), (std::process::id(), false), "{way}");
        assert_eq!(info.command[1], "-c");

        victim.say("go");
        let info = sweep_until(&mut backend, &[], "the exec", |seen| {
            let named = |info: &&TaskInfo| info.task == id && info.name == "sleep";
            seen.infos.iter().filter(|info| info.present.has(all)).find(named).cloned()
        });
        assert!(info.exe.ends_with("/sleep"), "{way}: {}", info.exe);
        assert_eq!(info.command.last().unwrap(), "1000");

        victim.kill();
        victim.reap();
        sweep_until(&mut backend, &[], "the end", |seen| seen.gone.contains(&id).then_some(()));
        assert!(!sweep(&mut backend, &[]).gone.contains(&id), "{way}: told twice");
    }
}

#[test]
fn one_that_waits_to_be_reaped_is_gone_and_one_without_leader_is_not() {
    for way in ways() {
        let mut backend = backend(way);
        let mut zombie = Victim::shell("read line");
        let leaderless = Victim::role("leaderless");
        let (ended, lives) = (zombie.id(), leaderless.id());
        sweep_until(&mut backend, &[], "both", |seen| {
            seen.infos.iter().any(|info| info.task == ended).then_some(())
        });
        zombie.kill();
        let mut told = 0;
        sweep_until(&mut backend, &[], "the zombie", |seen| {
            assert!(!seen.gone.contains(&lives), "{way}: threads of it are running");
            told += seen.gone.iter().filter(|gone| **gone == ended).count();
            (told > 0).then_some(())
        });
        // It stays in the table of processes; that must not make it a new one, or gone again.
        for _ in 0..5 {
            let seen = sweep(&mut backend, &[lives]);
            assert!(!seen.gone.contains(&ended) && !seen.infos.iter().any(|i| i.task == ended));
            assert!(reading(&seen, lives).unwrap().runnable > 0);
        }
    }
}

#[test]
fn cpu_time_agrees_with_a_second_source() {
    let mut backend = backend("");
    let victim = Victim::shell("while :; do :; done");
    let id = victim.id();
    let ticks = || stat_field(id.pid, 14) + stat_field(id.pid, 15);
    // SAFETY: takes a number, answers a number.
    let tick_ns = 1_000_000_000 / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as u64;
    let mut before = ticks();
    sweep_until(&mut backend, &[], "half a second of CPU time", |seen| {
        let after = ticks();
        let cpu_ns = reading(seen, id)?.cpu_ns;
        // User and system time are each cut to whole ticks.
        let (low, high) = (before.saturating_sub(2) * tick_ns, (after + 2) * tick_ns);
        assert!((low..=high).contains(&cpu_ns), "{low} <= {cpu_ns} <= {high}");
        before = after;
        (cpu_ns > 500_000_000).then_some(())
    });
    let timer = backend.timer(Timer::PROCESS, id).unwrap();
    assert!(timer >= before * tick_ns, "the timer is the same clock, read later");
}

#[test]
fn what_does_not_move_is_not_told() {
    let mut backend = backend("");
    let victim = Victim::shell("read line");
    let id = victim.id();
    sweep_until(&mut backend, &[], "the birth", |seen| reading(seen, id));
    sweep_until(&mut backend, &[], "silence", |seen| reading(seen, id).is_none().then_some(()));
    let seen = sweep(&mut backend, &[id]);
    let told = reading(&seen, id).unwrap();
    let all = [Fields::CPU, Fields::DELAY, Fields::MEMORY, Fields::THREADS];
    assert!(all.iter().all(|field| told.present.has(*field)), "in focus, everything is told");
    assert!(told.rss_bytes > 0 && told.threads == 1 && told.starved == 0);
    assert!(!seen.infos.iter().any(|info| info.task == id), "its names have not changed");
}

#[test]
fn a_starved_thread_is_seen_at_the_second_sweep() {
    let mut backend = backend("");
    let victim = Victim::role("starved");
    let id = victim.id();
    let mut sweeps = 0;
    // The kernel lets even an idle-class thread run now and then, so it may take another try.
    let told = sweep_until(&mut backend, &[id], "a starved thread", |seen| {
        sweeps += 1;
        let told = reading(seen, id).unwrap();
        assert!(sweeps > 1 || told.starved == 0, "one look shows no progress or lack of it");
        (told.starved > 0).then_some(told)
    });
    assert!(told.runnable >= 2, "{told:?}");
}

#[test]
fn waits_of_threads_that_ended_stay_in_the_sum() {
    let mut backend = backend("");
    let mut victim = Victim::role("crowd");
    let id = victim.id();
    let mut most = 0;
    sweep_until(&mut backend, &[id], "the end of the crowd", |seen| {
        let told = reading(seen, id).unwrap();
        assert!(told.run_delay_ns >= most, "{} after {most}", told.run_delay_ns);
        most = told.run_delay_ns;
        (most > 0 && told.threads <= 2).then_some(())
    });
    victim.hear("done");
    assert!(most > 100_000_000, "four threads on one CPU waited {most} ns");
    // Out of focus and back: the sum goes on.
    sweep(&mut backend, &[]);
    assert!(reading(&sweep(&mut backend, &[id]), id).unwrap().run_delay_ns >= most);
}

#[test]
fn names_of_threads_are_told() {
    for way in ways() {
        let mut backend = backend(way);
        let victim = Victim::role("named");
        let id = victim.id();
        sweep_until(&mut backend, &[], "the thread's name", |seen| {
            let info = seen.infos.iter().find(|info| info.task == id)?;
            info.thread_names.iter().any(|name| name == "worker-7").then_some(())
        });
    }
}

#[test]
fn somebody_else_under_the_same_number_is_gone() {
    let mut backend = backend("");
    let victim = Victim::role("idle");
    let id = victim.id();
    let former = TaskId { start: id.start - 1, ..id };
    let seen = sweep(&mut backend, &[former]);
    assert!(seen.gone.contains(&former) && !seen.gone.contains(&id));
    assert!(reading(&sweep(&mut backend, &[id]), id).is_some());
    assert_eq!(backend.timer(Timer::PROCESS, former).unwrap_err().code, ErrorCode::GONE);
}

#[test]
fn a_move_to_another_context_is_seen_at_once_in_focus() {
    let Some(group) = Group::new() else { return };
    let mut backend = backend("");
    let victim = Victim::role("idle");
    let id = victim.id();
    sweep(&mut backend, &[id]);
    std::fs::write(group.0.join("cgroup.procs"), id.pid.to_string()).unwrap();
    let seen = sweep(&mut backend, &[id]);
    let info = seen.infos.iter().find(|info| info.task == id).unwrap();
    let path = format!("/{}", group.0.file_name().unwrap().to_str().unwrap());
    assert!(info.contexts.contains(&ContextId::new("cpu", &path)), "{:?}", info.contexts);
}

#[test]
fn everybody_is_told_anew_when_asked_for() {
    let mut backend = backend("");
    let victim = Victim::shell("read line");
    let id = victim.id();
    sweep_until(&mut backend, &[], "silence", |seen| reading(seen, id).is_none().then_some(()));
    let request = ObserveRequest { full: true, ..ObserveRequest::default() };
    let mut seen = Observation::default();
    backend.observe(&request, &mut seen).unwrap();
    assert!(reading(&seen, id).is_some());
    assert!(seen.infos.iter().any(|info| info.task == id && info.name == "sh"));
    let told = |task| seen.infos.iter().any(|info| info.task == task) || seen.gone.contains(&task);
    assert!(seen.tasks.iter().all(|reading| told(reading.task)));
}

#[test]
fn the_host_is_told() {
    let seen = sweep(&mut backend(""), &[]);
    // SAFETY: takes a number, answers a number.
    let cpus = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    assert_eq!(i64::from(seen.cpus), cpus);
    let pressure = std::path::Path::new("/proc/pressure/cpu").exists();
    assert_eq!(seen.host_pressure_us > 0, pressure);
    let kernel = seen.infos.iter().filter(|info| info.kernel).count();
    let kthreadd = std::fs::read_to_string("/proc/2/comm").is_ok_and(|name| name == "kthreadd\n");
    assert!(kernel > 0 || !kthreadd, "kernel threads are flagged");
    assert!(seen.infos.iter().any(|info| info.task.pid == std::process::id() && !info.kernel));
}

/// A child of the version 1 `cpu` hierarchy, emptied and removed at the end.
struct Group(PathBuf);

impl Group {
    fn new() -> Option<Self> {
        let name = format!("/sys/fs/cgroup/cpu/outrigger-test-{}-move", std::process::id());
        match std::fs::create_dir(&name) {
            Ok(()) => Some(Self(name.into())),
            Err(error) => {
                println!("skipped: cannot make {name}: {error}");
                None
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for pid in std::fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines()
        {
            let _ = std::fs::write("/sys/fs/cgroup/cpu/cgroup.procs", pid);
        }
        let _ = std::fs::remove_dir(&self.0);
    }
}
