//! Everything is put back, however the sidecar ends: on request, killed, with its command, after
//! a stage of it has panicked, with or without its keeper. The hogs live on meanwhile, some of
//! them forking all the time.
//!
//! Each way to end is tried over and over, at random moments: `OUTRIGGER_TEST_RUNS` times beside
//! steady hogs and as often beside forking ones. A run that fails says its seed.
#![allow(clippy::unwrap_used)]

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use outrigger_tests::{
    Backends, Difference, Draw, Hogs, Mutation, Outrigger, Scene, Seeds, cgroups, root, until,
    until_some,
};

/// How long anything that is expected may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often each way to end is tried when nobody says: once early, once late.
const RUNS: u64 = 2;
/// Early ends come within this time: plugins start, first changes are made.
const EARLY: Duration = Duration::from_millis(700);
/// The same where a stage is to panic: at its eighth batch, and is replaced half a second later.
const EARLY_FOR_PANIC: Duration = Duration::from_millis(1800);
/// Late ends come within this time after all hogs were seen to be held back.
const LATE: Duration = Duration::from_millis(300);
/// One that is killed while it puts everything back is killed within this time.
const RESTORING: Duration = Duration::from_millis(30);

/// A way to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// It is asked to, by this signal.
    Asked(libc::c_int),
    /// SIGKILL.
    Killed,
    /// SIGKILL, while it does what SIGTERM asked for.
    KilledWhileRestoring,
    /// SIGKILL, and its keeper gets SIGTERM, as when a service manager ends a whole group.
    KilledAndKeeperAsked,
    /// SIGKILL, after its keeper was killed and replaced.
    KilledAfterKeeper,
    /// SIGKILL, after its keeper was killed and while another one starts: nobody hears any more
    /// that it is ready.
    KilledBeforeKeeper,
    /// SIGKILL, and its keeper too; then `outrigger restore`.
    KilledWithKeeper,
    /// A stage panics; SIGTERM before, meanwhile, or when it was seen to go on governing.
    Panicked(Mutation),
    /// Its command ends by itself.
    CommandEnds,
    /// Its command is killed.
    CommandKilled,
}

/// One life of a sidecar.
#[derive(Clone, Copy, Debug)]
struct Run {
    may: Backends,
    /// Whether it ends only after everything is held back.
    late: bool,
    moment: Duration,
    /// Until the second signal, if there is one.
    then: Duration,
}

/// What was seen of a life.
struct Seen {
    sidecar: Outrigger,
    status: ExitStatus,
    /// Whether whoever had to put everything back says that it has.
    said_done: bool,
    /// Whether anything was changed when the end came.
    held: bool,
    left: Vec<Difference>,
}

/// Says how to repeat a run if it fails, however it does.
struct Repeat<'a>(&'a str, u64);

// === impl Run ===

impl Run {
    fn drawn(seed: u64, ending: Ending) -> Self {
        let (mut draw, late) = (Draw::new(seed), seed.is_multiple_of(2));
        let moment = match ending {
            _ if late => draw.within(LATE),
            Ending::Panicked(_) => draw.within(EARLY_FOR_PANIC),
            // Most happens at the beginning.
            _ => {
                let limit = draw.within(EARLY);
                draw.within(limit)
            }
        };
        Self {
            may: if seed % 4 < 2 { Backends::All } else { Backends::NoCgroups },
            late,
            moment,
            then: draw.within(RESTORING),
        }
    }
}

// === impl Ending ===

impl Ending {
    /// Lets a sidecar live and end, and looks at what is left.
    fn come(self, scene: &Scene, run: Run, mutation: Option<Mutation>) -> Seen {
        let mutation = match self {
            Self::Panicked(stage) => Some(stage),
            _ => mutation,
        };
        let command = matches!(self, Self::CommandEnds | Self::CommandKilled)
            .then(|| Reader::prepare(scene.directory()));
        let mut sidecar = match &command {
            Some(reader) => scene.start("run", &reader.command(), run.may, mutation),
            None => {
                let pid = scene.protected().to_string();
                scene.start("attach", &["--pid", &pid], run.may, mutation)
            }
        };
        // What comes early for a command comes early in the command's life.
        let command = command.map(Reader::started);
        let mut newcomer = None;
        if run.late {
            scene.until_governed();
            if let Self::Panicked(stage) = self {
                newcomer = Some(governs_on(scene, &mut sidecar, stage));
            }
        }
        sleep(run.moment);
        let held = !scene.differences().is_empty();
        let (status, said_done) = self.strike(&mut sidecar, run.then, command);
        let left = scene.left_by(&sidecar);
        if let Some(newcomer) = newcomer {
            assert!(scene.is_as_started(newcomer.pids()[0]), "the newcomer is not as it was");
        }
        Seen { sidecar, status, said_done, held, left }
    }

