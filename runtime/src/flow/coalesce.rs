//! How two batches of a kind become one, edge by edge: the newer sample, all facts.

use super::edge::Coalesce;
use super::message::{Assessments, Decisions, Signals, Sweep};
use outrigger_sdk::{Observation, TaskId, TaskInfo};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Coalesce for Observation {
    /// Counters are cumulative, so the newer ones stand for both; births and ends add up. Who was
    /// born in the older and ended in the newer has only ended: whoever reads both takes ends
    /// first.
    fn coalesce(&mut self, newer: Self) {
        let older = std::mem::replace(self, newer);
        let fresh: BTreeSet<TaskId> = self
            .tasks
            .iter()
            .map(|reading| reading.task)
            .chain(self.gone.iter().copied())
            .collect();
        let told: BTreeSet<TaskId> =
            self.infos.iter().map(|info| info.task).chain(self.gone.iter().copied()).collect();
        self.tasks.extend(older.tasks.into_iter().filter(|r| !fresh.contains(&r.task)));
        self.infos.extend(older.infos.into_iter().filter(|info| !told.contains(&info.task)));
        self.gone.extend(older.gone);
    }
}

impl Coalesce for Sweep {
    /// A newer sweep that told of everybody says all that the older one said of the living.
    fn coalesce(&mut self, newer: Self) {
        if newer.full {
            self.observation.tasks.clear();
            self.observation.infos.clear();
        }
        self.observation.coalesce(newer.observation);
        self.observer = newer.observer.or_else(|| self.observer.take());
        self.full |= newer.full;
        (self.provenance, self.failures) = (newer.provenance, newer.failures);
    }
}

impl Coalesce for Signals {
    /// The newer interval's rates stand; births and ends add up, as in [`Observation`].
    fn coalesce(&mut self, newer: Self) {
        let told: BTreeSet<TaskId> =
            newer.infos.iter().map(|info| info.task).chain(newer.gone.iter().copied()).collect();
        let infos: Vec<Arc<TaskInfo>> =
            self.infos.drain(..).filter(|info| !told.contains(&info.task)).collect();
        let gone = std::mem::take(&mut self.gone);
        *self = newer;
        self.infos.extend(infos);
        self.gone.extend(gone);
    }
}

impl Coalesce for Arc<Assessments> {
    /// Assessments are complete at every tick.
    fn coalesce(&mut self, newer: Self) {
        *self = newer;
    }
}

