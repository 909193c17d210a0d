//! A visit: the dearer files of one process, read when there is a reason to.

use super::{Sensor, reading};
use crate::clock;
use crate::files::{self, Stat};
use crate::focus::Focus;
use crate::info;
use crate::reader::{Which, is_denied, is_gone};
use crate::table::{Entry, Standing};
use outrigger_sdk::{Fields, Observation, TaskId, TaskReading};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;

impl Sensor {
    /// Reads the files of one process. Readings up to `known` are in the order of their numbers.
    pub(super) fn visit(
        &mut self,
        pid: u32,
        names: bool,
        known: usize,
        now_ns: u64,
        into: &mut Observation,
    ) {
        let stat = match self.stat(pid) {
            Ok(text) => text,
            Err(error) => return self.unreadable(pid, &error, now_ns, into),
        };
        let slot = into.tasks[..known].binary_search_by_key(&pid, |reading| reading.task.pid).ok();
        let task = TaskId { pid, tid: 0, start: stat.start };
        let before = self.table.get(pid).copied();
        let same = before
            .filter(|entry| entry.standing != Standing::Hidden && entry.task.start == stat.start);
        if same.is_none() {
            self.forget(pid, into);
        }
        let mut entry = same.unwrap_or_else(|| Entry::new(task, now_ns));
        if stat.ended() {
            if same.is_some_and(|entry| entry.live()) {
                into.gone.push(task);
                self.focus.remove(&pid);
            }
            entry.standing = Standing::Ended;
            self.table.insert(entry);
            return;
        }
        let slot = match (same, slot) {
            (Some(_), slot) => slot,
            (None, Some(slot)) => {
                into.tasks[slot].task = task;
                Some(slot)
            }
            (None, None) => {
                let Ok(cpu_ns) = clock::read(clock::of_process(pid)) else { return };
                entry.cpu_ns = cpu_ns;
                into.tasks.push(reading(task, cpu_ns));
                Some(into.tasks.len() - 1)
            }
        };
        if let Some(slot) = slot {
            entry.cpu_ns = into.tasks[slot].cpu_ns;
            self.read_sizes(&mut entry, &stat, &mut into.tasks[slot]);
        }
        entry.kernel = stat.kernel();
        entry.leader_dead = stat.dead();
        (entry.visited_ns, entry.owed) = (now_ns, false);
        self.read_names(&mut entry, &stat, names, self.full || same.is_none(), into);
        self.table.insert(entry);
    }

    /// Reads and parses `stat`. A kept descriptor of a former owner of the number is dropped.
    fn stat(&mut self, pid: u32) -> io::Result<Stat> {
        let kept = self.focus.get_mut(&pid).and_then(Focus::files);
        let had = kept.is_some();
        let first = self.reader.process(pid, Which::Stat, kept).map(Stat::parse);
        let parsed = match first {
            Err(error) if had && is_gone(&error) => {
                self.focus.insert(pid, Focus::default());
                self.reader.process(pid, Which::Stat, None).map(Stat::parse)
            }
            answer => answer,
        };
        parsed?.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The number is another's now, or nobody's.
    fn forget(&mut self, pid: u32, into: &mut Observation) {
        if let Some(entry) = self.table.remove(pid)
            && entry.live()
        {
            into.gone.push(entry.task);
            if let Some(focus) = self.focus.get_mut(&pid) {
                *focus = Focus::default();
            }
        }
    }

    /// `stat` could not be read: the process has ended, or is hidden from us.
    fn unreadable(&mut self, pid: u32, error: &io::Error, now_ns: u64, into: &mut Observation) {
        let exists = clock::read(clock::of_process(pid)).is_ok();
        if !exists {
            self.forget(pid, into);
            self.focus.remove(&pid);
        } else if is_gone(error) || is_denied(error) {
            self.forget(pid, into);
            let task = TaskId { pid, tid: 0, start: 0 };
            let entry = Entry { standing: Standing::Hidden, ..Entry::new(task, now_ns) };
            self.table.insert(entry);
        }
        // Anything else (no descriptors, no memory) says nothing about the process.
    }

    /// Threads, memory and storage. What cannot be read is absent.
    fn read_sizes(&mut self, entry: &mut Entry, stat: &Stat, reading: &mut TaskReading) {
        reading.threads = stat.threads;
        reading.present = reading.present.with(Fields::THREADS);
        if stat.kernel() {
            return;
        }
        let pid = entry.task.pid;
        let mut kept = self.focus.get_mut(&pid).and_then(Focus::files);
        let text = self.reader.process(pid, Which::Statm, kept.as_deref_mut());
        if let Some(pages) = text.ok().and_then(files::resident_pages) {
            reading.rss_bytes = pages * self.page;
            reading.present = reading.present.with(Fields::MEMORY);
        }
        if entry.io_denied {
            return;
        }
        match self.reader.process(pid, Which::Io, kept) {
            Ok(text) => {
                if let Some((read, written)) = files::storage_bytes(text) {
                    (reading.read_bytes, reading.write_bytes) = (read, written);
                    reading.present = reading.present.with(Fields::IO);
                }
            }
            Err(error) => entry.io_denied = is_denied(&error),
        }
    }

    /// Tells the names if they are new or have changed.
    fn read_names(
        &mut self,
        entry: &mut Entry,
        stat: &Stat,
        names: bool,
        new: bool,
        into: &mut Observation,
    ) {
        let pid = entry.task.pid;
        let renamed = std::mem::take(&mut entry.renamed);
        // Kernel workers are renamed with each job and never move: told once.
        if stat.kernel() && !new {
            return;
        }
        let kept = self.focus.get_mut(&pid).and_then(Focus::files);
        let text = self.reader.process(pid, Which::Cgroup, kept).ok();
        let cgroup = text.map(|text| {
            self.cgroup.clear();
            self.cgroup.extend_from_slice(text);
            self.cgroup.as_slice()
        });
        // A change of user tells by nothing else, unless there are events.
        let user = self.reader.user(pid);
        let known = (stat.name, stat.parent, stat.session, stat.code, user);
        let fingerprint = hash(&(known, cgroup));
        let mut changed = new || renamed || fingerprint != entry.fingerprint;
        // Another program may be ours to see.
        entry.io_denied &= !changed;
        entry.fingerprint = fingerprint;
        if !changed && !names {
            return;
        }
        let threads =
            info::thread_names(&mut self.reader, &mut self.lister, &mut self.numbers, pid, stat);
        let threads_named = hash(&threads);
        changed |= threads_named != entry.threads_named;
        entry.threads_named = threads_named;
        if changed {
            into.infos.push(info::read(&mut self.reader, entry.task, stat, cgroup, threads));
        }
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
