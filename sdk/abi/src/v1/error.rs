//! What went wrong, in a form that callers can tell apart.

use super::codes::codes;
use abi_stable::StableAbi;
use abi_stable::std_types::RString;
use serde::{Deserialize, Serialize};

codes! {
    /// Errors that callers must tell apart.
    ErrorCode {
        /// This backend cannot do that, here or at all.
        NOT_SUPPORTED = 1, "not_supported";
        /// A privilege is missing; the message names it.
        PRIVILEGE = 2, "insufficient_privileges";
        /// The process, thread or context is gone, or its number is another's now.
        GONE = 3, "target_gone";
        /// The value is out of range; the message says what was given and what is allowed.
        RANGE = 4, "out_of_range";
        /// The operating system refused; `os_code` holds its code.
        OS = 5, "os_refused";
        /// A context of that name exists and is not ours.
        EXISTS = 6, "already_exists";
        /// The place is not delegated to us.
        NOT_DELEGATED = 7, "not_delegated";
        /// The configuration of the backend is wrong.
        CONFIG = 8, "bad_configuration";
        /// The value changed between reading and writing: somebody else's decision.
        FOREIGN = 9, "changed_by_others";
        /// The plugin panicked.
        PANIC = 10, "panic";
        /// The call did not come back before its deadline.
        DEADLINE = 11, "deadline";
        /// The plugin answered nonsense.
        NONSENSE = 12, "nonsense";
    }
}

/// An error of a backend: what was attempted, on what, what the OS said, what to do.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// Which kind of failure.
    pub code: ErrorCode,
    /// The step that failed (`create`, `configure`, `assign`, `read` ...).
    pub step: RString,
    /// One sentence, lower case, naming the object.
    pub message: RString,
    /// `errno`, `HRESULT` or `kern_return_t`; 0 if the OS was not involved.
    pub os_code: i64,
}

impl Error {
    /// An error that did not come from the OS.
    pub fn new(code: ErrorCode, step: &str, message: impl Into<RString>) -> Self {
        Self { code, step: step.into(), message: message.into(), os_code: 0 }
    }

    /// The operating system refused `step`; `os_code` is what it answered.
    pub fn os(step: &str, message: impl Into<RString>, os_code: i64) -> Self {
        Self { code: ErrorCode::OS, step: step.into(), message: message.into(), os_code }
    }

    /// `not supported`, with the reason.
    pub fn not_supported(step: &str, reason: impl Into<RString>) -> Self {
        Self::new(ErrorCode::NOT_SUPPORTED, step, reason)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} ({}", self.step, self.message, self.code)?;
        if self.os_code != 0 {
            write!(f, ", code {}", self.os_code)?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_step_object_kind_and_code() {
        let error = Error::os("configure", "cannot write cpu.shares", 22);
        assert_eq!(error.to_string(), "configure: cannot write cpu.shares (os_refused, code 22)");
    }
}
