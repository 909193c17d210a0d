//! The plugins of this project, as the program finds them: beside the executable.

use outrigger::backend::{PluginsConfig, Registry, Trust, inspect, start};
use outrigger_sdk::undo::knob;
use outrigger_sdk::{
    Capability, ContextId, Desired, Level, Observation, ObserveRequest, Setting, SurveyRequest,
    TaskId,
};
use outrigger_skip::skip;

/// Everything that was built beside this test, found as for the program itself.
fn registry() -> Registry {
    start(&PluginsConfig::default(), &[], Some(&std::env::current_exe().unwrap()))
}

#[test]
fn they_are_found_held_and_granted_everything() {
    let registry = registry();
    assert_eq!(registry.refusals(), []);
    for name in ["linux-proc", "linux-cgroup1", "linux-cgroup2", "fallback"] {
        let plugin = registry.plugin(name).unwrap_or_else(|| panic!("{name} was not found"));
        assert_eq!(plugin.trust(), Trust::Ours, "{name}");
        assert!(plugin.offers().iter().all(|offer| offer.granted), "{name}");
        let view = inspect::PluginView::of(plugin);
        assert!(view.is_usable() && view.grant_needed.is_empty(), "{view:?}");
    }
    for offer in registry.plugins().iter().flat_map(|plugin| plugin.offers()) {
        let said = offer.level == Level::FULL || !offer.reason.is_empty();
        assert!(said, "{offer:?} does not say why");
    }
    assert!(registry.level(Capability::OBSERVE_TASKS) > Level::UNAVAILABLE);
}

#[test]
fn their_readings_and_preparations_pass_what_the_host_looks_at() {
    let registry = registry();
    let seer = registry.route(Capability::OBSERVE_TASKS).unwrap().best().unwrap();
    let sweep =
        seer.observe(ObserveRequest::default(), Observation::default(), drop).wait().unwrap();
    assert!(sweep.infos.iter().any(|info| info.task.pid == std::process::id()));

    let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let task = knob::identify(child.id()).unwrap();
    let task = TaskId { pid: task.pid, tid: 0, start: task.start };
    let knobs = [
        Setting::number(Capability::PRIORITY, 4),
        Setting::number(Capability::SCHED_CLASS, 1),
        Setting::number(Capability::OOM_SCORE_ADJ, 500),
        Setting::number(Capability::IO_PRIORITY, 3 << 13),
        Setting { text: "nofile".into(), ..Setting::number(Capability::RLIMIT, 64) },
    ];
    let context = ContextId::ours("outrigger-test-vetting");
    let groups = [
        Setting::number(Capability::CONTEXT, 1),
        Setting::number(Capability::CPU_WEIGHT, 5),
        Setting::number(Capability::CPU_LIMIT, 500),
        Setting::number(Capability::PIDS_LIMIT, 100),
        Setting::number(Capability::MEMORY_LIMIT, 1 << 30),
        Setting::members([task]),
    ];
    let of_tasks = knobs.into_iter().map(|setting| (setting.knob, Desired::task(task, [setting])));
    let of_contexts = groups.map(|setting| {
        let create = Setting::number(Capability::CONTEXT, 1);
        (setting.knob, Desired::context(context.clone(), [create, setting]))
    });
    let mut looked_at = 0;
    for (knob, desired) in of_tasks.chain(of_contexts) {
        let Some(route) = registry.route(knob) else {
            skip(&format!("nobody can turn {knob} here"));
            continue;
        };
        for candidate in route.candidates() {
            // What is refused for a reason is an answer; nonsense would be an error.
            match candidate.plugin.prepare(desired.clone()).wait() {
                Ok(prepared) => {
                    looked_at += prepared.iter().filter(|p| p.operation.is_ok()).count()
                }
                Err(error) => panic!("{}: {knob}: {error}", candidate.plugin.name()),
            }
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(looked_at > 0 || registry.route(Capability::PRIORITY).is_none());
    if let Some(route) = registry.route(Capability::CPU_WEIGHT) {
        let request = SurveyRequest { space: "".into(), root: "/".into(), limit: 100 };
        let nodes = route.best().unwrap().survey(request).wait().unwrap();
        assert!(!nodes.is_empty());
    }
}
