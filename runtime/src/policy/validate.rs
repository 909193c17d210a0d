//! What a policy must fulfil beyond its types; every problem at once, each with its key.
//!
//! Does not look at the machine: whether a user or a cgroup exists is not a question of validity.

use super::matching::Matcher;
use super::{Class, Ladder, NEIGHBOURS, Policy, Selector, Tier, Workload};
use std::collections::BTreeSet;
use std::fmt::{self, Debug, Display};
use std::time::Duration;

/// Something wrong in a policy.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Where: a dotted path such as `workload[2].match[0].name`.
    pub key: String,
    /// What is there.
    pub given: String,
    /// What would be right.
    pub allowed: String,
}

impl Problem {
    /// A problem at `key`.
    pub fn new(key: impl Into<String>, given: impl Debug, allowed: impl Into<String>) -> Self {
        Self { key: key.into(), given: format!("{given:?}"), allowed: allowed.into() }
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} is not allowed: {}", self.key, self.given, self.allowed)
    }
}

impl std::error::Error for Problem {}

/// Longest name of a workload: it becomes part of context names.
const NAME_LIMIT: usize = 64;
const TICK: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(50)..=Duration::from_secs(60);

impl Selector {
    /// Everything that is wrong with it by itself; empty if it can be used. Keys are those of a
    /// selector.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let workload = Workload {
            name: "x".to_owned(),
            class: None,
            selectors: vec![self.clone()],
            allow_irreversible: false,
        };
        let mut problems = Policy { workloads: vec![workload], ..Policy::default() }.problems();
        for problem in &mut problems {
            let key = problem.key.strip_prefix("workload[0].match[0].");
            problem.key = key.unwrap_or(&problem.key).to_owned();
        }
        problems
    }
}

