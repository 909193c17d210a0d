//! The enforcer against a model of a host.
#![allow(clippy::unwrap_used)]

mod actor;
mod arrangements;
mod levelled;
mod lever;
mod random;
mod trouble;

use super::model::{Host, task};
use super::worker::{Outcome, Settings, Worker};
use crate::flow::activity::{Action, ActionKind};
use crate::flow::message::{
    Contention, Culprit, Decisions, Entitlement, Member, Protected, Provenance, TierChange,
};
use outrigger_sdk::ContextId;

/// A host, a worker on it, and the sweep it is at. `redis` is protected, `batch` is held back.
struct Bench {
    host: Host,
    worker: Worker,
    tick: u64,
    victims: Vec<u32>,
    hogs: Vec<u32>,
    tier: u8,
    idle: bool,
    cap: Option<u32>,
    wait: Option<f64>,
}

impl Bench {
    fn new(host: &Host, victims: &[u32], hogs: &[u32]) -> Self {
        Self::with(
            host,
            victims,
            hogs,
            Settings { instance: "t".to_owned(), ..Settings::default() },
        )
    }

    fn with(host: &Host, victims: &[u32], hogs: &[u32], settings: Settings) -> Self {
        Self {
            host: host.clone(),
            worker: Worker::new(Box::new(host.clone()), settings),
            tick: 0,
            victims: victims.to_vec(),
            hogs: hogs.to_vec(),
            tier: 3,
            idle: false,
            cap: None,
            wait: Some(300.0),
        }
    }

    /// One sweep at the present tier.
    fn sweep(&mut self) -> Outcome {
        self.tick += 1;
        let decisions = self.decisions();
        self.worker.step(&decisions)
    }

    /// What was done in some sweeps, without the measured effects of earlier actions.
    fn sweeps(&mut self, count: u64) -> Vec<Action> {
        let all = (0..count).flat_map(|_| self.sweep().actions);
        all.filter(|action| action.effect.is_none()).collect()
    }

    fn decisions(&self) -> Decisions {
        let (weight, priority) = match self.tier {
            0 => (100, 2),
            1 => (50, 3),
            2 => (20, 3),
            _ => (1, 4),
        };
        let entitlement = Entitlement {
            workload: "batch".into(),
            tier: self.tier,
            weight,
            idle: self.idle,
            cap: self.cap,
            priority,
            members: self.members(&self.hogs),
            rule: "workload.batch".to_owned(),
            allow_irreversible: false,
        };
        Decisions {
            provenance: Provenance { tick: self.tick, at_ns: self.tick * 250_000_000, wall_ms: 0 },
            entitlements: if self.tier > 0 { vec![entitlement] } else { Vec::new() },
            changes: Vec::new(),
            protected: if self.victims.is_empty() { Vec::new() } else { vec![self.protected()] },
            contention: Vec::new(),
        }
    }

    fn protected(&self) -> Protected {
        Protected {
            workload: "redis".into(),
            members: self.members(&self.victims),
            wait_ms_per_s: self.wait,
            contended: self.wait.is_some_and(|wait| wait > 20.0),
        }
    }

    fn members(&self, pids: &[u32]) -> std::sync::Arc<[Member]> {
        let world = self.host.world();
        let alive = pids.iter().filter_map(|pid| Some((*pid, world.processes.get(pid)?)));
        alive
            .map(|(pid, process)| Member {
                task: task(pid),
                name: format!("p{pid}"),
                session: process.session,
                contexts: if world.no_tree {
                    Vec::new()
                } else {
                    vec![ContextId::new("cpu", &process.path)]
                },
                millicores: 100.0,
            })
            .collect()
    }
}

fn change(from: u8, to: u8, wait: f64) -> TierChange {
    TierChange {
        workload: "batch".into(),
        from,
        to,
        cap: None,
        rule: "workload.batch".to_owned(),
        reasons: vec!["it held the CPU".to_owned()],
        contention: Some(Contention {
            victim: "redis".into(),
            wait_ms_per_s: wait,
            evidence: Vec::new(),
            culprits: Vec::new(),
        }),
    }
}

fn kinds(actions: &[Action]) -> Vec<ActionKind> {
    actions.iter().map(|action| action.kind).collect()
}

const CONTEXT: &str = "/outrigger-t-batch";
