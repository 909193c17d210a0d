//! Memory limit: `memory.limit_in_bytes` of the v1 memory controller.
//!
//! A limit is never set below what is used now plus head-room: the kernel would reclaim for
//! seconds and answer EBUSY, or the next allocation would call the out-of-memory killer, and
//! neither can be taken back. Memory that was charged before a task came stays charged where it
//! was. There is no `memory.high` on v1.

use crate::draft::Draft;
use crate::error::range;
use crate::group::Group;
use outrigger_sdk::{Capability, Error};

const LIMIT: &str = "memory.limit_in_bytes";
const USAGE: &str = "memory.usage_in_bytes";
/// Memory and swap together; exists if swap accounting is on. Never below the limit.
const BOTH: &str = "memory.memsw.limit_in_bytes";

/// Head-room above what is used: a tenth of it, and at least so many bytes.
const HEADROOM: i64 = 16 << 20;
const HEADROOM_SHARE: i64 = 10;

/// Prepares a limit in bytes; -1 is none.
///
/// # Errors
/// Below the usage plus head-room, above the limit for memory and swap together, or the files
/// cannot be read.
pub fn prepare(group: &Group, bytes: i64, draft: &mut Draft) -> Result<(), Error> {
    let wanted = pages(bytes)?;
    let now = group.number(LIMIT, unlimited())?;
    if now == wanted {
        return Ok(());
    }
    if wanted < now {
        check_headroom(wanted, group.number(USAGE, 0)?)?;
    }
    if let Ok(both) = group.number(BOTH, unlimited())
        && wanted > both
    {
        return Err(range(
            "configure",
            format!("a memory limit of {wanted} bytes is above {BOTH} of {}, {both}", group.path),
        ));
    }
    draft.file(Capability::MEMORY_LIMIT, group, LIMIT, &now.to_string(), &wanted.to_string());
    Ok(())
}

/// Memory used by a group, bytes, out of the text of its file.
pub const USAGE_FILE: &str = USAGE;

fn check_headroom(wanted: i64, used: i64) -> Result<(), Error> {
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

fn page() -> i64 {
    // SAFETY: takes an integer and answers one.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    // Every system has a page size; 4096 is the smallest Linux knows.
    if size > 0 { size } else { 4096 }
}

/// What "no limit" reads as: `PAGE_COUNTER_MAX` in bytes.
fn unlimited() -> i64 {
    i64::MAX / page() * page()
}

/// The limit as it will be read back: whole pages.
fn pages(bytes: i64) -> Result<i64, Error> {
    match bytes {
        -1 => Ok(unlimited()),
        bytes if bytes < page() => Err(range(
            "configure",
            format!("a memory limit of {bytes} bytes is out of range; the least is a page"),
        )),
        bytes => Ok(bytes / page() * page()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn limits_are_whole_pages_and_none_is_the_largest() {
        assert_eq!(pages(page() + 1).unwrap(), page());
        assert_eq!(pages(-1).unwrap(), unlimited());
        assert!(pages(0).is_err() && pages(-2).is_err());
    }

    #[test]
    fn headroom_is_a_tenth_and_at_least_sixteen_mebibytes() {
        const MIB: i64 = 1 << 20;
        assert!(check_headroom(26 * MIB, 10 * MIB).is_ok());
        assert!(check_headroom(26 * MIB - 1, 10 * MIB).is_err());
        assert!(check_headroom(1100 * MIB, 1000 * MIB).is_ok());
        assert!(check_headroom(1099 * MIB, 1000 * MIB).is_err());
    }
}
