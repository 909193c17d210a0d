//! Bytes per second from and to a block device: `blkio.throttle.*_bps_device`.
//!
//! These files hold a line for each device. A journalled operation carries the whole content, so
//! that undo leaves devices alone that were limited by somebody else. What the page cache writes
//! back later is not charged to the writer on v1.

use crate::draft::Draft;
use crate::error::range;
use crate::group::Group;
use outrigger_sdk::{Capability, Error};
use std::path::Path;

const READ: &str = "blkio.throttle.read_bps_device";
const WRITE: &str = "blkio.throttle.write_bps_device";

/// Prepares bytes per second for one device, `MAJOR:MINOR`; -1 is no limit. `so_far` is what
/// earlier settings of the same desired state make of the file.
///
/// # Errors
/// Not a block device, out of range, or the file cannot be read.
pub fn merge(
    group: &Group,
    knob: Capability,
    device: &str,
    rate: i64,
    so_far: Option<String>,
) -> Result<String, Error> {
    if rate != -1 && rate < 1 {
        return Err(range(
            "configure",
            format!("{rate} bytes per second are out of range; the least is 1, and -1 is no limit"),
        ));
    }
    check_device(device)?;
    let text = so_far.map_or_else(|| current(group, knob), Ok)?;
    Ok(with(&text, device, (rate != -1).then_some(rate)))
}

/// Adds the operation for the content the file shall have.
///
/// # Errors
/// The file cannot be read.
pub fn prepare(
    group: &Group,
    knob: Capability,
    content: &str,
    draft: &mut Draft,
) -> Result<(), Error> {
    let before = current(group, knob)?;
    if lines(&before) != lines(content) {
        draft.file(knob, group, file(knob), &before, content);
    }
    Ok(())
}

fn file(knob: Capability) -> &'static str {
    if knob == Capability::IO_WRITE_LIMIT { WRITE } else { READ }
}

fn current(group: &Group, knob: Capability) -> Result<String, Error> {
    group.value(file(knob), "")
}

fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines
}

/// The content with one device's line replaced, added or removed.
fn with(text: &str, device: &str, rate: Option<i64>) -> String {
    let mut kept: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && line.split_whitespace().next() != Some(device))
        .map(str::to_owned)
        .collect();
    kept.extend(rate.map(|rate| format!("{device} {rate}")));
    kept.join("\n")
}

fn check_device(device: &str) -> Result<(), Error> {
    let form = device.split_once(':').is_some_and(|(major, minor)| {
        [major, minor].iter().all(|part| part.parse::<u32>().is_ok_and(|n| n.to_string() == **part))
    });
    if !form {
        return Err(range(
            "configure",
            format!("`{device}` is not a block device; write it as MAJOR:MINOR, such as 8:0"),
        ));
    }
    if Path::new("/sys/dev/block").join(device).exists() {
        return Ok(());
    }
    Err(range("configure", format!("there is no block device {device}; see /sys/dev/block")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_device_changes_and_the_others_stay() {
        assert_eq!(with("8:0 100\n8:16 5", "8:0", Some(7)), "8:16 5\n8:0 7");
        assert_eq!(with("8:0 100\n8:16 5", "8:0", None), "8:16 5");
        assert_eq!(with("", "8:0", Some(7)), "8:0 7");
        assert_eq!(with("8:0 7", "8:0", None), "");
    }

    #[test]
    fn devices_are_named_by_number() {
        for bad in ["", "sda", "8", "8:0:1", "08:0", "-1:0", "8:0 "] {
            let error = check_device(bad).err();
            assert!(error.is_some_and(|error| error.message.contains("MAJOR:MINOR")), "{bad}");
        }
        assert!(check_device("4095:1048575").is_err_and(|e| e.message.contains("there is no")));
    }
}
