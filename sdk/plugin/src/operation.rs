//! Operations between their typed form (host, journal, backends) and the one that crosses.

use crate::{Capability, Error, ErrorCode, Kind, Operation, Task, TaskId};
use outrigger_abi::v1::{self, OperationKind};

/// What a backend answers to `prepare`, knob by knob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedOperation {
    /// Which knob of the desired state asked for it.
    pub knob: Capability,
    /// What would be written, or why it cannot be.
    pub operation: Result<Operation, Error>,
}

impl PreparedOperation {
    /// An operation for a knob.
    pub fn ready(knob: Capability, operation: Operation) -> Self {
        Self { knob, operation: Ok(operation) }
    }
    /// A knob that cannot be turned.
    pub fn refused(knob: Capability, error: Error) -> Self {
        Self { knob, operation: Err(error) }
    }
}

const KINDS: [(Kind, OperationKind); 10] = [
    (Kind::Nice, OperationKind::NICE),
    (Kind::SchedPolicy, OperationKind::SCHED_POLICY),
    (Kind::Affinity, OperationKind::AFFINITY),
    (Kind::IoPriority, OperationKind::IO_PRIORITY),
    (Kind::OomScoreAdj, OperationKind::OOM_SCORE_ADJ),
    (Kind::Rlimit, OperationKind::RLIMIT),
    (Kind::Autogroup, OperationKind::AUTOGROUP),
    (Kind::File, OperationKind::FILE),
    (Kind::Membership, OperationKind::MEMBERSHIP),
    (Kind::Context, OperationKind::CONTEXT),
];

/// The form that crosses the boundary.
pub(crate) fn encode(knob: Capability, operation: &Operation) -> Result<v1::Operation, Error> {
    let kind = KINDS.iter().find(|(kind, _)| *kind == operation.kind).map(|(_, code)| *code);
    Ok(v1::Operation {
        kind: kind.ok_or_else(|| {
            Error::not_supported("encode", format!("{:?} does not exist in ABI v1", operation.kind))
        })?,
        knob,
        task: operation.task.map(TaskId::from_task).unwrap_or_default(),
        locator: operation.locator.as_str().into(),
        before: operation.before.as_str().into(),
        after: operation.after.as_str().into(),
    })
}

/// The typed form; a kind outside the closed set is nonsense.
pub(crate) fn decode(operation: &v1::Operation) -> Result<Operation, Error> {
    let kind = KINDS.iter().find(|(_, code)| *code == operation.kind).map(|(kind, _)| *kind);
    Ok(Operation {
        kind: kind.ok_or_else(|| {
            Error::new(
                ErrorCode::NONSENSE,
                "decode",
                format!("operation kind {} is not of the closed set", operation.kind),
            )
        })?,
        task: (operation.task != TaskId::default()).then(|| operation.task.to_task()),
        locator: operation.locator.to_string(),
        before: operation.before.to_string(),
        after: operation.after.to_string(),
    })
}

/// Conversion between the two identities of a task, which have the same fields.
pub trait TaskIdExt {
    /// From the journal's form.
    fn from_task(task: Task) -> Self;
    /// To the journal's form.
    fn to_task(self) -> Task;
}

impl TaskIdExt for TaskId {
    fn from_task(Task { pid, tid, start }: Task) -> Self {
        Self { pid, tid, start }
    }
    fn to_task(self) -> Task {
        Task { pid: self.pid, tid: self.tid, start: self.start }
    }
}

/// What a backend answers when a knob could not be read or written.
pub fn knob_error(step: &str, error: &outrigger_undo::knob::KnobError) -> Error {
    use outrigger_undo::knob::KnobErrorCode;
    let code = match error.code() {
        KnobErrorCode::Gone => ErrorCode::GONE,
        KnobErrorCode::Privilege => ErrorCode::PRIVILEGE,
        KnobErrorCode::Range => ErrorCode::RANGE,
        KnobErrorCode::NotSupported => ErrorCode::NOT_SUPPORTED,
        KnobErrorCode::Refused => ErrorCode::NOT_DELEGATED,
        KnobErrorCode::Exists => ErrorCode::EXISTS,
        _ => ErrorCode::OS,
    };
    Error { os_code: error.os_code().into(), ..Error::new(code, step, error.message()) }
}
