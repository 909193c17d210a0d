#![allow(clippy::unwrap_used)]
use super::*;
use crate::flow::message::{Contention, Culprit, Provenance};
use crate::policy;
use crate::policy::CapWhen;
use crate::tier::CapVerdict;
use outrigger_sdk::TaskId;

mod promises;

const TICK_NS: u64 = 250_000_000;
const SECOND: u32 = 4;

/// A machine of two CPUs with one victim and one hog, tick by tick.
struct Bench {
    ladder: Ladder,
    at_ns: u64,
    hog: Option<Class>,
    hog_uses: f64,
    used: f64,
    partial: bool,
    cpus: u32,
}

/// How the victim fares at a tick.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Absent,
    /// Its wait is unknown.
    Unusable,
    Fine,
    Waits(f64),
}
use Victim::{Absent, Fine, Unusable, Waits};

impl Bench {
    fn new(change: impl FnOnce(&mut Policy)) -> Self {
        let mut policy = Policy::default();
        change(&mut policy);
        Self {
            ladder: Ladder::new(&policy),
            at_ns: 0,
            hog: Some(Class::Batch),
            hog_uses: 1900.0,
            used: 2000.0,
            partial: false,
            cpus: 2,
        }
    }

    fn assessments(&self, victim: Victim) -> Assessments {
        let assessment = |name: &str, class, millicores, wait_ms_per_s| Assessment {
            workload: name.into(),
            class,
            rule: format!("workload.{name}"),
            confidence: 1.0,
            reasons: vec!["because".into()],
            members: Arc::default(),
            millicores,
            wait_ms_per_s,
            allow_irreversible: false,
        };
        let wait = match victim {
            Absent | Unusable => None,
            Fine => Some(1.0),
            Waits(wait) => Some(wait),
        };
        let db = assessment("db", Class::LatencyCritical, 80.0, wait);
        let hog = self.hog.map(|class| assessment("hog", class, self.hog_uses, None));
        let culprit = Culprit {
            task: TaskId { pid: 9, tid: 0, start: 1 },
            name: "hog".into(),
            workload: Some("hog".into()),
            millicores: self.hog_uses,
        };
        let contention = wait.filter(|_| matches!(victim, Waits(_))).map(|wait| Contention {
            victim: "db".into(),
            wait_ms_per_s: wait,
            evidence: Vec::new(),
            culprits: vec![culprit],
        });
        let tick = self.at_ns / TICK_NS;
        Assessments {
            provenance: Provenance { tick, at_ns: self.at_ns, wall_ms: 0 },
            interval_ns: TICK_NS,
            cpus: self.cpus,
            used_millicores: Some(self.used),
            partial: self.partial,
            workloads: Some(db)
                .filter(|_| !matches!(victim, Absent))
                .into_iter()
                .chain(hog)
                .collect(),
            contention: contention.into_iter().collect(),
        }
    }

    fn tick(&mut self, victim: Victim) -> Decisions {
        self.at_ns += TICK_NS;
        self.ladder.step(&self.assessments(victim))
    }

    fn ticks(&mut self, count: u32, victim: Victim) -> Vec<TierChange> {
        (0..count).flat_map(|_| self.tick(victim).changes).collect()
    }

    fn state(&self) -> HoldingState {
        let state = self.ladder.state();
        state.workloads.into_iter().find(|w| &*w.workload == "hog").unwrap()
    }

    fn tier(&self) -> u8 {
        self.state().tier
    }
}

fn tiers(changes: &[TierChange]) -> Vec<(u8, u8)> {
    changes.iter().map(|change| (change.from, change.to)).collect()
}

#[test]
fn the_rest_tier_holds_at_once_and_is_said_at_every_tick() {
    let mut bench = Bench::new(|_| ());
    let first = bench.tick(Fine);
    assert_eq!(tiers(&first.changes), [(0, 1)]);
    assert_eq!(
        first.changes[0].reasons,
        ["batch means tier 1 at least", "because", "it used 1.9 CPUs"]
    );
    for _ in 0..3 {
        let [said] = &bench.tick(Fine).entitlements[..] else { panic!("not said") };
        assert_eq!((said.tier, said.weight, said.cap, said.priority), (1, 50, None, 3));
        assert_eq!(said.rule, "workload.hog");
    }
}

