//! What is to be protected, what may be held back, and how far: plain data.
//!
//! This module has no opinion on where a policy comes from (`config`) and takes no decision
//! (`classifier`, `tier`).

pub mod matching;
mod selector;
mod text;
mod validate;

pub use selector::Selector;
pub use validate::Problem;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a workload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Somebody waits for each answer. Protected.
    LatencyCritical,
    /// A person works with it. Protected.
    Interactive,
    /// Should finish, no matter quite when. Best-effort.
    Batch,
    /// Nobody waits. Best-effort.
    Background,
    /// Uses all it can get although nobody asked. Best-effort.
    Runaway,
    /// Not known: left alone.
    Unknown,
}

impl Class {
    /// Whether others are held back for it.
    pub const fn is_protected(self) -> bool {
        matches!(self, Self::LatencyCritical | Self::Interactive)
    }
    /// As the policy spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LatencyCritical => "latency-critical",
            Self::Interactive => "interactive",
            Self::Batch => "batch",
            Self::Background => "background",
            Self::Runaway => "runaway",
            Self::Unknown => "unknown",
        }
    }
    /// Whether it may be held back.
    pub const fn is_best_effort(self) -> bool {
        matches!(self, Self::Batch | Self::Background | Self::Runaway)
    }
}

/// The whole policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Named sets of processes; the first whose selectors match a process has it.
    #[serde(rename = "workload")]
    pub workloads: Vec<Workload>,
    /// What each tier means. Tier 0 is unrestricted.
    #[serde(with = "tier_keys")]
    pub tiers: BTreeMap<u8, Tier>,
    /// Where each best-effort class rests, and how far it may be pushed.
    pub ladder: BTreeMap<Class, Ladder>,
    /// When waiting counts as contention.
    pub contention: Thresholds,
    /// How fast things change.
    pub timing: Timing,
    /// Which unnamed processes may be held back.
    pub neighbours: Neighbours,
}

/// A named set of processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Its name: `[a-z0-9-]+`, unique.
    pub name: String,
    /// Its class; without one, behaviour decides.
    #[serde(default)]
    pub class: Option<Class>,
    /// Selectors; any of them suffices.
    #[serde(rename = "match")]
    pub selectors: Vec<Selector>,
    /// Whether knobs may be turned that cannot be turned back.
    #[serde(default)]
    pub allow_irreversible: bool,
}

/// What a tier means.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// CPU weight, 1..=10000; 100 is everybody's.
    pub share: u32,
    /// Run only when nobody else wants the CPU.
    #[serde(default)]
    pub idle: bool,
    /// Cap in percent of the workload's allotment, 0 < cap <= 100; none if absent.
    #[serde(default)]
    pub cap: Option<f64>,
    /// When the cap applies.
    #[serde(default)]
    pub when: CapWhen,
    /// Priority level where only per-process knobs reach.
    pub priority: Priority,
}

/// When a cap applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CapWhen {
    /// Only under contention that shares did not end.
    #[default]
    Contended,
    /// As long as the tier lasts.
    Always,
    /// Never.
    Never,
}

/// Priority levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// Before everything else.
    Realtime,
    /// Before normal.
    High,
    /// As found.
    Normal,
    /// After normal.
    Low,
    /// Last.
    Idle,
}

impl Priority {
    /// The number backends know it by: 0 realtime .. 4 idle.
    pub const fn level(self) -> u8 {
        match self {
            Self::Realtime => 0,
            Self::High => 1,
            Self::Normal => 2,
            Self::Low => 3,
            Self::Idle => 4,
        }
    }
}

/// How far a class may be pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ladder {
    /// Tier without contention.
    pub rest: u8,
    /// Last tier under contention; must exist and be at least `rest`.
    pub floor: u8,
}

/// When waiting counts as contention.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Thresholds {
    /// Waiting of a protected workload, ms per second, above which it is contended (0..=1000).
    pub wait_ms_per_s: f64,
    /// Waiting below which contention has ended; less than `wait_ms_per_s`.
    pub clear_ms_per_s: f64,
    /// What others must have used meanwhile for it to be their doing, millicores.
    pub others_millicores: f64,
}

/// How fast things change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timing {
    /// Time between sweeps, 50 ms..=60 s.
    #[serde(with = "humantime_serde")]
    pub tick: Duration,
    /// Contended ticks before the next tier down, at least 1.
    pub down_after: u32,
    /// Time without contention before one tier up.
    #[serde(with = "humantime_serde")]
    pub cool_down: Duration,
    /// Shortest time in a tier before going up again.
    #[serde(with = "humantime_serde")]
    pub dwell: Duration,
    /// Tier changes of one workload per `flap_window`; past it, it stays down.
    pub flap_budget: u32,
    /// See `flap_budget`.
    #[serde(with = "humantime_serde")]
    pub flap_window: Duration,
    /// Ticks of contention at the last tier, shares acting, before a cap is tried; at least 1.
    pub cap_after: u32,
    /// Usable ticks after which a cap is judged: it stays only if the waiting fell by a quarter.
    /// At least 2.
    pub cap_trial: u32,
}

/// Name of the workload that [`Neighbours`] form; no workload of the policy may have it.
pub const NEIGHBOURS: &str = "neighbours";

/// Which processes that no workload names may be held back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Neighbours {
    /// None: only what the policy names is touched.
    #[default]
    Untouched,
    /// CPU-heavy ones of the same user and session as a protected process that are no ancestors,
    /// session leaders or socket peers of one.
    SameSession,
}

impl Default for Policy {
    fn default() -> Self {
        use Priority::{Idle, Low, Normal};
        let tier = |share, idle, cap, priority| Tier {
            share,
            idle,
            cap,
            when: CapWhen::Contended,
            priority,
        };
        Self {
            workloads: Vec::new(),
            tiers: BTreeMap::from([
                (0, tier(100, false, None, Normal)),
                (1, tier(50, false, Some(75.0), Low)),
                (2, tier(20, false, Some(50.0), Low)),
                (3, tier(1, false, Some(25.0), Idle)),
            ]),
            ladder: BTreeMap::from([
                (Class::Batch, Ladder { rest: 1, floor: 3 }),
                (Class::Background, Ladder { rest: 3, floor: 3 }),
                (Class::Runaway, Ladder { rest: 2, floor: 3 }),
            ]),
            contention: Thresholds::default(),
            timing: Timing::default(),
            neighbours: Neighbours::default(),
        }
    }
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { wait_ms_per_s: 50.0, clear_ms_per_s: 25.0, others_millicores: 100.0 }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(250),
            down_after: 1,
            cool_down: Duration::from_secs(10),
            dwell: Duration::from_secs(5),
            flap_budget: 6,
            flap_window: Duration::from_secs(600),
            cap_after: 8,
            cap_trial: 8,
        }
    }
}

/// TOML has only text keys; tiers are numbered.
mod tier_keys {
    use super::{BTreeMap, Tier};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub fn serialize<S: Serializer>(
        tiers: &BTreeMap<u8, Tier>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let named: BTreeMap<String, &Tier> =
            tiers.iter().map(|(number, tier)| (number.to_string(), tier)).collect();
        named.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<u8, Tier>, D::Error> {
        let named = BTreeMap::<String, Tier>::deserialize(deserializer)?;
        named
            .into_iter()
            .map(|(name, tier)| {
                let number = name.parse().map_err(|_| {
                    D::Error::custom(format!("tier {name:?} is not a number from 0 to 255"))
                })?;
                Ok((number, tier))
            })
            .collect()
    }
}
