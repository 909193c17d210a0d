//! Who a number belongs to: pid and start time, since numbers are reused.
//!
//! Deliberately no cache: an identity that was checked a moment ago is worth nothing.

use super::KnobError;
use crate::Task;
use std::fs;
use std::io;

/// `PF_KTHREAD` of `include/linux/sched.h`.
const PF_KTHREAD: u64 = 0x0020_0000;

/// What `/proc/PID/stat` says about one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// State letter: `R`, `S`, `D`, `Z` ...
    pub state: u8,
    /// Parent process.
    pub ppid: u32,
    /// Process group.
    pub group: u32,
    /// Session.
    pub session: u32,
    /// A thread of the kernel.
    pub kernel: bool,
    /// Threads of the process.
    pub threads: u64,
    /// Start, clock ticks since boot.
    pub start: u64,
}

impl Stat {
    /// Parses the content of a `stat` file (`proc_pid_stat(5)`). The name in parentheses may
    /// itself hold anything, so fields are counted from the last parenthesis.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let rest = text.get(text.rfind(')')? + 1..)?;
        // fields[0] is field 3 of the manual.
        let fields: Vec<&str> = rest.split_ascii_whitespace().take(20).collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            state: *fields.first()?.as_bytes().first()?,
            ppid: u32::try_from(number(4)?).ok()?,
            group: fields.get(2)?.parse::<i64>().ok()?.try_into().unwrap_or(0),
            session: fields.get(3)?.parse::<i64>().ok()?.try_into().unwrap_or(0),
            kernel: number(9)? & PF_KTHREAD != 0,
            threads: number(20)?,
            start: number(22)?,
        })
    }

    /// Ended and only waiting to be reaped. A leader that ended before its threads is not dead
    /// as a process.
    fn is_dead(&self, whole_process: bool) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x') && !(whole_process && self.threads > 1)
    }
}

/// Reads the `stat` of a task; `tid` 0 is the process. `None`: gone, or ended and not reaped.
pub fn stat(pid: u32, tid: u32) -> Option<Stat> {
    let path = match tid {
        0 => format!("/proc/{pid}/stat"),
        tid => format!("/proc/{pid}/task/{tid}/stat"),
    };
    let stat = Stat::parse(&String::from_utf8_lossy(&fs::read(path).ok()?))?;
    (!stat.is_dead(tid == 0)).then_some(stat)
}

/// Start time in clock ticks since boot of a living task; `tid` 0 is the process.
pub fn start_time(pid: u32, tid: u32) -> Option<u64> {
    stat(pid, tid).map(|stat| stat.start)
}

/// The living process that has this number now.
pub fn identify(pid: u32) -> Option<Task> {
    start_time(pid, 0).map(|start| Task { pid, tid: 0, start })
}

/// Whether this very task is still alive.
pub fn is_alive(task: Task) -> bool {
    start_time(task.pid, task.tid) == Some(task.start)
}

/// The living threads of a process, the leader among them, ascending. Threads born while it is
/// being read may be missing: repeat until nothing new appears.
///
/// # Errors
/// The process is gone or not visible.
pub fn threads(pid: u32) -> io::Result<Vec<Task>> {
    let mut tasks = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let Some(tid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(start) = start_time(pid, tid) {
            tasks.push(Task { pid, tid, start });
        }
    }
    tasks.sort_unstable();
    Ok(tasks)
}

/// The task, if it is still the one that was meant.
pub(crate) fn check(task: Task) -> Result<Stat, KnobError> {
    let found = stat(task.pid, task.tid).ok_or_else(|| KnobError::gone(task))?;
    if found.start != task.start {
        return Err(KnobError::gone(format_args!("{task} that started at {}", task.start)));
    }
    Ok(found)
}

/// As [`check`], and one that may be changed at all.
pub(crate) fn check_changeable(task: Task) -> Result<Stat, KnobError> {
    if task.pid <= 1 {
        return Err(KnobError::refused("process 1 is never changed"));
    }
    let found = check(task)?;
    if found.kernel {
        return Err(KnobError::refused(format!("{task} is a kernel thread and is never changed")));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Stat, identify, is_alive, threads};

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_fields() {
        let text = "7 (a) R 9 (b)) S 3 5 6 34816 7 4194560 1 0 0 0 1 2 0 0 20 -5 4 0 99 1 2";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.state, stat.ppid, stat.group, stat.session), (b'S', 3, 5, 6));
        assert_eq!((stat.threads, stat.start, stat.kernel), (4, 99, false));
        assert_eq!(Stat::parse("7 (a) S 3"), None);
    }

    #[test]
    fn the_own_process_has_itself_among_its_threads() {
        let own = identify(std::process::id()).unwrap();
        assert!(is_alive(own));
        assert!(threads(own.pid).unwrap().iter().any(|thread| thread.tid == own.pid));
        assert!(!is_alive(crate::Task { start: own.start + 1, ..own }));
    }
}