#[test]
fn nobody_is_held_back_before_it_is_known_how_the_protected_fare() {
    for (unknown, of) in [(1, "one sweep"), (2, "two"), (FIRST_LOOKS, "as many as it takes")] {
        let mut bench = Bench::new(|_| ());
        for _ in 0..unknown {
            assert_eq!(bench.tick(Unusable).entitlements, [], "{of}");
        }
        let [change] = &bench.tick(Waits(340.0)).changes[..] else { panic!("{of}") };
        assert_eq!((change.from, change.to), (0, 1));
        let contention = change.contention.as_ref().unwrap();
        assert_eq!((&*contention.victim, contention.wait_ms_per_s), ("db", 340.0));
        assert_eq!(contention.culprits[0].millicores, 1900.0);
    }
}

#[test]
fn a_victim_that_cannot_be_read_is_protected_all_the_same() {
    let mut bench = Bench::new(|_| ());
    assert_eq!(bench.ticks(FIRST_LOOKS, Unusable), []);
    let late = bench.ticks(1, Unusable);
    assert_eq!((tiers(&late), &late[0].contention), (vec![(0, 1)], &None));
    bench.hog = None;
    bench.tick(Unusable);
    bench.hog = Some(Class::Batch);
    assert_eq!(bench.ticks(FIRST_LOOKS, Unusable), [], "anew for whoever comes back");
    assert_eq!(bench.ticks(1, Unusable).len(), 1);
}

#[test]
fn who_comes_while_all_is_known_is_held_at_once() {
    let mut bench = Bench::new(|_| ());
    bench.hog = None;
    bench.ticks(3, Fine);
    bench.hog = Some(Class::Batch);
    assert_eq!(tiers(&bench.tick(Fine).changes), [(0, 1)]);
    assert_eq!(bench.tick(Unusable).entitlements.len(), 1, "and stays so");
}

#[test]
fn nobody_is_held_back_for_nobody() {
    let mut bench = Bench::new(|_| ());
    assert_eq!(bench.ticks(60 * SECOND, Absent), []);
    assert_eq!(tiers(&bench.tick(Waits(340.0)).changes), [(0, 1)]);
    bench.ticks(4, Waits(340.0));
    let freed = bench.ticks(60 * SECOND, Absent);
    assert_eq!(tiers(&freed), [(3, 0)]);
    assert_eq!(freed[0].reasons, ["nobody who is protected is alive"]);
    assert_eq!(tiers(&bench.ticks(3, Waits(340.0))), [(0, 1), (1, 2), (2, 3)]);
}

#[test]
fn contention_leads_down_fast_and_no_further_than_the_floor() {
    let mut bench = Bench::new(|_| ());
    bench.tick(Fine);
    let changes = bench.ticks(4, Waits(340.0));
    assert_eq!(tiers(&changes), [(1, 2), (2, 3)]);
    assert_eq!(changes[0].reasons, ["db waited 340 ms of the last second because of others"]);
    assert_eq!(&*changes[0].contention.as_ref().unwrap().victim, "db");
    assert!(bench.tick(Waits(340.0)).protected[0].contended);
}

#[test]
fn down_after_counts_contended_ticks_in_a_row() {
    let mut bench = Bench::new(|p| p.timing.down_after = 3);
    bench.tick(Fine);
    bench.ticks(2, Waits(340.0));
    bench.tick(Fine);
    assert_eq!(bench.ticks(2, Waits(340.0)), []);
    assert_eq!(tiers(&bench.ticks(1, Waits(340.0))), [(1, 2)]);
}