    /// Ends it. On return whoever had to put everything back has done so, or says that it failed.
    fn strike(
        self,
        sidecar: &mut Outrigger,
        then: Duration,
        command: Option<(u32, File)>,
    ) -> (ExitStatus, bool) {
        match (self, command) {
            (Self::Asked(signal), _) => sidecar.signal(signal),
            (Self::Panicked(_), _) => sidecar.signal(libc::SIGTERM),
            // It reads until the last writer has closed.
            (Self::CommandEnds, command) => drop(command),
            (Self::CommandKilled, command) => kill(command.unwrap().0, libc::SIGKILL),
            (Self::Killed, _) => sidecar.signal(libc::SIGKILL),
            (Self::KilledWhileRestoring, _) => {
                sidecar.signal(libc::SIGTERM);
                sleep(then);
                sidecar.signal(libc::SIGKILL);
            }
            (Self::KilledAndKeeperAsked, _) => {
                let keeper = sidecar.keeper();
                sidecar.signal(libc::SIGKILL);
                keeper.into_iter().for_each(|keeper| kill(keeper, libc::SIGTERM));
            }
            (Self::KilledAfterKeeper, _) => {
                let first = sidecar.keeper();
                if let Some(first) = first {
                    kill(first, libc::SIGKILL);
                    until("there is another keeper", PATIENCE, || {
                        sidecar.keeper().is_some_and(|keeper| keeper != first)
                    });
                }
                sidecar.signal(libc::SIGKILL);
            }
            (Self::KilledBeforeKeeper, _) => {
                let command = sidecar.keeper_command();
                sidecar.keeper().into_iter().for_each(|keeper| kill(keeper, libc::SIGKILL));
                sidecar.signal(libc::SIGKILL);
                let status = sidecar.wait(PATIENCE);
                nobody_stays(sidecar);
                let keeps = |words: Vec<OsString>| {
                    let (reader, writer) = std::io::pipe().unwrap();
                    drop(reader);
                    let mut keeper = Command::new(&words[0]);
                    keeper.args(&words[1..]).stdout(writer).status().unwrap().success()
                };
                return (status, command.is_none_or(keeps));
            }
            (Self::KilledWithKeeper, _) => {
                sidecar.keeper().into_iter().for_each(|keeper| kill(keeper, libc::SIGKILL));
                sidecar.signal(libc::SIGKILL);
                let status = sidecar.wait(PATIENCE);
                return (status, sidecar.restore());
            }
        }
        let status = sidecar.wait(PATIENCE);
        // One that ended by itself has put everything back by now; one that was killed cannot.
        if status.signal() == Some(libc::SIGKILL) {
            nobody_stays(sidecar);
        }
        (status, true)
    }

    /// Whether a sidecar may end so.
    fn explains(self, run: Run, status: ExitStatus) -> bool {
        // Early on, nobody listens for signals yet.
        let asked = |signal| status.success() || !run.late && status.signal() == Some(signal);
        match self {
            Self::Asked(signal) => asked(signal),
            Self::Panicked(_) => asked(libc::SIGTERM),
            Self::CommandEnds => status.success(),
            Self::CommandKilled => status.code() == Some(128 + libc::SIGKILL),
            Self::KilledWhileRestoring => {
                asked(libc::SIGTERM) || status.signal() == Some(libc::SIGKILL)
            }
            _ => status.signal() == Some(libc::SIGKILL),
        }
    }
}

/// The steward replaces a stage that panicked, and governing goes on: a hog that comes later is
/// held back too.
fn governs_on(scene: &Scene, sidecar: &mut Outrigger, panic: Mutation) -> Hogs {
    let stage = panic.value().strip_prefix("panic-").unwrap();
    sidecar.wait_until("the stage was started anew", PATIENCE, |status| {
        let stages = status["stages"].as_array().into_iter().flatten();
        stages.into_iter().any(|s| s["name"] == stage && s["restarts"] == 1)
    });
    let newcomer = scene.another_hog();
    until("a hog that came later is held back", PATIENCE, || {
        !scene.is_as_started(newcomer.pids()[0])
    });
    newcomer
}

/// `cat` on a pipe: a command whose end is in our hands.
struct Reader(PathBuf);

impl Reader {
    fn prepare(directory: &Path) -> Self {
        let pipe = directory.join("pipe");
        if !pipe.exists() {
            assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        }
        Self(pipe)
    }

    fn command(&self) -> [&str; 3] {
        ["--", "cat", self.0.to_str().unwrap()]
    }

