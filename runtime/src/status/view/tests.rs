use super::*;
use crate::flow::activity::{ActionKind, Governed};
use crate::flow::message::{Entitlement, Member, Provenance};
use outrigger_sdk::TaskId;

pub(crate) fn action(seq: u64, kind: ActionKind) -> Action {
    Action {
        seq,
        provenance: Provenance { tick: 4, at_ns: 0, wall_ms: 3_723_000 },
        workload: "hogs".into(),
        kind,
        dry_run: false,
        tier: 3,
        rule: "workload.hogs".into(),
        change: None,
        contention: None,
        lever: String::new(),
        knobs: Vec::new(),
        effect: None,
    }
}

pub(crate) fn knob() -> KnobOutcome {
    KnobOutcome {
        knob: "cpu.weight".into(),
        target: "/outrigger-run-1-hogs".into(),
        pid: None,
        locator: "/sys/fs/cgroup/cpu/outrigger-run-1-hogs/cpu.shares".into(),
        before: "1024".into(),
        after: "10".into(),
        read_back: Some("10".into()),
        error: None,
        backend: "linux-cgroup1".into(),
        token: Some(7),
    }
}

pub(crate) fn assessment(name: &str, class: Class, pid: u32, program: &str) -> Assessment {
    let task = TaskId { pid, tid: 0, start: 1 };
    let member =
        Member { task, name: program.into(), session: 1, contexts: Vec::new(), millicores: 1700.0 };
    Assessment {
        workload: name.into(),
        class,
        rule: format!("workload.{name}"),
        confidence: 1.0,
        reasons: vec!["the policy says so".into()],
        members: Arc::new([member]),
        millicores: 1700.0,
        wait_ms_per_s: class.is_protected().then_some(4.0),
        allow_irreversible: false,
    }
}

/// A published state to change in tests.
#[derive(Default)]
pub(crate) struct Scene {
    pub identity: Identity,
    pub paused: bool,
    pub facts: Facts,
    pub assessments: Assessments,
    pub silence: std::time::Duration,
    pub decisions: Decisions,
    pub enforcement: Enforcement,
    pub actions: Vec<Arc<Action>>,
}

impl Scene {
    /// `app` (redis-server, 700) is protected, `hogs` (stress-ng, 812) is held back.
    pub(crate) fn governed() -> Self {
        let mut scene = Self::default();
        scene.identity.instance = "run-1".into();
        scene.assessments.provenance = Provenance { tick: 4, at_ns: 0, wall_ms: 3_723_000 };
        scene.assessments.interval_ns = 250_000_000;
        scene.assessments.workloads = vec![
            assessment("app", Class::LatencyCritical, 700, "redis-server"),
            assessment("hogs", Class::Batch, 812, "stress-ng"),
        ];
        scene.decisions.entitlements = vec![Entitlement {
            workload: "hogs".into(),
            tier: 3,
            weight: 1,
            idle: false,
            cap: None,
            priority: 4,
            members: Arc::new([]),
            rule: "workload.hogs".into(),
            allow_irreversible: false,
        }];
        scene.enforcement.workloads = vec![Governed {
            workload: "hogs".into(),
            tier: 3,
            rule: "workload.hogs".into(),
            levers: vec!["its own context beside redis-server".into()],
            knobs: vec![knob()],
        }];
        scene
    }

    pub(crate) fn view(&self) -> StatusView {
        StatusView::of(&Published {
            identity: &self.identity,
            paused: self.paused,
            facts: &self.facts,
            stages: &[],
            assessments: &self.assessments,
            silence: self.silence,
            decisions: &self.decisions,
            enforcement: &self.enforcement,
            actions: &self.actions,
            own: Usage::default(),
        })
    }
}

#[test]
fn a_workload_is_put_together_from_all_stages() {
    let view = Scene::governed().view();
    assert_eq!(view.why_idle, None);
    let hogs = view.workload_of(812).unwrap();
    assert_eq!((hogs.tier, hogs.weight, hogs.knobs.len()), (3, 1, 1));
    assert!(view.workload_of(700).is_some_and(|w| w.protected && w.weight == 100));
}

#[test]
fn what_is_old_is_said_to_be_old() {
    let mut scene = Scene::governed();
    scene.silence = std::time::Duration::from_secs(2);
    assert_eq!(scene.view().degraded, Vec::<String>::new());
    scene.silence = std::time::Duration::from_secs(9);
    assert_eq!(scene.view().degraded, ["blind: nothing was seen for 9 s, all below is old"]);
    scene.assessments.interval_ns = 5_000_000_000;
    assert_eq!(scene.view().degraded, Vec::<String>::new(), "so it is with long ticks");
}

#[test]
fn idleness_has_a_reason() {
    let why = |change: &dyn Fn(&mut Scene)| {
        let mut scene = Scene::governed();
        change(&mut scene);
        scene.view().why_idle.unwrap_or_default()
    };
    assert!(why(&|s| s.paused = true).contains("paused"));
    assert!(why(&|s| s.assessments.provenance.tick = 0).contains("no sweep"));
    assert!(
        why(&|s| {
            s.enforcement.workloads.clear();
            s.assessments.workloads.remove(0);
        })
        .contains("nothing is protected")
    );
    assert!(
        why(&|s| {
            s.enforcement.workloads.clear();
            s.assessments.workloads.remove(1);
        })
        .contains("--best-effort")
    );
    assert!(why(&|s| s.enforcement.workloads[0].knobs.clear()).contains("no knob can be turned"));
    assert!(
        why(&|s| {
            s.enforcement.workloads.clear();
            s.decisions.entitlements.clear();
        })
        .contains("nobody waits")
    );
}

#[test]
fn who_sees_nobody_says_so_and_not_that_nobody_is_there() {
    let mut scene = Scene::governed();
    scene.assessments.workloads.clear();
    scene.enforcement.workloads.clear();
    scene.identity.protects = true;
    assert_eq!(scene.view().why_idle.unwrap(), "no process of a protected workload is alive");
    scene.facts.capabilities = vec![CapabilityView {
        name: Capability::OBSERVE_TASKS.to_string(),
        level: "unavailable".into(),
        ..CapabilityView::default()
    }];
    assert!(scene.view().why_idle.unwrap().starts_with("no backend can see processes"));
}

#[test]
fn a_status_survives_its_journey() {
    let mut scene = Scene::governed();
    scene.actions.push(Arc::new(action(1, ActionKind::Weight)));
    let view = scene.view();
    let text = serde_json::to_string(&view).unwrap();
    assert_eq!(serde_json::from_str::<StatusView>(&text).unwrap(), view);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["actions"][0]["seq"], 1);
    assert_eq!(json["workloads"][0]["class"], "latency-critical");
}

#[test]
fn own_usage_is_read() {
    assert!(Usage::of_process().rss_bytes > 100_000);
}
