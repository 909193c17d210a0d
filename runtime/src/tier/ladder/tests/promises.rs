//! What the tier stage promises, on random days under random policies.

use super::*;
use proptest::prelude::*;

fn a_victim() -> impl Strategy<Value = Victim> {
    prop_oneof![
        4 => Just(Fine),
        4 => (20.0..1000.0).prop_map(Waits),
        1 => Just(Unusable),
        1 => Just(Absent),
    ]
}

/// Runs of the same victim state, with idle CPU or without, and with the hog or without it.
fn a_day() -> impl Strategy<Value = Vec<(Victim, u32, bool, bool)>> {
    proptest::collection::vec(
        (a_victim(), 1u32..120, any::<bool>(), proptest::bool::weighted(0.9)),
        1..60,
    )
}

fn a_policy() -> impl Strategy<Value = Policy> {
    (0u8..=3, 0u8..=3, 3u32..8, 1u64..30, 30u64..300, 1u32..4).prop_map(
        |(one, other, flap_budget, cool_down, window, down_after)| {
            let mut policy = Policy::default();
            let ladder = policy::Ladder { rest: one.min(other), floor: one.max(other) };
            policy.ladder.insert(Class::Batch, ladder);
            policy.timing.flap_budget = flap_budget;
            policy.timing.cool_down = std::time::Duration::from_secs(cool_down);
            policy.timing.flap_window = std::time::Duration::from_secs(window);
            policy.timing.down_after = down_after;
            policy
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn promises_hold_on_every_day(policy in a_policy(), day in a_day()) {
        prop_assert_eq!(policy.problems(), []);
        let window_ns = policy.timing.flap_window.as_nanos() as u64;
        let ladder = policy.ladder[&Class::Batch];
        let mut bench = Bench::new(|p| *p = policy.clone());
        let mut twin = Ladder::new(&policy);
        let mut moves: Vec<u64> = Vec::new();
        let (mut contended, mut said_before, mut looks) = (false, 0, 0);
        for (victim, ticks, spare, alive) in day {
            bench.used = if spare { 500.0 } else { 2000.0 };
            for _ in 0..ticks {
                bench.hog = alive.then_some(Class::Batch);
                let decisions = bench.tick(victim);
                let same = twin.step(&bench.assessments(victim));
                prop_assert_eq!(&decisions.entitlements, &same.entitlements);
                prop_assert_eq!(&decisions.changes, &same.changes);
                contended |= matches!(victim, Waits(_));
                let said = decisions.entitlements.iter().find(|e| &*e.workload == "hog");
                let tier = said.map_or(0, |e| e.tier);

                // Held at once where it is known how the protected fares, and a few sweeps later
                // where it is not; then never outside the ladder, and without contention never
                // below the rest. Free while there is nobody to protect.
                let wanted = alive && !matches!(victim, Absent);
                let held = wanted && (looks >= FIRST_LOOKS || !matches!(victim, Unusable));
                looks = match held {
                    true => FIRST_LOOKS,
                    false => u32::from(wanted) * (looks + 1),
                };
                if held {
                    prop_assert!((ladder.rest..=ladder.floor).contains(&tier));
                    if !contended {
                        prop_assert_eq!(tier, ladder.rest);
                    }
                } else {
                    prop_assert_eq!(tier, 0);
                }
                // Complete: whatever is not free is said, and a return to freedom once.
                prop_assert_eq!(said.is_some(), tier != 0 || said_before != 0);
                // Every change of tier is told, and no other.
                let told: Vec<_> = decisions.changes.iter().filter(|c| c.from != c.to).collect();
                prop_assert_eq!(told.len(), usize::from(tier != said_before));
                said_before = tier;

                // The flap budget. Appearing and ending, on either side, are not flapping.
                let flaps = decisions.changes.iter().filter(|change| {
                    wanted && !change.reasons.iter().any(|r| r.contains("at least"))
                });
                moves.extend(flaps.map(|_| bench.at_ns));
                let recent = moves.iter().filter(|&&at| bench.at_ns - at < window_ns).count();
                prop_assert!(recent <= policy.timing.flap_budget as usize);
            }
            // Protection is never out of reach: long contention always ends at the floor.
            if matches!(victim, Waits(_)) && alive && ticks > 4 * 4 {
                prop_assert_eq!(bench.tier(), ladder.floor);
            }
        }
    }
}
