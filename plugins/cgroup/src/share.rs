//! CPU weight and idle: `cpu.shares` (v1) or `cpu.weight` (v2), and `cpu.idle`.
//!
//! The two are one knob in the kernel. Setting `cpu.idle` rewrites the weight and refuses
//! (EINVAL) to have it written; clearing it leaves the default, whatever was there before. So idle
//! is cleared before the weight is written. That the weight comes back when idle is undone is the
//! journal's doing: it writes it down beside every change of idle.

use crate::draft::Draft;
use crate::error::range;
use crate::group::Group;
use crate::version::{Asked, Version};
use outrigger_sdk::{Capability, Error};

const IDLE: &str = "cpu.idle";

/// Bounds and default of the weight the host speaks.
const WEIGHT_MIN: i64 = 1;
const WEIGHT_MAX: i64 = 10_000;
const WEIGHT_DEFAULT: i64 = 100;

/// How a weight is written.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Which file.
    pub file: &'static str,
    /// What a fresh group has, what clearing idle leaves, and what stands for weight 100.
    pub default: i64,
    /// What is outside is brought inside by the kernel.
    pub least: i64,
    /// As [`Scale::least`].
    pub most: i64,
}

impl Scale {
    /// v1, with `MIN_SHARES` and `MAX_SHARES` of kernel/sched/core.c.
    pub const SHARES: Self = Self { file: "cpu.shares", default: 1024, least: 2, most: 262_144 };
    /// v2 (Documentation/admin-guide/cgroup-v2.rst).
    pub const WEIGHT: Self =
        Self { file: "cpu.weight", default: 100, least: WEIGHT_MIN, most: WEIGHT_MAX };

    /// What is written for a weight: 100 is the default.
    ///
    /// # Errors
    /// Not in 1..=10000.
    pub fn written(self, weight: i64) -> Result<i64, Error> {
        if !(WEIGHT_MIN..=WEIGHT_MAX).contains(&weight) {
            return Err(range(
                "configure",
                format!(
                    "CPU weight {weight} is out of range; allowed are {WEIGHT_MIN} to {WEIGHT_MAX}"
                ),
            ));
        }
        let rounded = (weight * self.default + WEIGHT_DEFAULT / 2) / WEIGHT_DEFAULT;
        Ok(rounded.clamp(self.least, self.most))
    }

    /// The weight that stands for what is read, at least 1.
    pub fn weight(self, read: i64) -> u32 {
        let rounded = (read * WEIGHT_DEFAULT + self.default / 2) / self.default;
        // In 1..=10000 by the clamp.
        rounded.clamp(WEIGHT_MIN, WEIGHT_MAX) as u32
    }
}

/// Whether a group runs only when nobody else wants the CPU. A kernel without the file has no
/// such groups.
pub fn is_idle(group: &Group) -> bool {
    group.read(IDLE).is_ok_and(|text| text == "1")
}

/// The weight of a group that exists.
pub fn weight<V: Version>(group: &Group) -> Option<u32> {
    let read = group.number(V::WEIGHT.file, V::WEIGHT.default).ok()?;
    Some(V::WEIGHT.weight(read))
}

/// Prepares weight and idle together.
///
/// While a group is to be idle its weight is moot: only idle is prepared, and the weight is
/// written once idle is cleared.
pub fn prepare<V: Version>(asked: Asked<'_>, group: &Group, draft: &mut Draft) {
    let weight = asked.value(Capability::CPU_WEIGHT);
    let idle = asked.value(Capability::CPU_IDLE);
    if weight.is_none() && idle.is_none() {
        return;
    }
    let Scale { file, default, .. } = V::WEIGHT;
    let mut wanted = match weight.map(|weight| V::WEIGHT.written(weight)).transpose() {
        Ok(wanted) => wanted,
        Err(error) => {
            draft.refuse(Capability::CPU_WEIGHT, error);
            None
        }
    };
    // As it will be once the operations prepared so far are written.
    let mut now = match group.number(file, default) {
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
            now = default;
        }
        Some(0) => {}
        Some(1) => {
            wanted = None;
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
    let Some(wanted) = wanted else { return };
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
    draft.file(Capability::CPU_WEIGHT, group, file, &now.to_string(), &wanted.to_string());
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
            assert_eq!(Scale::SHARES.written(weight).unwrap(), shares, "weight {weight}");
            assert_eq!(i64::from(Scale::SHARES.weight(shares)), weight, "shares {shares}");
            assert_eq!(Scale::WEIGHT.written(weight).unwrap(), weight);
            assert_eq!(i64::from(Scale::WEIGHT.weight(weight)), weight);
        }
        assert_eq!(Scale::SHARES.weight(2), 1, "the least the kernel has is the least there is");
        assert_eq!(Scale::SHARES.weight(262_144), 10_000);
    }

    #[test]
    fn weights_outside_are_refused_with_what_is_allowed() {
        for weight in [0, -1, 10_001, i64::MAX] {
            let message = Scale::WEIGHT.written(weight).unwrap_err().message;
            assert!(message.contains("1 to 10000"), "{message}");
        }
    }
}
