//! CPU limit and burst: `cpu.cfs_quota_us` in each `cpu.cfs_period_us`, and `cpu.cfs_burst_us`.
//!
//! The kernel answers a bare EINVAL to a quota above the parent's or below a child's, and to a
//! burst above the quota. Here these are found beforehand and said in words. What is deliberately
//! not done: a group that has had a limit is not set back to "none" (-1) while it is governed,
//! because that switches bandwidth control off for the whole machine and on again with the next
//! limit (8 ms each time); it gets a limit that never limits. Undo sets -1.

use outrigger_cgroup::draft::Draft;
use outrigger_cgroup::error::range;
use outrigger_cgroup::group::Group;
use outrigger_cgroup::version::Asked;
use outrigger_sdk::undo::knob::cpu_list;
use outrigger_sdk::{Capability, Error};

const QUOTA: &str = "cpu.cfs_quota_us";
const PERIOD: &str = "cpu.cfs_period_us";
const BURST: &str = "cpu.cfs_burst_us";

/// What a fresh group has, us (`default_cfs_period`).
const DEFAULT_PERIOD: i64 = 100_000;
/// Least quota the kernel takes, us (`min_cfs_quota_period`).
const QUOTA_MIN: i64 = 1_000;
/// No limit.
const NONE: i64 = -1;
/// A parked quota is this many times what all CPUs can use, so that CPUs that come online and
/// slices handed out unevenly do not matter.
const PARKED: i64 = 4;
/// So many descendants are asked for their quota at most.
const DESCENDANTS: usize = 4096;

/// Time per period of a limit in millicores, us: millicores thousandths of each period.
pub fn quota_of(millicores: i64, period: i64) -> i64 {
    (millicores.saturating_mul(period) + 500) / 1000
}

/// Limit in millicores of a quota, -1 if there is none.
pub fn limit_of(quota: i64, period: i64) -> i64 {
    if quota < 0 || period <= 0 { NONE } else { (quota.saturating_mul(1000) + period / 2) / period }
}

/// The limit of a group that exists, millicores; -1 if none.
pub fn limit(group: &Group) -> Option<i64> {
    Some(limit_of(group.number(QUOTA, NONE).ok()?, group.number(PERIOD, DEFAULT_PERIOD).ok()?))
}

/// What the kernel compares (`to_ratio` of kernel/sched/core.c); `None` without a quota.
fn ratio(quota: i64, period: i64) -> Option<i64> {
    (quota >= 0 && period > 0).then(|| ((i128::from(quota) << 20) / i128::from(period)) as i64)
}

struct Bandwidth {
    quota: i64,
    period: i64,
    burst: Option<i64>,
}

impl Bandwidth {
    fn of(group: &Group) -> Result<Self, Error> {
        Ok(Self {
            quota: group.number(QUOTA, NONE)?,
            period: group.number(PERIOD, DEFAULT_PERIOD)?,
            burst: burst_file(group).number(BURST, 0).ok().map(|burst| match group.exists {
                true => burst,
                false => 0,
            }),
        })
    }
}

/// The burst file exists since Linux 5.14, in the root too: before a group is made the
/// enclosing one tells whether it will have one.
fn burst_file(group: &Group) -> Group {
    if group.exists { group.clone() } else { group.parent().unwrap_or_else(|| group.clone()) }
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
    let quota = match limit.map(|limit| wanted_quota(group, limit, &now)).transpose() {
        Ok(quota) => quota.unwrap_or(now.quota),
        Err(error) => {
            draft.refuse(Capability::CPU_LIMIT, error);
            now.quota
        }
    };
    let wanted_burst = match burst.map(|burst| check_burst(group, burst, quota, &now)).transpose() {
        Ok(wanted) => wanted.or(now.burst).unwrap_or(0),
        Err(error) => {
            draft.refuse(Capability::CPU_BURST, error);
            now.burst.unwrap_or(0)
        }
    };
    // A quota never goes below the burst: what is saved shrinks with it.
    let wanted_burst = if quota >= 0 { wanted_burst.min(quota) } else { wanted_burst };
    let burst_now = now.burst.unwrap_or(0);
    let quota_operation = |draft: &mut Draft| {
        let (before, after) = (now.quota.to_string(), quota.to_string());
        draft.file(Capability::CPU_LIMIT, group, QUOTA, &before, &after);
    };
    let burst_operation = |draft: &mut Draft| {
        let (before, after) = (burst_now.to_string(), wanted_burst.to_string());
        draft.file(Capability::CPU_BURST, group, BURST, &before, &after);
    };
    // At no moment may the burst be above the quota, neither now nor when this is undone.
    if wanted_burst < burst_now {
        burst_operation(draft);
        quota_operation(draft);
    } else {
        quota_operation(draft);
        burst_operation(draft);
    }
}

