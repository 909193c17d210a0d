#![allow(clippy::unwrap_used)]
use super::*;
use outrigger_sdk::ContextId;

/// Thresholds of the tests, apart from what the policy's defaults happen to be.
const LOW: Thresholds =
    Thresholds { wait_ms_per_s: 20.0, clear_ms_per_s: 10.0, others_millicores: 100.0 };

fn context(pressure: f64, throttled: bool) -> ContextSignals {
    ContextSignals {
        context: ContextId::new("unified", "/app"),
        millicores: None,
        pressure: Some(pressure),
        throttled,
        memory_bytes: None,
    }
}

fn judge(scene: &Scene<'_>) -> Finding {
    Judge::default().judge(scene, &LOW)
}

fn contended(scene: &Scene<'_>) -> bool {
    matches!(judge(scene), Finding::Contended(..))
}

/// Two CPUs, both busy.
fn full(own: f64) -> Scene<'static> {
    Scene { cpus: 2, used: 2000.0, own, ..Scene::default() }
}

#[test]
fn each_eye_alone_sees_contention() {
    let pressure = context(0.3, false);
    let mut scene = full(80.0);
    scene.contexts = vec![(Standing::Sole, &pressure)];
    let Finding::Contended(wait, evidence) = judge(&scene) else {
        panic!("not contended");
    };
    assert_eq!(wait, 300.0);
    let expected = [
        "some task of /app waited for a CPU 30 % of the time",
        "others used 1.9 of 2 CPUs, it used 0.1",
    ];
    assert_eq!(evidence, expected);
    assert!(contended(&Scene { starved: 1, ..full(0.0) }));
    assert!(contended(&Scene { delay: Some(0.3), ..full(80.0) }));
}

#[test]
fn a_starved_thread_is_contention_even_where_no_wait_has_ended_yet() {
    let Finding::Contended(wait, _) = judge(&Scene { starved: 1, delay: Some(0.0), ..full(0.0) })
    else {
        panic!("not contended");
    };
    assert_eq!(wait, 1000.0);
}

#[test]
fn a_starved_thread_beside_one_competitor_on_the_same_cpu_of_many_is_contention() {
    let pinned = Scene { cpus: 64, used: 1000.0, own: 0.0, starved: 1, ..Scene::default() };
    assert!(contended(&pinned));
    let pressure = context(0.5, false);
    let contexts = vec![(Standing::Sole, &pressure)];
    assert!(contended(&Scene { own: 20.0, starved: 0, contexts, ..pinned }));
}

#[test]
fn own_quota_makes_the_interval_unusable_whatever_the_eyes_see() {
    let pressure = context(0.9, true);
    for standing in [Standing::Sole, Standing::Shared] {
        let mut scene = Scene { starved: 3, delay: Some(3.0), ..full(80.0) };
        scene.contexts = vec![(standing, &pressure)];
        assert_eq!(judge(&scene), Finding::Unusable);
    }
}

#[test]
fn own_quota_neither_starts_nor_ends_contention() {
    let (quiet, throttled) = (context(0.012, false), context(0.012, true));
    let mut judge = Judge::default();
    let mut step = |starved, context| {
        let contexts = vec![(Standing::Sole, context)];
        judge.judge(&Scene { contexts, starved, ..full(80.0) }, &LOW)
    };
    assert!(matches!(step(1, &quiet), Finding::Contended(..)));
    assert_eq!(step(0, &throttled), Finding::Unusable);
    // Between the two thresholds: contended only because it was before.
    assert!(matches!(step(0, &quiet), Finding::Contended(..)));
}

#[test]
fn after_its_quota_acted_one_interval_is_not_enough() {
    let (pressed, throttled) = (context(0.5, false), context(0.5, true));
    let mut judge = Judge::default();
    let mut step = |at_s: u64, context| {
        let contexts = vec![(Standing::Sole, context)];
        let scene = Scene { at_ns: at_s * 1_000_000_000, contexts, ..full(80.0) };
        judge.judge(&scene, &LOW)
    };
    assert_eq!(step(1, &throttled), Finding::Unusable);
    // The first interval of the next throttled period, which the kernel has not counted yet.
    assert!(matches!(step(2, &pressed), Finding::Clear(_)));
    assert_eq!(step(3, &throttled), Finding::Unusable);
    assert!(matches!(step(4, &pressed), Finding::Clear(_)));
    assert!(matches!(step(5, &pressed), Finding::Contended(..)));
}

#[test]
fn a_busy_but_alone_process_is_not_contended() {
    let pressure = context(1.0, false);
    let alone = Scene { starved: 6, delay: Some(6.0), used: 2000.0, ..full(1990.0) };
    let alone = Scene { contexts: vec![(Standing::Sole, &pressure)], ..alone };
    assert_eq!(judge(&alone), Finding::Clear(1000.0));
    // Others at five per cent of the machine, and a little more.
    assert_eq!(judge(&Scene { own: 1900.0, ..alone }), Finding::Clear(1000.0));
    let pressure = context(1.0, false);
    let contexts = vec![(Standing::Sole, &pressure)];
    let more = Scene { contexts, delay: Some(6.0), ..full(1850.0) };
    assert_eq!(judge(&more), Finding::Clear(1000.0));
}

#[test]
fn a_process_in_its_own_way_on_few_cpus_of_many_is_not_contended() {
    let pressure = context(1.0, false);
    let contexts = vec![(Standing::Sole, &pressure)];
    let scene = Scene { cpus: 64, used: 12_000.0, own: 2000.0, contexts, ..Scene::default() };
    assert_eq!(judge(&Scene { delay: Some(6.0), ..scene }), Finding::Clear(1000.0));
}

#[test]
fn an_idle_machine_is_not_contended() {
    let idle = Scene { cpus: 2, used: 30.0, own: 10.0, delay: Some(0.001), ..Scene::default() };
    assert_eq!(judge(&idle), Finding::Clear(1.0));
    // Even with absurd readings: nobody is there to be blamed.
    assert!(!contended(&Scene { starved: 5, delay: Some(9.0), ..idle }));
}

#[test]
fn without_eyes_nothing_is_said() {
    assert_eq!(judge(&full(80.0)), Finding::Unusable);
    let pressure = context(0.9, false);
    let shared = Scene { contexts: vec![(Standing::Shared, &pressure)], ..full(80.0) };
    assert_eq!(judge(&shared), Finding::Unusable, "the pressure may be the others'");
}

#[test]
fn contention_ends_below_the_lower_threshold_only() {
    let mut judge = Judge::default();
    let mut step = |delay| {
        let scene = Scene { delay: Some(delay), ..full(0.0) };
        matches!(judge.judge(&scene, &LOW), Finding::Contended(..))
    };
    assert_eq!(
        [step(0.015), step(0.025), step(0.015), step(0.009), step(0.015)],
        [false, true, true, false, false]
    );
}

#[test]
fn it_ends_when_the_others_are_gone() {
    let mut judge = Judge::default();
    let thresholds = LOW;
    assert!(matches!(
        judge.judge(&Scene { starved: 1, ..full(80.0) }, &thresholds),
        Finding::Contended(..)
    ));
    let gone = Scene { cpus: 2, used: 90.0, own: 80.0, delay: Some(2.3), ..Scene::default() };
    assert_eq!(judge.judge(&gone, &thresholds), Finding::Clear(1000.0));
}
