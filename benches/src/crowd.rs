//! A made-up machine with many workloads, sweep after sweep, for the stages that decide.

use std::time::Duration;

use outrigger::flow::message::{Provenance, Sweep};
use outrigger::policy::{Class, Policy, Selector, Workload};
use outrigger_sdk::{
    ContextFields, ContextId, ContextReading, Fields, Observation, TaskId, TaskInfo, TaskReading,
};

/// Every this many workloads one is protected; the others may be held back.
const PROTECTED_EVERY: u32 = 100;
/// Time between two sweeps.
const TICK: Duration = Duration::from_millis(250);
/// First process number.
const FIRST: u32 = 10_000;
/// CPUs of the machine.
const CPUS: u32 = 64;

/// As many workloads as processes, each in a cgroup of its own, all of them busy.
///
/// Worse than any real machine of that size, where most processes sleep: every one has to be
/// looked at in every tick. The protected are told as runnable but starved, so that contention
/// is seen and the ladder has something to decide.
#[derive(Clone, Debug)]
pub struct Crowd {
    count: u32,
    tick: u64,
}

// === impl Crowd ===

impl Crowd {
    /// So many workloads.
    pub const fn of(count: u32) -> Self {
        Self { count, tick: 0 }
    }

    /// The policy that names them all.
    pub fn policy(&self) -> Policy {
        let workloads = (0..self.count).map(|number| Workload {
            name: format!("workload-{number}"),
            class: Some(if is_protected(number) { Class::LatencyCritical } else { Class::Batch }),
            selectors: vec![Selector { name: vec![name(number)], ..Selector::default() }],
            allow_irreversible: false,
        });
        Policy { workloads: workloads.collect(), ..Policy::default() }
    }

    /// The next sweep. The first one tells who everybody is.
    pub fn sweep(&mut self) -> Sweep {
        self.tick += 1;
        let at_ns = TICK.as_nanos() as u64 * self.tick;
        let infos = if self.tick == 1 { (0..self.count).map(info).collect() } else { Vec::new() };
        let observation = Observation {
            at_ns,
            tasks: (0..self.count).map(|number| self.task(number)).collect(),
            infos: infos.into(),
            contexts: (0..self.count)
                .filter(|&n| is_protected(n))
                .map(|n| self.context(n))
                .collect(),
            cpus: CPUS,
            ..Observation::default()
        };
        let provenance = Provenance { tick: self.tick, at_ns, wall_ms: at_ns / 1_000_000 };
        Sweep { provenance, observation, ..Sweep::default() }
    }

    fn task(&self, number: u32) -> TaskReading {
        let protected = is_protected(number);
        let share = TICK.as_nanos() as u64 * u64::from(CPUS) / u64::from(self.count);
        let used = if protected { 0 } else { share };
        let waited = if protected { TICK.as_nanos() as u64 / 2 } else { 0 };
        TaskReading {
            task: task(number),
            present: Fields::ALL.iter().fold(Fields::NONE, |all, &field| all.with(field)),
            threads: 1,
            cpu_ns: used * self.tick,
            run_delay_ns: waited * self.tick,
            runnable: 1,
            starved: u32::from(protected),
            ..TaskReading::default()
        }
    }

    fn context(&self, number: u32) -> ContextReading {
        ContextReading {
            context: context(number),
            present: ContextFields::CPU.with(ContextFields::PRESSURE),
            cpu_ns: 0,
            pressure_us: self.tick * TICK.as_micros() as u64 / 2,
            throttled: 0,
            throttled_ns: 0,
            memory_bytes: 0,
        }
    }
}

const fn is_protected(number: u32) -> bool {
    number.is_multiple_of(PROTECTED_EVERY)
}

fn task(number: u32) -> TaskId {
    TaskId { pid: FIRST + number, tid: 0, start: 1000 }
}

fn name(number: u32) -> String {
    format!("worker-{number}")
}

fn context(number: u32) -> ContextId {
    ContextId::new("cpu", &format!("/workload-{number}"))
}

fn info(number: u32) -> TaskInfo {
    TaskInfo {
        task: task(number),
        parent: 1,
        session: FIRST + number,
        uid: 1000,
        present: Fields::EXE.with(Fields::COMMAND).with(Fields::CONTEXTS),
        name: name(number).into(),
        exe: "/usr/bin/worker".into(),
        command: vec!["worker".into(), number.to_string().into()].into(),
        contexts: vec![context(number)].into(),
        kernel: false,
        thread_names: Vec::new().into(),
    }
}
