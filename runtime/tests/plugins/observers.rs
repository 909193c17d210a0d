//! The best observer fails, and comes back: sweeps go on, from the next backend meanwhile.

use crate::support::{Directory, probe_with};
use outrigger::backend::{Registry, deadline, start};
use outrigger::flow::demand::Demand;
use outrigger::flow::message::Sweep;
use outrigger::sensor::Sweeper;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Between sweeps, as the sensor's tick would be.
const TICK: Duration = Duration::from_millis(50);
/// The longest rest after the failures of one of these tests, and what a slow machine adds.
const PATIENCE: Duration = Duration::from_secs(40);
/// The one that is asked after `probe`.
const NEXT: &str = "linux-proc";

/// The fixture, which is preferred, beside the plugins of this project.
fn registry(toml: &str) -> (Directory, Arc<Registry>) {
    let directory = Directory::with_probe();
    let executable = std::env::current_exe().unwrap();
    let paths = [directory.path().to_owned()];
    let registry = start(&probe_with(toml), &paths, Some(&executable));
    assert_eq!(registry.refusals(), []);
    (directory, Arc::new(registry))
}

fn observer(sweep: &Sweep) -> &str {
    sweep.observer.as_deref().unwrap_or("nobody")
}

fn sees_itself(sweep: &Sweep) -> bool {
    sweep.observation.infos.iter().any(|info| info.task.pid == std::process::id())
}

/// Sweeps until the fixture tells again and some more; who told, without repetitions.
fn history(registry: &Arc<Registry>, stay: usize) -> Vec<String> {
    let mut sweeper = Sweeper::new(Arc::clone(registry), Arc::new(Demand::default()));
    let end = Instant::now() + PATIENCE;
    let (mut tellers, mut stayed): (Vec<String>, _) = (Vec::new(), 0);
    for tick in 1.. {
        let sweep = sweeper.sweep(tick);
        let now = observer(&sweep);
        assert_eq!(now == "nobody", !sweep.failures.is_empty(), "{:?}", sweep.failures);
        if tellers.last().is_none_or(|last| last != now) {
            if now != "nobody" {
                assert!(sweep.full, "what {now} told means nothing without the rest");
            }
            assert!(now != NEXT || sees_itself(&sweep), "{NEXT} did not tell everybody");
            tellers.push(now.to_owned());
        }
        stayed += usize::from(now == "probe");
        if stayed > stay {
            return tellers;
        }
        assert!(Instant::now() < end, "the best observer did not come back: {tellers:?}");
        // The length of a tick, not a wait.
        sleep(TICK);
    }
    unreachable!("ticks do not end")
}

#[test]
fn the_next_backend_tells_while_the_best_is_quarantined_and_no_longer() {
    let (_directory, registry) = registry("observe = 'panic'\nbad_sweeps = 2");

    let tellers = history(&registry, 20);

    // One sweep is lost; the second failure was beside the next backend, and hid nothing.
    assert_eq!(tellers, ["nobody", NEXT, "probe"]);
}

#[test]
fn a_backend_that_hangs_costs_one_sweep() {
    let hang = deadline::OBSERVE.as_millis() * 2;
    let (_directory, registry) =
        registry(&format!("observe = 'hang'\nhang_ms = {hang}\nbad_sweeps = 2"));

    let tellers = history(&registry, 20);

    assert_eq!(tellers, ["nobody", NEXT, "probe"]);
}

#[test]
fn errors_of_the_system_are_no_quarantine_but_somebody_else_is_asked() {
    let (_directory, registry) = registry("observe = 'error'\nbad_sweeps = 2");

    let tellers = history(&registry, 20);

    assert_eq!(registry.plugin("probe").unwrap().state().name(), "active");
    assert_eq!(tellers, ["nobody", NEXT, "probe"]);
}

#[test]
fn an_only_observer_is_asked_again_at_once() {
    let directory = Directory::with_probe();
    let registry = directory.start(&probe_with("observe = 'error'\nbad_sweeps = 2"));
    let mut sweeper = Sweeper::new(Arc::new(registry), Arc::new(Demand::default()));

    let tellers = [1, 2, 3].map(|tick| observer(&sweeper.sweep(tick)).to_owned());

    assert_eq!(tellers, ["nobody", "nobody", "probe"]);
}
