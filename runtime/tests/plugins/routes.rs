//! What a held plugin is asked for, and what it may do.

use crate::support::{Directory, held, probe_with};
use outrigger::backend::{CallError, PluginsConfig, Trust, inspect};
use outrigger_sdk::{
    Capability, Desired, Level, Observation, ObserveRequest, Setting, TaskId, Timer,
};

#[test]
fn without_plugins_the_fallback_answers() {
    let registry = Directory::new().start(&PluginsConfig::default());
    assert_eq!(registry.level(Capability::CPU_WEIGHT), Level::UNAVAILABLE);
    assert!(registry.route(Capability::CPU_WEIGHT).is_none());
    assert_eq!(registry.level(Capability(4711)), Level::UNAVAILABLE);
    let (plugin, offer) = registry.offer(Capability::CPU_WEIGHT).unwrap();
    assert_eq!((&**plugin.name(), offer.level), ("fallback", Level::UNAVAILABLE));
    assert!(!offer.reason.is_empty());
    let clock = registry.route(Capability::TIMER_SELF).unwrap().best().unwrap();
    let reading = clock.timer(Timer::THREAD, TaskId::default()).wait().unwrap();
    let again = clock.timer(Timer::THREAD, TaskId::default()).wait().unwrap();
    assert!(again > reading, "{again} after {reading}");
}

#[test]
fn a_foreign_plugin_observes_and_turns_only_what_it_was_granted() {
    let (_directory, registry, plugin) = held(&PluginsConfig::default());
    assert_eq!(plugin.trust(), Trust::Foreign);
    assert_eq!(registry.level(Capability::OBSERVE_TASKS), Level::FULL);
    assert_eq!(registry.level(Capability::PRIORITY), Level::UNAVAILABLE);
    assert!(registry.route(Capability::PRIORITY).is_none());
    let view = inspect::PluginView::of(&plugin);
    assert_eq!(view.grant_needed, ["priority"]);
    let desired = Desired::task(
        TaskId { pid: std::process::id(), tid: 0, start: 1 },
        [Setting::number(Capability::PRIORITY, 5)],
    );
    let refused = plugin.prepare(desired).wait().unwrap_err();
    assert!(matches!(refused, CallError::NotGranted { .. }), "{refused}");
    assert!(refused.to_string().contains("plugins.grants.probe"), "{refused}");

    let granted: PluginsConfig = toml::from_str("grants.probe = ['priority']").unwrap();
    let (_directory, registry, plugin) = held(&granted);
    assert_eq!(registry.level(Capability::PRIORITY), Level::DEGRADED);
    let route = registry.route(Capability::PRIORITY).unwrap();
    assert_eq!(route.best().unwrap().name(), plugin.name());
    assert_eq!(inspect::PluginView::of(&plugin).grant_needed, [""; 0]);
}

#[test]
fn a_sweep_comes_back_in_the_buffer_that_was_lent() {
    let (_directory, _registry, plugin) = held(&PluginsConfig::default());
    let mut buffer = Observation { unreadable: 9, ..Observation::default() };
    buffer.tasks.reserve(1000);
    for sweep in 1..=3 {
        let request = ObserveRequest { tick: sweep, ..ObserveRequest::default() };
        buffer = plugin.observe(request, buffer, drop).wait().unwrap();
        assert_eq!((buffer.at_ns, buffer.unreadable), (sweep, 0));
        assert_eq!(buffer.tasks.len(), 1);
        assert_eq!((buffer.tasks[0].task.pid, buffer.tasks[0].cpu_ns), (std::process::id(), sweep));
        assert!(buffer.tasks.capacity() >= 1000);
    }
    assert_eq!(plugin.state().name(), "active");
}

#[test]
fn an_actor_waits_without_a_thread() {
    let (_directory, _registry, plugin) = held(&PluginsConfig::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let swept = runtime.block_on(async {
        let sweep =
            || plugin.observe(ObserveRequest::default(), Observation::default(), drop).finish();
        tokio::join!(sweep(), sweep())
    });
    assert_eq!((swept.0.unwrap().tasks.len(), swept.1.unwrap().tasks.len()), (1, 1));
}

#[test]
fn a_quarantined_plugin_leaves_the_route_to_the_next() {
    let (_directory, registry, plugin) = held(&probe_with("observe = 'panic'"));
    assert_eq!(registry.level(Capability::OBSERVE_TASKS), Level::FULL);
    let error = plugin.observe(ObserveRequest::default(), Observation::default(), drop).wait();
    assert!(error.unwrap_err().to_string().contains("told to panic in observe"));
    assert_eq!(registry.level(Capability::OBSERVE_TASKS), Level::UNAVAILABLE);
    let route = registry.route(Capability::OBSERVE_TASKS).unwrap();
    assert_eq!(route.candidates().len(), 1);
    // On a slow machine the first quarantine may be over by now; each is longer than the last.
    let skipped = (0..8).any(|_| {
        let skipped = route.best().is_none();
        plugin.observe(ObserveRequest::default(), Observation::default(), drop).wait().unwrap_err();
        skipped
    });
    assert!(skipped, "a quarantined plugin was routed to");
}

#[test]
fn what_is_configured_for_nobody_is_said() {
    let config: PluginsConfig =
        toml::from_str("grants.gpu = ['priority']\nconfig.gpu = {}\nconfig.probe = {}").unwrap();
    let (_directory, registry, _) = held(&config);
    let sentences = registry.unused(&config);
    assert_eq!(sentences.len(), 2, "{sentences:?}");
    assert!(sentences[0].contains("plugins.grants.gpu has no effect"), "{sentences:?}");
}
