//! Which CPUs a context may use: `cpuset.cpus`.
//!
//! Empty is all that the parent has. Other than on v1 the kernel takes CPUs the parent does not
//! have, and then gives all of the parent's when none is left: that is refused here instead.

use outrigger_cgroup::draft::Draft;
use outrigger_cgroup::error::range;
use outrigger_cgroup::group::Group;
use outrigger_sdk::undo::knob::cpu_list;
use outrigger_sdk::{Capability, Error};

const CPUS: &str = "cpuset.cpus";
const EFFECTIVE: &str = "cpuset.cpus.effective";

/// Prepares a list of CPUs such as `0-3,8`; the empty list is all that the parent has.
///
/// # Errors
/// Not a list, CPUs the parent does not have, or the files cannot be read.
pub fn prepare(group: &Group, list: &str, draft: &mut Draft) -> Result<(), Error> {
    let parse =
        |text: &str| cpu_list::parse(text).map_err(|error| range("configure", error.to_string()));
    let wanted = parse(list)?;
    if let Some(parent) = group.parent()
        && !wanted.is_empty()
    {
        let above = parent.read(EFFECTIVE)?;
        let has = parse(&above)?;
        let missing: Vec<u32> = wanted.iter().copied().filter(|cpu| !has.contains(cpu)).collect();
        if !missing.is_empty() {
            return Err(range(
                "configure",
                format!(
                    "CPUs {list} are out of range: {} above has {above}, without {}",
                    parent.path,
                    cpu_list::format(&missing)
                ),
            ));
        }
    }
    let before = group.value(CPUS, "")?;
    draft.file(Capability::CPUSET, group, CPUS, &before, &cpu_list::format(&wanted));
    Ok(())
}
