//! What travels between the stages: one batch per tick per stage, in one direction.
//!
//! `sensor → Monitor → Classifier → Tier → Enforcer`. Every message carries its provenance, so
//! that a decision can be followed back to the readings it came from. Nothing travels upstream;
//! what the sensor should look at more closely is demand, published in [`super::demand`].

use crate::policy::Class;
use outrigger_sdk::{ContextId, Observation, TaskId, TaskInfo};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Name of a workload.
pub type Name = Arc<str>;

/// Where a message comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Number of the sweep, from 1.
    pub tick: u64,
    /// When the sweep began, ns of the monotonic clock.
    pub at_ns: u64,
    /// The same on the wall clock, milliseconds since the Unix epoch.
    pub wall_ms: u64,
}

/// Sensor to Monitor: one sweep's raw readings.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    /// Which sweep.
    pub provenance: Provenance,
    /// The readings of all observing backends, merged.
    pub observation: Observation,
    /// Who told of processes; `None` if nobody did. Counters of two backends do not compare.
    pub observer: Option<Arc<str>>,
    /// Whether every living process was told: whoever was not is gone.
    pub full: bool,
    /// Backends that could not be read, one sentence each.
    pub failures: Vec<String>,
}

/// Monitor to Classifier: rates and pressures.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// Which sweep.
    pub provenance: Provenance,
    /// Time since the sweep before, ns; 0 at the first, which has no rates.
    pub interval_ns: u64,
    /// CPUs online.
    pub cpus: u32,
    /// Every process that used CPU or is in focus; absent means idle.
    pub tasks: Vec<TaskSignals>,
    /// New or changed processes.
    pub infos: Vec<Arc<TaskInfo>>,
    /// Processes that ended.
    pub gone: Vec<TaskId>,
    /// Contexts asked for.
    pub contexts: Vec<ContextSignals>,
    /// Share of the interval in which some task of the host waited for a CPU, 0..=1.
    pub host_pressure: Option<f64>,
    /// CPU used by the whole host, processes that did not live to be read included, millicores.
    pub host_millicores: Option<f64>,
    /// Processes that could not be read.
    pub unreadable: u32,
}

/// One process's rates over the interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TaskSignals {
    /// Whose.
    pub task: TaskId,
    /// CPU used, millicores (1000 is one CPU fully used). `None` at the first reading, unless
    /// the process was born in this interval.
    pub millicores: Option<f64>,
    /// Waiting of its threads for a CPU that ended in this interval, thread-seconds per second.
    /// Only for processes in focus. Late by nature: a starved thread shows nothing here.
    pub wait: Option<f64>,
    /// Threads runnable at the sweep (focus only).
    pub runnable: u32,
    /// Threads runnable at this sweep and the one before without CPU progress (focus only).
    pub starved: u32,
    /// Resident memory, bytes.
    pub rss_bytes: Option<u64>,
}

/// One context's rates over the interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContextSignals {
    /// Which one.
    pub context: ContextId,
    /// CPU used, millicores.
    pub millicores: Option<f64>,
    /// Share of the interval in which some task of it waited for a CPU, 0..=1.
    pub pressure: Option<f64>,
    /// Its own or an ancestor's quota stopped it in this interval or the one before: what was
    /// waited then says nothing about contention.
    pub throttled: bool,
    /// Memory used, bytes.
    pub memory_bytes: Option<u64>,
}

/// Classifier to Tier: what each workload is, and who is hurt by whom.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Assessments {
    /// Which sweep.
    pub provenance: Provenance,
    /// Length of the interval, ns.
    pub interval_ns: u64,
    /// CPUs online.
    pub cpus: u32,
    /// CPU used by all processes of the host together, millicores; `None` if unknown.
    pub used_millicores: Option<f64>,
    /// Whether the processes are not all known yet (after a start): a workload that is missing
    /// has not necessarily ended.
    pub partial: bool,
    /// Every workload with at least one living member.
    pub workloads: Vec<Assessment>,
    /// Protected workloads that waited because of others.
    pub contention: Vec<Contention>,
}

