//! Block devices in control files that have a line for each, `MAJOR:MINOR ...`.

use crate::error::range;
use outrigger_sdk::Error;
use std::path::Path;

/// Bytes per second; -1 is no limit.
///
/// # Errors
/// Out of range.
pub fn rate(bytes: i64) -> Result<Option<i64>, Error> {
    match bytes {
        -1 => Ok(None),
        1.. => Ok(Some(bytes)),
        _ => Err(range(
            "configure",
            format!(
                "{bytes} bytes per second are out of range; the least is 1, and -1 is no limit"
            ),
        )),
    }
}

/// The lines in an order that does not depend on who wrote them.
pub fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines
}

/// Whether this is a block device of this machine.
///
/// # Errors
/// No `MAJOR:MINOR`, or none of this machine.
pub fn check(device: &str) -> Result<(), Error> {
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
    fn devices_are_named_by_number() {
        for bad in ["", "sda", "8", "8:0:1", "08:0", "-1:0", "8:0 "] {
            let error = check(bad).err();
            assert!(error.is_some_and(|error| error.message.contains("MAJOR:MINOR")), "{bad}");
        }
        assert!(check("4095:1048575").is_err_and(|e| e.message.contains("there is no")));
    }
}
