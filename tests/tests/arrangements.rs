//! Arrangements of service and hogs that really occur: in each the service is protected and the
//! hogs keep their work, or `explain` says which lever is missing; afterwards all is as before.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use outrigger::demo::{Measurement, Phase, Verdict, summarise};
use outrigger_tests::{
    Difference, Group, Hierarchy, Hogs, Mutation, Outrigger, Service, Snapshot, Usage, cgroups,
    noisy, root,
};
use serde_json::Value;

/// For a median that one bad round cannot move.
const ROUNDS: u32 = 3;
const TIME: Duration = Duration::from_secs(1);
/// With two CPUs and one service, each CPU has a queue.
const HOGS: usize = 8;
/// Between a change and the measurement: what was waiting is answered.
const SETTLE: Duration = Duration::from_millis(500);
/// How long the sidecar may take to do something. If it does nothing by then, the phase is
/// measured as it is.
const REACTION: Duration = Duration::from_secs(10);
const GLANCE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(20);
/// Of the 99th percentile governed, over alone; twice that of alone is allowed in any case.
const SLACK_US: u64 = 4_000;
/// What others than service and hogs may use: from there on hogs that are held back lose to
/// them, rightly, and what they keep says nothing.
const OTHERS_CPUS: f64 = 0.3;
/// How the kernel calls the hogs.
const NAME: &str = "arrangedhog";
/// How `attach` calls what `--best-effort` matches.
const WORKLOAD: &str = "best-effort";

/// Who is where. Places are paths in the v1 hierarchy of `cpu`; without one, its root.
#[derive(Clone, Copy, Debug, Default)]
struct Arrangement {
    service: Option<&'static str>,
    hogs: Option<&'static str>,
    own_sessions: bool,
    forking: bool,
    /// The sidecar is there first.
    hogs_come_later: bool,
    /// Processes that nobody mentioned, in the first directory on the way to the service, in that
    /// on the way to the hogs, and among the hogs.
    beside_service: bool,
    beside_hogs: bool,
    among_hogs: bool,
    expected: Expected,
}

/// What the kernel is to show while the sidecar governs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Expected {
    /// Only that the service is protected.
    #[default]
    Protection,
    /// A lower weight on the hogs' side of the common ancestor, and on nothing below.
    HogsTurned,
    /// A higher weight on the service's side, and the hogs' side as it was.
    ServiceRaised,
    /// Nothing reaches, and `explain` says so.
    NoLever,
}

/// An arrangement on this machine. Fields are dropped in this order.
struct Scene {
    arrangement: Arrangement,
    service: Service,
    _innocents: Vec<Innocent>,
    service_group: Option<Group>,
    hogs_group: Option<Group>,
}

/// A process that only sleeps; killed and reaped when dropped.
struct Innocent(Child);

/// What a governed phase showed.
struct Governed {
    usage: Usage,
    /// Levers as `explain` tells them.
    levers: Vec<String>,
    differences: Vec<Difference>,
}

// === impl Arrangement ===

impl Arrangement {
    fn holds(self, rounds: u32, mutation: Option<Mutation>) {
        let mut scene = self.set_up();
        let (mut measurements, mut levers) = (Vec::new(), Vec::new());
        for round in 1..=rounds {
            for phase in Phase::ALL {
                let (usage, hogs) = match phase {
                    Phase::Alone => (scene.watch(None), false),
                    Phase::Governed => {
                        let governed = scene.governed(mutation);
                        assert_eq!(governed.differences, [], "not everything was put back");
                        levers = governed.levers;
                        (governed.usage, true)
                    }
                    _ => (scene.watch(Some(&scene.hogs())), true),
                };
                measurements.push(measurement(phase, round, usage, hogs));
            }
        }

        let phases = summarise(&measurements);
        for phase in &phases {
            let (kept, others) = (phase.kept_ratio, phase.others_cpus);
            eprintln!(
                "{:<9} p99 {:>6.0} us {:.0?}  kept {kept:.2?}  others {others:.2} CPUs",
                phase.name.name(),
                phase.p99_us,
                phase.p99_us_spread,
            );
        }
        eprintln!("explain: {levers:?}");
        let missing = levers.iter().any(|lever| lever.starts_with("no lever, because "));
        assert_eq!(missing, self.expected == Expected::NoLever, "{levers:?}");
        let verdict = Verdict::of(&phases, SLACK_US).unwrap();
        let alone = phases.iter().find(|phase| phase.name == Phase::Alone).unwrap();
        let quiet = alone.others_cpus < OTHERS_CPUS;
        if !quiet {
            let others = alone.others_cpus;
            noisy(&format!("what hogs keep; others use {others:.2} CPUs of this machine"));
        }
        let met = verdict.governed_protects && (verdict.work_kept || !quiet);
        assert!(met || missing, "{verdict:?}");
    }

