//! What is told to people and machines: stable keys, snake_case, plain data.

use super::hub::{Facts, Identity, Mode};
use super::words;
use crate::flow::activity::{Action, Enforcement, KnobOutcome, PlaceShare};
use crate::flow::message::{Assessment, Assessments, Contention, Decisions};
use crate::policy::Class;
use outrigger_sdk::Capability;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Intervals without anything new after which it is said that what is shown is old, and at least.
const SILENT_INTERVALS: u64 = 8;
const SILENT_MS: u64 = 3_000;

/// Actions shown in a status; the events have more.
const RECENT: usize = 16;

/// The whole status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// Name of the instance.
    pub instance: String,
    /// Its process.
    pub pid: u32,
    /// How it was started.
    pub mode: Mode,
    /// When, milliseconds since the Unix epoch.
    pub started_wall_ms: u64,
    /// Sweeps so far.
    pub tick: u64,
    /// When the last one began, milliseconds since the Unix epoch.
    pub tick_wall_ms: u64,
    /// How long nothing has come of any sweep, ms.
    pub silent_ms: u64,
    /// Length of the last interval, ms.
    pub interval_ms: u64,
    /// CPUs online.
    pub cpus: u32,
    /// Whether it was told to hold nobody back.
    pub paused: bool,
    /// Whether it writes nothing at all.
    pub dry_run: bool,
    /// What does not work as it should, one sentence each.
    pub degraded: Vec<String>,
    /// Why nothing is done; absent if something is.
    pub why_idle: Option<String>,
    /// Plugins.
    pub backends: Vec<BackendView>,
    /// What can be done here.
    pub capabilities: Vec<CapabilityView>,
    /// Workloads with living members.
    pub workloads: Vec<WorkloadView>,
    /// Who waits because of whom, at the last sweep.
    pub contention: Vec<Contention>,
    /// What was done lately, oldest first.
    pub actions: Vec<Activity>,
    /// Knobs that every backend refused.
    pub refused: Vec<KnobOutcome>,
    /// Knobs left alone because somebody else changed them.
    pub foreign: Vec<KnobOutcome>,
    /// Knobs nobody touches because a call on them has not come back.
    pub in_doubt: Vec<KnobOutcome>,
    /// Contexts made, by name.
    pub contexts: Vec<String>,
    /// The stages and their health.
    pub stages: Vec<StageView>,
    /// What the sidecar itself uses.
    pub own: Usage,
}

/// A plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendView {
    /// Name, or the file if it did not come to a name.
    pub name: String,
    /// Version.
    pub version: String,
    /// File; empty for what is built in.
    pub path: String,
    /// State of its health.
    pub state: String,
    /// Why, if it is not at work.
    pub reason: String,
}

/// A capability of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilityView {
    /// Stable name.
    pub name: String,
    /// `full`, `degraded` or `unavailable`.
    pub level: String,
    /// Who does it; empty if nobody can.
    pub backend: String,
    /// Why it is not full.
    pub reason: String,
    /// What a person can do about it.
    pub hint: String,
}

/// A workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkloadView {
    /// Name.
    pub name: String,
    /// Class.
    pub class: Class,
    /// The rule that says so.
    pub rule: String,
    /// How sure that is, 0..=1.
    pub confidence: f64,
    /// Whether others are held back for it.
    pub protected: bool,
    /// Its tier; 0 is unrestricted.
    pub tier: u8,
    /// CPU weight it is entitled to, 100 is everybody's.
    pub weight: u32,
    /// Whether it runs only when nobody else wants the CPU.
    pub idle: bool,
    /// Cap in force, millicores.
    pub cap_millicores: Option<u32>,
    /// Living members.
    pub members: Vec<MemberView>,
    /// CPU used in the last interval, millicores.
    pub millicores: f64,
    /// How much it waited, ms per second; absent if nobody looked or nothing can be said.
    pub wait_ms_per_s: Option<f64>,
    /// Whether it waited because of others.
    pub contended: bool,
    /// Why it has its class, one phrase each.
    pub reasons: Vec<String>,
    /// Levers in use, one sentence each; or why there is none.
    pub levers: Vec<String>,
    /// Knobs in force.
    pub knobs: Vec<KnobOutcome>,
    /// What its places are worth against those of other workloads; the root is not one.
    #[serde(default)]
    pub shares: Vec<PlaceShare>,
}

