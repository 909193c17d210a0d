//! The deciding half as a whole: counters in, tiers out, over a simulated machine. No actors, no
//! clock and no operating system take part.
#![allow(clippy::unwrap_used)]

use outrigger::classifier::Rules;
use outrigger::flow::message::{Decisions, Provenance, Signals, Sweep};
use outrigger::monitor::Window;
use outrigger::policy::{Class, Policy, Selector, Workload};
use outrigger::tier::Ladder;
use outrigger_sdk::{
    ContextFields, ContextId, ContextReading, Fields, Observation, TaskId, TaskInfo, TaskReading,
};
use std::collections::{BTreeMap, HashSet};

const TICK_NS: u64 = 250_000_000;
const VICTIM: u32 = 100;
const HOG: u32 = 200;

/// The three cores in a row, and a machine of two CPUs for them to look at.
struct Machine {
    window: Window,
    rules: Rules,
    ladder: Ladder,
    observation: Observation,
    counters: BTreeMap<u32, TaskReading>,
    context: ContextReading,
    tick: u64,
    peers: HashSet<TaskId>,
}

fn workload(name: &str, class: Class, selector: Selector) -> Workload {
    let (name, class) = (name.into(), Some(class));
    Workload { name, class, selectors: vec![selector], allow_irreversible: false }
}

fn named(name: &str) -> Selector {
    Selector { name: vec![name.into()], ..Selector::default() }
}

fn task(pid: u32) -> TaskId {
    TaskId { pid, tid: 0, start: u64::from(pid) }
}

fn info(pid: u32, parent: u32, name: &str) -> TaskInfo {
    TaskInfo {
        task: task(pid),
        parent,
        session: 1,
        uid: 0,
        present: Fields::CONTEXTS,
        name: name.into(),
        exe: "".into(),
        command: Vec::new().into(),
        contexts: vec![ContextId::new("unified", &format!("/{name}"))].into(),
        kernel: false,
        thread_names: Vec::new().into(),
    }
}

impl Machine {
    fn new(policy: &Policy) -> Self {
        assert_eq!(policy.problems(), []);
        let present =
            ContextFields::PRESSURE.with(ContextFields::THROTTLED).with(ContextFields::CPU);
        let context = ContextReading {
            context: ContextId::new("unified", "/db"),
            present,
            cpu_ns: 0,
            pressure_us: 0,
            throttled: 0,
            throttled_ns: 0,
            memory_bytes: 0,
        };
        Self {
            window: Window::default(),
            rules: Rules::new(policy, []).unwrap(),
            ladder: Ladder::new(policy),
            observation: Observation::default(),
            counters: BTreeMap::new(),
            context,
            tick: 0,
            peers: HashSet::new(),
        }
    }

    /// A victim in a context of its own, and somebody beside it.
    fn with_hog() -> Self {
        let hogs = Selector { name: vec!["hog".into()], ..Selector::default() };
        let children = Selector { descendant_of: vec!["hog".into()], ..Selector::default() };
        let mut jobs = workload("jobs", Class::Batch, hogs);
        jobs.selectors.push(children);
        let workloads = vec![workload("db", Class::LatencyCritical, named("db")), jobs];
        let mut machine = Self::new(&Policy { workloads, ..Policy::default() });
        machine.born(info(VICTIM, 1, "db"));
        machine.born(info(HOG, 1, "hog"));
        machine
    }

    fn born(&mut self, info: TaskInfo) {
        self.observation.infos.push(info);
    }

    fn dies(&mut self, pid: u32) {
        self.observation.gone.push(task(pid));
        self.counters.remove(&pid);
    }

    /// A process uses so many millicores in this tick.
    fn uses(&mut self, pid: u32, millicores: u64) -> &mut TaskReading {
        let reading = self.counters.entry(pid).or_default();
        reading.task = task(pid);
        reading.present = Fields::CPU;
        reading.cpu_ns += millicores * TICK_NS / 1000;
        let (at, tasks) = (self.observation.tasks.len(), &mut self.observation.tasks);
        tasks.push(*reading);
        &mut tasks[at]
    }

