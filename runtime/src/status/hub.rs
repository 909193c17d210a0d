//! What the stages publish into.

use super::view::{Activity, BackendView, CapabilityView, Published, StageView, StatusView, Usage};
use crate::flow::activity::{Action, Enforcement};
use crate::flow::message::{Assessments, Decisions};
use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Actions kept for `status`, `explain` and the events.
const KEPT: usize = 256;

/// How the sidecar was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Beside a program it started.
    #[default]
    Run,
    /// Beside programs that were there.
    Attach,
    /// For the host.
    Daemon,
}

/// Who this sidecar is; never changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Name of the instance: part of the names of its contexts, and of its state directory.
    pub instance: String,
    /// Its process.
    pub pid: u32,
    /// How it was started.
    pub mode: Mode,
    /// When, milliseconds since the Unix epoch.
    pub started_wall_ms: u64,
    /// Whether it writes nothing at all.
    pub dry_run: bool,
    /// Whether the policy names anything to protect.
    pub protects: bool,
    /// Whether the policy lets anything be held back.
    pub holds_back: bool,
}

/// What is known about the host; changes rarely.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Every plugin that was found, and what became of it.
    pub backends: Vec<BackendView>,
    /// What can be done here, and by whom.
    pub capabilities: Vec<CapabilityView>,
    /// What does not work as it should, one sentence each.
    pub degraded: Vec<String>,
}

/// See the module above.
#[derive(Debug)]
pub struct Hub {
    identity: Identity,
    paused: Arc<AtomicBool>,
    facts: ArcSwap<Facts>,
    stages: ArcSwap<Vec<StageView>>,
    assessments: ArcSwap<Assessments>,
    /// When those came.
    heard: ArcSwap<Instant>,
    decisions: ArcSwap<Decisions>,
    enforcement: ArcSwap<Enforcement>,
    actions: ArcSwap<Vec<Arc<Action>>>,
}

impl Hub {
    /// A hub into which nothing has been published.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            paused: Arc::default(),
            facts: ArcSwap::default(),
            stages: ArcSwap::default(),
            assessments: ArcSwap::default(),
            heard: ArcSwap::from_pointee(Instant::now()),
            decisions: ArcSwap::default(),
            enforcement: ArcSwap::default(),
            actions: ArcSwap::default(),
        }
    }

    /// Who this is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The switch that pauses: while it is on, everybody is entitled to everything.
    pub fn paused(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.paused)
    }

    /// Turns the switch; answers how it was before.
    pub fn pause(&self, paused: bool) -> bool {
        self.paused.swap(paused, Ordering::SeqCst)
    }

    /// Replaces what is known about the host.
    pub fn set_facts(&self, facts: Facts) {
        self.facts.store(Arc::new(facts));
    }

    /// Replaces the state of the stages.
    pub fn set_stages(&self, stages: Vec<StageView>) {
        self.stages.store(Arc::new(stages));
    }

    /// From the classifier, each tick.
    pub fn set_assessments(&self, assessments: Arc<Assessments>) {
        self.assessments.store(assessments);
        self.heard.store(Arc::new(Instant::now()));
    }

    /// Whether a complete sweep has been judged: who is missing then is not there.
    pub fn has_looked(&self) -> bool {
        let assessments = self.assessments.load();
        assessments.provenance.tick > 0 && !assessments.partial
    }

    /// From the tier stage, each tick.
    pub fn set_decisions(&self, decisions: Arc<Decisions>) {
        self.decisions.store(decisions);
    }

    /// From the enforcer, after each batch.
    pub fn set_enforcement(&self, enforcement: Enforcement) {
        self.enforcement.store(Arc::new(enforcement));
    }

    /// An action, new or with its effect; one of the same number is replaced.
    pub fn add_action(&self, action: Action) {
        let action = Arc::new(action);
        // Copies at most `KEPT` pointers, and only when something was done: readers need no lock.
        self.actions.rcu(|kept| {
            let mut kept = kept.as_ref().clone();
            match kept.iter_mut().rev().find(|known| known.seq == action.seq) {
                Some(known) => *known = Arc::clone(&action),
                None => kept.push(Arc::clone(&action)),
            }
            let surplus = kept.len().saturating_sub(KEPT);
            kept.drain(..surplus);
            kept
        });
    }

    /// Where the sidecar stands.
    pub fn view(&self) -> StatusView {
        let published = Published {
            identity: &self.identity,
            paused: self.paused.load(Ordering::SeqCst),
            facts: &self.facts.load(),
            stages: &self.stages.load(),
            assessments: &self.assessments.load(),
            silence: self.heard.load().elapsed(),
            decisions: &self.decisions.load(),
            enforcement: &self.enforcement.load(),
            actions: &self.actions.load(),
            own: Usage::of_process(),
        };
        StatusView::of(&published)
    }

    /// Recent actions after the given number, oldest first.
    pub fn activity(&self, after: u64) -> Vec<Activity> {
        let actions = self.actions.load();
        actions.iter().filter(|action| action.seq > after).map(|a| Activity::of(a)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::activity::{ActionKind, Effect};
    use crate::status::view::tests::action;

    #[test]
    fn an_action_with_its_effect_replaces_itself() {
        let hub = Hub::new(Identity::default());
        hub.add_action(action(1, ActionKind::Place));
        hub.add_action(action(2, ActionKind::Weight));
        let effect = Effect {
            victim: "app".into(),
            wait_before_ms_per_s: 9.0,
            wait_after_ms_per_s: 1.0,
            contended: true,
        };
        hub.add_action(Action { effect: Some(effect), ..action(1, ActionKind::Place) });

        let activity = hub.activity(0);
        assert_eq!(activity.iter().map(|a| a.action.seq).collect::<Vec<_>>(), [1, 2]);
        assert!(activity[0].action.effect.is_some());
        assert_eq!(hub.activity(1).len(), 1);
    }

    #[test]
    fn old_actions_are_dropped() {
        let hub = Hub::new(Identity::default());
        for seq in 1..=KEPT as u64 + 10 {
            hub.add_action(action(seq, ActionKind::Weight));
        }
        let activity = hub.activity(0);
        assert_eq!((activity.len(), activity[0].action.seq), (KEPT, 11));
    }

    #[test]
    fn pausing_is_seen_by_whoever_holds_the_switch() {
        let hub = Hub::new(Identity::default());
        let switch = hub.paused();
        assert!(!hub.pause(true));
        assert!(switch.load(Ordering::SeqCst) && hub.view().paused);
        assert!(hub.pause(false));
    }
}
