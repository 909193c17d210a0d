//! What the kernel says, read without the crate under test: to be compared before and after.

use std::collections::BTreeMap;
use std::fs;

pub type Snapshot = BTreeMap<String, String>;

/// Files of a cgroup that anything here may change.
const FILES: [&str; 6] = [
    "cpu.shares",
    "cpu.idle",
    "cpu.cfs_quota_us",
    "cpu.cfs_period_us",
    "cpu.cfs_burst_us",
    "cgroup.freeze",
];

/// Every thread of the processes, and the files of the cgroups.
pub fn snapshot(pids: &[u32], cgroups: &[&str]) -> Snapshot {
    let mut snapshot = Snapshot::new();
    for pid in pids {
        snapshot.insert(format!("{pid} oom"), text(&format!("/proc/{pid}/oom_score_adj")));
        snapshot.insert(format!("{pid} limits"), text(&format!("/proc/{pid}/limits")));
        snapshot.insert(format!("{pid} autogroup"), text(&format!("/proc/{pid}/autogroup")));
        for tid in threads(*pid) {
            for (name, value) in thread(*pid, tid) {
                snapshot.insert(format!("{pid}/{tid} {name}"), value);
            }
        }
    }
    for cgroup in cgroups {
        for file in FILES {
            let path = format!("{cgroup}/{file}");
            if let Ok(value) = fs::read_to_string(&path) {
                snapshot.insert(path, value);
            }
        }
    }
    snapshot
}

pub fn threads(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Nice, policy, affinity, I/O priority and cgroups of one thread.
pub fn thread(pid: u32, tid: u32) -> Vec<(&'static str, String)> {
    let stat = text(&format!("/proc/{pid}/task/{tid}/stat"));
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let status = text(&format!("/proc/{pid}/task/{tid}/status"));
    let line = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    // SAFETY: take two and one integers.
    let (ioprio, policy) = unsafe {
        (
            libc::syscall(libc::SYS_ioprio_get, 1, tid),
            libc::syscall(libc::SYS_sched_getscheduler, tid),
        )
    };
    vec![
        ("nice", fields.get(16).copied().unwrap_or_default().to_owned()),
        ("priority", fields.get(37).copied().unwrap_or_default().to_owned()),
        ("policy", policy.to_string()),
        ("affinity", line("Cpus_allowed_list:")),
        ("ioprio", ioprio.to_string()),
        ("cgroups", text(&format!("/proc/{pid}/task/{tid}/cgroup"))),
    ]
}

/// One of [`thread`]'s values of a process's leader.
pub fn of(pid: u32, name: &str) -> String {
    thread(pid, pid).into_iter().find(|(found, _)| *found == name).unwrap().1
}

/// The leader's path in the v1 cpu hierarchy.
pub fn cpu_cgroup(pid: u32, tid: u32) -> String {
    let text = text(&format!("/proc/{pid}/task/{tid}/cgroup"));
    let of_cpu = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next()?;
        controllers
            .split(',')
            .any(|name| name == "cpu")
            .then(|| fields.next().map(str::to_owned))?
    };
    text.lines().find_map(of_cpu).unwrap_or_default()
}

pub fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