#[test]
fn somebody_elses_contention_is_not_ones_own() {
    let mut bench = Bench::new(|_| ());
    bench.tick(Fine);
    let mut assessments = bench.assessments(Waits(340.0));
    assessments.contention[0].culprits[0].workload = None;
    assessments.workloads[1].millicores = 99.0;
    assessments.contention[0].culprits[0].millicores = 1900.0;
    assert_eq!(bench.ladder.step(&assessments).changes, []);
    assessments.contention[0].culprits.clear();
    assert_eq!(tiers(&bench.ladder.step(&assessments).changes), [(1, 2)], "nobody could be named");
    let mut bench = Bench::new(|_| ());
    bench.tick(Fine);
    let mut assessments = bench.assessments(Waits(340.0));
    assessments.contention[0].culprits[0].workload = None;
    assessments.contention[0].culprits[0].millicores = 50.0;
    assessments.workloads[1].millicores = 9.0;
    assert_eq!(tiers(&bench.ladder.step(&assessments).changes), [(1, 2)], "too short-lived");
}

#[test]
fn recovery_is_slow_and_waits_for_idle_cpu() {
    let mut bench = Bench::new(|_| ());
    bench.tick(Fine);
    bench.ticks(2, Waits(340.0));
    assert_eq!(bench.ticks(60 * SECOND, Fine), []);
    assert_eq!(
        bench.state().why,
        "the machine has no idle CPU: with more it would make others wait again"
    );
    bench.used = 900.0;
    let climbs = bench.ticks(90 * SECOND, Fine);
    assert_eq!(tiers(&climbs), [(3, 2), (2, 1)], "and no further than its rest");
    assert_eq!(climbs[0].reasons[1], "the machine had idle CPU");
}

#[test]
fn one_tier_up_takes_a_whole_cool_down() {
    let mut bench = Bench::new(|_| ());
    bench.tick(Fine);
    bench.ticks(2, Waits(340.0));
    bench.used = 900.0;
    assert_eq!(bench.ticks(10 * SECOND - 1, Fine), []);
    assert_eq!(tiers(&bench.ticks(1, Fine)), [(3, 2)]);
    assert_eq!(bench.ticks(10 * SECOND - 1, Fine), []);
    assert_eq!(tiers(&bench.ticks(1, Fine)), [(2, 1)]);
}

#[test]
fn a_workload_that_wants_nothing_climbs_on_a_full_machine() {
    let mut bench = Bench::new(|_| ());
    bench.tick(Fine);
    bench.ticks(2, Waits(340.0));
    bench.hog_uses = 0.0;
    let climbs = bench.ticks(30 * SECOND, Fine);
    assert_eq!(tiers(&climbs), [(3, 2), (2, 1)]);
    assert_eq!(climbs[0].reasons[1], "it wanted no CPU");
}

#[test]
fn an_unusable_interval_neither_starts_nor_ends_anything() {
    let mut bench = Bench::new(|p| p.timing.flap_budget = 20);
    bench.tick(Fine);
    assert_eq!(bench.ticks(20, Unusable), []);
    bench.ticks(2, Waits(340.0));
    bench.used = 900.0;
    assert_eq!(bench.ticks(60 * SECOND, Unusable), []);
    assert_eq!(tiers(&bench.ticks(10 * SECOND, Fine)), [(3, 2)]);
    bench.ticks(5, Waits(340.0));
    assert_eq!(bench.tier(), 3);
}

#[test]
fn each_relapse_doubles_the_cool_down_and_a_quiet_window_forgives() {
    let mut bench = Bench::new(|p| p.timing.flap_budget = 100);
    bench.used = 900.0;
    bench.tick(Fine);
    let mut cool_downs = Vec::new();
    for _ in 0..7 {
        bench.ticks(2, Waits(340.0));
        cool_downs.push(bench.state().cool_down_ms / 1000);
        while bench.tick(Fine).changes.is_empty() {}
    }
    assert_eq!(cool_downs, [10, 20, 40, 80, 160, 320, 320]);
    bench.ticks(2000 * SECOND, Fine);
    assert_eq!((bench.tier(), bench.state().relapses), (1, 0));
}

