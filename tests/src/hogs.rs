//! CPU hogs in the arrangements that really occur.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::until;

/// Takes a CPU for good.
const STEADY: &str = "while :; do :; done";
/// Takes a CPU for good, each few milliseconds with another process.
const FORKING: &str =
    "while :; do (i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done) & wait $!; done";

/// What to start. By default one hog, in the session and the cgroups of the test.
#[derive(Clone, Debug)]
pub struct Plan {
    name: String,
    count: usize,
    own_sessions: bool,
    group: Option<PathBuf>,
    forking: bool,
}

/// Running hogs; killed and reaped when dropped, with everything they forked.
#[derive(Debug)]
pub struct Hogs {
    children: Vec<Child>,
    /// Processes that work for a child and live as long as it.
    workers: Vec<u32>,
    // Holds the link that gives them their name; it can go only after they are started.
    _directory: TempDir,
}

// === impl Plan ===

impl Plan {
    /// How many.
    #[must_use]
    pub fn count(mut self, count: usize) -> Self {
        self.count = count;
        self
    }

    /// Each in a session, and so an autogroup, of its own.
    #[must_use]
    pub fn own_sessions(mut self) -> Self {
        self.own_sessions = true;
        self
    }

    /// Inside the cgroup directory `group`, from their first instruction on.
    #[must_use]
    pub fn in_group(mut self, group: &Path) -> Self {
        self.group = Some(group.to_owned());
        self
    }

    /// Forking all the time.
    #[must_use]
    pub fn forking(mut self) -> Self {
        self.forking = true;
        self
    }

    /// Starts them; they are busy on return.
    ///
    /// # Panics
    /// When one cannot be started.
    pub fn start(self) -> Hogs {
        let directory = TempDir::new().expect("the temporary directory can be written");
        let link = directory.path().join(&self.name);
        // The kernel names a process after the file it was started from.
        std::os::unix::fs::symlink("/bin/sh", &link).expect("the directory is new");
        let work = if self.forking { FORKING } else { STEADY };
        let script = match &self.group {
            Some(_) => format!("echo $$ > \"$1\"/cgroup.procs && {work}"),
            None => work.to_owned(),
        };
        // From the first one on: the guard must be there if a later one fails.
        let mut hogs = Hogs { children: Vec::new(), workers: Vec::new(), _directory: directory };
        for _ in 0..self.count {
            let mut command = Command::new(&link);
            command.args(["-c", &script, "hog"]).args(&self.group);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            let own_session = self.own_sessions;
            let prepare = move || {
                // A group of its own either way, so that it can be killed with its children.
                // SAFETY: these calls are async-signal-safe and touch no memory.
                let prepared = unsafe {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0
                        && (if own_session { libc::setsid() } else { libc::setpgid(0, 0) }) >= 0
                };
                if prepared { Ok(()) } else { Err(io::Error::last_os_error()) }
            };
            // SAFETY: the closure runs between fork and exec: it allocates nothing and takes no
            // lock.
            unsafe { command.pre_exec(prepare) };
            hogs.children.push(command.spawn().expect("a shell can be started"));
        }
        for pid in hogs.pids() {
            until("the hog is busy", Duration::from_secs(30), || !cpu_time(pid).is_zero());
            if let Some(group) = &self.group {
                let inside = || fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
                until("the hog is in its group", Duration::from_secs(30), || {
                    inside().lines().any(|line| line == pid.to_string())
                });
            }
        }
        hogs
    }
}

// === impl Hogs ===

impl Hogs {
    /// Hogs that the kernel calls `name` (at most 15 bytes).
    ///
    /// # Panics
    /// When the name is too long to be kept by the kernel.
    pub fn plan(name: &str) -> Plan {
        assert!(name.len() <= 15, "the kernel would cut {name}");
        Plan { name: name.to_owned(), count: 1, own_sessions: false, group: None, forking: false }
    }

