//! Facts about this boot and this process that the journal is tied to.

use crate::{JournalError, Task, knob};
use std::fs;
use std::path::Path;

/// Number of this boot of the kernel.
pub(crate) fn boot_id() -> Result<String, JournalError> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let text = fs::read_to_string(path).map_err(JournalError::io("read", path))?;
    Ok(text.trim().to_owned())
}

/// This process.
pub(crate) fn own_task() -> Result<Task, JournalError> {
    knob::identify(std::process::id()).ok_or_else(|| {
        JournalError::Nonsense("/proc does not show this process; is it mounted?".to_owned())
    })
}

/// Clock ticks since boot, on the clock that start times are told in.
pub(crate) fn ticks_since_boot() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` outlives the call. It cannot fail: the clock exists since Linux 2.6.39.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    // SAFETY: takes an integer.
    let hertz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64;
    now.tv_sec as u64 * hertz + now.tv_nsec as u64 * hertz / 1_000_000_000
}
