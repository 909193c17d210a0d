//! Memory: `memory.max`, `memory.high`, `memory.low`.
//!
//! `memory.max` below what is used makes the kernel reclaim and then kill at once, which cannot be
//! taken back: it is never set below the usage plus head-room. `memory.high` only slows down, and
//! may be set anywhere. Memory that was charged before a task came stays charged where it was.

use outrigger_cgroup::draft::Draft;
use outrigger_cgroup::error::range;
use outrigger_cgroup::group::Group;
use outrigger_cgroup::memory::{check_headroom, page};
use outrigger_cgroup::version::Asked;
use outrigger_sdk::{Capability, Error};

/// Memory used by a group, bytes.
pub const USAGE: &str = "memory.current";
const UNLIMITED: &str = "max";

/// Knob, its file, what a fresh group has.
const FILES: [(Capability, &str, &str); 3] = [
    (Capability::MEMORY_LOW, "memory.low", "0"),
    (Capability::MEMORY_HIGH, "memory.high", UNLIMITED),
    (Capability::MEMORY_LIMIT, "memory.max", UNLIMITED),
];

/// Prepares what is asked for.
pub fn prepare(asked: Asked<'_>, group: &Group, draft: &mut Draft) {
    for (knob, file, fresh) in FILES {
        if let Some(bytes) = asked.value(knob) {
            draft.attempt(knob, |draft| {
                let after = text(knob, bytes)?;
                let before = group.value(file, fresh)?;
                if knob == Capability::MEMORY_LIMIT && before != after && after != UNLIMITED {
                    check_headroom(bytes, group.number(USAGE, 0)?)?;
                }
                draft.file(knob, group, file, &before, &after);
                Ok(())
            });
        }
    }
}

/// As it will be read back: whole pages, or `max`.
fn text(knob: Capability, bytes: i64) -> Result<String, Error> {
    let limits = knob != Capability::MEMORY_LOW;
    match bytes {
        -1 if limits => Ok(UNLIMITED.to_owned()),
        0 if !limits => Ok("0".to_owned()),
        bytes if bytes >= page() => Ok((bytes / page() * page()).to_string()),
        _ => Err(range(
            "configure",
            format!("{bytes} bytes are out of range for {knob}; the least is a page"),
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn bytes_are_whole_pages_and_none_has_a_name() {
        assert_eq!(text(Capability::MEMORY_LIMIT, -1).unwrap(), "max");
        assert_eq!(text(Capability::MEMORY_LOW, 0).unwrap(), "0");
        assert_eq!(text(Capability::MEMORY_HIGH, page() + 1).unwrap(), page().to_string());
        for (knob, bytes) in [
            (Capability::MEMORY_LIMIT, 0),
            (Capability::MEMORY_LIMIT, -2),
            (Capability::MEMORY_LOW, -1),
            (Capability::MEMORY_HIGH, 1),
        ] {
            assert!(text(knob, bytes).is_err(), "{knob} {bytes}");
        }
    }
}
