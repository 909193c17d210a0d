//! What holds for memory limits in both versions.

use crate::error::range;
use outrigger_sdk::Error;

/// Head-room above what is used: a tenth of it, and at least so many bytes.
const HEADROOM: i64 = 16 << 20;
const HEADROOM_SHARE: i64 = 10;

/// Whether a limit leaves room above what is used.
///
/// # Errors
/// It does not; the message says the least.
pub fn check_headroom(wanted: i64, used: i64) -> Result<(), Error> {
    let least = used.saturating_add((used / HEADROOM_SHARE).max(HEADROOM));
    if wanted >= least {
        return Ok(());
    }
    Err(range(
        "configure",
        format!(
            "a memory limit of {wanted} bytes is out of range: {used} are used, and with head-room \
             the least is {least}"
        ),
    ))
}

/// Size of a page, bytes.
pub fn page() -> i64 {
    // SAFETY: takes an integer and answers one.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    // Every system has a page size; 4096 is the smallest Linux knows.
    if size > 0 { size } else { 4096 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headroom_is_a_tenth_and_at_least_sixteen_mebibytes() {
        const MIB: i64 = 1 << 20;
        assert!(check_headroom(26 * MIB, 10 * MIB).is_ok());
        assert!(check_headroom(26 * MIB - 1, 10 * MIB).is_err());
        assert!(check_headroom(1100 * MIB, 1000 * MIB).is_ok());
        assert!(check_headroom(1099 * MIB, 1000 * MIB).is_err());
    }
}