    /// The victim, looked at closely.
    fn victim(&mut self, millicores: u64, starved: u32) {
        let reading = self.uses(VICTIM, millicores);
        reading.present = Fields::CPU.with(Fields::DELAY);
        reading.starved = starved;
    }

    /// The victim's context: pressure in ms in this tick, and whether its quota acted.
    fn pressure(&mut self, ms: u64, throttled: bool) {
        self.context.pressure_us += ms * 1000;
        self.context.throttled += u64::from(throttled);
        self.observation.contexts.push(self.context.clone());
    }

    fn signals(&mut self) -> Signals {
        self.tick += 1;
        let at_ns = self.tick * TICK_NS;
        let mut observation = std::mem::take(&mut self.observation);
        observation.cpus = 2;
        let provenance = Provenance { tick: self.tick, at_ns, wall_ms: 0 };
        self.window.step(Sweep { provenance, observation, ..Sweep::default() })
    }

    fn step(&mut self) -> Decisions {
        let signals = self.signals();
        let assessments = self.rules.step(signals, &self.peers);
        self.ladder.step(&assessments)
    }

    fn tier(&self, workload: &str) -> u8 {
        let state = self.ladder.state();
        state.workloads.iter().find(|w| &*w.workload == workload).map_or(0, |w| w.tier)
    }
}

/// Runs a machine and asserts that the jobs never leave their rest, though the hog is there.
fn never(mut tick: impl FnMut(&mut Machine, u64)) {
    let mut machine = Machine::with_hog();
    for n in 0..200 {
        tick(&mut machine, n);
        let decisions = machine.step();
        assert!(decisions.protected.iter().all(|p| !p.contended), "tick {n}: {decisions:?}");
    }
    assert_eq!(machine.tier("jobs"), 1);
}

#[test]
fn a_starved_thread_is_contention_within_two_ticks() {
    let mut machine = Machine::with_hog();
    for _ in 0..3 {
        machine.victim(80, 0);
        machine.uses(HOG, 500);
        assert!(!machine.step().protected[0].contended);
    }
    // From here on no thread of it gets the CPU. The first sweep sees it runnable, the second
    // sees that it has not run.
    let mut ticks = 0;
    loop {
        machine.victim(0, u32::from(ticks > 0));
        machine.uses(HOG, 1990);
        ticks += 1;
        let decisions = machine.step();
        if decisions.protected[0].contended {
            let [change] = &decisions.changes[..] else { panic!("{decisions:?}") };
            assert_eq!((change.from, change.to), (1, 2));
            let contention = change.contention.as_ref().unwrap();
            assert_eq!(contention.culprits[0].workload.as_deref(), Some("jobs"));
            assert_eq!(contention.wait_ms_per_s, 1000.0);
            break;
        }
    }
    assert!(ticks <= 2, "{ticks} ticks");
}

#[test]
fn a_group_throttled_by_its_own_quota_never_is_contended() {
    // A fifth of a CPU, wanted all the time: it is stopped in most periods, its threads are
    // found starving, and meanwhile a hog is busy on the other CPU.
    never(|machine, n| {
        machine.victim(200, u32::from(n % 3 == 0));
        machine.uses(HOG, 1000);
        machine.pressure(200, true);
    });
}

#[test]
fn a_group_throttled_now_and_then_never_is_contended() {
    never(|machine, n| {
        let stopped = n % 7 == 3;
        machine.victim(200, 0);
        machine.uses(HOG, 1000);
        // The kernel counts the period after the waiting began.
        machine.pressure(if n % 7 == 2 || stopped { 150 } else { 0 }, stopped && n > 0);
        if n == 0 {
            machine.context.throttled += 1;
        }
    });
}

