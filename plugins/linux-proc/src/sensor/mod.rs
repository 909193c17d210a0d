//! One sweep: who is there, who moved, and how those in focus wait.
//!
//! The price decides the order. Every process's CPU clock is read at every sweep (0.2 us each);
//! files, which cost ten to thirty times as much, only of processes that are new, have executed a
//! program, have used CPU, are in focus, or whose turn it is. So a renamed or moved process that
//! sleeps is noticed within [`ROUND_NS`], one that runs within about a second, and one in focus
//! at once.
//!
//! A process is known by number and start time. The start time is compared whenever its `stat`
//! is read, and read again whenever a clock went back or an event names the number.

mod visit;

use crate::clock;
use crate::config::Finding;
use crate::connector::Event;
use crate::discovery::{Discovery, Found};
use crate::focus::{Focus, Tools};
use crate::host::HostFiles;
use crate::listing::Lister;
use crate::reader::Reader;
use crate::table::{Standing, Table};
use outrigger_sdk::{Fields, Observation, ObserveRequest, TaskId, TaskReading};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Time in which every process has its turn, ns.
pub(crate) const ROUND_NS: u64 = 10_000_000_000;

/// Most descriptors kept open, even if more are allowed.
const MOST_FILES: usize = 16 * 1024;

/// Reads processes.
#[derive(Debug)]
pub(crate) struct Sensor {
    discovery: Discovery,
    table: Table,
    focus: BTreeMap<u32, Focus>,
    host: HostFiles,
    reader: Reader,
    lister: Lister,
    found: Found,
    /// Processes to visit in this sweep, and whether their threads' names are wanted too.
    due: BTreeMap<u32, bool>,
    numbers: Vec<u32>,
    cgroup: Vec<u8>,
    /// Bytes of a page.
    page: u64,
    /// Descriptors that may be kept.
    files: usize,
    last_ns: Option<u64>,
    /// Whether this sweep tells everybody anew.
    full: bool,
}

