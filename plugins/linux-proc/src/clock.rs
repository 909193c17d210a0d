//! CPU clocks: the cheapest and most exact way to learn what a process has used.
//!
//! A process's clock is named by a number made of its pid (`MAKE_PROCESS_CPUCLOCK` in
//! `include/linux/posix-timers_types.h`). It works for any user's process, also under
//! `hidepid=2`. The clocks of other processes' *threads* are refused by the kernel.

use std::io;

/// `CPUCLOCK_SCHED`: time on a CPU, ns, as the scheduler counts it.
const SCHED: libc::clockid_t = 2;

/// The clock of the calling thread.
pub(crate) const OWN_THREAD: libc::clockid_t = libc::CLOCK_THREAD_CPUTIME_ID;

/// The clock of a process; 0 means the calling one.
pub(crate) const fn of_process(pid: u32) -> libc::clockid_t {
    (!(pid as libc::clockid_t) << 3) | SCHED
}

/// Reads a clock, ns.
///
/// # Errors
/// `EINVAL`: there is no such process (or it is a thread's number).
pub(crate) fn read(clock: libc::clockid_t) -> io::Result<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer and outlives the call.
    match unsafe { libc::clock_gettime(clock, &mut time) } {
        0 => Ok(nanoseconds(time)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Resolution the kernel states for a clock, ns.
///
/// # Errors
/// There is no such clock.
pub(crate) fn resolution(clock: libc::clockid_t) -> io::Result<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer and outlives the call.
    match unsafe { libc::clock_getres(clock, &mut time) } {
        0 => Ok(nanoseconds(time)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What one reading costs, ns: the best of a few short runs, since anything else running can
/// only make a run longer.
///
/// # Errors
/// There is no such clock.
pub(crate) fn overhead(clock: libc::clockid_t) -> io::Result<u64> {
    const RUNS: u32 = 5;
    const READINGS: u32 = 200;
    let mut best = u64::MAX;
    for _ in 0..RUNS {
        let start = std::time::Instant::now();
        for _ in 0..READINGS {
            std::hint::black_box(read(clock)?);
        }
        best = best.min(start.elapsed().as_nanos() as u64 / u64::from(READINGS));
    }
    Ok(best.max(1))
}

fn nanoseconds(time: libc::timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn own_clocks_advance_and_never_go_back() {
        let me = of_process(std::process::id());
        let (mut process, mut thread) = (read(me).unwrap(), read(OWN_THREAD).unwrap());
        let goal = thread + 5_000_000;
        while thread < goal {
            let (p, t) = (read(me).unwrap(), read(OWN_THREAD).unwrap());
            assert!(p >= process && t >= thread);
            (process, thread) = (p, t);
        }
        assert!(process >= thread, "a process has used at least what one of its threads has");
    }

    #[test]
    fn a_process_that_does_not_exist_is_an_error() {
        // Above `PID_MAX_LIMIT` (4 million), and small enough not to lose bits in the clock's number.
        let never = 0x0fff_ffff;
        assert_eq!(read(of_process(never)).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn facts_are_stated() {
        assert!(resolution(OWN_THREAD).unwrap() > 0);
        assert!(overhead(OWN_THREAD).unwrap() > 0);
    }
}
