//! From what the kernel said to the errors that callers tell apart.

use outrigger_sdk::{Error, ErrorCode};
use std::path::Path;

/// A failed call on a file; `step` as in [`Error::step`], `verb` such as `read`.
pub fn io(step: &str, verb: &str, path: &Path, error: &std::io::Error) -> Error {
    let os_code = error.raw_os_error().unwrap_or(0);
    let code = match os_code {
        libc::ENOENT | libc::ENODEV | libc::ESRCH => ErrorCode::GONE,
        libc::EPERM | libc::EACCES | libc::EROFS => ErrorCode::PRIVILEGE,
        libc::EINVAL | libc::ERANGE => ErrorCode::RANGE,
        libc::EOPNOTSUPP => ErrorCode::NOT_SUPPORTED,
        _ => ErrorCode::OS,
    };
    Error {
        os_code: os_code.into(),
        ..Error::new(code, step, format!("failed to {verb} {}: {error}", path.display()))
    }
}

/// A value that is out of range.
pub fn range(step: &str, message: impl Into<String>) -> Error {
    Error::new(ErrorCode::RANGE, step, message.into())
}