impl Policy {
    /// Everything that is wrong with it; empty if it can be used.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Found(Vec::new());
        self.check_workloads(&mut found);
        self.check_tiers(&mut found);
        self.check_ladder(&mut found);
        self.check_thresholds(&mut found);
        self.check_timing(&mut found);
        if let Err(globs) = Matcher::new(self) {
            found.0.extend(globs);
        }
        found.0
    }

    /// The defined tiers from `rest` to `floor`, in order; empty if either is not defined.
    #[must_use]
    pub fn rungs(&self, ladder: Ladder) -> Vec<u8> {
        let ends = self.tiers.contains_key(&ladder.rest) && self.tiers.contains_key(&ladder.floor);
        if !ends || ladder.rest > ladder.floor {
            return Vec::new();
        }
        self.tiers.range(ladder.rest..=ladder.floor).map(|(&number, _)| number).collect()
    }

    fn check_workloads(&self, found: &mut Found) {
        let mut names = BTreeSet::new();
        for (w, workload) in self.workloads.iter().enumerate() {
            let Workload { name, selectors, .. } = workload;
            let key = format!("workload[{w}].name");
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || name.len() > NAME_LIMIT || !name.chars().all(plain) {
                found.add(&key, name, "1 to 64 of `a` to `z`, `0` to `9` and `-`");
            }
            if name == NEIGHBOURS {
                found.add(&key, name, "this name is taken by the key `neighbours`");
            }
            if !names.insert(name) {
                found.add(&key, name, "names are unique");
            }
            if selectors.is_empty() {
                found.add(&format!("workload[{w}].match"), selectors, "at least one selector");
            }
            for (s, selector) in selectors.iter().enumerate() {
                check_selector(selector, &format!("workload[{w}].match[{s}]"), found);
            }
        }
    }

    fn check_tiers(&self, found: &mut Found) {
        for (number, tier) in &self.tiers {
            if !(1..=10_000).contains(&tier.share) {
                found.add(&format!("tiers.{number}.share"), tier.share, "1 to 10000");
            }
            if let Some(cap) = tier.cap
                && !(cap > 0.0 && cap <= 100.0)
            {
                let allowed = "more than 0 and at most 100, in percent of the CPUs it may use";
                found.add(&format!("tiers.{number}.cap"), cap, allowed);
            }
        }
        let unrestricted = |t: &Tier| {
            t.share == 100 && !t.idle && t.cap.is_none() && t.priority == super::Priority::Normal
        };
        if !self.tiers.get(&0).is_some_and(unrestricted) {
            let allowed = "tier 0 is unrestricted: share 100, not idle, no cap, priority normal";
            found.add("tiers.0", self.tiers.get(&0), allowed);
        }
    }

    fn check_ladder(&self, found: &mut Found) {
        let tiers: Vec<u8> = self.tiers.keys().copied().collect();
        for (class, ladder) in &self.ladder {
            let key = format!("ladder.{}", class.name());
            if !class.is_best_effort() {
                found.add(&key, ladder, "only batch, background and runaway are ever held back");
            }
            for (end, tier) in [("rest", ladder.rest), ("floor", ladder.floor)] {
                if !tiers.contains(&tier) {
                    let allowed = format!("a tier that is defined: {tiers:?}");
                    found.add(&format!("{key}.{end}"), tier, allowed);
                }
            }
            if ladder.floor < ladder.rest {
                let allowed = format!("at least `rest`, which is {}", ladder.rest);
                found.add(&format!("{key}.floor"), ladder.floor, allowed);
            }
            for pair in self.rungs(*ladder).windows(2) {
                let (above, below) = (self.tiers[&pair[0]], self.tiers[&pair[1]]);
                if below.share > above.share {
                    let allowed = format!("at most {}, as tier {} has", above.share, pair[0]);
                    found.add(&format!("tiers.{}.share", pair[1]), below.share, allowed);
                }
            }
        }
        for class in [Class::Batch, Class::Background, Class::Runaway] {
            if !self.ladder.contains_key(&class) {
                let key = format!("ladder.{}", class.name());
                found.add(&key, None::<Ladder>, "each of batch, background and runaway has one");
            }
        }
    }

    fn check_thresholds(&self, found: &mut Found) {
        let thresholds = &self.contention;
        let (wait, clear) = (thresholds.wait_ms_per_s, thresholds.clear_ms_per_s);
        if !(wait > 0.0 && wait <= 1000.0) {
            found.add("contention.wait_ms_per_s", wait, "more than 0 and at most 1000");
        }
        if !(clear >= 0.0 && clear < wait) {
            let allowed = format!("0 or more, and less than wait_ms_per_s, which is {wait}");
            found.add("contention.clear_ms_per_s", clear, allowed);
        }
        let others = thresholds.others_millicores;
        if !(others > 0.0 && others.is_finite()) {
            found.add("contention.others_millicores", others, "more than 0");
        }
    }

    fn check_timing(&self, found: &mut Found) {
        let timing = &self.timing;
        if !TICK.contains(&timing.tick) {
            found.add("timing.tick", timing.tick, "50ms to 60s");
        }
        let least = [
            ("down_after", timing.down_after, 1),
            ("cap_after", timing.cap_after, 1),
            ("cap_trial", timing.cap_trial, 2),
        ];
        for (key, given, least) in least {
            if given < least {
                found.add(&format!("timing.{key}"), given, format!("at least {least}"));
            }
        }
        if timing.cool_down.is_zero() {
            found.add("timing.cool_down", timing.cool_down, "more than 0");
        }
        if timing.flap_window < timing.cool_down {
            let allowed = format!("at least cool_down, which is {:?}", timing.cool_down);
            found.add("timing.flap_window", timing.flap_window, allowed);
        }
        // With less, a workload could not even be pushed to its floor.
        let steps = self.ladder.values().map(|l| self.rungs(*l).len().saturating_sub(1)).max();
        let least = steps.unwrap_or(0).max(1);
        if (timing.flap_budget as usize) < least {
            let allowed = format!("at least {least}, the steps of the longest ladder");
            found.add("timing.flap_budget", timing.flap_budget, allowed);
        }
    }
}

fn check_selector(selector: &Selector, key: &str, found: &mut Found) {
    if *selector == Selector::default() {
        found.add(
            key,
            "{}",
            "at least one of exe, name, command, thread, uid, cgroup, parent, descendant_of, pid",
        );
    }
    let texts = [
        ("exe", &selector.exe),
        ("name", &selector.name),
        ("command", &selector.command),
        ("thread", &selector.thread),
        ("cgroup", &selector.cgroup),
        ("parent", &selector.parent),
        ("descendant_of", &selector.descendant_of),
    ];
    for (text, given) in texts {
        if given.iter().any(String::is_empty) {
            found.add(&format!("{key}.{text}"), given, "texts that are not empty");
        }
    }
    if selector.pid.iter().any(|&pid| pid < 2) {
        found.add(&format!("{key}.pid"), &selector.pid, "2 or more: process 1 is never touched");
    }
}

struct Found(Vec<Problem>);

impl Found {
    fn add(&mut self, key: &str, given: impl Debug, allowed: impl Into<String>) {
        self.0.push(Problem::new(key, given, allowed));
    }
}

#[cfg(test)]
mod tests;
