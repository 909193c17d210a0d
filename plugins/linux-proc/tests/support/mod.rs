//! Children that do what a test wants, and a backend that is swept until something is seen.
#![allow(dead_code, clippy::unwrap_used)]

pub mod pen;

use outrigger_linux_proc::LinuxProc;
use outrigger_sdk::{Backend, Host, Observation, ObserveRequest, TaskId, TaskReading};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take to be seen. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Pace of sweeps; longer than the kernel's tick.
const PACE: Duration = Duration::from_millis(25);

/// Names the part this very test program plays when a test starts it again as its child.
const ROLE: &str = "OUTRIGGER_TEST_ROLE";

/// The role, if this process is such a child.
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// A child, killed and reaped at the end.
pub struct Victim {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Victim {
    /// This test program again, playing a role in the test called `child`.
    pub fn role(role: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture", "--test-threads=1"]).env(ROLE, role);
        let mut victim = Self::start(command);
        victim.hear("ready");
        victim
    }

    /// A shell that runs a script.
    pub fn shell(script: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Self::start(command)
    }

    /// A shell in a session of its own.
    pub fn session(script: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        // SAFETY: between fork and exec, and setsid is safe there.
        unsafe {
            command.pre_exec(|| match libc::setsid() {
                -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            });
        }
        Self::start(command)
    }

    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn id(&self) -> TaskId {
        TaskId { pid: self.pid(), tid: 0, start: stat_field(self.pid(), 22) }
    }

    pub fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// Waits for a line that ends so.
    pub fn hear(&mut self, line: &str) {
        let mut heard = String::new();
        while !heard.trim_end().ends_with(line) {
            heard.clear();
            assert_ne!(self.output.read_line(&mut heard).unwrap(), 0, "it ended before {line:?}");
        }
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    pub fn reap(&mut self) {
        self.child.wait().unwrap();
    }

    pub fn threads(&self) -> Vec<u32> {
        let entries = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A numbered field of `/proc/PID/stat`, read independently of the code under test.
pub fn stat_field(pid: u32, number: usize) -> u64 {
    field(&format!("/proc/{pid}/stat"), number).unwrap() as u64
}

/// A numbered field of a thread's `stat`, if it still lives.
pub fn thread_field(pid: u32, tid: u32, number: usize) -> Option<i64> {
    field(&format!("/proc/{pid}/task/{tid}/stat"), number)
}

fn field(path: &str, number: usize) -> Option<i64> {
    let text = std::fs::read_to_string(path).ok()?;
    let rest = text.rsplit_once(") ").unwrap().1;
    Some(rest.split_whitespace().nth(number - 3).unwrap().parse().unwrap())
}

pub fn backend(config: &str) -> LinuxProc {
    LinuxProc::create(Host::silent(), config).unwrap()
}

/// Both ways of finding processes, if they work here.
pub fn ways() -> Vec<&'static str> {
    let events = r#"{"discovery":"events"}"#;
    let mut ways = vec![r#"{"discovery":"scan"}"#];
    match LinuxProc::create(Host::silent(), events) {
        Ok(_) => ways.push(events),
        Err(error) => outrigger_skip::skip(&format!("with events: {error}")),
    }
    ways
}

pub fn sweep(backend: &mut LinuxProc, focus: &[TaskId]) -> Observation {
    let request = ObserveRequest { focus: focus.to_vec().into(), ..ObserveRequest::default() };
    let mut seen = Observation::default();
    backend.observe(&request, &mut seen).unwrap();
    seen
}

/// Sweeps until something is seen.
pub fn sweep_until<T>(
    backend: &mut LinuxProc,
    focus: &[TaskId],
    what: &str,
    mut seen: impl FnMut(&Observation) -> Option<T>,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = seen(&sweep(backend, focus)) {
            return answer;
        }
        assert!(Instant::now() < deadline, "never seen: {what}");
        std::thread::sleep(PACE);
    }
}

/// The reading of one task.
pub fn reading(seen: &Observation, task: TaskId) -> Option<TaskReading> {
    seen.tasks.iter().find(|reading| reading.task == task).copied()
}

/// Restricts the calling thread to one CPU.
pub fn pin(cpu: usize) {
    // SAFETY: a set of bits for which zeros are valid; the call reads it and no more.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        assert_eq!(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set), 0);
    }
}

/// The lowest CPU this process may use.
pub fn some_cpu() -> usize {
    // SAFETY: a set of bits for which zeros are valid, and the call fills it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        assert_eq!(libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set), 0);
        (0..libc::CPU_SETSIZE as usize).find(|&cpu| libc::CPU_ISSET(cpu, &set)).unwrap()
    }
}

/// Sets the calling thread's scheduling policy; whether the OS agreed.
pub fn policy(policy: libc::c_int, priority: libc::c_int) -> bool {
    let parameter = libc::sched_param { sched_priority: priority };
    // SAFETY: `parameter` lives until after the call.
    unsafe { libc::sched_setscheduler(0, policy, &parameter) == 0 }
}

/// Uses the CPU for so long.
pub fn burn(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}
