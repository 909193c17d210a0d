//! CPU limit and burst: `cpu.max` (`QUOTA PERIOD`, us) and `cpu.max.burst`.
//!
//! What is deliberately not done: a group that has had a limit is not set back to `max` while it
//! is governed, because that switches bandwidth control off for the whole machine and on again
//! with the next limit (8 ms each time); it gets a limit that never limits. Undo writes `max`.
//! Other than on v1 a quota may be above the parent's: the parent's then counts.

use outrigger_cgroup::draft::Draft;
use outrigger_cgroup::error::range;
use outrigger_cgroup::group::Group;
use outrigger_cgroup::version::Asked;
use outrigger_sdk::undo::knob::cpu_list;
use outrigger_sdk::{Capability, Error, ErrorCode};

const MAX: &str = "cpu.max";
const BURST: &str = "cpu.max.burst";
const UNLIMITED: &str = "max";
/// What a fresh group has.
const FRESH: &str = "max 100000";

/// Least quota the kernel takes, us (`min_cfs_quota_period` of kernel/sched/core.c).
const QUOTA_MIN: i64 = 1_000;
/// No limit.
const NONE: i64 = -1;
/// A parked quota is this many times what all CPUs can use, so that CPUs that come online and
/// slices handed out unevenly do not matter.
const PARKED: i64 = 4;

/// Time a group may use in each period, us; no quota is -1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bandwidth {
    quota: i64,
    period: i64,
}