/// What a workload is.
#[derive(Clone, Debug, Serialize)]
pub struct Assessment {
    /// Which.
    pub workload: Name,
    /// Its class.
    pub class: Class,
    /// The rule that says so (`workload.NAME` of the policy, or `behaviour.NAME`).
    pub rule: String,
    /// 0..=1.
    pub confidence: f64,
    /// Why, one phrase each, with the readings.
    pub reasons: Vec<String>,
    /// Living members.
    pub members: Arc<[Member]>,
    /// CPU used, millicores.
    pub millicores: f64,
    /// How much it waited, ms per second of wall time (the largest of what its eyes saw);
    /// `None` if nobody looked or the interval is unusable.
    pub wait_ms_per_s: Option<f64>,
    /// Whether the policy lets irreversible knobs be turned for it.
    pub allow_irreversible: bool,
}

/// A living member of a workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub task: TaskId,
    /// Kernel's short name.
    pub name: String,
    /// Session number (autogroups are per session).
    pub session: u32,
    /// Where it is, one entry per space, as last read.
    pub contexts: Vec<ContextId>,
    /// CPU used in the interval, millicores.
    pub millicores: f64,
}

/// A protected workload waited for the CPU because others had it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contention {
    /// Who waited.
    pub victim: Name,
    /// How much, ms per second of wall time.
    pub wait_ms_per_s: f64,
    /// What was seen, one phrase per eye, with the readings.
    pub evidence: Vec<String>,
    /// Who had the CPU meanwhile, largest first, at most eight.
    pub culprits: Vec<Culprit>,
}

/// Somebody who had the CPU while a protected workload waited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Culprit {
    /// Who.
    pub task: TaskId,
    /// Kernel's short name.
    pub name: String,
    /// Its workload, if the policy knows it.
    pub workload: Option<Name>,
    /// What it held, millicores.
    pub millicores: f64,
}

/// Tier to Enforcer: what each workload is entitled to now. Complete at every tick, so that a
/// restarted enforcer needs nothing else.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Decisions {
    /// Which sweep.
    pub provenance: Provenance,
    /// Every workload with a tier other than 0, and those that return to 0 at this tick.
    pub entitlements: Vec<Entitlement>,
    /// What changed at this tick.
    pub changes: Vec<TierChange>,
    /// The protected workloads and how they fare: the measure of every effect.
    pub protected: Vec<Protected>,
    /// Who waits because of whom at this tick.
    pub contention: Vec<Contention>,
}

/// What a workload is entitled to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entitlement {
    /// Which.
    pub workload: Name,
    /// Its tier; 0 is unrestricted.
    pub tier: u8,
    /// CPU weight, 1..=10000, 100 is everybody's.
    pub weight: u32,
    /// Run only when nobody else wants the CPU.
    pub idle: bool,
    /// Cap now in force, millicores; `None` while shares are enough.
    pub cap: Option<u32>,
    /// Priority level for members that only per-process knobs can reach (0 realtime .. 4 idle).
    pub priority: u8,
    /// Who.
    pub members: Arc<[Member]>,
    /// By which rule.
    pub rule: String,
    /// Whether irreversible knobs may be turned.
    pub allow_irreversible: bool,
}

/// A tier change, with everything that explains it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TierChange {
    /// Which workload.
    pub workload: Name,
    /// Tier before.
    pub from: u8,
    /// Tier from now on.
    pub to: u8,
    /// Cap from now on, millicores.
    pub cap: Option<u32>,
    /// By which rule.
    pub rule: String,
    /// Why, one phrase each.
    pub reasons: Vec<String>,
    /// The contention that caused it, if one did.
    pub contention: Option<Contention>,
}

/// How a protected workload fares.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Protected {
    /// Which.
    pub workload: Name,
    /// Who.
    pub members: Arc<[Member]>,
    /// How much it waited, ms per second; `None` if the interval is unusable.
    pub wait_ms_per_s: Option<f64>,
    /// Whether contention was seen at this tick.
    pub contended: bool,
}