/// The quota that expresses a limit in this place, us per period.
fn wanted_quota(group: &Group, limit: i64, now: &Bandwidth) -> Result<i64, Error> {
    let above = above(group);
    if limit == NONE {
        let all = now.period.saturating_mul(cpus());
        let parked = match &above {
            Some(above) => quota_of_ratio(above, now.period),
            None => all.saturating_mul(PARKED),
        };
        let unlimited = now.quota == NONE || now.quota >= all || now.quota >= parked;
        return Ok(if unlimited { now.quota } else { parked });
    }
    let quota = quota_of(limit.max(0), now.period);
    if limit <= 0 || quota < QUOTA_MIN {
        let least = limit_of(QUOTA_MIN, now.period).max(1);
        return Err(range(
            "configure",
            format!("a CPU limit of {limit} millicores is out of range; the least is {least}"),
        ));
    }
    let wanted = ratio(quota, now.period);
    if let Some(above) = above
        && wanted > ratio(above.quota, above.period)
    {
        return Err(range(
            "configure",
            format!(
                "a CPU limit of {limit} millicores is more than the {} that {} above it has",
                limit_of(above.quota, above.period),
                above.path
            ),
        ));
    }
    if let Some(below) = group.exists.then(|| below(group, wanted)).flatten() {
        return Err(range(
            "configure",
            format!(
                "a CPU limit of {limit} millicores is less than the {} that {} below it has; \
                 lower that first",
                limit_of(below.quota, below.period),
                below.path
            ),
        ));
    }
    Ok(quota)
}

/// CPUs online. Not what this process may use: a group may be allowed more than we are.
fn cpus() -> i64 {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    cpu_list::parse(&online).map_or(0, |cpus| cpus.len() as i64).max(1)
}

/// The largest quota that is no more than another group's share of its period.
fn quota_of_ratio(above: &Limited, period: i64) -> i64 {
    (i128::from(above.quota) * i128::from(period) / i128::from(above.period.max(1))) as i64
}

fn check_burst(group: &Group, burst: i64, quota: i64, now: &Bandwidth) -> Result<i64, Error> {
    if now.burst.is_none() {
        burst_file(group).read(BURST)?;
    }
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

struct Limited {
    path: String,
    quota: i64,
    period: i64,
}

fn limited(group: Group) -> Option<Limited> {
    let quota = group.number(QUOTA, NONE).ok().filter(|quota| *quota >= 0)?;
    let period = group.number(PERIOD, DEFAULT_PERIOD).ok()?;
    Some(Limited { path: group.path, quota, period })
}

/// The nearest enclosing group with a quota. Its own is no more than those above it.
fn above(group: &Group) -> Option<Limited> {
    let mut group = group.parent()?;
    loop {
        let parent = group.parent();
        if let Some(found) = limited(group) {
            return Some(found);
        }
        group = parent?;
    }
}

/// A descendant with more than a ratio.
fn below(group: &Group, wanted: Option<i64>) -> Option<Limited> {
    let mut queue = group.children();
    let mut seen = 0;
    while let Some(next) = queue.pop() {
        seen += 1;
        if seen > DESCENDANTS {
            return None;
        }
        match limited(next.clone()) {
            Some(found) if ratio(found.quota, found.period) > wanted => return Some(found),
            // Below a limit there are only smaller ones.
            Some(_) => {}
            None => queue.extend(next.children()),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn millicores_are_thousandths_of_each_period() {
        assert_eq!(quota_of(750, 100_000), 75_000);
        assert_eq!(quota_of(1000, 100_000), 100_000);
        assert_eq!(quota_of(1500, 50_000), 75_000);
        assert_eq!(quota_of(10, 100_000), QUOTA_MIN);
        for millicores in [10, 33, 250, 999, 64_000] {
            assert_eq!(limit_of(quota_of(millicores, 100_000), 100_000), millicores);
        }
        assert_eq!(limit_of(NONE, 100_000), NONE);
    }

    #[test]
    fn ratios_compare_quotas_of_different_periods() {
        assert_eq!(ratio(50_000, 100_000), ratio(25_000, 50_000));
        assert!(ratio(60_000, 100_000) > ratio(25_000, 50_000));
        assert_eq!(ratio(NONE, 100_000), None);
    }
}
