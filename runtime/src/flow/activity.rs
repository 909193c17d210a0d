//! What the enforcer did, in the form in which it is stored, shown and explained.
//!
//! Plain data, complete in itself: an [`Action`] names the tier change that asked for it, the
//! lever that was found, every knob with its value before, after and as read back, and (once it
//! has been measured) the effect. Whoever renders it needs nothing else, and nothing here can
//! change anything.

use super::message::{Contention, Name, Provenance, TierChange};
use outrigger_sdk::{Capability, ContextId, ErrorCode};
use serde::{Deserialize, Serialize};

/// One thing the enforcer did to one workload, or could not do, and why.
///
/// An action is published when it is done and again, under the same `seq`, when its effect has
/// been measured: the later record replaces the earlier one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// Number of the action, from 1, unique within one run of the sidecar.
    pub seq: u64,
    /// The sweep whose readings led to it.
    pub provenance: Provenance,
    /// On whose behalf: the workload whose tier it enforces.
    pub workload: Name,
    /// What kind of action.
    pub kind: ActionKind,
    /// Whether nothing was written because this is a dry run: `after` is what would be written.
    #[serde(default)]
    pub dry_run: bool,
    /// Tier of the workload from this action on.
    pub tier: u8,
    /// The rule that gives the workload its tier.
    pub rule: String,
    /// The tier change that asked for it; absent if drift, new members or a retry did.
    pub change: Option<TierChange>,
    /// Who waited because of it: what caused the change, or else what was seen at that sweep;
    /// its own part among the culprits first, then the largest of others.
    #[serde(default)]
    pub contention: Option<Contention>,
    /// The lever, one sentence; empty if none is involved. For [`ActionKind::NoLever`] the reason.
    pub lever: String,
    /// Every knob that was turned, left or refused, in the order of the writes.
    pub knobs: Vec<KnobOutcome>,
    /// What it changed for the one who waited; absent until measured.
    pub effect: Option<Effect>,
}

/// Kinds of [`Action`], by the most telling of their knobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ActionKind {
    /// Tasks were put into a context of ours.
    Place,
    /// A share was turned: weight or idle.
    Weight,
    /// A cap was set, changed or lifted.
    Cap,
    /// A per-process knob was turned: priority, scheduling class, autogroup.
    Priority,
    /// Changes were taken back.
    Restore,
    /// Something we had turned was changed by somebody else and is left alone from now on.
    Foreign,
    /// Every backend that could turn a knob refused.
    Refused,
    /// A call did not come back in time: its knob is in doubt and nobody touches it.
    InDoubt,
    /// There is no lever; `Action::lever` says why.
    NoLever,
    /// A tier changed and nothing had to be written for it.
    Tier,
}

/// What became of one knob on one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KnobOutcome {
    /// The capability, by its stable name (`cpu.weight`).
    pub knob: String,
    /// On what: `process 812`, `thread 813 of process 812`, or a context's path or name.
    pub target: String,
    /// Process the operation was about, if it was about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// File, mount point or name of a limit that was written; empty if it never came to that.
    pub locator: String,
    /// Value found before.
    pub before: String,
    /// Value asked for.
    pub after: String,
    /// Value read back after the write; absent if nothing was written.
    pub read_back: Option<String>,
    /// Why it was not turned; absent if it was.
    pub error: Option<KnobFailure>,
    /// The backend that was asked last; empty if there is none.
    pub backend: String,
    /// Number of the journal record; absent if nothing was to be written.
    pub token: Option<u64>,
}

/// Why a knob was not turned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnobFailure {
    /// Stable name of the error code (`target_gone`).
    pub code: String,
    /// One sentence: what was attempted, on what, what the OS said.
    pub message: String,
    /// The OS's own code, 0 if it was not involved.
    #[serde(default)]
    pub os_code: i64,
}

/// What an action changed for the one who waited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Who waited.
    pub victim: Name,
    /// How much at the sweep that led to the action, ms per second of wall time.
    pub wait_before_ms_per_s: f64,
    /// Median of the next usable sweeps, ms per second of wall time.
    pub wait_after_ms_per_s: f64,
    /// Whether it waited because of others before. If not, the action came in time.
    #[serde(default)]
    pub contended: bool,
}

/// Where the enforcer stands: replaced as a whole after every sweep it has dealt with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Enforcement {
    /// The last sweep that was dealt with.
    pub provenance: Provenance,
    /// Whether nothing is ever written.
    pub dry_run: bool,
    /// Every governed workload.
    pub workloads: Vec<Governed>,
    /// Knobs left alone because somebody else changed them.
    pub foreign: Vec<KnobOutcome>,
    /// Knobs that every backend refused, with the last error.
    pub refused: Vec<KnobOutcome>,
    /// Knobs nobody touches because a call on them has not come back.
    pub in_doubt: Vec<KnobOutcome>,
    /// Contexts we made.
    pub contexts: Vec<ContextId>,
    /// What the places of the workloads are worth against each other.
    #[serde(default)]
    pub shares: Vec<PlaceShare>,
}

/// The part of the CPU a place gets while every workload that is protected or held back wants
/// all of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlaceShare {
    /// A workload that sits there.
    pub workload: Name,
    /// The context.
    pub path: String,
    /// 0..=1.
    pub fraction: f64,
    /// How it comes about, from the root down.
    pub steps: Vec<ShareStep>,
}

/// One level of a [`PlaceShare`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShareStep {
    /// The context.
    pub path: String,
    /// Its weight, 100 is the default.
    pub weight: f64,
    /// Weights it competes with on its level: siblings that hold a workload, and each member of
    /// one that sits directly in the parent where tasks compete one by one.
    pub rivals: f64,
}

/// A workload as the enforcer sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Governed {
    /// Which.
    pub workload: Name,
    /// Its tier.
    pub tier: u8,
    /// By which rule.
    pub rule: String,
    /// The levers in use, one sentence each; or why there is none.
    pub levers: Vec<String>,
    /// Knobs in force, each with its origin (`before`) and the value read back.
    pub knobs: Vec<KnobOutcome>,
}

// === impl Action ===

impl Action {
    /// Whether knobs were turned by it, so that it can have an effect.
    pub fn is_turn(&self) -> bool {
        use ActionKind::{Cap, Place, Priority, Weight};
        matches!(self.kind, Place | Weight | Cap | Priority)
            && !self.knobs.is_empty()
            && !self.dry_run
    }
}

// === impl KnobFailure ===

impl From<&outrigger_sdk::Error> for KnobFailure {
    fn from(error: &outrigger_sdk::Error) -> Self {
        Self {
            code: error.code.to_string(),
            message: format!("{}: {}", error.step, error.message),
            os_code: error.os_code,
        }
    }
}

impl KnobFailure {
    /// Whether the failure has that code.
    pub fn is(&self, code: ErrorCode) -> bool {
        code.name() == Some(self.code.as_str())
    }
}

// === impl ActionKind ===

impl ActionKind {
    /// The kind of an action that turns this knob.
    pub const fn of(knob: Capability) -> Self {
        match knob {
            Capability::CONTEXT | Capability::MEMBERS => Self::Place,
            Capability::CPU_LIMIT | Capability::CPU_BURST => Self::Cap,
            Capability::PRIORITY | Capability::SCHED_CLASS | Capability::AUTOGROUP => {
                Self::Priority
            }
            _ => Self::Weight,
        }
    }
}