#[test]
fn a_busy_process_alone_never_is_contended() {
    never(|machine, n| {
        machine.victim(1960, u32::from(n % 5 == 0));
        machine.uses(HOG, 40);
        machine.pressure(250, false);
    });
}

#[test]
fn an_idle_machine_never_is_contended() {
    never(|machine, _| {
        machine.victim(5, 0);
        machine.uses(HOG, 3);
        machine.pressure(0, false);
    });
}

#[test]
fn pressure_leads_to_the_floor_and_its_end_back_to_rest() {
    let mut machine = Machine::with_hog();
    let mut run = |ticks: u32, hog: u64, pressure: u64| {
        for _ in 0..ticks {
            machine.victim(80, 0);
            machine.uses(HOG, hog);
            machine.pressure(pressure, false);
            let _ = machine.step();
        }
        machine.tier("jobs")
    };
    assert_eq!(run(4, 300, 0), 1);
    assert_eq!(run(2, 1900, 85), 3);
    assert_eq!(run(400, 1900, 1), 3, "the share acts; with more it would begin again");
    assert_eq!(run(100, 300, 0), 1);
}

#[test]
fn hogs_that_live_for_one_tick_are_found_through_their_ancestor() {
    let mut machine = Machine::with_hog();
    for n in 0..4u32 {
        machine.victim(80, u32::from(n > 1));
        for child in 0..8 {
            let pid = 1000 + n * 8 + child;
            machine.born(info(pid, HOG, "worker"));
            machine.uses(pid, 230);
            if n > 0 {
                machine.dies(pid - 8);
            }
        }
        let decisions = machine.step();
        if n > 1 {
            let contention = decisions.changes[0].contention.as_ref().unwrap();
            assert!(contention.culprits.iter().all(|c| c.workload.as_deref() == Some("jobs")));
            assert_eq!(decisions.entitlements[0].members.len(), 9);
        }
    }
    assert_eq!(machine.tier("jobs"), 3);
}

#[test]
fn hogs_too_short_lived_to_be_read_are_found_through_the_host() {
    let mut machine = Machine::with_hog();
    for n in 0..6 {
        machine.victim(80, u32::from(n > 1));
        // Forking leaves a little with the parent.
        machine.uses(HOG, 9);
        machine.observation.host_cpu_ns = (n + 1) * 2 * TICK_NS;
        let _ = machine.step();
    }
    assert_eq!(machine.tier("jobs"), 3);
}

#[test]
fn a_thousand_workloads_pass_in_one_tick() {
    let class = |n: u32| if n.is_multiple_of(10) { Class::LatencyCritical } else { Class::Batch };
    let workloads =
        (0..1000).map(|n| workload(&format!("w{n}"), class(n), named(&format!("task{n}"))));
    let workloads: Vec<Workload> = workloads.collect();
    let mut policy = Policy { workloads, ..Policy::default() };
    policy.timing.flap_budget = 2;
    let mut machine = Machine::new(&policy);
    for n in 0..1000 {
        machine.born(info(n + 100, 1, &format!("task{n}")));
    }
    for tick in 0..5 {
        for n in 0..1000 {
            let reading = machine.uses(n + 100, 2);
            // Who is protected is looked at closely only after it was found.
            if tick > 0 {
                reading.present = reading.present.with(Fields::DELAY);
            }
            reading.starved = u32::from(tick > 1);
        }
        let decisions = machine.step();
        // Nobody is held back before it is known how the protected fare.
        let held = if tick < 2 { 0 } else { 900 };
        assert_eq!((decisions.entitlements.len(), decisions.protected.len()), (held, 100));
        assert!(tick < 2 || decisions.protected.iter().all(|p| p.contended));
        let explained = decisions.changes.iter().all(|change| change.contention.is_some());
        assert!(explained, "{:?}", decisions.changes);
    }
    // Nobody can be named: each uses less than a culprit must.
    assert!(machine.ladder.state().workloads.iter().all(|w| w.tier == 3));
}
