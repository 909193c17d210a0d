//! What can go wrong when a knob is read or written.

use serde::{Deserialize, Serialize};

/// Why a knob could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KnobErrorCode {
    /// The task, file or context does not exist, or its number is another task's now.
    Gone,
    /// A privilege is missing, or the place is read-only.
    Privilege,
    /// The value is not one of the documented forms, or the kernel does not take it.
    Range,
    /// The operating system refused for another reason; `os_code` says which.
    Os,
    /// This kernel or this system has no such knob.
    NotSupported,
    /// Outside what this crate ever writes: process 1, kernel threads, paths outside cgroup
    /// file systems, control files that are not on the list.
    Refused,
    /// The context to be made exists and is somebody else's.
    Exists,
}

/// A knob that could not be read or written: what was attempted, on what, what the OS said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct KnobError {
    code: KnobErrorCode,
    message: String,
    os_code: i32,
}

impl KnobError {
    /// An error that did not come from the operating system.
    pub fn new(code: KnobErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), os_code: 0 }
    }

    /// A refusal to touch what is outside the closed set.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(KnobErrorCode::Refused, message)
    }

    /// A value that is not one of the documented forms.
    pub(crate) fn range(message: impl Into<String>) -> Self {
        Self::new(KnobErrorCode::Range, message)
    }

    /// The task is not there any more.
    pub(crate) fn gone(what: impl std::fmt::Display) -> Self {
        Self::new(KnobErrorCode::Gone, format!("{what} is gone"))
    }

    /// Why.
    pub fn code(&self) -> KnobErrorCode {
        self.code
    }
    /// One sentence, lower case.
    pub fn message(&self) -> &str {
        &self.message
    }
    /// `errno`, or 0 if the operating system was not involved.
    pub fn os_code(&self) -> i32 {
        self.os_code
    }
    /// The target does not exist any more.
    pub fn is_gone(&self) -> bool {
        self.code == KnobErrorCode::Gone
    }
}

#[cfg(target_os = "linux")]
impl KnobError {
    /// A failed system call; `attempt` reads like "read the nice value of process 7".
    pub(crate) fn os(attempt: impl std::fmt::Display, error: &std::io::Error) -> Self {
        let os_code = error.raw_os_error().unwrap_or(0);
        let code = match os_code {
            libc::ESRCH | libc::ENOENT | libc::ENODEV => KnobErrorCode::Gone,
            libc::EPERM | libc::EACCES | libc::EROFS => KnobErrorCode::Privilege,
            libc::EINVAL | libc::ERANGE | libc::EOVERFLOW => KnobErrorCode::Range,
            libc::ENOSYS | libc::EOPNOTSUPP => KnobErrorCode::NotSupported,
            _ => KnobErrorCode::Os,
        };
        Self { code, message: format!("failed to {attempt}: {error}"), os_code }
    }

    /// The last failed system call of this thread.
    pub(crate) fn last_os(attempt: impl std::fmt::Display) -> Self {
        Self::os(attempt, &std::io::Error::last_os_error())
    }
}
