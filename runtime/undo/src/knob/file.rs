//! cgroup control files: which may be written, and how a whole content is written to those that
//! take one line at a time.
//!
//! Deliberately a closed list. `release_agent` makes the kernel run a program, `devices.*` and
//! `cgroup.procs` change what tasks may do and where they are: none of that is a knob.

use super::cgroup::check_directory;
use super::{KnobError, KnobErrorCode};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// How the content of a control file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The whole content at once.
    Whole,
    /// A line for each device, `MAJOR:MINOR VALUE`. A device that is not listed is written with
    /// this value instead.
    Devices(&'static str),
    /// Names, written with `+` and `-`.
    Names,
    /// Takes a value and shows none.
    Trigger,
}

/// The control files that may be written. v1: Documentation/admin-guide/cgroup-v1, v2:
/// Documentation/admin-guide/cgroup-v2.rst.
const FILES: [(&str, Form); 46] = [
    ("cpu.shares", Form::Whole),
    ("cpu.idle", Form::Whole),
    ("cpu.cfs_quota_us", Form::Whole),
    ("cpu.cfs_period_us", Form::Whole),
    ("cpu.cfs_burst_us", Form::Whole),
    ("cpu.rt_runtime_us", Form::Whole),
    ("cpu.rt_period_us", Form::Whole),
    ("cpu.weight", Form::Whole),
    ("cpu.weight.nice", Form::Whole),
    ("cpu.max", Form::Whole),
    ("cpu.max.burst", Form::Whole),
    ("cpu.uclamp.min", Form::Whole),
    ("cpu.uclamp.max", Form::Whole),
    ("cpuset.cpus", Form::Whole),
    ("cpuset.mems", Form::Whole),
    ("cpuset.cpus.partition", Form::Whole),
    ("cpuset.memory_migrate", Form::Whole),
    ("memory.limit_in_bytes", Form::Whole),
    ("memory.soft_limit_in_bytes", Form::Whole),
    ("memory.memsw.limit_in_bytes", Form::Whole),
    ("memory.swappiness", Form::Whole),
    ("memory.min", Form::Whole),
    ("memory.low", Form::Whole),
    ("memory.high", Form::Whole),
    ("memory.max", Form::Whole),
    ("memory.swap.high", Form::Whole),
    ("memory.swap.max", Form::Whole),
    ("memory.zswap.max", Form::Whole),
    ("memory.oom.group", Form::Whole),
    ("memory.reclaim", Form::Trigger),
    ("pids.max", Form::Whole),
    ("hugetlb.2MB.max", Form::Whole),
    ("freezer.state", Form::Whole),
    ("cgroup.freeze", Form::Whole),
    ("cgroup.kill", Form::Trigger),
    ("cgroup.subtree_control", Form::Names),
    ("blkio.weight", Form::Whole),
    ("blkio.bfq.weight", Form::Whole),
    ("io.weight", Form::Devices("default")),
    ("io.bfq.weight", Form::Devices("default")),
    ("blkio.throttle.read_bps_device", Form::Devices("0")),
    ("blkio.throttle.write_bps_device", Form::Devices("0")),
    ("blkio.throttle.read_iops_device", Form::Devices("0")),
    ("blkio.throttle.write_iops_device", Form::Devices("0")),
    ("io.max", Form::Devices("rbps=max wbps=max riops=max wiops=max")),
    ("io.latency", Form::Devices("target=0")),
];

fn form(path: &Path) -> Option<Form> {
    let name = path.file_name()?.to_str()?;
    FILES.iter().find(|(known, _)| *known == name).map(|(_, form)| *form)
}

fn check(locator: &str) -> Result<(&Path, Form), KnobError> {
    let path = Path::new(locator);
    let form = form(path).ok_or_else(|| {
        KnobError::refused(format!("{locator} is not a control file we ever write"))
    })?;
    let directory = path.parent().filter(|_| path.is_absolute());
    check_directory(
        directory.ok_or_else(|| KnobError::refused(format!("{locator} is not absolute")))?,
    )?;
    Ok((path, form))
}

