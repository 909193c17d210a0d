//! Everything is put back, however the sidecar ends: on request, killed, with its command, after
//! a stage of it has panicked. The hogs live on meanwhile, some of them forking all the time.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use outrigger_tests::{
    Difference, Group, Hogs, Mutation, Outrigger, Snapshot, cgroup1, remove_leftovers, root, until,
};
use tempfile::TempDir;

/// How long anything that is expected may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a sidecar is killed when nobody says.
const RUNS: u32 = 10;
/// Kills come at random moments before this: starting, first changes, governing.
const LATEST: Duration = Duration::from_secs(2);

/// What a sidecar may turn, by the plugins it is denied.
const EVERYTHING: &str = "";
const NO_CGROUPS: &str = "plugins.deny = ['linux-cgroup1']\n";

/// One to protect, and hogs in all places, none of them in its default state.
struct Scene {
    protected: Hogs,
    loose: Vec<Hogs>,
    inside: Hogs,
    group: Group,
    name: String,
    directory: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Scene {
    fn set() -> Self {
        // These tests fill the machine; two at a time would only disturb each other.
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("hog-{}", std::process::id());
        let group = Group::create("cpu", "hogs");
        group.write("cpu.shares", "512");
        let here = Hogs::plan(&name).start();
        let apart = Hogs::plan(&name).own_sessions().start();
        let forking = Hogs::plan(&name).own_sessions().forking().start();
        let forking_here = Hogs::plan(&name).forking().start();
        renice(here.pids()[0], 3);
        Self {
            protected: Hogs::plan("protected").start(),
            loose: vec![here, apart, forking, forking_here],
            inside: Hogs::plan(&name).in_group(group.path()).start(),
            group,
            name,
            directory: TempDir::new().unwrap(),
            _alone: alone,
        }
    }

    fn look(&self) -> Snapshot {
        let loose = self.loose.iter().flat_map(Hogs::pids);
        let fixed = [self.protected.pids(), self.inside.pids()].concat();
        Snapshot::take(&loose.chain(fixed).collect::<Vec<u32>>())
    }

    fn start(
        &self,
        command: &str,
        rest: &[&str],
        may: &str,
        mutation: Option<Mutation>,
    ) -> Outrigger {
        let file = self.directory.path().join("outrigger.toml");
        fs::write(&file, format!("{may}timing.tick = '100ms'\n")).unwrap();
        let hogs = format!("name={}", self.name);
        let common = ["--config", file.to_str().unwrap(), "--best-effort", &hogs];
        let arguments = common.iter().chain(rest);
        Outrigger::command(command, arguments).mutated(mutation).start()
    }

    fn attach(&self, may: &str, mutation: Option<Mutation>) -> Outrigger {
        let pid = self.protected.pids()[0].to_string();
        self.start("attach", &["--pid", &pid], may, mutation)
    }

    /// Waits until every hog is held back, as the kernel tells it.
    fn until_governed(&self, before: &Snapshot) {
        until("every hog is held back", PATIENCE, || {
            let found = before.differences(&self.look());
            let changed = |pid: u32| found.iter().any(|d| is_about(d, pid));
            self.loose.iter().flat_map(Hogs::pids).all(changed)
                && (self.inside.pids().into_iter().all(changed)
                    || found.iter().any(|d| Path::new(&d.subject) == self.group.path()))
        });
    }

    /// What is not as it was, `patience` granted; other people's cgroups do not count.
    fn not_restored(
        &self,
        before: &Snapshot,
        sidecar: &Outrigger,
        patience: Duration,
    ) -> Vec<Difference> {
        let instance = format!("-{}", sidecar.pid());
        let look = || {
            let mut found = before.differences(&self.look());
            found.retain(|d| {
                let group = d.subject.starts_with('/');
                !group
                    || d.subject.contains(&instance)
                    || Path::new(&d.subject) == self.group.path()
                    || !d.subject.contains("outrigger")
            });
            found
        };
        let deadline = std::time::Instant::now() + patience;
        let mut found = look();
        while !found.is_empty() && std::time::Instant::now() < deadline {
            sleep(Duration::from_millis(50));
            found = look();
        }
        found
    }

    /// Fails if anything is not as before, or if a process of the sidecar's stayed.
    fn judge(self, before: &Snapshot, sidecar: &Outrigger, patience: Duration) {
        let found = self.not_restored(before, sidecar, patience);
        // Only empty directories can be removed.
        drop(self);
        let left = found.iter().filter(|difference| difference.property == "existence");
        remove_leftovers(left.map(|difference| Path::new(&difference.subject)));
        assert_eq!(found, []);
        nobody_stays(sidecar);
    }
}

fn is_about(difference: &Difference, pid: u32) -> bool {
    difference.subject.starts_with(&format!("process {pid} "))
}

fn renice(pid: u32, nice: i32) {
    // SAFETY: the call touches no memory.
    let answer = unsafe { libc::setpriority(libc::PRIO_PROCESS, pid, nice) };
    assert_eq!(answer, 0, "process {pid} cannot be reniced");
}

fn nobody_stays(sidecar: &Outrigger) {
    until("sidecar and keeper are gone", PATIENCE, || sidecar.processes().is_empty());
}

fn possible() -> bool {
    root() && cgroup1("cpu")
}

/// A sidecar that ends by itself has put everything back by then.
fn ends_by(signal: libc::c_int, may: &str, mutation: Option<Mutation>) {
    let scene = Scene::set();
    let before = scene.look();
    let mut sidecar = scene.attach(may, mutation);
    scene.until_governed(&before);

    sidecar.signal(signal);
    let status = sidecar.wait(PATIENCE);

    scene.judge(&before, &sidecar, Duration::ZERO);
    assert!(status.success(), "{status}");
}

/// One that is killed cannot; its keeper does.
fn is_killed(may: &str) {
    let scene = Scene::set();
    let before = scene.look();
    let mut sidecar = scene.attach(may, None);
    scene.until_governed(&before);

    sidecar.signal(libc::SIGKILL);
    sidecar.wait(PATIENCE);

    scene.judge(&before, &sidecar, PATIENCE);
}

/// The steward replaces a stage that panicked, governing goes on, and the end is as ever.
fn survives(mutation: Mutation) {
    let scene = Scene::set();
    let before = scene.look();
    let mut sidecar = scene.attach(EVERYTHING, Some(mutation));
    scene.until_governed(&before);
    let stage = mutation.value().strip_prefix("panic-").unwrap();
    let restarted = |status: &serde_json::Value| {
        let stages = status["stages"].as_array().into_iter().flatten();
        stages.into_iter().any(|s| s["name"] == stage && s["restarts"] == 1)
    };
    sidecar.wait_until("the stage was started anew", PATIENCE, restarted);

    let late = Hogs::plan(&scene.name).start();
    let untouched = Snapshot::take(&late.pids());
    until("a hog that came later is held back", PATIENCE, || {
        let found = untouched.differences(&Snapshot::take(&late.pids()));
        found.iter().any(|d| is_about(d, late.pids()[0]))
    });
    sidecar.signal(libc::SIGTERM);
    let status = sidecar.wait(PATIENCE);

    // Whether it was touched already when it was first seen is anybody's guess, but it was born
    // in the same place as its brothers.
    let home = |pid: u32| {
        let seen = Snapshot::take(&[pid]);
        seen.tasks().process(pid).unwrap().get("cgroup: cpu").unwrap().to_owned()
    };
    assert_eq!(home(late.pids()[0]), home(scene.protected.pids()[0]));
    drop(late);
    scene.judge(&before, &sidecar, Duration::ZERO);
    assert!(status.success(), "{status}");
}

#[test]
fn asked_by_sigterm_it_puts_everything_back() {
    if possible() {
        ends_by(libc::SIGTERM, EVERYTHING, None);
    }
}

#[test]
fn asked_by_sigterm_it_puts_priorities_back() {
    if possible() {
        ends_by(libc::SIGTERM, NO_CGROUPS, None);
    }
}

#[test]
fn asked_by_sigint_it_puts_everything_back() {
    if possible() {
        ends_by(libc::SIGINT, EVERYTHING, None);
    }
}

#[test]
fn an_undo_that_is_skipped_is_noticed() {
    if possible() {
        Mutation::SkipUndo.turns_red(|mutation| ends_by(libc::SIGTERM, EVERYTHING, mutation));
    }
}

#[test]
fn killed_its_keeper_puts_everything_back() {
    if possible() {
        is_killed(EVERYTHING);
    }
}

#[test]
fn killed_its_keeper_puts_priorities_back() {
    if possible() {
        is_killed(NO_CGROUPS);
    }
}

#[test]
fn when_the_command_ends_everything_is_put_back() {
    if !possible() {
        return;
    }
    let scene = Scene::set();
    let before = scene.look();
    let pipe = scene.directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let command = ["--", "cat", pipe.to_str().unwrap()];
    let mut sidecar = scene.start("run", &command, EVERYTHING, None);
    scene.until_governed(&before);

    // It reads until the last writer has closed it.
    drop(fs::OpenOptions::new().write(true).open(&pipe).unwrap());
    let status = sidecar.wait(PATIENCE);

    scene.judge(&before, &sidecar, Duration::ZERO);
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_panic_in_the_monitor_is_survived() {
    if possible() {
        survives(Mutation::PanicMonitor);
    }
}

#[test]
fn a_panic_in_the_classifier_is_survived() {
    if possible() {
        survives(Mutation::PanicClassifier);
    }
}

#[test]
fn a_panic_in_the_tier_is_survived() {
    if possible() {
        survives(Mutation::PanicTier);
    }
}

#[test]
fn a_panic_in_the_enforcer_is_survived() {
    if possible() {
        survives(Mutation::PanicEnforcer);
    }
}

/// A number from the environment, for more runs or to repeat some.
fn given(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[test]
fn killed_again_and_again_at_any_moment_nothing_stays() {
    if !possible() {
        return;
    }
    let runs = given("OUTRIGGER_TEST_RUNS").unwrap_or(RUNS.into());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = given("OUTRIGGER_TEST_SEED").unwrap_or(now.subsec_nanos().into());
    eprintln!("{runs} runs; again with OUTRIGGER_TEST_SEED={seed}");
    let mut random = seed | 1;
    let scene = Scene::set();
    let before = scene.look();
    for run in 1..=runs {
        // xorshift (Marsaglia 2003) is random enough to spread the moments.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let moment = LATEST.mul_f64((random % 1000) as f64 / 1000.0);
        let may = if run % 2 == 0 { EVERYTHING } else { NO_CGROUPS };
        let mut sidecar = scene.attach(may, None);

        sleep(moment);
        sidecar.signal(libc::SIGKILL);
        sidecar.wait(PATIENCE);

        let found = scene.not_restored(&before, &sidecar, PATIENCE);
        assert_eq!(found, [], "run {run} of {runs}, killed after {moment:?}");
        nobody_stays(&sidecar);
    }
}