/// A member of a workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberView {
    /// Process number.
    pub pid: u32,
    /// Start time in the OS's unit.
    pub start: u64,
    /// Short name.
    pub name: String,
    /// CPU used in the last interval, millicores.
    pub millicores: f64,
}

/// A stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageView {
    /// Which.
    pub name: String,
    /// Times it was started anew.
    pub restarts: u32,
    /// How it ended last, if it did.
    pub last_ending: Option<String>,
}

/// An action, in words too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Activity {
    /// As the enforcer recorded it.
    #[serde(flatten)]
    pub action: Action,
    /// When, milliseconds since the Unix epoch.
    pub wall_ms: u64,
    /// Why, one phrase each.
    pub reasons: Vec<String>,
    /// In one sentence.
    pub sentence: String,
}

/// What the sidecar itself uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time since it started, ms.
    pub cpu_ms: u64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
}

/// Everything a status is worked out of.
#[derive(Clone, Copy, Debug)]
pub struct Published<'a> {
    /// Who.
    pub identity: &'a Identity,
    /// Whether it is paused.
    pub paused: bool,
    /// About the host.
    pub facts: &'a Facts,
    /// The stages.
    pub stages: &'a [StageView],
    /// The last assessments.
    pub assessments: &'a Assessments,
    /// How long ago they came, or since the start if none did.
    pub silence: Duration,
    /// The last decisions.
    pub decisions: &'a Decisions,
    /// Where the enforcer stands.
    pub enforcement: &'a Enforcement,
    /// Recent actions, oldest first.
    pub actions: &'a [Arc<Action>],
    /// What the sidecar uses.
    pub own: Usage,
}

impl Activity {
    /// An action in words.
    pub fn of(action: &Action) -> Self {
        Self {
            wall_ms: action.provenance.wall_ms,
            reasons: action.change.as_ref().map_or_else(Vec::new, |change| change.reasons.clone()),
            sentence: words::action(action),
            action: action.clone(),
        }
    }
}

impl Usage {
    /// That of this process.
    pub fn of_process() -> Self {
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: the kernel fills a structure of that type; all zero is a valid value of it.
        let usage = unsafe {
            libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
            usage.assume_init()
        };
        let ms = |time: libc::timeval| time.tv_sec * 1000 + time.tv_usec / 1000;
        let cpu_ms = u64::try_from(ms(usage.ru_utime) + ms(usage.ru_stime)).unwrap_or_default();
        Self { cpu_ms, rss_bytes: resident().unwrap_or_default() }
    }
}

fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    // SAFETY: sysconf takes a number.
    let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
    Some(pages * page)
}

impl StatusView {
    /// Works the status out.
    pub fn of(from: &Published<'_>) -> Self {
        let Published { identity, assessments, enforcement, facts, .. } = *from;
        let mut view = Self {
            instance: identity.instance.clone(),
            pid: identity.pid,
            mode: identity.mode,
            started_wall_ms: identity.started_wall_ms,
            tick: assessments.provenance.tick,
            tick_wall_ms: assessments.provenance.wall_ms,
            silent_ms: u64::try_from(from.silence.as_millis()).unwrap_or(u64::MAX),
            interval_ms: assessments.interval_ns / 1_000_000,
            cpus: assessments.cpus,
            paused: from.paused,
            dry_run: identity.dry_run,
            degraded: facts.degraded.clone(),
            why_idle: None,
            backends: facts.backends.clone(),
            capabilities: facts.capabilities.clone(),
            workloads: assessments.workloads.iter().map(|a| workload(from, a)).collect(),
            contention: assessments.contention.clone(),
            actions: from
                .actions
                .iter()
                .rev()
                .take(RECENT)
                .rev()
                .map(|a| Activity::of(a))
                .collect(),
            refused: enforcement.refused.clone(),
            foreign: enforcement.foreign.clone(),
            in_doubt: enforcement.in_doubt.clone(),
            contexts: enforcement.contexts.iter().map(|c| c.path.to_string()).collect(),
            stages: from.stages.to_vec(),
            own: from.own,
        };
        if view.silent_ms > SILENT_MS.max(view.interval_ms.saturating_mul(SILENT_INTERVALS)) {
            let seconds = view.silent_ms / 1000;
            let sentence = format!("blind: nothing was seen for {seconds} s, all below is old");
            view.degraded.insert(0, sentence);
        }
        view.why_idle = why_idle(&view, identity);
        view
    }