    /// Its number, and what keeps it alive.
    fn started(self) -> (u32, File) {
        let writer = until_some("the command reads", PATIENCE, || {
            // Fails while nobody reads.
            File::options().write(true).custom_flags(libc::O_NONBLOCK).open(&self.0).ok()
        });
        let pipe = self.0.as_os_str().as_encoded_bytes();
        let numbers = std::fs::read_dir("/proc").unwrap().flatten();
        let mut numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_cat = |pid: &u32| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            command.strip_prefix(b"cat\0").and_then(|rest| rest.strip_suffix(b"\0")) == Some(pipe)
        };
        (numbers.find(is_cat).unwrap(), writer)
    }
}

impl Drop for Repeat<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(what, seed) = self;
            eprintln!("{what}; again with OUTRIGGER_TEST_RUNS=1 OUTRIGGER_TEST_SEED={seed}");
        }
    }
}

fn kill(pid: u32, signal: libc::c_int) {
    // SAFETY: kill touches no memory. The process is the sidecar's child and was alive a moment
    // ago; numbers are not given out again that fast.
    unsafe { libc::kill(pid.cast_signed(), signal) };
}

fn nobody_stays(sidecar: &Outrigger) {
    until("sidecar and keeper are gone", PATIENCE, || sidecar.processes().is_empty());
}

/// The test: as often as asked, beside steady and beside forking hogs.
fn nothing_stays(ending: Ending) {
    if root() && cgroups() {
        tried(ending, Seeds::given(RUNS), None);
    }
}

fn tried(ending: Ending, seeds: Seeds, mutation: Option<Mutation>) {
    // Emulated CPUs are not fast enough to fork all the time and do anything else.
    let emulated = std::env::var_os("OUTRIGGER_TEST_HOST").is_some();
    for forking in [false, true].into_iter().take(if emulated { 1 } else { 2 }) {
        let (started, mut count, mut held) = (Instant::now(), 0, 0);
        let mut scene = Some(Scene::set(forking));
        for seed in seeds.all() {
            let run = Run::drawn(seed, ending);
            let what = format!("{ending:?}, {run:?}, forking hogs: {forking}, run {}", count + 1);
            let _repeat = Repeat(&what, seed);
            let place = scene.as_ref().unwrap();
            let seen = ending.come(place, run, mutation);
            if !seen.left.is_empty() {
                scene.take().unwrap().clear(&seen.left);
                panic!("not as it was: {:#?}", seen.left);
            }
            nobody_stays(&seen.sidecar);
            assert!(ending.explains(run, seen.status), "{}", seen.status);
            assert!(seen.said_done, "it says that not everything could be put back");
            count += 1;
            held += u32::from(seen.held);
        }
        eprintln!(
            "{ending:?}, forking hogs: {forking}: {count} runs in {:.0} s ({seeds:?}); something \
             was changed when the end came in {held}",
            started.elapsed().as_secs_f64()
        );
    }
}

#[test]
fn asked_by_sigterm() {
    nothing_stays(Ending::Asked(libc::SIGTERM));
}

#[test]
fn asked_by_sigint() {
    nothing_stays(Ending::Asked(libc::SIGINT));
}

#[test]
fn killed() {
    nothing_stays(Ending::Killed);
}

#[test]
fn killed_while_restoring() {
    nothing_stays(Ending::KilledWhileRestoring);
}

#[test]
fn killed_and_keeper_asked() {
    nothing_stays(Ending::KilledAndKeeperAsked);
}

#[test]
fn killed_after_keeper() {
    nothing_stays(Ending::KilledAfterKeeper);
}

#[test]
fn killed_before_keeper() {
    nothing_stays(Ending::KilledBeforeKeeper);
}

#[test]
fn killed_with_keeper() {
    nothing_stays(Ending::KilledWithKeeper);
}

#[test]
fn panic_in_sensor() {
    nothing_stays(Ending::Panicked(Mutation::PanicSensor));
}

#[test]
fn panic_in_monitor() {
    nothing_stays(Ending::Panicked(Mutation::PanicMonitor));
}

#[test]
fn panic_in_classifier() {
    nothing_stays(Ending::Panicked(Mutation::PanicClassifier));
}

#[test]
fn panic_in_tier() {
    nothing_stays(Ending::Panicked(Mutation::PanicTier));
}

#[test]
fn panic_in_enforcer() {
    nothing_stays(Ending::Panicked(Mutation::PanicEnforcer));
}

#[test]
fn command_ends() {
    nothing_stays(Ending::CommandEnds);
}

#[test]
fn command_killed() {
    nothing_stays(Ending::CommandKilled);
}

#[test]
fn an_undo_that_is_skipped_is_noticed() {
    if !(root() && cgroups()) {
        return;
    }
    for ending in [Ending::Asked(libc::SIGTERM), Ending::Killed, Ending::CommandEnds] {
        // An even seed: late, when there is something to undo.
        Mutation::SkipUndo.turns_red(|mutation| tried(ending, Seeds::only(0), mutation));
    }
}
