#![allow(clippy::unwrap_used)]
use super::*;
use crate::policy::{CapWhen, Priority};

fn keys(change: impl FnOnce(&mut Policy)) -> Vec<String> {
    let mut policy = Policy::default();
    policy.workloads.push(workload("db", "redis-server"));
    change(&mut policy);
    policy.problems().into_iter().map(|problem| problem.key).collect()
}

fn workload(name: &str, selects: &str) -> Workload {
    let selector = Selector { name: vec![selects.into()], ..Selector::default() };
    let name = name.into();
    Workload { name, class: None, selectors: vec![selector], allow_irreversible: false }
}

#[test]
fn the_default_is_valid() {
    assert_eq!(keys(|_| ()), Vec::<String>::new());
}

#[test]
fn workloads_have_unique_plain_names_and_selectors_that_ask_for_something() {
    let found = keys(|p| {
        p.workloads.push(workload("db", "a"));
        p.workloads.push(workload("Not Plain", ""));
        p.workloads.push(workload(NEIGHBOURS, "a"));
        p.workloads[0].selectors.push(Selector::default());
        p.workloads[1].selectors.clear();
        p.workloads[3].selectors[0].name = vec!["ok".into(), "a[b".into()];
        p.workloads[3].selectors[0].pid = vec![1];
    });
    let expected = [
        "workload[0].match[1]",
        "workload[1].name",
        "workload[1].match",
        "workload[2].name",
        "workload[2].match[0].name",
        "workload[3].name",
        "workload[3].match[0].pid",
        "workload[3].match[0].name",
    ];
    assert_eq!(found, expected);
}

#[test]
fn tiers_are_within_their_ranges() {
    let tier = |share, cap| Tier {
        share,
        idle: false,
        cap: Some(cap),
        when: CapWhen::Always,
        priority: Priority::Low,
    };
    let found = keys(|p| {
        p.tiers.insert(1, tier(10_001, 100.5));
        p.tiers.insert(2, tier(0, f64::NAN));
        p.tiers.insert(3, tier(0, 0.0));
        p.tiers.insert(0, tier(100, 100.0));
    });
    let expected = [
        "tiers.1.share",
        "tiers.1.cap",
        "tiers.2.share",
        "tiers.2.cap",
        "tiers.3.share",
        "tiers.3.cap",
        "tiers.0",
    ];
    assert_eq!(found, expected);
}

#[test]
fn ladders_lead_down_over_tiers_that_exist() {
    let found = keys(|p| {
        p.ladder.insert(Class::Batch, Ladder { rest: 3, floor: 1 });
        p.ladder.insert(Class::Background, Ladder { rest: 1, floor: 9 });
        p.ladder.insert(Class::Interactive, Ladder { rest: 1, floor: 3 });
        p.ladder.remove(&Class::Runaway);
    });
    let expected =
        ["ladder.interactive", "ladder.batch.floor", "ladder.background.floor", "ladder.runaway"];
    assert_eq!(found, expected);
    let rising = keys(|p| p.tiers.get_mut(&2).unwrap().share = 60);
    assert!(rising.contains(&"tiers.2.share".to_owned()), "{rising:?}");
}

#[test]
fn thresholds_and_times_are_ordered() {
    let found = keys(|p| {
        p.contention.wait_ms_per_s = 5.0;
        p.contention.clear_ms_per_s = 5.0;
        p.contention.others_millicores = f64::NAN;
        p.timing.tick = Duration::from_millis(49);
        p.timing.down_after = 0;
        p.timing.flap_budget = 1;
        p.timing.flap_window = Duration::from_secs(1);
    });
    let expected = [
        "contention.clear_ms_per_s",
        "contention.others_millicores",
        "timing.tick",
        "timing.down_after",
        "timing.flap_window",
        "timing.flap_budget",
    ];
    assert_eq!(found, expected);
}