pub(super) fn read(locator: &str) -> Result<String, KnobError> {
    match check(locator)? {
        (_, Form::Trigger) => Ok(String::new()),
        (path, _) => content(path),
    }
}

fn content(path: &Path) -> Result<String, KnobError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim_end_matches('\n').to_owned()),
        Err(error) => Err(missing(path, &error, "read".to_owned())),
    }
}

pub(super) fn write(locator: &str, value: &str) -> Result<(), KnobError> {
    let (path, form) = check(locator)?;
    match form {
        Form::Whole | Form::Trigger => write_once(path, value),
        Form::Devices(unset) => device_lines(&content(path)?, value, unset)
            .iter()
            .try_for_each(|line| write_once(path, line)),
        Form::Names => match name_changes(&content(path)?, value) {
            changes if changes.is_empty() => Ok(()),
            changes => write_once(path, &changes),
        },
    }
}

fn write_once(path: &Path, value: &str) -> Result<(), KnobError> {
    // A write of no bytes does not reach the kernel; a newline is how a list is emptied.
    let bytes = if value.is_empty() { "\n" } else { value };
    OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .and_then(|mut file| file.write_all(bytes.as_bytes()))
        .map_err(|error| missing(path, &error, format!("write `{value}` to")))
}

/// A missing file in a directory that is there is a knob this kernel does not have.
fn missing(path: &Path, error: &std::io::Error, verb: String) -> KnobError {
    if error.kind() == ErrorKind::NotFound && path.parent().is_some_and(Path::is_dir) {
        let text = format!("{} does not exist on this kernel", path.display());
        return KnobError::new(KnobErrorCode::NotSupported, text);
    }
    KnobError::os(format_args!("{verb} {}", path.display()), error)
}

/// The lines to write, one by one, so that the file reads as `wanted`.
fn device_lines(current: &str, wanted: &str, unset: &str) -> Vec<String> {
    let key = |line: &str| line.split_whitespace().next().unwrap_or("").to_owned();
    let lines = |text: &str| -> Vec<String> {
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    let (current, wanted) = (lines(current), lines(wanted));
    let superfluous = current
        .iter()
        .map(|line| key(line))
        // `default` is a line that is always there.
        .filter(|device| device.contains(':') && !wanted.iter().any(|line| key(line) == *device))
        .map(|device| format!("{device} {unset}"));
    superfluous.chain(wanted.iter().filter(|line| !current.contains(line)).cloned()).collect()
}

/// `+name -name` for what differs.
fn name_changes(current: &str, wanted: &str) -> String {
    let has = |text: &str, name: &str| text.split_whitespace().any(|one| one == name);
    let added =
        wanted.split_whitespace().filter(|name| !has(current, name)).map(|name| format!("+{name}"));
    let removed =
        current.split_whitespace().filter(|name| !has(wanted, name)).map(|name| format!("-{name}"));
    added.chain(removed).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{device_lines, name_changes, read, write};
    use crate::knob::KnobErrorCode;

    #[test]
    fn only_what_differs_is_written_device_by_device() {
        let now = "8:0 1000\n8:16 5";
        assert_eq!(device_lines(now, "8:0 2000\n8:16 5", "0"), ["8:0 2000"]);
        assert_eq!(device_lines(now, "", "0"), ["8:0 0", "8:16 0"]);
        assert_eq!(device_lines("default 100\n8:0 50", "default 100", "default"), ["8:0 default"]);
        assert!(device_lines(now, now, "0").is_empty());
    }

    #[test]
    fn controllers_are_added_and_removed_by_name() {
        assert_eq!(name_changes("cpu io", "cpu memory"), "+memory -io");
        assert_eq!(name_changes("cpu", "cpu"), "");
    }

    #[test]
    fn files_off_the_list_and_outside_cgroups_are_refused() {
        for locator in [
            "/sys/fs/cgroup/cpu/release_agent",
            "/sys/fs/cgroup/cpu/tasks",
            "/tmp/cpu.shares",
            "cpu.shares",
        ] {
            for answer in [read(locator), write(locator, "1").map(|()| String::new())] {
                let code = answer.err().map(|error| error.code());
                assert_eq!(code, Some(KnobErrorCode::Refused), "{locator}");
            }
        }
    }
}
