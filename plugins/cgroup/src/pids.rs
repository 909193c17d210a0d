//! Number of tasks: `pids.max` of the v1 pids controller.
//!
//! A limit below the present number is allowed, as the kernel allows it: nobody is killed, only
//! nobody can be born.

use crate::draft::Draft;
use crate::error::range;
use crate::group::Group;
use outrigger_sdk::{Capability, Error};

const MAX: &str = "pids.max";
/// What no limit reads as.
const NONE: &str = "max";
/// `PID_MAX_LIMIT` of a 64-bit kernel; more is EINVAL.
const PIDS: i64 = 4 << 20;

/// Prepares a number of tasks; -1 is no limit.
///
/// # Errors
/// Out of range, or the file cannot be read.
pub fn prepare(group: &Group, count: i64, draft: &mut Draft) -> Result<(), Error> {
    let wanted = match count {
        -1 => NONE.to_owned(),
        1..=PIDS => count.to_string(),
        _ => {
            return Err(range(
                "configure",
                format!("a limit of {count} tasks is out of range; allowed are 1 to {PIDS}, or -1"),
            ));
        }
    };
    let now = group.value(MAX, NONE)?;
    draft.file(Capability::PIDS_LIMIT, group, MAX, &now, &wanted);
    Ok(())
}
