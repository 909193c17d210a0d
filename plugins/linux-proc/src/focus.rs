//! Threads of a process in focus: how long they waited for a CPU, and which of them starve.
//!
//! The kernel adds a wait to a thread's run-queue delay when the wait is over, so a thread that
//! gets no CPU at all shows none. Such a thread is found otherwise: runnable twice in a row with
//! no run time in between. That says nothing about *why* it did not run; its own group's quota
//! looks the same and is told apart by whoever reads the contexts.
//!
//! Waits of a thread after its last reading here are lost when it ends; those of a thread that
//! lived between two sweeps altogether as well. Nothing cheaper than tracing would see them.

use crate::files::{self, Stat};
use crate::listing::Lister;
use crate::reader::{KeptFiles, Reader, is_gone};
use std::fs::File;
use std::io;

/// Shortest time over which "did not run" means something, ns: the kernel brings a running
/// thread's time up to date at the timer tick, 1 to 10 ms.
const JUDGE_NS: u64 = 20_000_000;

/// What the threads of a process say together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delays {
    /// Time spent runnable but not running, ns; never goes down.
    pub run_delay_ns: u64,
    /// Threads in state `R`.
    pub runnable: u32,
    /// Threads in state `R` now and at the last sweep that did not run in between.
    pub starved: u32,
}

/// What reading threads needs, lent by the sensor.
pub(crate) struct Tools<'a> {
    pub reader: &'a mut Reader,
    pub lister: &'a mut Lister,
    pub numbers: &'a mut Vec<u32>,
    /// How many more descriptors may be kept.
    pub spare_files: &'a mut usize,
    /// CPUs without a regular tick (`nohz_full`), where run times are up to a second old.
    pub tickless: &'a [u32],
}

/// One process in focus.
#[derive(Debug, Default)]
pub(crate) struct Focus {
    /// Files of the process itself, if there were descriptors to spare.
    files: Option<KeptFiles>,
    /// Whether the current sweep asks for it.
    pub wanted: bool,
    directory: Option<File>,
    threads: Vec<Thread>,
    /// Delay of threads that have ended.
    carried_ns: u64,
    /// The sum when the process was last in focus; set to 0 once it is accounted for.
    floor_ns: u64,
}

#[derive(Debug)]
struct Thread {
    tid: u32,
    start: u64,
    stat: Option<File>,
    schedstat: Option<File>,
    delay_ns: u64,
    runnable: bool,
    starved: bool,
    since: Mark,
}

/// The moment a thread's progress is judged from.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    at_ns: u64,
    run_ns: u64,
    runnable: bool,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    stat: Stat,
    run_ns: u64,
    delay_ns: u64,
}

impl Focus {
    /// Descriptors that a process in focus keeps besides those of its threads.
    pub(crate) const FILES: usize = 5;

    /// Takes a process into focus (again); its sum goes on from `floor_ns`. Whether it may keep
    /// [`Self::FILES`] descriptors is told once.
    pub(crate) fn new(floor_ns: u64, keeps: bool) -> Self {
        Self { floor_ns, files: keeps.then(KeptFiles::default), ..Self::default() }
    }

    /// A place for descriptors of the process itself.
    pub(crate) fn files(&mut self) -> Option<&mut KeptFiles> {
        self.files.as_mut()
    }

    /// Descriptors kept.
    pub(crate) fn kept(&self) -> usize {
        let threads: usize = self
            .threads
            .iter()
            .map(|thread| {
                usize::from(thread.stat.is_some()) + usize::from(thread.schedstat.is_some())
            })
            .sum();
        threads + if self.files.is_some() { Self::FILES } else { 0 }
    }

    /// Reads all threads.
    ///
    /// # Errors
    /// The process has ended, or its threads cannot be listed.
    pub(crate) fn read(
        &mut self,
        pid: u32,
        now_ns: u64,
        tools: &mut Tools<'_>,
    ) -> io::Result<Delays> {
        self.list(pid, tools)?;
        let mut delays = Delays::default();
        let carried = &mut self.carried_ns;
        self.threads.retain_mut(|thread| match thread.sample(pid, tools) {
            Ok(sample) => {
                *carried += thread.take(sample, now_ns, tools.tickless);
                delays.run_delay_ns += thread.delay_ns;
                delays.runnable += u32::from(thread.runnable);
                delays.starved += u32::from(thread.starved);
                true
            }
            Err(error) if is_gone(&error) => {
                *carried += thread.delay_ns;
                false
            }
            // It lives; what was read of it before stays in the sum, its state is not known.
            Err(_) => {
                delays.run_delay_ns += thread.delay_ns;
                thread.since = Mark::default();
                true
            }
        });
        // Threads that ended while nobody looked took their waits with them; the sum stays.
        let sum = delays.run_delay_ns + self.carried_ns;
        self.carried_ns += self.floor_ns.saturating_sub(sum);
        self.floor_ns = 0;
        delays.run_delay_ns += self.carried_ns;
        Ok(delays)
    }

