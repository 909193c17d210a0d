#![allow(clippy::unwrap_used)]
use super::*;
use crate::flow::message::Provenance;
use outrigger_sdk::{ContextFields, ContextReading, Fields, Observation};
use proptest::prelude::*;

const MS: u64 = 1_000_000;

fn task(pid: u32, start: u64) -> TaskId {
    TaskId { pid, tid: 0, start }
}

fn cpu(task: TaskId, ms: u64) -> TaskReading {
    TaskReading { task, present: Fields::CPU, cpu_ns: ms * MS, ..TaskReading::default() }
}

fn waiting(task: TaskId, cpu_ms: u64, delay_ms: u64) -> TaskReading {
    let reading = cpu(task, cpu_ms);
    TaskReading {
        present: Fields::CPU.with(Fields::DELAY),
        run_delay_ns: delay_ms * MS,
        runnable: 2,
        starved: 1,
        ..reading
    }
}

fn info(task: TaskId) -> TaskInfo {
    TaskInfo {
        task,
        parent: 1,
        session: 1,
        uid: 0,
        present: Fields::NONE,
        name: "test".into(),
        exe: "".into(),
        command: Vec::new().into(),
        contexts: Vec::new().into(),
        kernel: false,
        thread_names: Vec::new().into(),
    }
}

fn sweep(tick: u64, at_ms: u64, tasks: Vec<TaskReading>) -> Sweep {
    let observation = Observation { cpus: 2, tasks: tasks.into(), ..Observation::default() };
    let provenance = Provenance { tick, at_ns: at_ms * MS, wall_ms: 0 };
    Sweep { provenance, observation, ..Sweep::default() }
}

fn millicores(signals: &Signals, pid: u32) -> Option<f64> {
    signals.tasks.iter().find(|t| t.task.pid == pid).unwrap().millicores.map(f64::round)
}

#[test]
fn the_first_reading_has_no_rate_and_the_second_has() {
    let mut window = Window::default();
    let first = window.step(sweep(1, 1000, vec![cpu(task(5, 1), 700)]));
    assert_eq!((first.interval_ns, millicores(&first, 5)), (0, None));
    let second = window.step(sweep(2, 1250, vec![cpu(task(5, 1), 950)]));
    assert_eq!((second.interval_ns, millicores(&second, 5)), (250 * MS, Some(1000.0)));
}

#[test]
fn absent_means_idle_until_the_sweep_before() {
    let mut window = Window::default();
    let _ = window.step(sweep(1, 1000, vec![cpu(task(5, 1), 100)]));
    let idle = window.step(sweep(2, 1250, vec![]));
    assert_eq!(idle.tasks, []);
    let back = window.step(sweep(3, 1500, vec![cpu(task(5, 1), 350)]));
    assert_eq!(millicores(&back, 5), Some(1000.0));
}

#[test]
fn absent_from_a_sweep_that_failed_says_nothing() {
    let mut window = Window::default();
    let _ = window.step(sweep(1, 1000, vec![cpu(task(5, 1), 100)]));
    let mut failed = sweep(2, 1250, vec![]);
    failed.failures.push("linux-proc: no answer".into());
    let _ = window.step(failed);
    let back = window.step(sweep(3, 1500, vec![cpu(task(5, 1), 350)]));
    assert_eq!(millicores(&back, 5), Some(500.0));
    assert_eq!(window.state().incomplete_sweeps, 1);
}

#[test]
fn a_missed_tick_is_a_longer_interval() {
    let mut window = Window::default();
    let _ = window.step(sweep(1, 1000, vec![cpu(task(5, 1), 100)]));
    let late = window.step(sweep(4, 2000, vec![cpu(task(5, 1), 600)]));
    assert_eq!((late.interval_ns, millicores(&late, 5)), (1000 * MS, Some(500.0)));
    assert_eq!(window.state().missed_ticks, 2);
}

#[test]
fn a_counter_that_goes_backwards_starts_anew() {
    let mut window = Window::default();
    let _ = window.step(sweep(1, 1000, vec![waiting(task(5, 1), 100, 900)]));
    let back = window.step(sweep(2, 1250, vec![waiting(task(5, 1), 200, 100)]));
    let (millicores_back, wait) = (back.tasks[0].millicores, back.tasks[0].wait);
    assert_eq!((millicores_back, wait), (None, None));
    let on = window.step(sweep(3, 1500, vec![waiting(task(5, 1), 250, 600)]));
    assert_eq!((millicores(&on, 5), on.tasks[0].wait), (Some(200.0), Some(2.0)));
}

