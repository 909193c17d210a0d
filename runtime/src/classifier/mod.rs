//! What every workload is, and who is hurt by whom: the second stage.
//!
//! Takes no decision. It judges by the policy and by what it sees; what follows from that is for
//! the tier stage.

mod behaviour;
mod census;
mod contention;
mod members;
mod neighbours;
mod occupancy;
mod rules;
mod scene;

pub use rules::{Rules, RulesState};

use crate::flow::demand::Demand;
use crate::flow::message::{Assessments, Signals};
use crate::flow::stage::Core;
use crate::policy::{Policy, Problem};
use arc_swap::ArcSwap;
use outrigger_sdk::TaskId;
use std::collections::HashSet;
use std::sync::Arc;

/// What the classifier reads beside the flow: it is replaced as a whole, from outside.
#[derive(Debug, Default)]
pub struct Guidance {
    /// The policy in force; must be without problems.
    pub policy: Arc<ArcSwap<Policy>>,
    /// Socket peers of protected processes: never held back as neighbours.
    pub peers: ArcSwap<HashSet<TaskId>>,
}

/// The stage: the core, what it is told beside the flow, and where `status` reads how it is.
#[derive(Debug)]
pub struct Classifier {
    rules: Rules,
    policy: Arc<Policy>,
    guidance: Arc<Guidance>,
    demand: Arc<Demand>,
    view: Arc<ArcSwap<RulesState>>,
}

impl Classifier {
    /// A classifier that knows nobody yet. Nothing is ever done to processes numbered in
    /// `exempt`: the sidecar and its helpers.
    ///
    /// # Errors
    /// The policy's selectors do not compile.
    pub fn new(
        guidance: Arc<Guidance>,
        exempt: impl IntoIterator<Item = u32>,
        demand: Arc<Demand>,
        view: Arc<ArcSwap<RulesState>>,
    ) -> Result<Self, Vec<Problem>> {
        let policy = guidance.policy.load_full();
        Ok(Self { rules: Rules::new(&policy, exempt)?, policy, guidance, demand, view })
    }
}

impl Core for Classifier {
    type In = Signals;
    type Out = Arc<Assessments>;

    fn step(&mut self, signals: Signals) -> Arc<Assessments> {
        let policy = self.guidance.policy.load_full();
        if !Arc::ptr_eq(&policy, &self.policy) {
            if let Err(problems) = self.rules.set_policy(&policy) {
                tracing::error!(?problems, "the new policy does not compile; the old one stays");
            }
            self.policy = policy;
        }
        let assessments = self.rules.step(signals, &self.guidance.peers.load());
        let focus = Rules::focus(&assessments);
        if focus != **self.demand.focus() {
            self.demand.set_focus(focus);
        }
        self.view.store(Arc::new(self.rules.state()));
        Arc::new(assessments)
    }
}
