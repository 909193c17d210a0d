//! What a preparation comes to: operations in the order they are to be written, and refusals.

use crate::group::Group;
use outrigger_sdk::undo::{Kind, Operation, Task};
use outrigger_sdk::{Capability, Error, PreparedOperation};

/// Grows while a desired state is gone through. Nothing in it has been written.
#[derive(Debug, Default)]
pub struct Draft {
    items: Vec<PreparedOperation>,
}

impl Draft {
    /// A cgroup is to be made, or to be removed, for the sake of a knob.
    pub fn context(&mut self, knob: Capability, group: &Group, present: bool) {
        let (before, after) = if present { ("absent", "present") } else { ("present", "absent") };
        match group.locator("") {
            Ok(locator) => self.push(
                knob,
                Operation {
                    kind: Kind::Context,
                    task: None,
                    locator: locator.trim_end_matches('/').to_owned(),
                    before: before.to_owned(),
                    after: after.to_owned(),
                },
            ),
            Err(error) => self.refuse(knob, error),
        }
    }

    /// A control file is to read `after`. Nothing is added if it already does.
    pub fn file(&mut self, knob: Capability, group: &Group, file: &str, before: &str, after: &str) {
        if before == after {
            return;
        }
        match group.locator(file) {
            Ok(locator) => self.push(
                knob,
                Operation {
                    kind: Kind::File,
                    task: None,
                    locator,
                    before: before.to_owned(),
                    after: after.to_owned(),
                },
            ),
            Err(error) => self.refuse(knob, error),
        }
    }

    /// A task is to be in `group`; it is in `from` of the same hierarchy.
    pub fn member(&mut self, knob: Capability, task: Task, group: &Group, from: &str) {
        match group.mount() {
            Ok(locator) => self.push(
                knob,
                Operation {
                    kind: Kind::Membership,
                    task: Some(task),
                    locator,
                    before: from.to_owned(),
                    after: group.path.clone(),
                },
            ),
            Err(error) => self.refuse(knob, error),
        }
    }

    /// A knob cannot be turned.
    pub fn refuse(&mut self, knob: Capability, error: Error) {
        self.items.push(PreparedOperation::refused(knob, error));
    }

    /// Takes the operations of a step that refuses as a whole when it fails.
    pub fn attempt(&mut self, knob: Capability, step: impl FnOnce(&mut Self) -> Result<(), Error>) {
        if let Err(error) = step(self) {
            self.refuse(knob, error);
        }
    }

    /// The answer.
    pub fn finish(self) -> Vec<PreparedOperation> {
        self.items
    }

    fn push(&mut self, knob: Capability, operation: Operation) {
        self.items.push(PreparedOperation::ready(knob, operation));
    }
}
