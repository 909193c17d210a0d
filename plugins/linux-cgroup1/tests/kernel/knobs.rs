//! CPU weight, idle, limit and burst, read back from the kernel's files.

use crate::support::{Governor, Scratch, ready};
use outrigger_sdk::{Capability, ContextId, ErrorCode, Setting};

fn set(knob: Capability, value: i64) -> Setting {
    Setting::number(knob, value)
}

const WEIGHT: Capability = Capability::CPU_WEIGHT;
const IDLE: Capability = Capability::CPU_IDLE;
const LIMIT: Capability = Capability::CPU_LIMIT;
const BURST: Capability = Capability::CPU_BURST;

/// Somebody else's group with these shares, and its id.
fn group(shares: &str) -> (Scratch, ContextId) {
    let scratch = Scratch::new();
    scratch.make("cpu", "");
    scratch.write("cpu", "cpu.shares", shares);
    let id = ContextId::new("cpu", &scratch.path());
    (scratch, id)
}

#[test]
fn weights_of_all_tiers_are_read_back_in_proportion_and_undone_exactly() {
    if !ready(&["cpu"]) {
        return;
    }
    let (scratch, id) = group("777");
    let mut governor = Governor::new();
    for (weight, shares) in [(100, "1024"), (50, "512"), (20, "205"), (1, "10"), (10_000, "102400")]
    {
        governor.settle(&id, &[set(WEIGHT, weight)]);
        assert_eq!(scratch.read("cpu", "cpu.shares"), shares, "weight {weight}");
    }
    governor.undo();
    assert_eq!(scratch.read("cpu", "cpu.shares"), "777");
}

#[test]
fn idle_is_cleared_before_the_weight_is_written_and_undo_ends_at_the_shares_found() {
    if !ready(&["cpu"]) {
        return;
    }
    let (scratch, id) = group("512");
    let mut governor = Governor::new();
    if governor.prepare(id.clone(), &[set(IDLE, 1)]).operations.is_empty() {
        outrigger_skip::skip("this kernel has no cpu.idle");
        return;
    }

    governor.settle(&id, &[set(WEIGHT, 20), set(IDLE, 1)]);
    assert_eq!(scratch.read("cpu", "cpu.idle"), "1");
    let refused = governor.prepare(id.clone(), &[set(WEIGHT, 50)]).refused;
    assert_eq!(refused[0].1.code, ErrorCode::RANGE, "the kernel would answer EINVAL");

    // The weight is named first, and yet idle has to be cleared first.
    governor.settle(&id, &[set(WEIGHT, 20), set(IDLE, 0)]);
    assert_eq!(scratch.read("cpu", "cpu.shares"), "205");
    governor.settle(&id, &[set(IDLE, 1)]);

    governor.undo();
    assert_eq!(scratch.read("cpu", "cpu.idle"), "0");
    assert_eq!(scratch.read("cpu", "cpu.shares"), "512");
}

#[test]
fn a_group_found_idle_is_idle_again_after_undo() {
    if !ready(&["cpu"]) {
        return;
    }
    let (scratch, id) = group("300");
    if !scratch.dir("cpu").join("cpu.idle").exists() {
        outrigger_skip::skip("this kernel has no cpu.idle");
        return;
    }
    scratch.write("cpu", "cpu.idle", "1");
    let mut governor = Governor::new();
    governor.settle(&id, &[set(IDLE, 0), set(WEIGHT, 100)]);
    governor.settle(&id, &[set(IDLE, 0), set(WEIGHT, 10)]);
    assert_eq!(scratch.read("cpu", "cpu.shares"), "102");
    governor.undo();
    assert_eq!(scratch.read("cpu", "cpu.idle"), "1");
}

#[test]
fn a_limit_is_thousandths_of_the_period_and_undo_ends_at_none() {
    if !ready(&["cpu"]) {
        return;
    }
    let (scratch, id) = group("1024");
    let quota = || scratch.read("cpu", "cpu.cfs_quota_us");
    let mut governor = Governor::new();
    governor.settle(&id, &[set(LIMIT, 250)]);
    assert_eq!(quota(), "25000");
    governor.settle(&id, &[set(LIMIT, 1500)]);
    assert_eq!(quota(), "150000");

    governor.settle(&id, &[set(LIMIT, -1)]);
    let parked: i64 = quota().parse().unwrap();
    let cpus = std::thread::available_parallelism().unwrap().get() as i64;
    assert!(parked >= cpus * 100_000, "parked, and not limiting: {parked}");

    governor.undo();
    assert_eq!(quota(), "-1");
}

#[test]
fn no_limit_for_a_group_that_never_had_one_writes_nothing() {
    if !ready(&["cpu"]) {
        return;
    }
    let (_scratch, id) = group("1024");
    let mut governor = Governor::new();
    assert!(governor.settle(&id, &[set(LIMIT, -1), set(BURST, 0)]).is_empty());
}

