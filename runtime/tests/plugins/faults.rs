//! Plugins that misbehave while they are held.

use crate::support::{held, probe_with};
use outrigger::backend::{CallError, LaneError, PluginsConfig, deadline};
use outrigger::sensor::Sweeper;
use outrigger_sdk::{
    Capability, Desired, ErrorCode, Observation, ObserveRequest, Setting, TaskId, undo,
};
use std::sync::Arc;
use std::time::Instant;

fn observe(plugin: &outrigger::backend::Plugin) -> Result<Observation, CallError> {
    plugin.observe(ObserveRequest::default(), Observation::default(), drop).wait()
}

/// With the right to turn priorities.
fn granted(toml: &str) -> PluginsConfig {
    let mut config = probe_with(toml);
    config.grants.insert("probe".into(), vec!["priority".into()]);
    config
}

#[test]
fn a_panic_is_an_error_and_a_quarantine() {
    let (_directory, _registry, plugin) = held(&probe_with("observe = 'panic'"));
    let CallError::Backend(error) = observe(&plugin).unwrap_err() else {
        panic!("the panic was not caught in the plugin");
    };
    assert_eq!(error.code, ErrorCode::PANIC);
    assert_eq!(plugin.state().name(), "quarantined");
    // On a slow machine the first quarantine may be over by now; each is longer than the last.
    let refused = (0..8)
        .map(|_| observe(&plugin).unwrap_err())
        .find(|error| matches!(error, CallError::Quarantined { .. }))
        .expect("a quarantined plugin was asked");
    assert!(refused.is_not_begun() && !refused.is_in_doubt());
}

#[test]
fn what_the_system_refuses_is_no_fault_of_the_plugin() {
    let (_directory, _registry, plugin) = held(&probe_with("observe = 'error'"));
    for _ in 0..5 {
        let CallError::Backend(error) = observe(&plugin).unwrap_err() else {
            panic!("it was not asked");
        };
        assert_eq!((error.code, error.os_code), (ErrorCode::OS, 5));
    }
    assert_eq!(plugin.state().name(), "active");
}

#[test]
fn a_hang_is_given_up_at_the_deadline_and_the_plugin_answers_again_after_it() {
    let (_directory, _registry, plugin) = held(&probe_with("observe = 'hang'\nhang_ms = 1500"));
    let late = observe(&plugin).unwrap_err();
    assert!(late.is_in_doubt(), "{late}");
    assert!(matches!(late, CallError::Lane(LaneError::Late { step: "observe", .. })));
    assert_eq!(plugin.state().name(), "degraded");
    let refused = observe(&plugin).unwrap_err();
    assert!(matches!(refused, CallError::Lane(LaneError::InDoubt { .. })), "{refused}");

    // Reading a clock does not hang: it answers as soon as the lane is out of doubt.
    let end = Instant::now() + deadline::OBSERVE * 20;
    let answer = loop {
        match plugin.timer(outrigger_sdk::Timer::THREAD, TaskId::default()).wait() {
            Err(CallError::Lane(_)) => assert!(Instant::now() < end, "it never came back"),
            answer => break answer,
        }
        std::thread::yield_now();
    };
    assert!(matches!(answer, Err(CallError::Backend(e)) if e.code == ErrorCode::NOT_SUPPORTED));
}

/// Names and ends are told only once: a sidecar that was too starved to hear them in time would
/// not know its workloads for good.
#[test]
fn a_sweep_that_comes_too_late_is_told_with_a_later_one() {
    let (_directory, registry, _plugin) = held(&probe_with("observe = 'hang'\nhang_ms = 1500"));
    let mut sweeper = Sweeper::new(Arc::new(registry), Arc::default());
    let first = sweeper.sweep(1);
    assert_eq!((first.observation.tasks.len(), first.failures.len()), (0, 1));

    let end = Instant::now() + deadline::OBSERVE * 20;
    let told = loop {
        let sweep = sweeper.sweep(2);
        if let [reading] = &sweep.observation.tasks[..] {
            break reading.cpu_ns;
        }
        assert!(Instant::now() < end, "what was told late was never heard of");
        std::thread::yield_now();
    };

    assert_eq!(told, 1, "the first answer, not a later one");
}

#[test]
fn nonsense_is_not_journalled_but_quarantined() {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let task = undo::knob::identify(child.id()).unwrap();
    let task = TaskId { pid: task.pid, tid: 0, start: task.start };
    let desired = || Desired::task(task, [Setting::number(Capability::PRIORITY, 5)]);

    let (_directory, _registry, plugin) = held(&granted(""));
    let good = plugin.prepare(desired()).wait();
    let (_directory, _registry, wicked) = held(&granted("prepare = 'nonsense'"));
    let bad = wicked.prepare(desired()).wait();
    child.kill().unwrap();
    child.wait().unwrap();

    let good = good.unwrap();
    let operation = good[0].operation.as_ref().unwrap();
    assert_eq!((operation.after.as_str(), operation.task.unwrap().pid), ("5", task.pid));
    let CallError::Backend(error) = bad.unwrap_err() else { panic!("it was not vetted") };
    assert_eq!(error.code, ErrorCode::NONSENSE);
    assert!(error.message.contains("\"4711\", which is no number from -20 to 19"), "{error}");
    assert_eq!(wicked.state().name(), "quarantined");
}
