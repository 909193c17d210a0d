//! Writes as a host does: prepare, journal, commit. What was written goes back at the end.

use outrigger_linux_proc::LinuxProc;
use outrigger_sdk::undo::{Journal, Why};
use outrigger_sdk::{
    Backend as _, Capability, Desired, Error, ErrorCode, Operation, Permit, Setting, TaskId,
};
use tempfile::TempDir;

/// Knobs that could not be turned, and why.
pub type Refusals = Vec<(Capability, ErrorCode)>;

/// A refused knob with the whole error.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub knob: Capability,
    pub error: Error,
}

/// A backend with a journal.
pub struct Pen {
    backend: LinuxProc,
    journal: Journal,
    _place: TempDir,
}

impl Pen {
    pub fn new(config: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let journal = Journal::create(&place.path().join("state")).unwrap();
        Self { backend: super::backend(config), journal, _place: place }
    }

    pub fn prepare(&mut self, desired: &Desired) -> Result<(Vec<Operation>, Vec<Refusal>), Error> {
        let (mut operations, mut refused) = (Vec::new(), Vec::new());
        for item in self.backend.prepare(desired)? {
            match item.operation {
                Ok(operation) => operations.push(operation),
                Err(error) => refused.push(Refusal { knob: item.knob, error }),
            }
        }
        Ok((operations, refused))
    }

    pub fn commit(&mut self, operation: &Operation) -> Result<String, Error> {
        let journalled = self.journal.record(operation.clone(), &Why::default()).unwrap();
        let result = self.backend.commit(Permit::from(&journalled));
        let text = result.as_ref().map(String::as_str).map_err(|error| error.message.as_str());
        self.journal.settle(&journalled, text).unwrap();
        result
    }

    /// Prepares and commits once: the values read back, and what was refused.
    pub fn apply(
        &mut self,
        task: TaskId,
        settings: impl IntoIterator<Item = Setting>,
    ) -> (Vec<String>, Refusals) {
        let (operations, refused) = self.prepare(&Desired::task(task, settings)).unwrap();
        // A thread may end before it is its turn.
        let gone = |error: &Error| error.code == ErrorCode::GONE;
        let made = operations
            .iter()
            .map(|operation| self.commit(operation))
            .filter(|result| !result.as_ref().is_err_and(gone))
            .map(Result::unwrap)
            .collect();
        let refused = refused.into_iter().map(|item| (item.knob, item.error.code)).collect();
        (made, refused)
    }

    /// Puts everything back.
    pub fn undo(&mut self) {
        self.journal.undo_all();
        assert_eq!(self.journal.outstanding().count(), 0);
    }
}
