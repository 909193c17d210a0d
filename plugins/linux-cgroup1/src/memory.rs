//! Memory limit: `memory.limit_in_bytes` of the v1 memory controller.
//!
//! A limit is never set below what is used now plus head-room: the kernel would reclaim for
//! seconds and answer EBUSY, or the next allocation would call the out-of-memory killer, and
//! neither can be taken back. Memory that was charged before a task came stays charged where it
//! was. There is no `memory.high` on v1.

use outrigger_cgroup::draft::Draft;
use outrigger_cgroup::error::range;
use outrigger_cgroup::group::Group;
use outrigger_cgroup::memory::{check_headroom, page};
use outrigger_sdk::{Capability, Error};

const LIMIT: &str = "memory.limit_in_bytes";
/// Memory used by a group, bytes.
pub const USAGE: &str = "memory.usage_in_bytes";
/// Memory and swap together; exists if swap accounting is on. Never below the limit.
const BOTH: &str = "memory.memsw.limit_in_bytes";

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
}
