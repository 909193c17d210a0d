//! What Outrigger may change about a thread, as `/proc` and two system calls tell it.

use std::collections::BTreeMap;
use std::fs;

use super::Difference;

/// A thread: process, thread, and its start in clock ticks since boot, since numbers are reused.
type Key = (u32, u32, u64);

/// How the names of properties begin that say in which cgroup a thread is.
const GROUP: &str = "cgroup: ";

/// Threads and their states.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    threads: BTreeMap<Key, TaskState>,
}

/// The state of one thread: property names and their values as text. A property that cannot be
/// read (kernel without it, another user's process) is absent, not different.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskState {
    parent: u32,
    properties: BTreeMap<String, String>,
}

// === impl Tasks ===

impl Tasks {
    /// Reads every thread of `pids` and of their descendants.
    pub fn read(pids: &[u32]) -> Self {
        let mut threads = BTreeMap::new();
        for pid in family(pids) {
            for tid in numbers_in(&format!("/proc/{pid}/task")) {
                if let Some((start, state)) = TaskState::read(pid, tid) {
                    threads.insert((pid, tid, start), state);
                }
            }
        }
        Self { threads }
    }

    /// How many threads there are.
    pub fn len(&self) -> usize {
        self.threads.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    /// The cgroups they are in, by the names in `/proc/PID/cgroup`.
    pub(super) fn groups(&self) -> impl Iterator<Item = &str> {
        let properties = self.threads.values().flat_map(|state| &state.properties);
        properties.filter(|(name, _)| name.starts_with(GROUP)).map(|(_, path)| path.as_str())
    }

    /// The state of the main thread of `pid`.
    pub fn process(&self, pid: u32) -> Option<&TaskState> {
        self.thread(pid, pid)
    }

    /// The state of one thread.
    pub fn thread(&self, pid: u32, tid: u32) -> Option<&TaskState> {
        self.threads.iter().find(|((p, t, _), _)| (*p, *t) == (pid, tid)).map(|(_, state)| state)
    }

    pub(super) fn differences(&self, later: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        for (key, now) in &later.threads {
            let Some(then) = self.threads.get(key).or_else(|| self.ancestor(later, key)) else {
                continue;
            };
            let (pid, tid, _) = key;
            for (property, after) in &now.properties {
                if let Some(before) = then.properties.get(property)
                    && before != after
                {
                    found.push(Difference {
                        subject: format!("process {pid} thread {tid}"),
                        property: property.clone(),
                        before: before.clone(),
                        after: after.clone(),
                    });
                }
            }
        }
        found
    }

    /// What a thread born after this snapshot was inherited from: its process's main thread, or
    /// the nearest ancestor of that which was there.
    fn ancestor<'a>(&'a self, later: &Self, key: &Key) -> Option<&'a TaskState> {
        let mut pid = key.0;
        // A chain longer than this is a loop made of reused numbers.
        for _ in 0..64 {
            if let Some(state) = self.process(pid) {
                return Some(state);
            }
            pid = later.process(pid)?.parent;
        }
        None
    }
}

// === impl TaskState ===

impl TaskState {
    /// A property by its name in a [`Difference`]; `None` if it could not be read.
    pub fn get(&self, property: &str) -> Option<&str> {
        self.properties.get(property).map(String::as_str)
    }

    /// Start time and state of a thread; `None` if it is gone or exits.
    fn read(pid: u32, tid: u32) -> Option<(u64, Self)> {
        let dir = format!("/proc/{pid}/task/{tid}");
        let stat = fs::read_to_string(format!("{dir}/stat")).ok()?;
        // Field 3 is the first after the name, which is in parentheses and may contain anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        let parent = field(4)?.parse().ok()?;
        let start = field(22)?.parse().ok()?;

        let mut properties = BTreeMap::new();
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                properties.insert(name.to_owned(), value.trim().to_owned());
            }
        };
        put("nice", field(19).map(str::to_owned));
        put("real-time priority", field(40).map(str::to_owned));
        put("policy", policy(tid));
        put("I/O priority", io_priority(tid));
        put("affinity", affinity(&dir));
        // These are properties of the process, repeated for each thread.
        put("oom_score_adj", fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).ok());
        put("autogroup", autogroup(pid));
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
        for line in limits.lines().skip(1) {
            // Columns of fixed width: the name, then soft and hard limit and the unit.
            if let Some((name, values)) = line.split_at_checked(26) {
                let values: Vec<&str> = values.split_ascii_whitespace().take(2).collect();
                put(&format!("limit: {}", name.trim()), Some(values.join(" ")));
            }
        }
        let cgroups = fs::read_to_string(format!("{dir}/cgroup")).unwrap_or_default();
        for line in cgroups.lines() {
            // hierarchy number : controllers : path
            let mut parts = line.splitn(3, ':').skip(1);
            let hierarchy = match parts.next() {
                Some("") => "unified",
                Some(controllers) => controllers,
                None => continue,
            };
            put(&format!("{GROUP}{hierarchy}"), parts.next().map(str::to_owned));
        }
        // Of a thread that exits v1 says that it is in the root. It may have begun to while we
        // read, so the question comes last.
        is_alive(&dir).then_some((start, Self { parent, properties }))
    }
}

/// `pids` and all processes below them.
fn family(pids: &[u32]) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = numbers_in("/proc")
        .filter_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let parent = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut family = pids.to_vec();
    let mut next = 0;
    while let Some(&pid) = family.get(next) {
        for &(child, _) in parents.iter().filter(|(_, parent)| *parent == pid) {
            if !family.contains(&child) {
                family.push(child);
            }
        }
        next += 1;
    }
    family
}

fn numbers_in(dir: &str) -> impl Iterator<Item = u32> + use<> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether the thread of `dir` has not begun to exit: field 9 of its `stat`, `PF_EXITING`.
fn is_alive(dir: &str) -> bool {
    const PF_EXITING: u64 = 4;
    let stat = fs::read_to_string(format!("{dir}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let flags = fields.split_ascii_whitespace().nth(6).and_then(|flags| flags.parse::<u64>().ok());
    flags.is_some_and(|flags| flags & PF_EXITING == 0)
}

/// Scheduling policy and the reset-on-fork flag, as the number `sched_getscheduler(2)` answers.
fn policy(tid: u32) -> Option<String> {
    // SAFETY: the call touches no memory.
    let policy = unsafe { libc::sched_getscheduler(tid.cast_signed()) };
    (policy >= 0).then(|| policy.to_string())
}

/// I/O class and level, as the number `ioprio_get(2)` answers.
fn io_priority(tid: u32) -> Option<String> {
    const WHO_PROCESS: libc::c_int = 1;
    // SAFETY: the call touches no memory; there is no wrapper for it in the C library.
    let priority = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, tid) };
    (priority >= 0).then(|| priority.to_string())
}

/// `Cpus_allowed_list` of `/proc/PID/task/TID/status`.
fn affinity(dir: &str) -> Option<String> {
    let status = fs::read_to_string(format!("{dir}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).map(str::to_owned)
}

/// The nice value of the autogroup. Not which autogroup it is: that changes with the session, by
/// the process's own doing.
fn autogroup(pid: u32) -> Option<String> {
    let line = fs::read_to_string(format!("/proc/{pid}/autogroup")).ok()?;
    line.split_once(" nice ").map(|(_, nice)| format!("nice {}", nice.trim()))
}
