//! What is looked up while an operation is written down, because it cannot be afterwards.

use super::Kin;
use crate::{Kind, Operation, Task, knob};

/// Where a task stands; nothing if it is gone, which the write will find too.
pub(super) fn kin(kind: Kind, task: Task) -> Kin {
    let stat = knob::stat(task.pid, 0);
    let autogroup = match kind {
        Kind::Autogroup => knob::autogroup_of(task.pid).ok().map(|(name, _)| name),
        _ => None,
    };
    Kin {
        session: stat.map_or(0, |stat| stat.session),
        group: stat.map_or(0, |stat| stat.group),
        autogroup,
    }
}

/// For a change of `cpu.idle`: the weight of the same group, as it is now.
pub(super) fn weight_beside_idle(operation: &Operation) -> Option<Operation> {
    let group =
        operation.locator.strip_suffix("/cpu.idle").filter(|_| operation.kind == Kind::File)?;
    ["cpu.shares", "cpu.weight"].iter().find_map(|name| {
        let locator = format!("{group}/{name}");
        let before = knob::read(Kind::File, None, &locator).ok()?;
        Some(Operation { kind: Kind::File, task: None, locator, after: before.clone(), before })
    })
}
