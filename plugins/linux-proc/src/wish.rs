//! What a setting of the host means in the words of the journal.
//!
//! Pure but for two looks at the machine: which CPUs are online, and whether it forms autogroups.

use crate::rules::{io_class, real_time};
use outrigger_sdk::undo::knob::cpu_list;
use outrigger_sdk::{Capability, Error, ErrorCode, Kind, Setting};

const STEP: &str = "prepare";

/// Nice values of the priority levels, from realtime to idle.
const NICE: [i32; 5] = [-20, -10, 0, 10, 19];

/// A setting in the words of the journal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub kind: Kind,
    pub locator: String,
    pub value: String,
}

impl Wish {
    /// # Errors
    /// The value is out of range, or the knob is not one of ours.
    pub(crate) fn read(setting: &Setting) -> Result<Self, Error> {
        let value = setting.value;
        let new = |kind, value: String| Self { kind, locator: String::new(), value };
        Ok(match setting.knob {
            Capability::PRIORITY => {
                new(Kind::Nice, NICE[within(setting, 0, 4)? as usize].to_string())
            }
            Capability::SCHED_CLASS => {
                let classes = ["other", "batch", "idle"];
                new(Kind::SchedPolicy, classes[within(setting, 0, 2)? as usize].to_owned())
            }
            Capability::AUTOGROUP => {
                if !autogroups() {
                    return Err(Error::not_supported(STEP, "autogroups are switched off"));
                }
                new(Kind::Autogroup, within(setting, -20, 19)?.to_string())
            }
            Capability::OOM_SCORE_ADJ => {
                new(Kind::OomScoreAdj, within(setting, -1000, 1000)?.to_string())
            }
            Capability::IO_PRIORITY => new(Kind::IoPriority, io_priority(value)?.to_string()),
            Capability::AFFINITY => new(Kind::Affinity, affinity(&setting.text)?),
            Capability::RLIMIT => Self {
                kind: Kind::Rlimit,
                locator: setting.text.to_string(),
                value: match value {
                    -1 => "unlimited".to_owned(),
                    _ => within(setting, 0, i64::MAX)?.to_string(),
                },
            },
            other => {
                return Err(Error::not_supported(STEP, format!("this backend has no {other}")));
            }
        })
    }

    pub(crate) fn per_thread(&self) -> bool {
        matches!(self.kind, Kind::Nice | Kind::SchedPolicy | Kind::Affinity | Kind::IoPriority)
    }

    /// What to write over a value: a thread whose children start afresh keeps that, and a
    /// real-time one is left to the rules.
    pub(crate) fn value_over(&self, before: &str) -> String {
        let keep = self.kind == Kind::SchedPolicy && before.ends_with("+reset");
        let reset = if keep && !real_time(before) { "+reset" } else { "" };
        format!("{}{reset}", self.value)
    }
}

fn within(setting: &Setting, low: i64, high: i64) -> Result<i64, Error> {
    let Setting { knob, value, .. } = setting;
    if (low..=high).contains(value) {
        return Ok(*value);
    }
    let message = format!("{knob} was to be {value}; it can be {low} to {high}");
    Err(Error::new(ErrorCode::RANGE, STEP, message))
}

/// Class 0 (none) has no level, 1 (real-time) and 2 (best effort) have eight, 3 (idle) ignores it.
fn io_priority(value: i64) -> Result<i32, Error> {
    let wrong = || {
        let message = format!("an I/O priority of {value} is none that ioprio_set(2) knows");
        Error::new(ErrorCode::RANGE, STEP, message)
    };
    let priority = i32::try_from(value).map_err(|_| wrong())?;
    let level = priority & 0x1fff;
    match io_class(priority) {
        0 if level == 0 => Ok(priority),
        1..=3 if level < 8 => Ok(priority),
        _ => Err(wrong()),
    }
}

/// The CPUs of a list that are online: the kernel would leave out the others by itself.
fn affinity(text: &str) -> Result<String, Error> {
    let range = |message: String| Error::new(ErrorCode::RANGE, STEP, message);
    let wanted = cpu_list::parse(text).map_err(|error| range(error.to_string()))?;
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let online = cpu_list::parse(&online).unwrap_or_default();
    let usable: Vec<u32> = wanted
        .into_iter()
        .filter(|cpu| online.is_empty() || online.binary_search(cpu).is_ok())
        .collect();
    if usable.is_empty() {
        let all = cpu_list::format(&online);
        return Err(range(format!("no CPU of `{text}` is online; online are {all}")));
    }
    Ok(cpu_list::format(&usable))
}

/// Whether the scheduler forms autogroups.
pub(crate) fn autogroups() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled")
        .is_ok_and(|text| text.trim() == "1")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn wish(knob: Capability, value: i64) -> Result<String, ErrorCode> {
        Wish::read(&Setting::number(knob, value)).map(|wish| wish.value).map_err(|error| error.code)
    }

    #[test]
    fn levels_and_classes() {
        let nice = |level| wish(Capability::PRIORITY, level).unwrap();
        assert_eq!((0..5).map(nice).collect::<Vec<_>>(), ["-20", "-10", "0", "10", "19"]);
        let class = |class| wish(Capability::SCHED_CLASS, class).unwrap();
        assert_eq!((0..3).map(class).collect::<Vec<_>>(), ["other", "batch", "idle"]);
    }

    #[test]
    fn values_out_of_range_are_told_apart_from_unknown_knobs() {
        for (knob, value) in [
            (Capability::PRIORITY, 5),
            (Capability::PRIORITY, -1),
            (Capability::SCHED_CLASS, 3),
            (Capability::OOM_SCORE_ADJ, 1001),
            (Capability::RLIMIT, -2),
            (Capability::IO_PRIORITY, 1),
            (Capability::IO_PRIORITY, (2 << 13) + 8),
            (Capability::IO_PRIORITY, 4 << 13),
            (Capability::IO_PRIORITY, -1),
        ] {
            assert_eq!(wish(knob, value), Err(ErrorCode::RANGE), "{knob} {value}");
        }
        assert_eq!(wish(Capability::CPU_WEIGHT, 100), Err(ErrorCode::NOT_SUPPORTED));
        for text in ["", "x", "8000"] {
            let error = Wish::read(&Setting::text(Capability::AFFINITY, text)).unwrap_err();
            assert_eq!(error.code, ErrorCode::RANGE, "{text}");
        }
    }

    #[test]
    fn reset_on_fork_is_kept() {
        let wish = Wish::read(&Setting::number(Capability::SCHED_CLASS, 2)).unwrap();
        assert_eq!(wish.value_over("other+reset"), "idle+reset");
        assert_eq!(wish.value_over("other"), "idle");
    }
}