#[test]
fn once_the_budget_is_used_up_it_stays_down_until_the_window_allows() {
    let mut bench = Bench::new(|p| p.timing.cool_down = std::time::Duration::from_secs(1));
    bench.used = 900.0;
    bench.tick(Fine);
    let mut at = Vec::new();
    for _ in 0..600 * SECOND {
        let climbed = bench.tier() < 3;
        let changes = bench.ticks(1, if climbed { Waits(340.0) } else { Fine });
        at.extend(changes.iter().map(|_| bench.at_ns / TICK_NS));
    }
    assert_eq!((at.len(), bench.tier()), (6, 3));
    assert_eq!(bench.state().why, "its changes for this window are used up");
    let later = bench.ticks(700 * SECOND, Fine);
    assert_eq!(tiers(&later), [(3, 2), (2, 1)]);
}

#[test]
fn a_cap_is_tried_if_shares_do_not_help_and_dropped_if_it_does_not() {
    let mut bench = Bench::new(|_| ());
    bench.tick(Fine);
    bench.ticks(2, Waits(340.0));
    assert_eq!(bench.ticks(7, Waits(300.0)), []);
    let set = bench.ticks(1, Waits(300.0));
    assert_eq!((set[0].from, set[0].to, set[0].cap), (3, 3, Some(500)));
    assert_eq!(bench.state().cap_verdict, CapVerdict::OnTrial);
    assert_eq!(bench.ticks(8, Waits(290.0)), []);
    let dropped = bench.ticks(1, Waits(290.0));
    assert_eq!((dropped[0].from, dropped[0].to, dropped[0].cap), (3, 3, None));
    let why = "the cap did not help: db waited 300 ms per second before and 290 ms with it";
    assert_eq!(dropped[0].reasons, [why]);
    assert_eq!(bench.ticks(300 * SECOND, Waits(300.0)), [], "and it is not tried again");
    assert_eq!(bench.state().cap_verdict, CapVerdict::DidNotHelp);
}

#[test]
fn a_cap_that_helps_stays_until_the_cool_down() {
    let mut bench = Bench::new(|_| ());
    bench.tick(Fine);
    bench.ticks(10, Waits(340.0));
    assert_eq!(bench.state().cap, Some(500));
    assert_eq!(bench.ticks(60 * SECOND, Waits(30.0)), []);
    assert_eq!(bench.state().cap_verdict, CapVerdict::Helped);
    let lifted = bench.ticks(60 * SECOND, Fine);
    assert_eq!((lifted.len(), lifted[0].from, lifted[0].to, lifted[0].cap), (1, 3, 3, None));
}

#[test]
fn no_cap_where_shares_took_most_of_the_waiting_away() {
    let mut bench = Bench::new(|_| ());
    bench.tick(Fine);
    bench.ticks(2, Waits(340.0));
    assert_eq!(bench.ticks(60 * SECOND, Waits(40.0)), []);
    assert_eq!(bench.state().cap_verdict, CapVerdict::Untried);
}

#[test]
fn a_cap_of_which_nobody_can_tell_whether_it_helps_is_dropped() {
    let mut bench = Bench::new(|_| ());
    bench.tick(Fine);
    bench.ticks(10, Waits(340.0));
    let dropped = bench.ticks(60 * SECOND, Unusable);
    assert_eq!((dropped.len(), dropped[0].cap), (1, None));
    assert_eq!(bench.tier(), 3);
}

#[test]
fn caps_follow_the_policy() {
    let when = |when| move |p: &mut Policy| p.tiers.get_mut(&1).unwrap().when = when;
    let mut always = Bench::new(when(CapWhen::Always));
    assert_eq!(always.tick(Fine).entitlements[0].cap, Some(1500));
    always.cpus = 0;
    assert_eq!(always.tick(Fine).entitlements[0].cap, None, "of an unknown number of CPUs");
    let mut never = Bench::new(|p| p.tiers.get_mut(&3).unwrap().when = CapWhen::Never);
    never.tick(Fine);
    never.ticks(50, Waits(340.0));
    assert_eq!(never.state().cap, None);
}

