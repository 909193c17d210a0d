//! Which CPUs a context may use: `cpuset.cpus`, and `cpuset.mems`, without which a v1 cpuset
//! takes no task.
//!
//! The memory nodes are not a knob here: a new cpuset gets its parent's, an old one keeps its own.

use outrigger_cgroup::draft::Draft;
use outrigger_cgroup::error::range;
use outrigger_cgroup::group::Group;
use outrigger_sdk::undo::knob::cpu_list;
use outrigger_sdk::{Capability, Error};

const CPUS: &str = "cpuset.cpus";
const MEMS: &str = "cpuset.mems";
/// With 1 a new child starts with its parent's values instead of none.
const CLONE: &str = "cgroup.clone_children";

/// Prepares a list of CPUs such as `0-3,8`; the empty list is all that the parent has.
///
/// # Errors
/// Not a list, CPUs the parent does not have, or the files cannot be read.
pub fn prepare(group: &Group, list: &str, draft: &mut Draft) -> Result<(), Error> {
    let parent = group.parent().ok_or_else(|| {
        Error::not_supported("configure", "the root of the cpuset hierarchy has every CPU")
    })?;
    let allowed = parent.read(CPUS)?;
    let cpus = check(list, &allowed, &parent.path)?;
    let inherits = parent.read(CLONE).is_ok_and(|text| text == "1");
    let mems_above = parent.read(MEMS)?;
    let fresh = |value: &str| if inherits { value.to_owned() } else { String::new() };

    let before = group.value(CPUS, &fresh(&allowed))?;
    draft.file(Capability::CPUSET, group, CPUS, &before, &cpus);
    let before = group.value(MEMS, &fresh(&mems_above))?;
    if before.is_empty() {
        draft.file(Capability::CPUSET, group, MEMS, &before, &mems_above);
    }
    Ok(())
}

/// The list in the kernel's own form, if the parent has all of it.
fn check(list: &str, allowed: &str, parent: &str) -> Result<String, Error> {
    let parse =
        |text: &str| cpu_list::parse(text).map_err(|error| range("configure", error.to_string()));
    let has = parse(allowed)?;
    let wanted = parse(list)?;
    if wanted.is_empty() {
        return Ok(cpu_list::format(&has));
    }
    let missing: Vec<u32> = wanted.iter().copied().filter(|cpu| !has.contains(cpu)).collect();
    if missing.is_empty() {
        return Ok(cpu_list::format(&wanted));
    }
    Err(range(
        "configure",
        format!(
            "CPUs {list} are out of range: {parent} above has {allowed}, without {}",
            cpu_list::format(&missing)
        ),
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::check;

    #[test]
    fn lists_are_compared_in_the_kernels_form() {
        assert_eq!(check("2,0,1", "0-3", "/").unwrap(), "0-2");
        assert_eq!(check("", "0-3", "/").unwrap(), "0-3");
    }

    #[test]
    fn cpus_the_parent_does_not_have_are_named() {
        let message = check("2-5", "0-3", "/x").unwrap_err().message;
        assert!(message.contains("4-5") && message.contains("/x"), "{message}");
        assert!(check("2-", "0-3", "/x").is_err());
    }
}
