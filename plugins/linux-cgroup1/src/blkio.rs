//! Bytes per second from and to a block device: `blkio.throttle.*_bps_device`.
//!
//! These files hold a line for each device. A journalled operation carries the whole content, so
//! that undo leaves devices alone that were limited by somebody else. What the page cache writes
//! back later is not charged to the writer on v1.

use outrigger_cgroup::device;
use outrigger_cgroup::draft::Draft;
use outrigger_cgroup::group::Group;
use outrigger_cgroup::version::Asked;
use outrigger_sdk::{Capability, Error};

const READ: &str = "blkio.throttle.read_bps_device";
const WRITE: &str = "blkio.throttle.write_bps_device";

/// Prepares bytes per second, device by device: the text of a setting is `MAJOR:MINOR`, -1 is no
/// limit.
pub fn prepare(asked: Asked<'_>, group: &Group, draft: &mut Draft) {
    for knob in [Capability::IO_READ_LIMIT, Capability::IO_WRITE_LIMIT] {
        let mut content = None;
        for setting in asked.0.iter().filter(|setting| setting.knob == knob) {
            match merge(group, knob, &setting.text, setting.value, content.clone()) {
                Ok(merged) => content = Some(merged),
                Err(error) => draft.refuse(knob, error),
            }
        }
        if let Some(content) = content {
            draft.attempt(knob, |draft| write(group, knob, &content, draft));
        }
    }
}

/// The content with one device's rate. `so_far` is what earlier settings make of the file.
fn merge(
    group: &Group,
    knob: Capability,
    device: &str,
    rate: i64,
    so_far: Option<String>,
) -> Result<String, Error> {
    let rate = device::rate(rate)?;
    device::check(device)?;
    let text = so_far.map_or_else(|| current(group, knob), Ok)?;
    Ok(with(&text, device, rate))
}

/// Adds the operation for the content the file shall have.
fn write(group: &Group, knob: Capability, content: &str, draft: &mut Draft) -> Result<(), Error> {
    let before = current(group, knob)?;
    if device::lines(&before) != device::lines(content) {
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
}