    fn set_up(self) -> Scene {
        let create = |path: Option<&str>| path.map(Group::create);
        let (service_group, hogs_group) = (create(self.service), create(self.hogs));
        let mut innocents = Vec::new();
        if let Some(group) = service_group.as_ref().filter(|_| self.beside_service) {
            innocents.push(Innocent::start(group.outermost()));
        }
        if let Some(group) = hogs_group.as_ref().filter(|_| self.beside_hogs) {
            innocents.push(Innocent::start(group.outermost()));
        }
        if let Some(group) = hogs_group.as_ref().filter(|_| self.among_hogs) {
            innocents.push(Innocent::start(group.path()));
        }
        let service = Service::start(service_group.as_ref().map(Group::path));
        Scene { arrangement: self, service, _innocents: innocents, service_group, hogs_group }
    }
}

// === impl Scene ===

impl Scene {
    fn hogs(&self) -> Hogs {
        let mut plan = Hogs::plan(NAME).count(HOGS);
        if self.arrangement.own_sessions {
            plan = plan.own_sessions();
        }
        if self.arrangement.forking {
            plan = plan.forking();
        }
        match &self.hogs_group {
            Some(group) => plan.in_group(group.path()).start(),
            None => plan.start(),
        }
    }

    fn watch(&mut self, hogs: Option<&Hogs>) -> Usage {
        sleep(SETTLE);
        self.service.watch(TIME, hogs)
    }

    /// With the sidecar, which is stopped while the hogs still live: only of living processes can
    /// be seen that they got back what they had.
    fn governed(&mut self, mutation: Option<Mutation>) -> Governed {
        let early = (!self.arrangement.hogs_come_later).then(|| self.hogs());
        // The hogs are our descendants; those that come later are compared with us.
        let look = || Snapshot::take(&[std::process::id()]);
        let before = look();
        let mut sidecar = self.attach(mutation);
        let hogs = early.unwrap_or_else(|| {
            sidecar.wait_until("it looks", PATIENCE, |_| true);
            self.hogs()
        });
        let begun = Instant::now();
        while !has_acted(&sidecar) && begun.elapsed() < REACTION {
            sleep(GLANCE);
        }
        let usage = self.watch(Some(&hogs));
        self.check_weights();
        let explanation = sidecar.explain(WORKLOAD).unwrap_or_default();
        sidecar.signal(libc::SIGTERM);
        let status = sidecar.wait(PATIENCE);
        assert!(status.success(), "the sidecar ended with {status}");
        let mut differences = before.differences(&look());
        // Those that come later were put there by us; they were not there before.
        let placed = self.hogs_group.as_ref().map(Group::name);
        let late = placed.filter(|_| self.arrangement.hogs_come_later);
        differences.retain(|difference| {
            let by_us = difference.property == "cgroup: cpu"
                && late.as_ref().is_some_and(|place| difference.after == *place);
            is_ours(difference, sidecar.pid()) && !by_us
        });
        let levers = explanation["levers"].as_array().into_iter().flatten();
        let levers = levers.filter_map(Value::as_str).map(str::to_owned).collect();
        Governed { usage, levers, differences }
    }

    fn attach(&self, mutation: Option<Mutation>) -> Outrigger {
        let [service, client] = self.service.pids().map(|pid| pid.to_string());
        let best_effort = format!("name={NAME}");
        let arguments = ["--pid", &service, "--pid", &client, "--best-effort", &best_effort];
        Outrigger::command("attach", arguments).mutated(mutation).start()
    }

    fn check_weights(&self) {
        const ASIS: f64 = 100.0;
        let outermost = |group: &Option<Group>| {
            let group = group.as_ref().unwrap();
            group.weight_of(group.outermost())
        };
        match self.arrangement.expected {
            Expected::Protection => (),
            Expected::HogsTurned => {
                let group = self.hogs_group.as_ref().unwrap();
                let side = group.weight_of(group.outermost());
                assert!(side < ASIS, "the hogs' side of the common ancestor has weight {side}");
                if group.path() != group.outermost() {
                    assert_eq!(group.weight(), ASIS, "a leaf shifts nothing");
                }
            }
            Expected::ServiceRaised => {
                let side = outermost(&self.service_group);
                assert!(side > ASIS, "the service's side has weight {side}");
                assert_eq!(outermost(&self.hogs_group), ASIS, "an innocent is held back");
            }
            Expected::NoLever => {
                for group in [&self.service_group, &self.hogs_group] {
                    assert_eq!(outermost(group), ASIS, "an innocent is touched");
                }
            }
        }
    }
}