#[test]
fn a_reused_number_is_another_process() {
    let mut window = Window::default();
    let _ = window.step(sweep(1, 1000, vec![cpu(task(5, 10), 100)]));
    let reused = window.step(sweep(2, 1250, vec![cpu(task(5, 20), 300)]));
    assert_eq!(reused.gone, [task(5, 10)]);
    assert_eq!(millicores(&reused, 5), None);
    let mut late = sweep(3, 1500, vec![]);
    late.observation.gone = vec![task(5, 10)].into();
    let _ = window.step(late);
    assert_eq!(window.state().tasks, 1, "the end of the old one is not the end of the new one");
}

#[test]
fn a_newborn_has_used_everything_in_this_interval_but_one_found_late_has_not() {
    let mut window = Window::default();
    let _ = window.step(sweep(1, 1000, vec![cpu(task(5, 100), 100)]));
    let mut second = sweep(2, 1250, vec![cpu(task(6, 110), 125), cpu(task(7, 50), 125)]);
    second.observation.infos = vec![info(task(6, 110)), info(task(7, 50))].into();
    let signals = window.step(second);
    assert_eq!((millicores(&signals, 6), millicores(&signals, 7)), (Some(500.0), None));
    let mut third = sweep(3, 1500, vec![cpu(task(8, 120), 1000)]);
    third.observation.infos = vec![info(task(8, 120))].into();
    let signals = window.step(third);
    assert_eq!(millicores(&signals, 8), None, "more than both CPUs could give");
}

#[test]
fn a_field_left_out_of_a_reading_has_a_rate_over_the_whole_time() {
    let mut window = Window::default();
    let _ = window.step(sweep(1, 1000, vec![waiting(task(5, 1), 0, 0)]));
    let _ = window.step(sweep(2, 2000, vec![cpu(task(5, 1), 100)]));
    let _ = window.step(sweep(3, 3000, vec![]));
    let third = window.step(sweep(4, 4000, vec![waiting(task(5, 1), 200, 300)]));
    assert_eq!((millicores(&third, 5), third.tasks[0].wait), (Some(100.0), Some(0.1)));
}

#[test]
fn unread_fields_are_absent_and_starvation_is_told_only_by_who_looked() {
    let mut window = Window::default();
    let blind = TaskReading { starved: 9, runnable: 9, ..cpu(task(5, 1), 1) };
    let first = window.step(sweep(1, 1000, vec![blind, waiting(task(6, 1), 1, 1)]));
    assert_eq!((first.tasks[0].starved, first.tasks[0].rss_bytes), (0, None));
    assert_eq!((first.tasks[1].starved, first.tasks[1].runnable), (1, 2));
}

fn context(throttled: u64, pressure_ms: u64, cpu_ms: u64) -> ContextReading {
    ContextReading {
        context: ContextId::new("cpu", "/a"),
        present: ContextFields::CPU.with(ContextFields::PRESSURE).with(ContextFields::THROTTLED),
        cpu_ns: cpu_ms * MS,
        pressure_us: pressure_ms * 1000,
        throttled,
        throttled_ns: 0,
        memory_bytes: 0,
    }
}

fn context_step(
    window: &mut Window,
    tick: u64,
    reading: Option<ContextReading>,
) -> Option<ContextSignals> {
    let mut sweep = sweep(tick, tick * 1000, vec![]);
    sweep.observation.contexts = reading.into_iter().collect();
    window.step(sweep).contexts.into_iter().next()
}

#[test]
fn a_context_is_marked_throttled_in_the_interval_and_in_the_one_after() {
    let mut window = Window::default();
    let first = context_step(&mut window, 1, Some(context(0, 0, 0))).unwrap();
    assert_eq!((first.pressure, first.millicores, first.throttled), (None, None, false));
    let counts =
        [(0, false), (3, true), (3, true), (3, false), (4, true), (5, true), (5, true), (5, false)];
    for (n, (count, expected)) in counts.into_iter().enumerate() {
        let n = n as u64 + 1;
        let signals =
            context_step(&mut window, n + 1, Some(context(count, n * 250, n * 500))).unwrap();
        assert_eq!(signals.throttled, expected, "interval {n}");
        assert_eq!((signals.pressure, signals.millicores), (Some(0.25), Some(500.0)));
    }
}

