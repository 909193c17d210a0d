//! Real child processes, killed and reaped when dropped.

use super::{await_that, look};
use outrigger_undo::{Task, knob};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const ROLE: &str = "OUTRIGGER_TEST_ROLE";
/// Name of threads that a test asked for.
const COUNTED: &str = "counted";
const ARGUMENTS: &str = "OUTRIGGER_TEST_ARGUMENTS";
/// Name of [`role`] as the test program knows it.
const ROLE_TEST: &str = "support::child::role";

/// A shell script that starts short-lived children over and over, which start children.
pub const FORKING: &str =
    "while :; do (sleep 0.02 & (sleep 0.03 & sleep 0.01) & sleep 0.01) & sleep 0.004; done";

/// Sends a signal to a process of the test's.
pub fn signal(pid: u32, signal: libc::c_int) {
    // SAFETY: takes two integers; the process is ours.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

/// Where a child waits until it is let through, so that it is known what comes first.
pub struct Gate(tempfile::TempDir);

impl Gate {
    pub fn closed() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    /// The file that is there once it is open.
    pub fn path(&self) -> String {
        self.0.path().join("open").to_str().unwrap().to_owned()
    }
    /// What a shell does that waits at it.
    pub fn pass(&self) -> String {
        format!("while ! [ -e {} ]; do sleep 0.01; done", self.path())
    }
    pub fn open(&self) {
        std::fs::write(self.path(), "").unwrap();
    }
}

pub struct Process(pub Child);

impl Process {
    fn spawn(command: &mut Command) -> Self {
        // A test that is killed itself leaves nothing behind.
        // SAFETY: prctl(2) is async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }
    /// One thread, asleep.
    pub fn asleep() -> Self {
        Self::spawn(Command::new("sleep").arg("600"))
    }
    /// The same in a session of its own.
    pub fn asleep_in_own_session() -> Self {
        let mut command = Command::new("sleep");
        // SAFETY: setsid(2) is async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                Ok(())
            });
        }
        Self::spawn(command.arg("600"))
    }
    pub fn shell(script: &str) -> Self {
        Self::spawn(Command::new("sh").arg("-c").arg(script).process_group(0))
    }
    /// A process with `count` threads besides those of the test harness.
    pub fn with_threads(count: usize) -> Self {
        let process = Self::in_role("threads", &[&count.to_string()]);
        await_that("all threads run", || {
            let counted = |tid: &u32| {
                let name = look::text(&format!("/proc/{}/task/{tid}/comm", process.pid()));
                name.trim() == COUNTED
            };
            look::threads(process.pid()).iter().filter(|tid| counted(tid)).count() == count
        });
        process
    }
    /// A process that plays a part of [`role`].
    pub fn in_role(role: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", ROLE_TEST, "--nocapture"]);
        command.env(ROLE, role).env(ARGUMENTS, arguments.join(" "));
        Self::spawn(command.process_group(0))
    }
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
    pub fn task(&self) -> Task {
        knob::identify(self.pid()).unwrap()
    }
    /// The leader as a thread.
    pub fn thread(&self) -> Task {
        Task { tid: self.pid(), ..self.task() }
    }
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
    /// With everything in its process group; only for those that have one of their own.
    pub fn kill_group(&mut self) {
        // SAFETY: takes two integers; the child is not reaped, so the number is its own.
        unsafe { libc::kill(-(self.pid() as libc::pid_t), libc::SIGKILL) };
        self.kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program that is called like `outrigger keeper ...` and runs this test program as a keeper.
pub fn keeper_program(dir: &Path) -> PathBuf {
    let path = dir.join("outrigger");
    let test = std::env::current_exe().unwrap();
    let script = format!(
        "#!/bin/sh\nexport {ROLE}=keeper {ARGUMENTS}=\"$*\"\nexec {} --exact {ROLE_TEST} --nocapture\n",
        test.display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Not a test: what this program does when another test starts it again.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let arguments = std::env::var(ARGUMENTS).unwrap();
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    match role.as_str() {
        "threads" => {
            for _ in 0..arguments[0].parse().unwrap() {
                std::thread::Builder::new()
                    .name(COUNTED.to_owned())
                    .spawn(|| sleep_for_good())
                    .unwrap();
            }
            sleep_for_good();
        }
        "late-threads" => {
            await_that("told to", || Path::new(arguments[0]).exists());
            for _ in 0..3 {
                std::thread::spawn(sleep_for_good);
            }
            sleep_for_good();
        }
        "keeper" => {
            // The test harness may have begun a line.
            println!();
            let at = |name: &str| arguments.iter().position(|word| *word == name).unwrap() + 1;
            let dir = PathBuf::from(arguments[at("--state-dir")]);
            let owner = arguments[at("--owner")].parse().unwrap();
            let code = outrigger_undo::keeper::main(&dir, owner);
            std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
        }
        "sidecar" => super::sidecar::main(&arguments),
        "restless" => super::sidecar::restless(&arguments),
        other => panic!("no such role: {other}"),
    }
}

pub fn sleep_for_good() -> ! {
    loop {
        std::thread::park();
    }
}