impl Bandwidth {
    fn of(group: &Group) -> Result<Self, Error> {
        let text = group.value(MAX, FRESH)?;
        Self::parse(&text).ok_or_else(|| {
            let place = group.dir.join(MAX);
            Error::new(
                ErrorCode::NONSENSE,
                "read",
                format!("{} reads `{text}`, which is not QUOTA PERIOD", place.display()),
            )
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let (quota, period) = text.split_once(' ')?;
        let quota = if quota == UNLIMITED { NONE } else { quota.parse().ok()? };
        Some(Self { quota, period: period.trim().parse().ok().filter(|period| *period > 0)? })
    }

    fn text(self) -> String {
        match self.quota {
            NONE => format!("{UNLIMITED} {}", self.period),
            quota => format!("{quota} {}", self.period),
        }
    }

    fn millicores(self) -> i64 {
        match self.quota {
            NONE => NONE,
            quota => (quota.saturating_mul(1000) + self.period / 2) / self.period,
        }
    }
}

/// The limit of a group that exists, millicores; -1 if none.
pub fn limit(group: &Group) -> Option<i64> {
    Bandwidth::of(group).ok().map(Bandwidth::millicores)
}

/// Prepares limit (millicores or -1) and burst (us per period) together.
pub fn prepare(asked: Asked<'_>, group: &Group, draft: &mut Draft) {
    let limit = asked.value(Capability::CPU_LIMIT);
    let burst = asked.value(Capability::CPU_BURST);
    if limit.is_none() && burst.is_none() {
        return;
    }
    let now = match Bandwidth::of(group) {
        Ok(now) => now,
        Err(error) => {
            for knob in [limit.map(|_| Capability::CPU_LIMIT), burst.map(|_| Capability::CPU_BURST)]
            {
                knob.into_iter().for_each(|knob| draft.refuse(knob, error.clone()));
            }
            return;
        }
    };
    let wanted = match limit.map(|limit| wanted(limit, now)).transpose() {
        Ok(wanted) => wanted.unwrap_or(now),
        Err(error) => {
            draft.refuse(Capability::CPU_LIMIT, error);
            now
        }
    };
    // The file exists since Linux 5.14.
    let burst_now = group.number(BURST, 0);
    let wanted_burst = match (burst, &burst_now) {
        (None, now) => now.clone().unwrap_or(0),
        (Some(_), Err(error)) => {
            draft.refuse(Capability::CPU_BURST, error.clone());
            0
        }
        (Some(burst), Ok(now)) => check_burst(burst, wanted.quota).unwrap_or_else(|error| {
            draft.refuse(Capability::CPU_BURST, error);
            *now
        }),
    };
    let burst_now = burst_now.unwrap_or(0);
    // A quota never goes below the burst: what is saved shrinks with it.
    let wanted_burst =
        if wanted.quota >= 0 { wanted_burst.min(wanted.quota) } else { wanted_burst };
    let quota = |draft: &mut Draft| {
        draft.file(Capability::CPU_LIMIT, group, MAX, &now.text(), &wanted.text());
    };
    let burst = |draft: &mut Draft| {
        let (before, after) = (burst_now.to_string(), wanted_burst.to_string());
        draft.file(Capability::CPU_BURST, group, BURST, &before, &after);
    };
    // At no moment may the burst be above the quota, neither now nor when this is undone.
    if wanted_burst < burst_now {
        burst(draft);
        quota(draft);
    } else {
        quota(draft);
        burst(draft);
    }
}

fn wanted(limit: i64, now: Bandwidth) -> Result<Bandwidth, Error> {
    if limit == NONE {
        let all = now.period.saturating_mul(cpus());
        let unlimited = now.quota == NONE || now.quota >= all;
        return Ok(if unlimited { now } else { Bandwidth { quota: all * PARKED, ..now } });
    }
    let quota = (limit.saturating_mul(now.period).saturating_add(500)) / 1000;
    if limit <= 0 || quota < QUOTA_MIN {
        let least = Bandwidth { quota: QUOTA_MIN, ..now }.millicores().max(1);
        return Err(range(
            "configure",
            format!("a CPU limit of {limit} millicores is out of range; the least is {least}"),
        ));
    }
    Ok(Bandwidth { quota, ..now })
}

fn check_burst(burst: i64, quota: i64) -> Result<i64, Error> {
    if burst == 0 {
        return Ok(0);
    }
    if quota < 0 {
        return Err(range(
            "configure",
            "a CPU burst needs a CPU limit to save from; set one first",
        ));
    }
    if !(0..=quota).contains(&burst) {
        return Err(range(
            "configure",
            format!(
                "a CPU burst of {burst} us is out of range; allowed are 0 to {quota}, the quota"
            ),
        ));
    }
    Ok(burst)
}

/// CPUs online. Not what this process may use: a group may be allowed more than we are.
fn cpus() -> i64 {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    cpu_list::parse(&online).map_or(0, |cpus| cpus.len() as i64).max(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_read_is_what_is_written() {
        for (text, millicores) in
            [("max 100000", NONE), ("75000 100000", 750), ("3000 2000", 1500), ("1000 100000", 10)]
        {
            let bandwidth = Bandwidth::parse(text).unwrap();
            assert_eq!(bandwidth.text(), text);
            assert_eq!(bandwidth.millicores(), millicores);
        }
        for bad in ["", "max", "1 0", "x 1", "1 -5"] {
            assert_eq!(Bandwidth::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn limits_are_millicores_and_none_is_parked() {
        let now = Bandwidth { quota: NONE, period: 100_000 };
        assert_eq!(wanted(750, now).unwrap().quota, 75_000);
        assert_eq!(wanted(NONE, now).unwrap(), now, "never limited, nothing to park");
        let limited = Bandwidth { quota: 5_000, ..now };
        let parked = wanted(NONE, limited).unwrap();
        assert!(parked.quota >= cpus() * now.period, "{parked:?}");
        assert_eq!(wanted(NONE, parked).unwrap(), parked, "parked once");
        for bad in [0, -2, 9, i64::MIN] {
            assert!(wanted(bad, now).unwrap_err().message.contains("the least is 10"), "{bad}");
        }
    }

    #[test]
    fn a_burst_needs_a_quota_it_fits_into() {
        assert!(check_burst(0, NONE).is_ok());
        assert!(check_burst(1, NONE).is_err());
        assert!(check_burst(5, 5).is_ok());
        assert!(check_burst(6, 5).is_err());
        assert!(check_burst(-1, 5).is_err());
    }
}
