//! Freeze and kill, through the cgroup2 tree beside the v1 hierarchies.
//!
//! Both files are part of every v2 cgroup but the root, whatever controllers the tree has.

use crate::draft::Draft;
use crate::error::range;
use crate::group::Group;
use outrigger_sdk::{Capability, Error, ErrorCode};

const FREEZE: &str = "cgroup.freeze";
const KILL: &str = "cgroup.kill";

/// Prepares the stop (1) or the continuation (0) of every task.
///
/// # Errors
/// Out of range, or this kernel has no freezer in v2 (before 5.2).
pub fn freeze(group: &Group, value: i64, draft: &mut Draft) -> Result<(), Error> {
    if !matches!(value, 0 | 1) {
        return Err(range("configure", format!("freeze {value} is out of range; it is 0 or 1")));
    }
    let now = group.value(FREEZE, "0")?;
    draft.file(Capability::FREEZE, group, FREEZE, &now, &value.to_string());
    Ok(())
}

/// Prepares the end of every task. Cannot be undone, so only for a context of ours.
///
/// # Errors
/// Not ours, out of range, or this kernel cannot (before 5.14).
pub fn kill(group: &Group, ours: bool, value: i64, draft: &mut Draft) -> Result<(), Error> {
    if !ours {
        return Err(Error::new(
            ErrorCode::NOT_DELEGATED,
            "configure",
            format!("{} is not a context of ours, and only in those are tasks killed", group.path),
        ));
    }
    if value != 1 {
        return Err(range("configure", format!("kill {value} is out of range; it is 1")));
    }
    if !group.exists {
        return Err(Error::new(
            ErrorCode::GONE,
            "configure",
            format!("{} does not exist, so there is nobody to kill", group.path),
        ));
    }
    if !group.dir.join(KILL).exists() {
        return Err(Error::not_supported(
            "configure",
            format!("{} does not exist on this kernel", group.dir.join(KILL).display()),
        ));
    }
    draft.file(Capability::KILL, group, KILL, "", "1");
    Ok(())
}