#[test]
fn a_context_once_throttled_is_suspect_at_first_sight_and_again_after_it_was_remade() {
    let mut window = Window::default();
    let throttled = |window: &mut Window, tick, count| {
        context_step(window, tick, Some(context(count, tick, tick))).unwrap().throttled
    };
    assert!(throttled(&mut window, 1, 7));
    assert!(throttled(&mut window, 2, 7));
    assert!(!throttled(&mut window, 3, 7));
    assert!(throttled(&mut window, 4, 2), "the counter went back: another context");
    assert!(context_step(&mut window, 5, None).is_none());
    assert_eq!(window.state().contexts, 0, "not asked for any more");
}

fn told_by(name: &str, full: bool, sweep: Sweep) -> Sweep {
    Sweep { observer: Some(name.into()), full, ..sweep }
}

#[test]
fn another_observer_s_counters_give_no_rate_at_first() {
    let mut window = Window::default();
    let _ = window.step(told_by("a", true, sweep(1, 1000, vec![cpu(task(5, 1), 100)])));
    let mut failed = sweep(2, 1250, vec![]);
    failed.failures.push("a: no answer".into());
    let _ = window.step(failed);
    let other = window.step(told_by("b", true, sweep(3, 1500, vec![cpu(task(5, 1), 900)])));
    assert_eq!(millicores(&other, 5), None);
    let again = window.step(told_by("b", false, sweep(4, 1750, vec![cpu(task(5, 1), 1025)])));
    assert_eq!(millicores(&again, 5), Some(500.0));
}

#[test]
fn whoever_is_not_among_all_the_living_is_gone() {
    let mut window = Window::default();
    let both = vec![cpu(task(5, 1), 100), cpu(task(6, 2), 100)];
    let _ = window.step(told_by("a", true, sweep(1, 1000, both)));
    let partial = window.step(told_by("a", false, sweep(2, 1250, vec![])));
    assert_eq!(partial.gone, []);
    let mut all = told_by("b", true, sweep(3, 1500, vec![]));
    all.observation.infos = vec![info(task(6, 2))].into();
    let signals = window.step(all);
    assert_eq!(signals.gone, [task(5, 1)]);
    assert_eq!(window.state().tasks, 1);
}

#[test]
fn host_pressure_is_a_share_of_the_interval() {
    let mut window = Window::default();
    let mut step = |tick, us| {
        let mut sweep = sweep(tick, tick * 1000, vec![]);
        sweep.observation.host_pressure_us = us;
        window.step(sweep).host_pressure
    };
    assert_eq!(step(1, 100), None);
    assert_eq!(step(2, 250_100), Some(0.25));
    assert_eq!(step(3, 0), None);
}

#[test]
fn the_host_uses_what_its_processes_do_and_more() {
    let mut window = Window::default();
    let mut step = |tick, ms| {
        let mut sweep = sweep(tick, tick * 1000, vec![]);
        sweep.observation.host_cpu_ns = ms * MS;
        window.step(sweep).host_millicores
    };
    assert_eq!([step(1, 500), step(2, 2000), step(3, 0)], [None, Some(1500.0), None]);
}

proptest! {
    /// Whatever subset of the sweeps arrives, the rates times their intervals add up to the
    /// counter, as long as a process that moved is told.
    #[test]
    fn usage_adds_up(steps in proptest::collection::vec((1u64..500, 0u64..300, any::<bool>()), 2..40)) {
        let mut window = Window::default();
        let (mut at, mut used, mut summed) = (1000, 0, 0.0);
        let _ = window.step(sweep(1, at, vec![cpu(task(5, 1), 0)]));
        let mut last = at;
        let count = steps.len();
        for (n, (pause, busy, lost)) in steps.into_iter().enumerate() {
            at += pause;
            used += busy;
            if lost && n + 1 < count {
                continue;
            }
            let readings = vec![cpu(task(5, 1), used)];
            let signals = window.step(sweep(n as u64 + 2, at, readings));
            summed += signals.tasks[0].millicores.unwrap() * (at - last) as f64 / 1000.0;
            last = at;
        }
        prop_assert!((summed - used as f64).abs() < 1e-6 * (used as f64 + 1.0), "{summed} {used}");
    }
}
