//! May we write there? Asked of the kernel, without writing.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whether the effective user may write to a file or make entries in a directory; read-only
/// mounts and missing capabilities are taken into account (`faccessat(2)`).
///
/// # Errors
/// What stands in the way: `EACCES`, `EROFS`, `ENOENT` ...
pub fn writable(path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: `name` is a C string that outlives the call; nothing is written through it.
    let answer =
        unsafe { libc::faccessat(libc::AT_FDCWD, name.as_ptr(), libc::W_OK, libc::AT_EACCESS) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether contexts may be made in a cgroup and tasks moved into it.
///
/// # Errors
/// As [`writable`].
pub fn delegated(dir: &Path) -> io::Result<()> {
    writable(dir)?;
    writable(&dir.join("cgroup.procs"))
}
