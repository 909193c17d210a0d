//! What a sweep sees, on the real kernel and with real processes.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use outrigger_linux_proc::LinuxProc;
use outrigger_sdk::undo::knob;
use outrigger_sdk::{
    Backend, Capability, ContextId, ErrorCode, Fields, Host, Level, Observation, ObserveRequest,
    TaskId, TaskInfo, Timer,
};
use std::collections::BTreeSet;
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
        "downgrade" => {
            println!("\nready");
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).unwrap();
            // SAFETY: takes a number and changes the user of this process.
            assert_eq!(unsafe { libc::setuid(65_534) }, 0);
        }
        "netns" => {
            unshare(libc::CLONE_NEWNET);
            scans_instead();
        }
        "pidns" => {
            unshare(libc::CLONE_NEWPID);
            let _inside = Victim::role("scans");
            println!("\nready");
        }
        "scans" => scans_instead(),
        "hidden" => hides_others(),
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
fn a_change_of_user_without_an_exec_is_seen_both_ways() {
    // SAFETY: takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        outrigger_skip::skip("not root");
        return;
    }
    for way in ways() {
        let mut backend = backend(way);
        let mut victim = Victim::role("downgrade");
        let id = victim.id();
        let user = |seen: &Observation| {
            let info = seen.infos.iter().find(|info| info.task == id)?;
            Some(info.uid)
        };
        assert_eq!(sweep_until(&mut backend, &[], "the birth", user), 0, "{way}");
        // Nothing else may be told meanwhile that would bring the user with it.
        for _ in 0..3 {
            sweep(&mut backend, &[id]);
        }
        victim.say("go");
        let became = |seen: &Observation| user(seen).filter(|user| *user == 65_534);
        sweep_until(&mut backend, &[id], "the change of user", became);
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
    assert!(seen.host_cpu_ns > 0 && seen.host_cpu_ns.is_multiple_of(1000));
    let kernel = seen.infos.iter().filter(|info| info.kernel).count();
    let kthreadd = std::fs::read_to_string("/proc/2/comm").is_ok_and(|name| name == "kthreadd\n");
    assert!(kernel > 0 || !kthreadd, "kernel threads are flagged");
    assert!(seen.infos.iter().any(|info| info.task.pid == std::process::id() && !info.kernel));
}

/// The test fails if the child ends before it says `ready`.
#[test]
fn in_other_namespaces_events_are_not_trusted() {
    if !outrigger_skip::root() {
        return;
    }
    drop(Victim::role("netns"));
    drop(Victim::role("pidns"));
}

fn unshare(what: libc::c_int) {
    // SAFETY: takes an integer.
    assert_eq!(unsafe { libc::unshare(what) }, 0, "{}", std::io::Error::last_os_error());
}

fn scans_instead() {
    let mut backend = backend("");
    let reports = backend.probe().unwrap();
    let events = reports.iter().find(|report| report.capability == Capability::EVENTS).unwrap();
    assert_eq!(events.level, Level::UNAVAILABLE);
    assert!(!sweep(&mut backend, &[]).infos.is_empty());
    let forced = LinuxProc::create(Host::silent(), r#"{"discovery":"events"}"#);
    assert!(forced.is_err(), "who insists on events is told that there are none");
    println!("\nready");
}

#[test]
fn what_is_hidden_is_counted_as_unreadable() {
    // Before 5.8, the option would act on the host's own /proc as well.
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut parts = release.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if (parts.next(), parts.next()) < (Some(5), Some(8)) {
        return outrigger_skip::skip("this kernel's hidepid is not per mount");
    }
    if outrigger_skip::root() {
        drop(Victim::role("hidden"));
    }
}

/// Sees a `/proc` that lists other users' processes and shows nothing of them.
fn hides_others() {
    unshare(libc::CLONE_NEWNS);
    let proc = c"/proc".as_ptr();
    // SAFETY: constant C strings; the mounts are of this process's own namespace.
    unsafe {
        let private = libc::MS_REC | libc::MS_PRIVATE;
        let none = std::ptr::null();
        assert_eq!(libc::mount(none, c"/".as_ptr(), none, private, none.cast()), 0);
        let option = c"hidepid=1".as_ptr().cast();
        assert_eq!(libc::mount(c"proc".as_ptr(), proc, c"proc".as_ptr(), 0, option), 0);
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setresgid(65534, 65534, 65534), 0);
        assert_eq!(libc::setresuid(65534, 65534, 65534), 0);
    }
    for way in ways() {
        let mut backend = backend(way);
        let mut victim = Victim::shell("echo ready; read line");
        // Until its exec is complete, the child of one who changed users is hidden as well.
        victim.hear("ready");
        let seen = sweep(&mut backend, &[]);
        assert!(seen.unreadable > 0, "{way}: process 1 at least");
        assert!(seen.infos.iter().any(|info| info.task == victim.id()), "{way}");
        assert!(!seen.infos.iter().any(|info| info.task.pid == 1), "{way}");
        let report = backend.probe().unwrap().into_iter();
        let mut report = report.filter(|report| report.capability == Capability::OBSERVE_TASKS);
        assert_eq!(report.next().unwrap().level, Level::DEGRADED);
    }
    println!("\nready");
}

#[test]
fn whoever_was_told_is_told_gone_also_in_a_storm_of_forks() {
    for way in ways() {
        let mut backend = backend(way);
        let mut present = BTreeSet::new();
        let mut ends = 0;
        let mut note = |seen: &Observation| {
            present.extend(seen.infos.iter().map(|info| info.task));
            for task in &seen.gone {
                assert!(present.remove(task), "{way}: never told, or gone twice: {task:?}");
                ends += 1;
            }
            (ends, present.clone())
        };
        let storm = |_| Victim::shell("while :; do /bin/true; done");
        let storms: Vec<_> = (0..3).map(storm).collect();
        sweep_until(&mut backend, &[], "fifty ends", |seen| (note(seen).0 > 50).then_some(()));
        drop(storms);
        sweep_until(&mut backend, &[], "that only the living are left", |seen| {
            let alive = |task: &TaskId| knob::start_time(task.pid, 0) == Some(task.start);
            note(seen).1.iter().all(alive).then_some(())
        });
    }
}

/// A child of the version 1 `cpu` hierarchy, emptied and removed at the end.
struct Group(PathBuf);

impl Group {
    fn new() -> Option<Self> {
        let name = format!("/sys/fs/cgroup/cpu/outrigger-test-{}-move", std::process::id());
        match std::fs::create_dir(&name) {
            Ok(()) => Some(Self(name.into())),
            Err(error) => {
                outrigger_skip::skip(&format!("cannot make {name}: {error}"));
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