    /// Brings the list of threads up to date.
    fn list(&mut self, pid: u32, tools: &mut Tools<'_>) -> io::Result<()> {
        let mut directory = match self.directory.take() {
            Some(directory) => directory,
            None => File::open(tools.reader.path_of(pid, "task"))?,
        };
        tools.lister.numbers(&mut directory, tools.numbers)?;
        self.directory = self.files.is_some().then_some(directory);
        let carried = &mut self.carried_ns;
        self.threads.retain(|thread| {
            let lives = tools.numbers.binary_search(&thread.tid).is_ok();
            *carried += if lives { 0 } else { thread.delay_ns };
            lives
        });
        if self.threads.len() < tools.numbers.len() {
            let known = self.threads.len();
            for &tid in tools.numbers.iter() {
                if self.threads[..known].binary_search_by_key(&tid, |thread| thread.tid).is_err() {
                    self.threads.push(Thread::new(tid));
                }
            }
            self.threads.sort_unstable_by_key(|thread| thread.tid);
        }
        Ok(())
    }
}

impl Thread {
    fn new(tid: u32) -> Self {
        Self {
            tid,
            start: 0,
            stat: None,
            schedstat: None,
            delay_ns: 0,
            runnable: false,
            starved: false,
            since: Mark::default(),
        }
    }

    /// Reads both files, keeping them open as long as there are descriptors to spare.
    fn sample(&mut self, pid: u32, tools: &mut Tools<'_>) -> io::Result<Sample> {
        let unreadable = || io::Error::from(io::ErrorKind::InvalidData);
        let text = read(&mut self.schedstat, pid, self.tid, "schedstat", tools)?;
        let (run_ns, delay_ns) = files::schedstat(text).ok_or_else(unreadable)?;
        let text = read(&mut self.stat, pid, self.tid, "stat", tools)?;
        let stat = Stat::parse(text).ok_or_else(unreadable)?;
        Ok(Sample { stat, run_ns, delay_ns })
    }

    /// Takes over a sample; answers the delay of a former thread of the same number.
    fn take(&mut self, sample: Sample, now_ns: u64, tickless: &[u32]) -> u64 {
        let mut former = 0;
        if self.start != sample.stat.start {
            former = self.delay_ns;
            self.start = sample.stat.start;
            self.since = Mark::default();
            self.starved = false;
            self.delay_ns = 0;
        }
        self.delay_ns = self.delay_ns.max(sample.delay_ns);
        self.runnable = sample.stat.runnable();
        let stuck = self.since.runnable
            && self.runnable
            && sample.run_ns == self.since.run_ns
            && !tickless.contains(&sample.stat.processor);
        if now_ns.saturating_sub(self.since.at_ns) >= JUDGE_NS {
            self.starved = stuck;
            self.since = Mark { at_ns: now_ns, run_ns: sample.run_ns, runnable: self.runnable };
        } else {
            self.starved &= stuck;
        }
        former
    }
}

fn read<'a>(
    slot: &mut Option<File>,
    pid: u32,
    tid: u32,
    name: &str,
    tools: &'a mut Tools<'_>,
) -> io::Result<&'a [u8]> {
    if let Some(file) = slot {
        return tools.reader.kept(file);
    }
    let file = File::open(tools.reader.path_of_thread(pid, tid, name))?;
    if *tools.spare_files == 0 {
        return tools.reader.kept(&file);
    }
    *tools.spare_files -= 1;
    tools.reader.kept(slot.insert(file))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::files::Name;

    fn sample(start: u64, state: u8, run_ns: u64, delay_ns: u64) -> Sample {
        let stat = Stat {
            name: Name::new(b"x"),
            state,
            parent: 1,
            session: 1,
            flags: 0,
            threads: 1,
            start,
            code: 0,
            processor: 1,
        };
        Sample { stat, run_ns, delay_ns }
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn runnable_twice_without_progress_is_starved() {
        let mut thread = Thread::new(7);
        thread.take(sample(1, b'R', 5, 0), 1000 * MS, &[]);
        assert!(!thread.starved, "once is not twice");
        thread.take(sample(1, b'R', 5, 0), 1100 * MS, &[]);
        assert!(thread.starved);
        thread.take(sample(1, b'R', 6, 0), 1200 * MS, &[]);
        assert!(!thread.starved, "it ran");
        thread.take(sample(1, b'S', 6, 0), 1300 * MS, &[]);
        thread.take(sample(1, b'R', 6, 0), 1400 * MS, &[]);
        assert!(!thread.starved, "it slept");
    }

    #[test]
    fn two_readings_within_a_timer_tick_judge_nobody() {
        let mut thread = Thread::new(7);
        thread.take(sample(1, b'R', 5, 0), 1000 * MS, &[]);
        thread.take(sample(1, b'R', 5, 0), 1002 * MS, &[]);
        assert!(!thread.starved);
        thread.take(sample(1, b'R', 5, 0), 1020 * MS, &[]);
        assert!(thread.starved, "since the first reading");
        thread.take(sample(1, b'R', 9, 0), 1021 * MS, &[]);
        assert!(!thread.starved, "it ran after all");
    }

    #[test]
    fn on_a_cpu_without_ticks_nobody_is_judged() {
        let mut thread = Thread::new(7);
        thread.take(sample(1, b'R', 5, 0), 1000 * MS, &[1]);
        thread.take(sample(1, b'R', 5, 0), 1100 * MS, &[1]);
        assert!(!thread.starved);
    }

    #[test]
    fn a_reused_number_is_another_thread() {
        let mut thread = Thread::new(7);
        assert_eq!(thread.take(sample(1, b'R', 5, 40), 1000 * MS, &[]), 0);
        assert_eq!(thread.take(sample(2, b'R', 5, 3), 1100 * MS, &[]), 40);
        assert_eq!((thread.delay_ns, thread.starved), (3, false));
    }
}
