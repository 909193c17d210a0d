//! Facts about the machine that the demo's figures are judged by, and the CPU time of its
//! processes, both read from the kernel directly.

use std::fs;
use std::io;
use std::thread::available_parallelism;
use std::time::Duration;

use serde::Serialize;

/// What the figures of one run depend on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// CPUs the demo may use, from its affinity mask and quota.
    pub cpus: usize,
    /// Kernel release, as `uname -r`.
    pub kernel: String,
    /// One scheduler tick in microseconds.
    pub tick_us: u64,
}

// === impl Machine ===

impl Machine {
    /// Asks the kernel.
    pub fn read() -> Self {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cpus: available_parallelism().map_or(1, usize::from),
            kernel: kernel.trim().to_owned(),
            tick_us: tick().as_micros().try_into().unwrap_or(u64::MAX),
        }
    }
}

/// The resolution of the coarse clock is the length of a tick (`1 / CONFIG_HZ`,
/// `clock_getres(2)`): no need to find the kernel's configuration.
fn tick() -> Duration {
    let mut resolution = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `resolution` is a valid place for the answer.
    let failed = unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &mut resolution) } != 0;
    if failed {
        // The longest tick any common kernel has (100 Hz).
        return Duration::from_millis(10);
    }
    Duration::new(0, resolution.tv_nsec.try_into().unwrap_or_default())
}

/// CPU time a process has used, user and system, all threads, in nanoseconds; its children's is
/// not in it. Fields 14 and 15 of `/proc/PID/stat`, in clock ticks: exact to 10 ms.
///
/// # Errors
/// When the process is gone or the file is not as `proc_pid_stat(5)` says.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_cpu_time(&stat, ticks_per_second())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, stat))
}

/// CPU time that everything on the machine has used since boot, and that the hypervisor gave to
/// others: all but idle and waiting for I/O on the first line of `/proc/stat`, in clock ticks.
///
/// # Errors
/// When the file cannot be read or is not as `proc_stat(5)` says.
pub fn busy_time() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    parse_busy_time(&stat, ticks_per_second())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/stat without cpu line"))
}

fn ticks_per_second() -> u64 {
    // SAFETY: sysconf touches no memory of ours.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.cast_unsigned().max(1)
}

fn parse_busy_time(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    const IDLE: [usize; 2] = [3, 4];
    // user nice system idle iowait irq softirq steal; guest time, which follows, is in user.
    let fields = stat.strip_prefix("cpu ")?.lines().next()?.split_ascii_whitespace().take(8);
    let fields: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
    let busy = fields.iter().enumerate().filter(|(index, _)| !IDLE.contains(index));
    let ticks: u64 = busy.map(|(_, ticks)| ticks).sum();
    Some(Duration::from_nanos(ticks * 1_000_000_000 / ticks_per_second))
}

fn parse_cpu_time(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    // The name, field 2, is in parentheses and may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_nanos((user + system) * 1_000_000_000 / ticks_per_second))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn cpu_time_is_fields_14_and_15_whatever_the_name_is() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 1 2 3 4 250 50 9 9 20 0 1 0 99 1 1";

        assert_eq!(parse_cpu_time(stat, 100), Some(Duration::from_secs(3)));
    }

    #[test]
    fn busy_is_everything_but_idle_and_waiting() {
        let stat = "cpu  100 20 30 9999 9999 4 5 41 77 77\ncpu0 1 2 3 4 5 6 7 8 9 9\n";

        assert_eq!(parse_busy_time(stat, 100), Some(Duration::from_secs(2)));
        assert_eq!(parse_busy_time("intr 1", 100), None);
    }

    #[test]
    fn a_truncated_stat_is_no_reading() {
        assert_eq!(parse_cpu_time("7 (a) S 1 7 7", 100), None);
    }

    #[test]
    fn a_tick_is_between_one_and_ten_milliseconds() {
        assert!((1..=10).contains(&tick().as_millis()), "{:?}", tick());
    }

    #[test]
    fn the_cpu_time_of_a_busy_thread_grows() {
        let pid = std::process::id();
        let before = cpu_time(pid).unwrap();

        let mut turns = 0_u64;
        while cpu_time(pid).unwrap() == before {
            turns += 1;
            assert!(turns < 10_000_000, "busy for long, and no CPU time");
        }
    }
}
