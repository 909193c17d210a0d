//! Survey and observation of cgroups that really are under load.

use crate::support::{Governor, Scratch, Victim, ready, until};
use outrigger_sdk::undo::{Kind, knob};
use outrigger_sdk::{
    Backend, Capability, ContextFields, ContextId, ContextReading, ErrorCode, Observation,
    ObserveRequest, Setting, SurveyRequest,
};

fn observe(governor: &mut Governor, id: &ContextId) -> Option<ContextReading> {
    let request = ObserveRequest { contexts: vec![id.clone()].into(), ..ObserveRequest::default() };
    let mut observation = Observation::default();
    governor.backend.observe(&request, &mut observation).unwrap();
    observation.contexts.into_iter().next()
}

fn survey(root: &str, limit: u32) -> SurveyRequest {
    SurveyRequest { space: "".into(), root: root.into(), limit }
}

/// A hog that may use the first CPU only.
fn pinned_hog() -> Victim {
    let hog = Victim::hog();
    let task = knob::identify(hog.pid()).unwrap();
    knob::write(Kind::Affinity, Some(task), "", "0").unwrap();
    hog
}

#[test]
fn a_nested_tree_is_told_nearest_the_root_first_with_what_each_node_has() {
    if !ready(&["cpu"]) {
        return;
    }
    let scratch = Scratch::new();
    scratch.make("cpu", "inner/leaf");
    scratch.make("cpu", "side");
    scratch.write("cpu", "inner/cpu.shares", "512");
    scratch.write("cpu", "inner/cpu.cfs_quota_us", "25000");
    let victim = Victim::sleeper();
    scratch.write("cpu", "inner/cgroup.procs", &victim.pid().to_string());
    let mut backend = Governor::new().backend;

    let nodes = backend.survey(&survey(&scratch.path(), 100)).unwrap();

    let path = |below: &str| format!("{}{below}", scratch.path());
    let paths: Vec<&str> = nodes.iter().map(|node| node.context.path.as_str()).collect();
    assert_eq!(paths, [path(""), path("/inner"), path("/side"), path("/inner/leaf")]);
    let inner = &nodes[1];
    assert_eq!((inner.weight, inner.limit, inner.idle), (50, 250, false));
    assert_eq!(inner.pids.as_slice(), [victim.pid()]);
    assert!(inner.tasks_compete, "it holds a task and a child");
    assert_eq!((nodes[3].weight, nodes[3].limit), (100, -1));
    assert!(!nodes[0].tasks_compete && !nodes[3].tasks_compete);
    assert!(nodes.iter().all(|node| !node.managed && node.context.space == "cpu"));

    let cut = backend.survey(&survey(&scratch.path(), 2)).unwrap();
    assert_eq!(cut.len(), 2);
    let gone = backend.survey(&survey("/no/such/cgroup", 2)).unwrap_err();
    assert_eq!(gone.code, ErrorCode::GONE);
}

#[test]
fn in_the_root_tasks_compete_one_by_one() {
    if !ready(&["cpu"]) {
        return;
    }
    let victim = Victim::sleeper();
    let nodes = Governor::new().backend.survey(&survey("/", 1)).unwrap();
    assert_eq!(nodes[0].context, ContextId::new("cpu", "/"));
    assert!(nodes[0].tasks_compete);
    assert!(nodes[0].pids.contains(&victim.pid()));
}

#[test]
fn groups_of_container_runtimes_have_a_manager() {
    if !ready(&["cpu"]) {
        return;
    }
    let scratch = Scratch::new();
    scratch.make("cpu", "docker/0123abcd");
    scratch.make("cpu", "name.slice");
    let nodes = Governor::new().backend.survey(&survey(&scratch.path(), 9)).unwrap();
    let managed: Vec<&str> = nodes
        .iter()
        .filter(|node| node.managed)
        .map(|node| node.context.path.rsplit('/').next().unwrap())
        .collect();
    // A unit's name without systemd's tree behind it means nothing.
    assert_eq!(managed, ["docker", "0123abcd"]);
}

#[test]
fn pressure_and_usage_of_a_context_whose_tasks_want_one_cpu_rise() {
    if !ready(&["cpu", "unified"]) {
        return;
    }
    let scratch = Scratch::new();
    let hogs = [pinned_hog(), pinned_hog()];
    let mut governor = Governor::new();
    let members = Setting::members(hogs.iter().map(Victim::task));
    governor.settle(&scratch.id(), &[Setting::number(Capability::CONTEXT, 1), members]);

    let first = observe(&mut governor, &scratch.id()).unwrap();
    if !first.present.has(ContextFields::PRESSURE) {
        outrigger_skip::skip("the kernel keeps no pressure");
        return;
    }
    assert_eq!(first.context, scratch.id());
    assert!(!first.present.has(ContextFields::MEMORY), "it has no memory directory");
    until("pressure and usage rise", || {
        let now = observe(&mut governor, &scratch.id()).unwrap();
        assert!(now.present.has(ContextFields::CPU.with(ContextFields::THROTTLED)));
        assert_eq!(now.throttled, 0, "there is no quota");
        now.pressure_us > first.pressure_us + 100_000 && now.cpu_ns > first.cpu_ns + 100_000_000
    });
}

#[test]
fn throttling_by_an_ancestors_quota_is_counted() {
    if !ready(&["cpu"]) {
        return;
    }
    let scratch = Scratch::new();
    scratch.make("cpu", "inner");
    scratch.write("cpu", "cpu.cfs_quota_us", "10000");
    let hog = Victim::hog();
    scratch.write("cpu", "inner/cgroup.procs", &hog.pid().to_string());
    let id = ContextId::new("cpu", &format!("{}/inner", scratch.path()));
    let mut governor = Governor::new();

    until("the ancestor's quota is seen", || {
        let reading = observe(&mut governor, &id).unwrap();
        assert!(reading.present.has(ContextFields::THROTTLED));
        reading.throttled > 3 && reading.throttled_ns > 0
    });
    assert!(scratch.read("cpu", "inner/cpu.stat").contains("nr_throttled 0"));
}

#[test]
fn the_v2_tree_says_nothing_about_tasks_that_are_not_in_it() {
    if !ready(&["cpu", "unified"]) {
        return;
    }
    let scratch = Scratch::new();
    scratch.make("cpu", "");
    scratch.make("unified", "");
    let hog = Victim::hog();
    scratch.write("cpu", "cgroup.procs", &hog.pid().to_string());
    let mut governor = Governor::new();

    let reading = observe(&mut governor, &ContextId::new("cpu", &scratch.path())).unwrap();

    assert!(reading.present.has(ContextFields::THROTTLED));
    assert!(!reading.present.has(ContextFields::PRESSURE), "a zero would be a lie");
}

#[test]
fn the_root_a_missing_context_and_one_made_again_are_data() {
    if !ready(&["cpu", "unified"]) {
        return;
    }
    let scratch = Scratch::new();
    let mut governor = Governor::new();
    assert_eq!(observe(&mut governor, &ContextId::new("cpu", "/")), None);
    assert_eq!(observe(&mut governor, &ContextId::new("nonsense", "/x")), None);
    assert_eq!(observe(&mut governor, &scratch.id()), None);
    for _ in 0..2 {
        // The files are kept open; the second directory is another one.
        governor.settle(&scratch.id(), &[Setting::number(Capability::CONTEXT, 1)]);
        assert!(observe(&mut governor, &scratch.id()).is_some());
        governor.undo();
        assert_eq!(observe(&mut governor, &scratch.id()), None);
    }
}