#[test]
fn limit_and_burst_go_up_and_down_together() {
    if !ready(&["cpu"]) {
        return;
    }
    let (scratch, id) = group("1024");
    let mut governor = Governor::new();
    if !scratch.dir("cpu").join("cpu.cfs_burst_us").exists() {
        outrigger_skip::skip("this kernel has no cpu.cfs_burst_us");
        return;
    }
    let found =
        || (scratch.read("cpu", "cpu.cfs_quota_us"), scratch.read("cpu", "cpu.cfs_burst_us"));
    for (limit, burst) in [(500, 40_000), (200, 20_000), (800, 80_000), (100, 0), (900, 5_000)] {
        governor.settle(&id, &[set(BURST, burst), set(LIMIT, limit)]);
        assert_eq!(found(), ((limit * 100).to_string(), burst.to_string()));
    }
    // A limit below what is saved up takes the burst down with it.
    governor.settle(&id, &[set(LIMIT, 30)]);
    assert_eq!(found(), ("3000".to_owned(), "3000".to_owned()));
    governor.undo();
    assert_eq!(found(), ("-1".to_owned(), "0".to_owned()));
}

#[test]
fn a_burst_above_the_quota_or_without_one_is_out_of_range_and_hides_nothing() {
    if !ready(&["cpu"]) {
        return;
    }
    let (scratch, id) = group("1024");
    let mut governor = Governor::new();
    let none = governor.apply(id.clone(), &[set(BURST, 1_000)]);
    assert_eq!(none.refused[0].1.code, ErrorCode::RANGE);
    assert!(none.operations.is_empty());

    let above = governor.apply(id, &[set(LIMIT, 100), set(BURST, 10_001), set(WEIGHT, 50)]);
    let message = &above.refused[0].1.message;
    assert!(message.contains("10001") && message.contains("0 to 10000"), "{message}");
    assert_eq!(scratch.read("cpu", "cpu.cfs_quota_us"), "10000");
    assert_eq!(scratch.read("cpu", "cpu.shares"), "512");
}

#[test]
fn a_limit_above_the_parents_or_below_a_childs_is_said_in_words() {
    if !ready(&["cpu"]) {
        return;
    }
    let (scratch, id) = group("1024");
    scratch.make("cpu", "middle/leaf");
    scratch.write("cpu", "cpu.cfs_quota_us", "50000");
    let at = |below: &str| ContextId::new("cpu", &format!("{}/{below}", scratch.path()));
    let mut governor = Governor::new();

    let above = governor.apply(at("middle/leaf"), &[set(LIMIT, 501)]);
    assert_eq!(above.refused[0].1.code, ErrorCode::RANGE);
    assert!(above.refused[0].1.message.contains("500"), "{}", above.refused[0].1);
    governor.settle(&at("middle/leaf"), &[set(LIMIT, 500)]);

    let below = governor.apply(id.clone(), &[set(LIMIT, 499)]);
    let message = &below.refused[0].1.message;
    assert!(message.contains("middle/leaf") && message.contains("lower that first"), "{message}");

    // Within a limited parent, "none" is the parent's.
    governor.settle(&at("middle/leaf"), &[set(LIMIT, 100)]);
    governor.settle(&at("middle/leaf"), &[set(LIMIT, -1)]);
    assert_eq!(scratch.read("cpu", "middle/leaf/cpu.cfs_quota_us"), "50000");
    governor.undo();
    assert_eq!(scratch.read("cpu", "middle/leaf/cpu.cfs_quota_us"), "-1");
}

#[test]
fn values_out_of_range_are_refused_knob_by_knob() {
    if !ready(&["cpu"]) {
        return;
    }
    let (_scratch, id) = group("1024");
    let mut governor = Governor::new();
    let bad = [set(WEIGHT, 0), set(IDLE, 2), set(LIMIT, 0), set(BURST, -5)];
    let applied = governor.apply(id.clone(), &bad);
    assert_eq!(applied.refused.len(), bad.len(), "{:?}", applied.refused);
    assert!(applied.operations.is_empty());
    assert!(governor.prepare(id, &[set(LIMIT, -2)]).refused[0].1.message.contains("-2"));
}

#[test]
fn a_value_that_somebody_changed_meanwhile_stays() {
    if !ready(&["cpu"]) {
        return;
    }
    let (scratch, id) = group("1024");
    let mut governor = Governor::new();
    let prepared = governor.prepare(id, &[set(WEIGHT, 1)]);
    scratch.write("cpu", "cpu.shares", "300");

    let error = governor.commit(&prepared.operations[0]).unwrap_err();

    assert_eq!(error.code, ErrorCode::FOREIGN);
    assert_eq!(scratch.read("cpu", "cpu.shares"), "300");
    governor.undo();
    assert_eq!(scratch.read("cpu", "cpu.shares"), "300");
}

#[test]
fn what_was_prepared_twice_is_still_undone() {
    if !ready(&["cpu"]) {
        return;
    }
    let (scratch, id) = group("300");
    let mut governor = Governor::new();
    let first = governor.prepare(id.clone(), &[set(WEIGHT, 1)]);
    let second = governor.prepare(id, &[set(WEIGHT, 50)]);
    governor.commit(&first.operations[0]).unwrap();

    assert_eq!(governor.commit(&first.operations[0]).unwrap(), "10", "a commit is idempotent");
    // It is our own value that is found there instead of the one prepared for.
    assert_eq!(governor.commit(&second.operations[0]).unwrap_err().code, ErrorCode::FOREIGN);

    governor.undo();
    assert_eq!(scratch.read("cpu", "cpu.shares"), "300");
}
