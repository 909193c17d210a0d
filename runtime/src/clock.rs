//! The one clock: what readings, messages and logs are stamped with.

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds of the monotonic clock (`CLOCK_MONOTONIC`), the same one the kernel stamps with.
pub fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// The moment `at_ns` of the monotonic clock on the clock that process start times are given in
/// (`CLOCK_BOOTTIME`, which counts while the machine sleeps).
pub fn boot_ns_of(at_ns: u64) -> u64 {
    at_ns + read(libc::CLOCK_BOOTTIME).saturating_sub(monotonic_ns())
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec for the call to fill; these clocks cannot fail.
    unsafe { libc::clock_gettime(clock, &mut now) };
    // Both fields count up from boot and are never negative.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Milliseconds since the Unix epoch; 0 if the wall clock stands before it.
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
