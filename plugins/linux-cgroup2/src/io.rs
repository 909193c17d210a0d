//! I/O: `io.max` (bytes per second and device) and `io.weight`.
//!
//! `io.max` has one line for a device with four limits in it. A journalled operation carries the
//! whole content, so that undo leaves devices, and the other limits of a device, alone that were
//! set by somebody else. Unlike on v1 what the page cache writes back later counts too.

use outrigger_cgroup::device;
use outrigger_cgroup::draft::Draft;
use outrigger_cgroup::error::range;
use outrigger_cgroup::group::Group;
use outrigger_cgroup::version::Asked;
use outrigger_sdk::Capability;

const MAX: &str = "io.max";
/// Exists with the `iocost` policy (`CONFIG_BLK_CGROUP_IOCOST`).
const WEIGHT: &str = "io.weight";
const FRESH_WEIGHT: &str = "default 100";
/// The limits of a device without any, in the kernel's order.
const NO_LIMITS: [(&str, &str); 4] =
    [("rbps", "max"), ("wbps", "max"), ("riops", "max"), ("wiops", "max")];

/// Prepares what is asked for.
pub fn prepare(asked: Asked<'_>, group: &Group, draft: &mut Draft) {
    limits(asked, group, draft);
    if let Some(weight) = asked.value(Capability::IO_WEIGHT) {
        draft.attempt(Capability::IO_WEIGHT, |draft| {
            if !(1..=10_000).contains(&weight) {
                return Err(range(
                    "configure",
                    format!("I/O weight {weight} is out of range; allowed are 1 to 10000"),
                ));
            }
            let before = group.value(WEIGHT, FRESH_WEIGHT)?;
            let after = with_default(&before, weight);
            draft.file(Capability::IO_WEIGHT, group, WEIGHT, &before, &after);
            Ok(())
        });
    }
}

fn limits(asked: Asked<'_>, group: &Group, draft: &mut Draft) {
    let is_limit = |knob| matches!(knob, Capability::IO_READ_LIMIT | Capability::IO_WRITE_LIMIT);
    let mut settings = asked.0.iter().filter(|setting| is_limit(setting.knob)).peekable();
    let Some(first) = settings.peek().map(|setting| setting.knob) else { return };
    let before = match group.value(MAX, "") {
        Ok(before) => before,
        Err(error) => return draft.refuse(first, error),
    };
    let mut content = before.clone();
    for setting in settings {
        let key = if setting.knob == Capability::IO_READ_LIMIT { "rbps" } else { "wbps" };
        match device::check(&setting.text).and_then(|()| device::rate(setting.value)) {
            Ok(rate) => content = with(&content, &setting.text, key, rate),
            Err(error) => draft.refuse(setting.knob, error),
        }
    }
    if device::lines(&before) != device::lines(&content) {
        draft.file(first, group, MAX, &before, &content);
    }
}

/// The content with one limit of one device replaced.
fn with(text: &str, device: &str, key: &str, rate: Option<i64>) -> String {
    let of_device = |line: &&str| line.split_whitespace().next() == Some(device);
    let known = text.lines().find(of_device).unwrap_or("");
    let found = |name: &str| {
        known.split_whitespace().find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
    };
    let limits: Vec<(&str, String)> = NO_LIMITS
        .iter()
        .map(|(name, none)| {
            let value = match rate {
                Some(rate) if *name == key => rate.to_string(),
                None if *name == key => (*none).to_owned(),
                _ => found(name).unwrap_or(none).to_owned(),
            };
            (*name, value)
        })
        .collect();
    let mut kept: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !of_device(line))
        .map(str::to_owned)
        .collect();
    if limits.iter().any(|(_, value)| value != "max") {
        let limits: Vec<String> =
            limits.iter().map(|(name, value)| format!("{name}={value}")).collect();
        kept.push(format!("{device} {}", limits.join(" ")));
    }
    kept.join("\n")
}

/// The content with another default weight; those of devices stay.
fn with_default(text: &str, weight: i64) -> String {
    let devices = text.lines().filter(|line| !line.starts_with("default ") && !line.is_empty());
    std::iter::once(format!("default {weight}"))
        .chain(devices.map(str::to_owned))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_limit_changes_and_the_others_stay() {
        let both =
            "8:0 rbps=1000 wbps=max riops=max wiops=5\n8:16 rbps=max wbps=7 riops=max wiops=max";
        assert_eq!(
            with(both, "8:0", "wbps", Some(9)),
            "8:16 rbps=max wbps=7 riops=max wiops=max\n8:0 rbps=1000 wbps=9 riops=max wiops=5"
        );
        assert_eq!(with(both, "8:16", "wbps", None), "8:0 rbps=1000 wbps=max riops=max wiops=5");
        assert_eq!(with("", "8:0", "rbps", Some(1)), "8:0 rbps=1 wbps=max riops=max wiops=max");
    }

    #[test]
    fn the_default_weight_changes_and_those_of_devices_stay() {
        assert_eq!(with_default("default 100\n8:0 50", 10), "default 10\n8:0 50");
        assert_eq!(with_default("default 100", 1), "default 1");
    }
}