    /// `stress-ng --cpu COUNT`, in the session and the cgroups of the test: hogs that are not ours.
    ///
    /// # Panics
    /// When it cannot be started; ask [`crate::installed`] first.
    pub fn stress_ng(count: usize) -> Self {
        let mut command = Command::new("stress-ng");
        command.args(["--quiet", "--timeout", "0", "--cpu", &count.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let prepare = || {
            // SAFETY: these calls are async-signal-safe and touch no memory.
            let prepared = unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0 && libc::setpgid(0, 0) == 0
            };
            if prepared { Ok(()) } else { Err(io::Error::last_os_error()) }
        };
        // SAFETY: the closure runs between fork and exec: it allocates nothing and takes no lock.
        unsafe { command.pre_exec(prepare) };
        let directory = TempDir::new().expect("the temporary directory can be written");
        command.current_dir(directory.path());
        let child = command.spawn().expect("stress-ng can be started");
        let parent = child.id();
        let mut hogs = Self { children: vec![child], workers: Vec::new(), _directory: directory };
        until("every worker is busy", Duration::from_secs(30), || {
            hogs.workers = children(parent);
            let busy = hogs.workers.iter().filter(|&&worker| !cpu_time(worker).is_zero());
            busy.count() == count
        });
        hogs
    }

    /// Their process numbers; of forking ones, the ancestors'.
    pub fn pids(&self) -> Vec<u32> {
        self.children.iter().map(Child::id).collect()
    }

    /// CPU time of all of them so far, with that of children that have ended.
    pub fn cpu_time(&self) -> Duration {
        self.pids().into_iter().chain(self.workers.iter().copied()).map(cpu_time).sum()
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        for child in &mut self.children {
            let group = child.id().cast_signed();
            // SAFETY: kill touches no memory. The group is led by our child, which is not reaped
            // yet, so the number cannot be another's.
            unsafe { libc::kill(-group, libc::SIGKILL) };
            // Fails only if it was reaped already.
            let _ = child.wait();
        }
    }
}

/// Living children of the first thread of `pid`: `/proc/PID/task/PID/children`.
fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    children.unwrap_or_default().split_whitespace().flat_map(str::parse).collect()
}

/// User and system time of a process and its ended children: fields 14 to 17 of
/// `/proc/PID/stat`. Zero if it is gone.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: u64 = fields.split(' ').skip(12).take(4).flat_map(str::parse::<u64>).sum();
    // SAFETY: sysconf touches no memory of ours.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.cast_unsigned().max(1);
    Duration::from_nanos(ticks * 1_000_000_000 / per_second)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Group, cgroups, root};

    fn stat(pid: u32, field: usize) -> String {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.split(' ').nth(field - 3).unwrap().to_owned()
    }

    #[test]
    fn hogs_have_their_name_and_share_our_session_or_not() {
        let own_session = stat(std::process::id(), 6);

        let shared = Hogs::plan("testhog").count(2).start();
        let apart = Hogs::plan("testhog").count(2).own_sessions().start();

        for pid in shared.pids() {
            assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(), "testhog\n");
            assert_eq!(stat(pid, 6), own_session);
        }
        for pid in apart.pids() {
            assert_eq!(stat(pid, 6), pid.to_string());
        }
    }

    #[test]
    fn hogs_work_and_are_gone_afterwards() {
        let hogs = Hogs::plan("testhog").start();
        let pid = hogs.pids()[0];
        let before = hogs.cpu_time();
        until("it works", Duration::from_secs(30), || hogs.cpu_time() > before);

        drop(hogs);

        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn forking_hogs_have_ever_new_children_of_their_name() {
        let hogs = Hogs::plan("testhog").forking().start();
        let pid = hogs.pids()[0];
        let child = || {
            let path = format!("/proc/{pid}/task/{pid}/children");
            fs::read_to_string(path).unwrap().split(' ').next().and_then(|n| n.parse::<u32>().ok())
        };
        let first = crate::until_some("a child", Duration::from_secs(30), child);

        until("another child", Duration::from_secs(30), || child().is_some_and(|now| now != first));
    }

    #[test]
    fn workers_of_stress_ng_count_and_are_gone_afterwards() {
        if !crate::installed("stress-ng") {
            return;
        }
        let hogs = Hogs::stress_ng(2);
        let parents = cpu_time(hogs.pids()[0]);
        until("they work", Duration::from_secs(30), || {
            hogs.cpu_time() > parents + Duration::from_millis(100)
        });
        let workers = hogs.workers.clone();

        drop(hogs);

        assert_eq!(workers.len(), 2);
        until("they are gone", Duration::from_secs(30), || {
            workers.iter().all(|worker| !Path::new(&format!("/proc/{worker}")).exists())
        });
    }

    #[test]
    fn hogs_start_inside_a_group() {
        if !(root() && cgroups()) {
            return;
        }
        let group = Group::create("hogs");

        let hogs = Hogs::plan("testhog").count(2).in_group(group.path()).start();

        let inside = group.read("cgroup.procs");
        assert!(hogs.pids().iter().all(|pid| inside.contains(&pid.to_string())), "{inside}");
    }
}
