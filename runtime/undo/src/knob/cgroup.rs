//! cgroup knobs: which cgroup a task is in, and whether a cgroup is there.

use super::mounts::Mount;
use super::{KnobError, KnobErrorCode};
use crate::Task;
use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `CGROUP_SUPER_MAGIC` of `linux/magic.h`.
const CGROUP_V1: i64 = 0x0027_e0eb;
/// `CGROUP2_SUPER_MAGIC` of `linux/magic.h`.
const CGROUP_V2: i64 = 0x6367_7270;

/// Values of [`crate::Kind::Context`].
pub(crate) const PRESENT: &str = "present";
pub(crate) const ABSENT: &str = "absent";

/// Refuses directories that are not plainly in a cgroup file system: other file systems, paths
/// with `..`, ways through symbolic links (the same knob must not have two locators).
pub(super) fn check_directory(directory: &Path) -> Result<(), KnobError> {
    let attempt = || format!("look at {}", directory.display());
    let real = directory.canonicalize().map_err(|error| KnobError::os(attempt(), &error))?;
    if real != directory {
        return Err(KnobError::refused(format!(
            "{} is another way to {}; name a cgroup by its own path",
            directory.display(),
            real.display()
        )));
    }
    let path = CString::new(directory.as_os_str().as_bytes())
        .map_err(|_| KnobError::refused("a path cannot hold a zero byte"))?;
    // SAFETY: all-zero is a valid value of this plain C struct.
    let mut facts: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` ends with a zero byte and both outlive the call.
    if unsafe { libc::statfs(path.as_ptr(), &raw mut facts) } != 0 {
        return Err(KnobError::last_os(attempt()));
    }
    // The field's type differs between C libraries; the magic numbers fit all of them.
    #[allow(clippy::unnecessary_cast)]
    let magic = facts.f_type as i64;
    if magic != CGROUP_V1 && magic != CGROUP_V2 {
        return Err(KnobError::refused(format!(
            "{} is not in a cgroup file system",
            directory.display()
        )));
    }
    Ok(())
}

/// Path of the task within the hierarchy mounted at `locator`. Of a process: its leader's.
pub(super) fn membership(task: Task, locator: &str) -> Result<String, KnobError> {
    let mount = Mount::at(Path::new(locator))?;
    let path = format!("/proc/{}/task/{}/cgroup", task.pid, task.number());
    let text = fs::read_to_string(&path)
        .map_err(|error| KnobError::os(format_args!("read {path}"), &error))?;
    mount.path_in(&text).ok_or_else(|| {
        KnobError::new(
            KnobErrorCode::NotSupported,
            format!("{path} names no cgroup of the hierarchy at {locator}"),
        )
    })
}

pub(super) fn set_membership(task: Task, locator: &str, value: &str) -> Result<(), KnobError> {
    let mount = Mount::at(Path::new(locator))?;
    let file = match task.tid {
        0 => "cgroup.procs",
        _ if mount.is_v2() => {
            return Err(KnobError::new(
                KnobErrorCode::NotSupported,
                format!("{task} cannot be moved alone in the v2 hierarchy at {locator}"),
            ));
        }
        _ => "tasks",
    };
    let directory = mount.directory(value)?;
    check_directory(&directory)?;
    let path = directory.join(file);
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| file.write_all(task.number().to_string().as_bytes()))
        .map_err(|error| {
            KnobError::os(format_args!("write {} to {}", task.number(), path.display()), &error)
        })
}

/// The directory and its parent, if `locator` may be a context at all.
fn place(locator: &str) -> Result<(&Path, &Path), KnobError> {
    let directory = Path::new(locator);
    let parent =
        directory.parent().filter(|_| directory.is_absolute() && directory.file_name().is_some());
    match parent {
        Some(parent) if !locator.ends_with('/') => Ok((directory, parent)),
        _ => Err(KnobError::refused(format!("`{locator}` is not the absolute path of a cgroup"))),
    }
}

pub(super) fn context(locator: &str) -> Result<String, KnobError> {
    let (directory, parent) = place(locator)?;
    check_directory(parent)?;
    match fs::symlink_metadata(directory) {
        Ok(facts) if facts.is_dir() => Ok(PRESENT.to_owned()),
        Ok(_) => Err(KnobError::refused(format!("{locator} is a file"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(ABSENT.to_owned()),
        Err(error) => Err(KnobError::os(format_args!("look at {locator}"), &error)),
    }
}

pub(super) fn set_context(locator: &str, value: &str) -> Result<(), KnobError> {
    let (directory, parent) = place(locator)?;
    check_directory(parent)?;
    match value {
        PRESENT => fs::create_dir(directory).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => KnobError::new(
                KnobErrorCode::Exists,
                format!("{locator} exists already and is somebody else's; choose another name"),
            ),
            _ => KnobError::os(format_args!("create {locator}"), &error),
        }),
        ABSENT => {
            match fs::symlink_metadata(directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(KnobError::os(format_args!("look at {locator}"), &error)),
                Ok(_) => {}
            }
            check_directory(directory)?;
            match fs::remove_dir(directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(KnobError::os(format_args!("remove {locator}"), &error))
                }
                _ => Ok(()),
            }
        }
        other => Err(KnobError::range(format!("`{other}` is neither {PRESENT} nor {ABSENT}"))),
    }
}