impl Coalesce for Arc<Decisions> {
    /// Entitlements are complete at every tick, but one that returned to tier 0 is told once,
    /// and every change is to be explained.
    fn coalesce(&mut self, newer: Self) {
        let mut merged = Decisions::clone(&newer);
        for entitlement in &self.entitlements {
            if !merged.entitlements.iter().any(|e| e.workload == entitlement.workload) {
                merged.entitlements.push(entitlement.clone());
            }
        }
        let mut changes = self.changes.clone();
        changes.append(&mut merged.changes);
        merged.changes = changes;
        *self = Arc::new(merged);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::message::Entitlement;

    fn entitled(workload: &str, tier: u8) -> Entitlement {
        Entitlement {
            workload: workload.into(),
            tier,
            weight: 100,
            idle: false,
            cap: None,
            priority: 2,
            members: Arc::from([]),
            rule: String::new(),
            allow_irreversible: false,
        }
    }

    #[test]
    fn a_return_to_tier_0_survives_a_merge() {
        let mut older = Arc::new(Decisions {
            entitlements: vec![entitled("a", 0), entitled("b", 2)],
            ..Default::default()
        });
        older.coalesce(Arc::new(Decisions {
            entitlements: vec![entitled("b", 3)],
            ..Default::default()
        }));
        let tiers: Vec<_> =
            older.entitlements.iter().map(|e| (e.workload.to_string(), e.tier)).collect();
        assert_eq!(tiers, [("b".to_owned(), 3), ("a".to_owned(), 0)]);
    }

    #[test]
    fn who_was_born_in_the_older_and_ended_in_the_newer_has_only_ended() {
        use outrigger_sdk::TaskReading;
        let task = |pid| TaskId { pid, tid: 0, start: 1 };
        let info = |pid| TaskInfo {
            task: task(pid),
            parent: 1,
            session: 1,
            uid: 0,
            present: Default::default(),
            name: "test".into(),
            exe: "".into(),
            command: Vec::new().into(),
            contexts: Vec::new().into(),
            kernel: false,
            thread_names: Vec::new().into(),
        };
        let reading = |pid| TaskReading { task: task(pid), ..TaskReading::default() };
        let mut older = Observation {
            tasks: vec![reading(1), reading(2)].into(),
            infos: vec![info(1), info(2)].into(),
            ..Observation::default()
        };
        let mut signals =
            Signals { infos: vec![Arc::new(info(1)), Arc::new(info(2))], ..Signals::default() };

        older.coalesce(Observation { gone: vec![task(1)].into(), ..Observation::default() });
        signals.coalesce(Signals { gone: vec![task(1)], ..Signals::default() });

        assert_eq!(older.infos.iter().map(|i| i.task.pid).collect::<Vec<_>>(), [2]);
        assert_eq!(older.tasks.iter().map(|r| r.task.pid).collect::<Vec<_>>(), [2]);
        assert_eq!(older.gone.iter().map(|t| t.pid).collect::<Vec<_>>(), [1]);
        assert_eq!(signals.infos.iter().map(|i| i.task.pid).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn ends_of_both_sweeps_are_kept_and_the_newer_counter_wins() {
        use outrigger_sdk::TaskReading;
        let task = |pid| TaskId { pid, tid: 0, start: 1 };
        let reading = |pid, cpu_ns| TaskReading { task: task(pid), cpu_ns, ..Default::default() };
        let mut older = Sweep::default();
        older.observation.tasks = vec![reading(1, 10), reading(2, 10)].into();
        older.observation.gone = vec![task(7)].into();
        let mut newer = Sweep::default();
        newer.observation.tasks = vec![reading(1, 20)].into();
        newer.observation.gone = vec![task(8)].into();
        older.coalesce(newer);
        let cpu: Vec<_> = older.observation.tasks.iter().map(|r| (r.task.pid, r.cpu_ns)).collect();
        assert_eq!(cpu, [(1, 20), (2, 10)]);
        let gone: Vec<_> = older.observation.gone.iter().map(|t| t.pid).collect();
        assert_eq!(gone, [8, 7]);
    }

    #[test]
    fn who_ended_since_is_not_born_again_and_a_full_sweep_says_all_of_the_living() {
        use outrigger_sdk::TaskReading;
        let reading =
            |pid| TaskReading { task: TaskId { pid, tid: 0, start: 1 }, ..TaskReading::default() };
        let sweep = |pids: &[u32], full| {
            let mut sweep = Sweep { full, observer: Some("a".into()), ..Sweep::default() };
            sweep.observation.tasks = pids.iter().map(|&pid| reading(pid)).collect();
            sweep
        };
        let pids = |sweep: &Sweep| -> Vec<u32> {
            sweep.observation.tasks.iter().map(|reading| reading.task.pid).collect()
        };
        let mut merged = sweep(&[1, 2], true);
        let mut newer = sweep(&[3], false);
        newer.observation.gone = vec![reading(2).task].into();
        merged.coalesce(newer);
        assert_eq!((pids(&merged), merged.full), (vec![3, 1], true));
        merged.coalesce(sweep(&[4], true));
        assert_eq!((pids(&merged), merged.full), (vec![4], true));
        merged.coalesce(Sweep::default());
        assert_eq!((pids(&merged), merged.observer.as_deref()), (vec![4], Some("a")));
    }
}
