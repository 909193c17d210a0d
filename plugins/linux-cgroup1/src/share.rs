//! CPU weight and idle: `cpu.shares` and `cpu.idle` of the v1 cpu controller.
//!
//! The two are one knob in the kernel. Setting `cpu.idle` rewrites the shares to 3 and refuses
//! (EINVAL) to write them; clearing it leaves 1024, whatever was there before. So idle is cleared
//! before the shares are written. That the shares come back when idle is undone is the journal's
//! doing: it writes them down beside every change of idle.

use crate::draft::Draft;
use crate::error::range;
use crate::group::Group;
use outrigger_sdk::{Capability, Error};

const SHARES: &str = "cpu.shares";
const IDLE: &str = "cpu.idle";

/// What a fresh group has, and what clearing idle leaves (`scale_load_down(NICE_0_LOAD)`).
const DEFAULT_SHARES: i64 = 1024;
/// `MIN_SHARES` and `MAX_SHARES` of kernel/sched/core.c; what is outside is brought inside.
const SHARES_MIN: i64 = 2;
const SHARES_MAX: i64 = 262_144;
/// Bounds and default of the weight the host speaks.
const WEIGHT_MIN: i64 = 1;
const WEIGHT_MAX: i64 = 10_000;
const WEIGHT_DEFAULT: i64 = 100;

/// Shares of a weight: 100 is 1024.
///
/// # Errors
/// Not in 1..=10000.
pub fn shares_of(weight: i64) -> Result<i64, Error> {
    if !(WEIGHT_MIN..=WEIGHT_MAX).contains(&weight) {
        return Err(range(
            "configure",
            format!(
                "CPU weight {weight} is out of range; allowed are {WEIGHT_MIN} to {WEIGHT_MAX}"
            ),
        ));
    }
    let rounded = (weight * DEFAULT_SHARES + WEIGHT_DEFAULT / 2) / WEIGHT_DEFAULT;
    Ok(rounded.clamp(SHARES_MIN, SHARES_MAX))
}

/// The weight that stands for some shares, at least 1.
pub fn weight_of(shares: i64) -> u32 {
    let rounded = (shares * WEIGHT_DEFAULT + DEFAULT_SHARES / 2) / DEFAULT_SHARES;
    // In 1..=10000 by the clamp.
    rounded.clamp(WEIGHT_MIN, WEIGHT_MAX) as u32
}

/// Whether a group runs only when nobody else wants the CPU. A kernel without the file has no
/// such groups.
pub fn is_idle(group: &Group) -> bool {
    group.read(IDLE).is_ok_and(|text| text == "1")
}

/// The weight of a group that exists.
pub fn weight(group: &Group) -> Option<u32> {
    group.number(SHARES, DEFAULT_SHARES).ok().map(weight_of)
}

/// Prepares weight and idle together.
///
/// While a group is to be idle its weight is moot: only idle is prepared, and the weight is
/// written once idle is cleared.
pub fn prepare(group: &Group, weight: Option<i64>, idle: Option<i64>, draft: &mut Draft) {
    let mut shares = match weight.map(shares_of).transpose() {
        Ok(shares) => shares,
        Err(error) => {
            draft.refuse(Capability::CPU_WEIGHT, error);
            None
        }
    };
    // Shares as they will be once the operations prepared so far are written.
    let mut now = match group.number(SHARES, DEFAULT_SHARES) {
        Ok(now) => now,
        Err(error) => {
            for knob in [weight.map(|_| Capability::CPU_WEIGHT), idle.map(|_| Capability::CPU_IDLE)]
            {
                knob.into_iter().for_each(|knob| draft.refuse(knob, error.clone()));
            }
            return;
        }
    };
    let idle_now = group.value(IDLE, "0").is_ok_and(|text| text == "1");
    match idle {
        None => {}
        Some(0) if idle_now => {
            draft.file(Capability::CPU_IDLE, group, IDLE, "1", "0");
            now = DEFAULT_SHARES;
        }
        Some(0) => {}
        Some(1) => {
            shares = None;
            if let Err(error) = can_idle(group) {
                draft.refuse(Capability::CPU_IDLE, error);
            } else if !idle_now {
                draft.file(Capability::CPU_IDLE, group, IDLE, "0", "1");
            }
        }
        Some(other) => draft.refuse(
            Capability::CPU_IDLE,
            range("configure", format!("cpu.idle {other} is out of range; allowed are 0 and 1")),
        ),
    }
    let Some(shares) = shares else { return };
    if idle_now && idle != Some(0) {
        draft.refuse(
            Capability::CPU_WEIGHT,
            range(
                "configure",
                format!(
                    "{} has cpu.idle set, which fixes its weight; clear idle first",
                    group.path
                ),
            ),
        );
        return;
    }
    draft.file(Capability::CPU_WEIGHT, group, SHARES, &now.to_string(), &shares.to_string());
}

/// `cpu.idle` exists since Linux 5.15, and in the root too: the enclosing group tells.
fn can_idle(group: &Group) -> Result<(), Error> {
    match (group.exists, group.parent()) {
        (false, Some(parent)) => parent.read(IDLE).map(|_| ()),
        _ => group.read(IDLE).map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn weights_and_shares_are_in_proportion() {
        for (weight, shares) in
            [(1, 10), (2, 20), (20, 205), (50, 512), (100, 1024), (1000, 10_240), (10_000, 102_400)]
        {
            assert_eq!(shares_of(weight).unwrap(), shares, "weight {weight}");
            assert_eq!(i64::from(weight_of(shares)), weight, "shares {shares}");
        }
        assert_eq!(weight_of(SHARES_MIN), 1, "the least the kernel has is the least there is");
        assert_eq!(weight_of(SHARES_MAX), 10_000);
    }

    #[test]
    fn weights_outside_are_refused_with_what_is_allowed() {
        for weight in [0, -1, 10_001, i64::MAX] {
            let message = shares_of(weight).unwrap_err().message;
            assert!(message.contains("1 to 10000"), "{message}");
        }
    }
}