fn has_acted(sidecar: &Outrigger) -> bool {
    let status = sidecar.status().unwrap_or_default();
    status["actions"].as_array().is_some_and(|actions| !actions.is_empty())
}

/// Whether a difference can be the work of this sidecar: other tests have groups of their own,
/// and other sidecars too, named after their process number.
fn is_ours(difference: &Difference, sidecar: u32) -> bool {
    const TESTS: &str = "outrigger-test-";
    let mine = format!("{TESTS}{}-", std::process::id());
    let Difference { subject, property, .. } = difference;
    match property.as_str() {
        "existence" => subject.contains(&format!("-{sidecar}-")),
        _ => !subject.contains(TESTS) || subject.contains(&mine),
    }
}

fn measurement(phase: Phase, round: u32, usage: Usage, hogs: bool) -> Measurement {
    let Usage { latency, kept_ratio, others_cpus } = usage;
    let kept_ratio = hogs.then_some(kept_ratio);
    Measurement { phase, round, seconds: TIME.as_secs_f64(), latency, kept_ratio, others_cpus }
}

// === impl Innocent ===

impl Innocent {
    fn start(group: &Path) -> Self {
        let mut command = Command::new("sleep");
        // Ends by itself, should the test be killed.
        command.arg("300").stdin(Stdio::null()).stdout(Stdio::null());
        let innocent = Self(command.spawn().unwrap());
        // A v2 group that hands controllers down holds no process: there it is in one beside.
        let v2 = Hierarchy::find().is_some_and(|hierarchy| hierarchy.version == 2);
        let place = if v2 { group.join("beside") } else { group.to_owned() };
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("cgroup.procs"), innocent.0.id().to_string()).unwrap();
        innocent
    }
}

impl Drop for Innocent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// === tests ===

const ROOT: Arrangement = Arrangement {
    service: None,
    hogs: None,
    own_sessions: false,
    forking: false,
    hogs_come_later: false,
    beside_service: false,
    beside_hogs: false,
    among_hogs: false,
    expected: Expected::Protection,
};
const SIBLING: Arrangement = Arrangement {
    service: Some("service"),
    hogs: Some("hogs"),
    expected: Expected::HogsTurned,
    ..ROOT
};
const COUSIN: Arrangement = Arrangement {
    service: Some("system/service"),
    hogs: Some("user/deep/leaf"),
    expected: Expected::HogsTurned,
    ..ROOT
};

fn possible() -> bool {
    root() && cgroups()
}

fn check(arrangement: Arrangement) {
    if possible() {
        arrangement.holds(ROUNDS, None);
    }
}

#[test]
fn hogs_in_the_root_in_one_session() {
    check(ROOT);
}

#[test]
fn hogs_in_the_root_in_eight_sessions() {
    check(Arrangement { own_sessions: true, ..ROOT });
}

#[test]
fn hogs_that_come_after_the_sidecar() {
    check(Arrangement { hogs_come_later: true, ..ROOT });
}

#[test]
fn hogs_that_fork_all_the_time() {
    check(Arrangement { forking: true, ..ROOT });
}

#[test]
fn hogs_in_a_sibling_group() {
    check(SIBLING);
}

#[test]
fn hogs_in_a_cousin_group() {
    check(COUSIN);
}

/// Which lever, and that it is let go; how well it protects is the same as for those before.
#[test]
fn hogs_that_come_to_a_cousin_group_after_the_sidecar_are_reached_through_its_ancestor() {
    if !possible() {
        return;
    }
    let mut scene = Arrangement { hogs_come_later: true, ..COUSIN }.set_up();

    let governed = scene.governed(None);

    let levers = governed.levers;
    assert!(levers.iter().any(|lever| lever.contains("common ancestor")), "{levers:?}");
    assert_eq!(governed.differences, [], "not everything was put back");
}

#[test]
fn an_innocent_beside_the_hogs_is_not_held_back_the_service_is_raised() {
    let expected = Expected::ServiceRaised;
    check(Arrangement { service: Some("service"), beside_hogs: true, expected, ..COUSIN });
}

#[test]
fn with_innocents_everywhere_the_missing_lever_is_named() {
    let (beside_service, beside_hogs, among_hogs) = (true, true, true);
    let expected = Expected::NoLever;
    let arrangement = Arrangement { beside_service, beside_hogs, among_hogs, expected, ..COUSIN };
    if possible() {
        arrangement.holds(1, None);
    }
}

#[test]
fn an_enforcer_that_does_nothing_is_noticed() {
    if possible() {
        Mutation::EnforcerNoop.turns_red(|mutation| ROOT.holds(1, mutation));
    }
}

#[test]
fn a_weight_on_the_leaf_only_is_noticed() {
    if possible() {
        Mutation::LeafOnly.turns_red(|mutation| COUSIN.holds(1, mutation));
    }
}
