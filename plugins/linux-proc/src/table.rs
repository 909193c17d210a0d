//! The processes known, by number.

use outrigger_sdk::TaskId;
use std::collections::BTreeMap;

/// How a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Known by number and start.
    Live,
    /// Ended and told as gone; its parent has not reaped it.
    Ended,
    /// Exists, but nothing of it can be read (`hidepid`).
    Hidden,
}

/// A process. Times are the host's monotonic ns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub task: TaskId,
    pub standing: Standing,
    /// A thread of the kernel.
    pub kernel: bool,
    /// The leader has ended while other threads live.
    pub leader_dead: bool,
    /// `io` is not ours to see; forgotten at the next exec.
    pub io_denied: bool,
    /// Something said that its names have changed.
    pub renamed: bool,
    /// Its clock has moved since the last visit.
    pub owed: bool,
    /// Its CPU clock.
    pub cpu_ns: u64,
    pub born_ns: u64,
    pub visited_ns: u64,
    /// Of name, parent, session, program and contexts.
    pub fingerprint: u64,
    /// Of its threads' names.
    pub threads_named: u64,
    /// Run-queue delay when it was last in focus.
    pub delay_ns: u64,
}

/// How often the dearer files of a process that uses CPU are read, ns.
const ACTIVE_NS: u64 = 1_000_000_000;

impl Entry {
    pub(crate) fn new(task: TaskId, now_ns: u64) -> Self {
        Self {
            task,
            standing: Standing::Live,
            kernel: false,
            leader_dead: false,
            io_denied: false,
            renamed: false,
            owed: false,
            cpu_ns: 0,
            born_ns: now_ns,
            visited_ns: now_ns,
            fingerprint: 0,
            threads_named: 0,
            delay_ns: 0,
        }
    }

    pub(crate) fn live(&self) -> bool {
        self.standing == Standing::Live
    }

    /// Whether it is time for its dearer files because it ran. A young process is visited soon
    /// (it is about to exec or to be moved), then at intervals that grow with its age.
    pub(crate) fn due(&self, now_ns: u64) -> bool {
        let age_then = self.visited_ns.saturating_sub(self.born_ns);
        self.owed
            && self.live()
            && !self.kernel
            && now_ns.saturating_sub(self.visited_ns) >= age_then.min(ACTIVE_NS)
    }
}

/// All processes known.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: BTreeMap<u32, Entry>,
    /// The last number whose turn it was.
    cursor: u32,
}

impl Table {
    pub(crate) fn get(&self, pid: u32) -> Option<&Entry> {
        self.entries.get(&pid)
    }
    pub(crate) fn get_mut(&mut self, pid: u32) -> Option<&mut Entry> {
        self.entries.get_mut(&pid)
    }
    pub(crate) fn insert(&mut self, entry: Entry) -> &mut Entry {
        let slot = self.entries.entry(entry.task.pid).or_insert(entry);
        *slot = entry;
        slot
    }
    pub(crate) fn remove(&mut self, pid: u32) -> Option<Entry> {
        self.entries.remove(&pid)
    }
    pub(crate) fn retain(&mut self, keep: impl FnMut(&u32, &mut Entry) -> bool) {
        self.entries.retain(keep);
    }
    pub(crate) fn hidden(&self) -> usize {
        self.entries.values().filter(|entry| entry.standing == Standing::Hidden).count()
    }

    /// The next processes in turn, so that each is visited once in `round_ns` whatever the
    /// interval between sweeps.
    pub(crate) fn turn(&mut self, elapsed_ns: u64, round_ns: u64, mut visit: impl FnMut(u32)) {
        let all = self.entries.len() as u64;
        let count = (all * elapsed_ns.min(round_ns)).div_ceil(round_ns) as usize;
        let after = self.entries.range(self.cursor.saturating_add(1)..);
        let again = self.entries.range(..=self.cursor);
        let mut last = self.cursor;
        for (&pid, _) in after.chain(again).take(count) {
            visit(pid);
            last = pid;
        }
        self.cursor = last;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn table(pids: impl IntoIterator<Item = u32>) -> Table {
        let mut table = Table::default();
        for pid in pids {
            table.insert(Entry::new(TaskId { pid, tid: 0, start: 1 }, 0));
        }
        table
    }

    #[test]
    fn everybody_has_a_turn_within_a_round() {
        let mut table = table((1..=97).map(|n| n * 3));
        let mut seen = Vec::new();
        for _ in 0..100 {
            table.turn(SECOND / 10, 10 * SECOND, |pid| seen.push(pid));
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 97);
    }

    #[test]
    fn a_long_pause_visits_nobody_twice() {
        let mut table = table([5, 6]);
        let mut seen = Vec::new();
        table.turn(1000 * SECOND, 10 * SECOND, |pid| seen.push(pid));
        assert_eq!(seen, [5, 6]);
        table.turn(0, 10 * SECOND, |pid| seen.push(pid));
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn a_process_that_runs_is_visited_soon_and_then_each_second() {
        let mut entry = Entry::new(TaskId { pid: 5, tid: 0, start: 1 }, 0);
        entry.owed = true;
        let mut visits = Vec::new();
        for now in (1..50).map(|tick| tick * SECOND / 10) {
            if entry.due(now) {
                visits.push(now * 10 / SECOND);
                entry.visited_ns = now;
            }
        }
        assert_eq!(visits[..4], [1, 2, 4, 8]);
        assert_eq!(visits[4..], [16, 26, 36, 46]);
        entry.owed = false;
        assert!(!entry.due(100 * SECOND), "it did not run");
    }
}
