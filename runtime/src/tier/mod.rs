//! What each workload is entitled to: the third stage, and the only one that decides.
//!
//! It does not know how an entitlement is enforced, nor whether that is possible.

mod blame;
mod budget;
mod cap;
mod holding;
mod ladder;
mod record;

pub use cap::CapVerdict;
pub use ladder::{Ladder, LadderState};
pub use record::HoldingState;

use crate::flow::message::{Assessments, Decisions};
use crate::flow::stage::Core;
use crate::policy::Policy;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The stage: the core, what it is told beside the flow, and where `status` reads how it is.
#[derive(Debug)]
pub struct Tier {
    ladder: Ladder,
    policy: Arc<Policy>,
    source: Arc<ArcSwap<Policy>>,
    paused: Arc<AtomicBool>,
    view: Arc<ArcSwap<LadderState>>,
}

impl Tier {
    /// A stage in which nobody is held back yet. `source` holds the policy in force, which must
    /// be without problems; as long as `paused` is set everybody is in tier 0.
    #[must_use]
    pub fn new(
        source: Arc<ArcSwap<Policy>>,
        paused: Arc<AtomicBool>,
        view: Arc<ArcSwap<LadderState>>,
    ) -> Self {
        let policy = source.load_full();
        Self { ladder: Ladder::new(&policy), policy, source, paused, view }
    }
}

impl Core for Tier {
    type In = Arc<Assessments>;
    type Out = Arc<Decisions>;

    fn step(&mut self, assessments: Arc<Assessments>) -> Arc<Decisions> {
        let policy = self.source.load_full();
        if !Arc::ptr_eq(&policy, &self.policy) {
            self.ladder.set_policy(&policy);
            self.policy = policy;
        }
        self.ladder.pause(self.paused.load(Ordering::Acquire));
        let decisions = self.ladder.step(&assessments);
        self.view.store(Arc::new(self.ladder.state()));
        Arc::new(decisions)
    }
}