    /// The workload a process belongs to.
    pub fn workload_of(&self, pid: u32) -> Option<&WorkloadView> {
        self.workloads.iter().find(|w| w.members.iter().any(|member| member.pid == pid))
    }
}

fn workload(from: &Published<'_>, assessment: &Assessment) -> WorkloadView {
    let name = &assessment.workload;
    let entitlement = from.decisions.entitlements.iter().find(|e| e.workload == *name);
    let governed = from.enforcement.workloads.iter().find(|g| g.workload == *name);
    WorkloadView {
        name: name.to_string(),
        class: assessment.class,
        rule: assessment.rule.clone(),
        confidence: assessment.confidence,
        protected: assessment.class.is_protected(),
        tier: entitlement.map_or(0, |e| e.tier),
        weight: entitlement.map_or(100, |e| e.weight),
        idle: entitlement.is_some_and(|e| e.idle),
        cap_millicores: entitlement.and_then(|e| e.cap),
        members: assessment
            .members
            .iter()
            .map(|member| MemberView {
                pid: member.task.pid,
                start: member.task.start,
                name: member.name.clone(),
                millicores: member.millicores,
            })
            .collect(),
        millicores: assessment.millicores,
        wait_ms_per_s: assessment.wait_ms_per_s,
        contended: from.assessments.contention.iter().any(|c| c.victim == *name),
        reasons: assessment.reasons.clone(),
        levers: governed.map_or_else(Vec::new, |g| g.levers.clone()),
        knobs: governed.map_or_else(Vec::new, |g| g.knobs.clone()),
        shares: from
            .enforcement
            .shares
            .iter()
            .filter(|share| share.workload == *name)
            .cloned()
            .collect(),
    }
}

/// Why nothing is done; `None` if something is.
fn why_idle(view: &StatusView, identity: &Identity) -> Option<String> {
    if view.paused {
        return Some("it is paused; `outrigger resume` goes on".into());
    }
    let obstacle = super::obstacle(&view.capabilities, false);
    // Who sees nobody also sees nobody to protect, which is not the reason.
    if obstacle.is_some() && !can(view, Capability::OBSERVE_TASKS) {
        return obstacle;
    }
    if view.tick == 0 {
        return Some("no sweep has been made yet".into());
    }
    if view.workloads.iter().any(|w| !w.knobs.is_empty()) {
        return None;
    }
    if !view.workloads.iter().any(|w| w.protected) {
        return Some(if identity.protects {
            "no process of a protected workload is alive".into()
        } else {
            "nothing is protected: the policy names no latency-critical or interactive workload"
                .into()
        });
    }
    let best_effort: Vec<&WorkloadView> =
        view.workloads.iter().filter(|w| w.class.is_best_effort()).collect();
    if best_effort.is_empty() {
        return Some(if identity.holds_back {
            "no process that may be held back is alive".into()
        } else {
            "nobody may be held back: name a batch workload in the configuration, or give \
             --best-effort or --neighbours"
                .into()
        });
    }
    if obstacle.is_some() {
        return obstacle;
    }
    if view.dry_run {
        return Some("it is a dry run: what would be done is among the actions".into());
    }
    if let Some(lever) = best_effort.iter().find_map(|w| w.levers.first()) {
        return Some(format!("no knob can be turned: {lever}"));
    }
    if best_effort.iter().all(|w| w.tier == 0) {
        let unknown = view.workloads.iter().find(|w| w.protected && w.wait_ms_per_s.is_none());
        if let Some(unknown) = unknown {
            return Some(format!("how long {} waits cannot be told at the moment", unknown.name));
        }
        return Some("nobody waits, and everybody is entitled to everything".into());
    }
    Some("what has been decided is still being done".into())
}

fn can(view: &StatusView, capability: Capability) -> bool {
    let name = capability.to_string();
    view.capabilities.iter().any(|known| known.name == name && known.level != "unavailable")
}

#[cfg(test)]
pub(crate) mod tests;