#[test]
fn a_return_to_tier_0_is_said_exactly_once() {
    let mut bench = Bench::new(|_| ());
    let count = |bench: &mut Bench| -> Vec<usize> {
        (0..3).map(|_| bench.tick(Fine).entitlements.len()).collect()
    };
    let leave: [fn(&mut Bench); 4] = [
        |bench| bench.hog = Some(Class::Unknown),
        |bench| bench.hog = Some(Class::Interactive),
        |bench| bench.hog = None,
        |bench| bench.ladder.pause(true),
    ];
    for (n, leave) in leave.into_iter().enumerate() {
        (bench.hog, bench.partial) = (Some(Class::Batch), false);
        bench.ladder.pause(false);
        bench.ticks(2, Waits(340.0));
        leave(&mut bench);
        let [said] = &bench.tick(Fine).entitlements[..] else { panic!("not said: {n}") };
        assert_eq!((said.tier, said.weight, said.cap), (0, 100, None), "case {n}");
        assert_eq!(count(&mut bench), [0, 0, 0], "case {n}");
    }
    assert!(bench.ladder.state().paused);
}

#[test]
fn the_members_of_somebody_gone_are_nobody_and_the_change_says_why() {
    let mut bench = Bench::new(|_| ());
    bench.tick(Fine);
    bench.hog = None;
    let decisions = bench.tick(Fine);
    assert_eq!(tiers(&decisions.changes), [(1, 0)]);
    assert_eq!(decisions.changes[0].reasons, ["no member is alive"]);
    bench.ticks(600 * SECOND, Fine);
    assert_eq!(bench.ladder.state().workloads, [], "forgotten after a window");
}

#[test]
fn coming_back_does_not_bring_a_fresh_budget() {
    let mut bench = Bench::new(|p| p.timing.flap_budget = 3);
    bench.tick(Fine);
    bench.ticks(2, Waits(340.0));
    bench.hog = None;
    bench.tick(Fine);
    bench.hog = Some(Class::Batch);
    assert_eq!(tiers(&bench.tick(Fine).changes), [(0, 2)], "one step of the budget is left");
    assert_eq!(tiers(&bench.ticks(5, Waits(340.0))), [(2, 3)]);
}

#[test]
fn while_not_everybody_is_known_what_was_said_holds() {
    let mut bench = Bench::new(|_| ());
    bench.tick(Fine);
    bench.ticks(2, Waits(340.0));
    let before = bench.tick(Fine).entitlements;
    bench.partial = true;
    bench.hog_uses = 0.0;
    assert_eq!(bench.tick(Fine).entitlements, before);
    bench.hog = None;
    assert_eq!(bench.tick(Fine).entitlements, before);
    bench.partial = false;
    assert_eq!(bench.tick(Fine).entitlements[0].tier, 0);
}

#[test]
fn another_class_is_another_ladder() {
    let mut bench = Bench::new(|_| ());
    bench.tick(Fine);
    bench.hog = Some(Class::Runaway);
    assert_eq!(tiers(&bench.tick(Fine).changes), [(1, 2)]);
    bench.hog = Some(Class::Batch);
    assert_eq!(bench.tick(Fine).changes, [], "tier 2 is on this ladder too");
    bench.used = 900.0;
    bench.ticks(1, Waits(340.0));
    assert_eq!(tiers(&bench.ticks(60 * SECOND, Fine)), [(3, 2), (2, 1)]);
}

#[test]
fn another_policy_moves_who_stands_where_it_has_no_tier() {
    let mut bench = Bench::new(|_| ());
    bench.tick(Fine);
    let mut policy = Policy::default();
    policy.ladder.insert(Class::Batch, policy::Ladder { rest: 3, floor: 3 });
    bench.ladder.set_policy(&policy);
    assert_eq!(tiers(&bench.tick(Fine).changes), [(1, 3)]);
    policy.ladder.remove(&Class::Batch);
    bench.ladder.set_policy(&policy);
    assert_eq!(tiers(&bench.tick(Fine).changes), [(3, 0)]);
}

#[test]
fn a_rest_of_0_is_free_until_contention() {
    let mut bench = Bench::new(|p| {
        p.ladder.insert(Class::Batch, policy::Ladder { rest: 0, floor: 3 });
    });
    let first = bench.tick(Fine);
    assert_eq!((first.entitlements.len(), first.changes.len()), (0, 0));
    assert_eq!(tiers(&bench.ticks(3, Waits(340.0))), [(0, 1), (1, 2), (2, 3)]);
}