impl Sensor {
    /// Opens what sweeps need.
    ///
    /// # Errors
    /// `/proc` is not there, or events are insisted on and do not work.
    pub(crate) fn open(wanted: Finding) -> io::Result<Self> {
        // SAFETY: takes a number, answers a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        Ok(Self {
            discovery: Discovery::open(wanted)?,
            table: Table::default(),
            focus: BTreeMap::new(),
            host: HostFiles::open(),
            reader: Reader::new(),
            lister: Lister::new(),
            found: Found::default(),
            due: BTreeMap::new(),
            numbers: Vec::new(),
            cgroup: Vec::new(),
            page: u64::try_from(page).unwrap_or(4096),
            files: allowed_files(),
            last_ns: None,
            full: false,
        })
    }

    /// Why there are no events, if there are none.
    pub(crate) fn reason_for_scans(&self) -> Option<&str> {
        self.discovery.reason_for_scans()
    }

    /// One sweep at `now_ns` of the host's monotonic clock.
    ///
    /// # Errors
    /// `/proc` cannot be listed.
    pub(crate) fn sweep(
        &mut self,
        request: &ObserveRequest,
        now_ns: u64,
        into: &mut Observation,
    ) -> io::Result<()> {
        into.at_ns = now_ns;
        self.due.clear();
        self.full = request.full;
        self.discovery.search(now_ns, &mut self.found)?;
        self.take_events();
        self.take_focus(request);
        let elapsed_ns = self.last_ns.map_or(0, |last| now_ns.saturating_sub(last));
        self.last_ns = Some(now_ns);
        // Renamed threads make no noise without events.
        let quiet = self.discovery.reason_for_scans().is_some();
        self.table.turn(elapsed_ns, ROUND_NS, |pid| *self.due.entry(pid).or_default() |= quiet);
        self.read_clocks(now_ns, into);
        let known = into.tasks.len();
        let due = std::mem::take(&mut self.due);
        for (&pid, &names) in &due {
            self.visit(pid, names, known, now_ns, into);
        }
        self.due = due;
        self.read_focus(request, known, now_ns, into);
        into.host_pressure_us = self.host.pressure_us(&mut self.reader);
        into.host_cpu_ns = self.host.cpu_ns(&mut self.reader);
        into.cpus = self.host.cpus(&mut self.reader);
        into.unreadable = self.table.hidden() as u32;
        Ok(())
    }

    /// Notes who is to be visited because of what happened or was listed.
    fn take_events(&mut self) {
        for event in &self.found.events {
            match *event {
                Event::Fork { pid, tid } if pid == tid => drop(self.due.insert(pid, false)),
                Event::Fork { .. } => {}
                Event::Exec { pid } => {
                    self.due.insert(pid, false);
                    if let Some(entry) = self.table.get_mut(pid) {
                        (entry.renamed, entry.io_denied) = (true, false);
                    }
                }
                Event::Changed { pid, tid } => {
                    let Some(entry) = self.table.get_mut(pid) else { continue };
                    // Threads are named in masses: their names wait for the next visit.
                    (entry.renamed, entry.owed) = (true, true);
                    if pid == tid {
                        self.due.insert(pid, false);
                    }
                }
                Event::Exit { pid, tid } => match self.table.get(pid) {
                    Some(entry) if pid == tid || entry.leader_dead => {
                        self.due.entry(pid).or_default();
                    }
                    Some(_) => {}
                    // Born and gone between two sweeps. Should other threads of it live on,
                    // which is rare, the next listing finds them.
                    None if pid == tid => drop(self.due.remove(&pid)),
                    None => {}
                },
            }
        }
        for &pid in &self.found.listed {
            if self.table.get(pid).is_none() {
                self.due.entry(pid).or_default();
            }
        }
    }

    /// Opens and closes what is kept of processes in focus.
    fn take_focus(&mut self, request: &ObserveRequest) {
        for focus in self.focus.values_mut() {
            focus.wanted = false;
        }
        let mut spare = self.spare_files();
        for task in request.focus.iter().filter(|task| task.tid == 0) {
            let floor = self.table.get(task.pid).map_or(0, |entry| entry.delay_ns);
            let focus = self.focus.entry(task.pid).or_insert_with(|| {
                let keeps = spare >= Focus::FILES;
                spare -= if keeps { Focus::FILES } else { 0 };
                Focus::new(floor, keeps)
            });
            focus.wanted = true;
            self.due.entry(task.pid).or_default();
        }
        self.focus.retain(|_, focus| focus.wanted);
    }

    /// How many more descriptors may be kept.
    fn spare_files(&self) -> usize {
        let kept: usize = self.focus.values().map(Focus::kept).sum();
        self.files.saturating_sub(kept)
    }

    /// Reads every clock; tells who moved and who is gone.
    fn read_clocks(&mut self, now_ns: u64, into: &mut Observation) {
        let (due, focus, full) = (&mut self.due, &self.focus, self.full);
        self.table.retain(|&pid, entry| match clock::read(clock::of_process(pid)) {
            Ok(cpu_ns) => {
                let moved = cpu_ns != entry.cpu_ns;
                entry.owed |= moved;
                if entry.live() && (moved || full || focus.contains_key(&pid)) {
                    into.tasks.push(reading(entry.task, cpu_ns));
                }
                // Clocks of the dead stand still, and none goes back: it is another's by now.
                let reused = cpu_ns < entry.cpu_ns || (moved && entry.standing == Standing::Ended);
                if reused || full || entry.due(now_ns) {
                    due.entry(pid).or_default();
                }
                entry.cpu_ns = cpu_ns;
                true
            }
            Err(_) => {
                if entry.live() {
                    into.gone.push(entry.task);
                }
                false
            }
        });
    }

    /// Reads the threads of those in focus; who is asked for and not there is gone.
    fn read_focus(
        &mut self,
        request: &ObserveRequest,
        known: usize,
        now_ns: u64,
        into: &mut Observation,
    ) {
        let told: BTreeSet<TaskId> = into.gone.iter().copied().collect();
        let mut spare_files = self.spare_files();
        for task in request.focus.iter().filter(|task| task.tid == 0) {
            let entry = self.table.get_mut(task.pid).filter(|entry| entry.task == *task);
            let Some(entry) = entry.filter(|entry| entry.live()) else {
                if !told.contains(task) {
                    into.gone.push(*task);
                }
                self.focus.remove(&task.pid);
                continue;
            };
            let Some(focus) = self.focus.get_mut(&task.pid) else { continue };
            let mut tools = Tools {
                reader: &mut self.reader,
                lister: &mut self.lister,
                numbers: &mut self.numbers,
                spare_files: &mut spare_files,
                tickless: &self.host.tickless,
            };
            let Ok(delays) = focus.read(task.pid, now_ns, &mut tools) else { continue };
            entry.delay_ns = delays.run_delay_ns;
            let (sorted, new) = into.tasks.split_at_mut(known);
            let slot = match sorted.binary_search_by_key(&task.pid, |reading| reading.task.pid) {
                Ok(slot) => Some(&mut sorted[slot]),
                Err(_) => new.iter_mut().find(|reading| reading.task == *task),
            };
            if let Some(reading) = slot {
                reading.run_delay_ns = delays.run_delay_ns;
                reading.runnable = delays.runnable;
                reading.starved = delays.starved;
                reading.present = reading.present.with(Fields::DELAY);
            }
        }
    }
}

fn reading(task: TaskId, cpu_ns: u64) -> TaskReading {
    TaskReading { task, cpu_ns, present: Fields::CPU, ..TaskReading::default() }
}

/// A quarter of the descriptors this process may have; the rest is the host's.
fn allowed_files() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the answer and outlives the call.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } {
        0 => usize::try_from(limit.rlim_cur / 4).unwrap_or(MOST_FILES).min(MOST_FILES),
        _ => 0,
    }
}
