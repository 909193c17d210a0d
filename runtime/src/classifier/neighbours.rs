//! Processes nobody named that may be held back, if the policy asks for that: CPU-heavy ones of
//! the user and session of a protected process.
//!
//! Never an ancestor, session leader or socket peer of a protected process. Who the peers are is
//! given in; finding them needs the operating system, and this does not.

use super::census::{Census, Entry};
use crate::flow::message::TaskSignals;
use outrigger_sdk::TaskId;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Use from which a process is CPU-heavy, millicores.
const HEAVY: f64 = 200.0;
/// Intervals in a row it must be.
const HEAVY_TICKS: u32 = 2;

#[derive(Clone, Copy, Debug, Default)]
struct Streak {
    heavy: u32,
    chosen: bool,
    /// How long it has been light although it could have had more, ns.
    light_ns: u64,
}

/// The neighbours of the protected.
#[derive(Debug, Default)]
pub(super) struct Neighbourhood {
    streaks: BTreeMap<TaskId, Streak>,
    chosen: BTreeSet<TaskId>,
}

/// One interval, as far as it matters here.
pub(super) struct Interval<'a> {
    pub(super) tick: u64,
    pub(super) ns: u64,
    /// Whether some CPU was idle: then light use is a choice.
    pub(super) spare: bool,
    pub(super) tasks: &'a [TaskSignals],
    /// How long a neighbour must be light to be let go, ns.
    pub(super) let_go_ns: u64,
}

impl Neighbourhood {
    /// Whoever is chosen now, in a fixed order.
    pub(super) fn chosen(&self) -> &BTreeSet<TaskId> {
        &self.chosen
    }

    /// Forgets everybody; answers whether there was anybody.
    pub(super) fn clear(&mut self) -> bool {
        self.streaks.clear();
        !std::mem::take(&mut self.chosen).is_empty()
    }

    /// Takes in one interval; answers whether the choice changed.
    pub(super) fn step(
        &mut self,
        census: &Census,
        protected: &[&Entry],
        peers: &HashSet<TaskId>,
        interval: &Interval<'_>,
    ) -> bool {
        let company: HashSet<(u32, u32)> =
            protected.iter().map(|entry| (entry.info.uid, entry.info.session)).collect();
        let ancestors: HashSet<TaskId> =
            protected.iter().flat_map(|entry| entry.lineage.iter()).map(|a| a.task).collect();
        let eligible = |entry: &Entry| {
            let info = &*entry.info;
            entry.workload.is_none()
                && !census.untouchable(info)
                && company.contains(&(info.uid, info.session))
                && info.task.pid != info.session
                && !ancestors.contains(&info.task)
                && !peers.contains(&info.task)
        };
        for signals in interval.tasks {
            let heavy = signals.millicores.is_some_and(|millicores| millicores > HEAVY);
            if heavy && census.get(signals.task).is_some_and(&eligible) {
                self.streaks.entry(signals.task).or_default();
            }
        }
        self.streaks.retain(|&task, streak| {
            let Some(entry) = census.get(task).filter(|entry| eligible(entry)) else {
                return false;
            };
            let millicores = entry.at(interval.tick).and_then(|s| s.millicores).unwrap_or(0.0);
            streak.advance(millicores, interval);
            streak.chosen || streak.heavy > 0
        });
        let chosen = self.streaks.iter().filter(|(_, s)| s.chosen).map(|(&task, _)| task);
        let chosen: BTreeSet<TaskId> = chosen.collect();
        let changed = chosen != self.chosen;
        self.chosen = chosen;
        changed
    }
}

impl Streak {
    fn advance(&mut self, millicores: f64, interval: &Interval<'_>) {
        self.heavy = if millicores > HEAVY { self.heavy + 1 } else { 0 };
        self.chosen |= self.heavy >= HEAVY_TICKS;
        if millicores >= HEAVY / 2.0 {
            self.light_ns = 0;
        } else if interval.spare {
            self.light_ns += interval.ns;
        }
        self.chosen &= self.light_ns < interval.let_go_ns.max(1);
    }
}
