//! Backend for any Linux: reads processes and threads from `/proc` and turns the knobs each of
//! them has by itself, without cgroups.
//!
//! It reads no context and knows no workload. The main cost is the number of processes, so a
//! sweep is built round what is cheap (see `sensor`); the knobs are those of `outrigger_undo`, so
//! that whatever is written here is undone without this plugin. Elsewhere than on Linux the
//! library is empty.
#![cfg(target_os = "linux")]

mod act;
mod clock;
mod config;
mod connector;
pub mod container;
mod discovery;
mod files;
mod focus;
mod host;
mod info;
mod listing;
pub mod numa;
mod privilege;
mod probe;
mod reader;
mod rules;
mod sensor;
mod table;
mod wish;

pub use config::{Config, Finding, SCHEMA};

use act::Actor;
use outrigger_sdk::undo::knob;
use outrigger_sdk::{
    Backend, Capability, CapabilityReport, Description, Desired, Error, ErrorCode, Host, LogLevel,
    Observation, ObserveRequest, Permit, PreparedOperation, TaskId, Timer, TimerFacts,
};
use privilege::Privileges;
use rules::Rules;
use sensor::Sensor;

/// What this backend may be able to do.
const CAPABILITIES: &[Capability] = &[
    Capability::PRIORITY,
    Capability::SCHED_CLASS,
    Capability::IO_PRIORITY,
    Capability::OOM_SCORE_ADJ,
    Capability::AFFINITY,
    Capability::RLIMIT,
    Capability::AUTOGROUP,
    Capability::OBSERVE_TASKS,
    Capability::OBSERVE_DELAY,
    Capability::EVENTS,
    Capability::TIMER_SELF,
    Capability::TIMER_PROCESS,
    Capability::NUMA,
    Capability::CONTAINERS,
];

/// Processes and threads of a Linux host, one by one.
#[derive(Debug)]
pub struct LinuxProc {
    host: Host,
    sensor: Sensor,
    actor: Actor,
    thread_facts: TimerFacts,
    process_facts: TimerFacts,
}

impl Backend for LinuxProc {
    fn describe() -> Description {
        Description {
            name: "linux-proc".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "reads processes and threads from /proc and turns their own knobs".into(),
            platforms: vec!["linux".into()].into(),
            capabilities: CAPABILITIES.iter().copied().map(CapabilityReport::full).collect(),
            config_schema: SCHEMA.into(),
            preference: 10,
        }
    }

    fn create(host: Host, config: &str) -> Result<Self, Error> {
        let config = Config::parse(config)?;
        let sensor = Sensor::open(config.discovery)
            .map_err(|error| os_error("create", "cannot find processes through /proc", &error))?;
        if let Some(reason) = sensor.reason_for_scans() {
            host.log(LogLevel::INFO, &format!("listing /proc at each sweep: {reason}"));
        }
        let own_process = clock::of_process(0);
        Ok(Self {
            host,
            sensor,
            actor: Actor::new(Rules { privileges: Privileges::read(), config }),
            thread_facts: facts(clock::OWN_THREAD)?,
            process_facts: facts(own_process)?,
        })
    }

    fn probe(&mut self) -> Result<Vec<CapabilityReport>, Error> {
        self.actor.rules.privileges = Privileges::read();
        Ok(probe::reports(&self.actor.rules.privileges, self.sensor.reason_for_scans()))
    }

    fn observe(&mut self, request: &ObserveRequest, into: &mut Observation) -> Result<(), Error> {
        let now_ns = self.host.now_ns();
        self.sensor
            .sweep(request, now_ns, into)
            .map_err(|error| os_error("read", "cannot list /proc", &error))
    }

    fn prepare(&mut self, desired: &Desired) -> Result<Vec<PreparedOperation>, Error> {
        self.actor.prepare(desired)
    }

    fn commit(&mut self, permit: Permit<'_>) -> Result<String, Error> {
        self.actor.commit(permit)
    }

    fn timer(&self, timer: Timer, task: TaskId) -> Result<u64, Error> {
        let fail = |error: std::io::Error| {
            if error.raw_os_error() == Some(libc::EINVAL) {
                return gone(task);
            }
            os_error("read", &format!("cannot read the {timer} clock"), &error)
        };
        match timer {
            Timer::THREAD => clock::read(clock::OWN_THREAD).map_err(fail),
            Timer::PROCESS if task.tid != 0 => Err(Error::not_supported(
                "read",
                "the kernel does not tell the clocks of another process's threads",
            )),
            Timer::PROCESS => {
                let time = clock::read(clock::of_process(task.pid)).map_err(fail)?;
                // Compared after the reading, so that the number was the same process's then.
                match knob::start_time(task.pid, 0) {
                    Some(start) if start == task.start => Ok(time),
                    _ => Err(gone(task)),
                }
            }
            other => Err(Error::not_supported("read", format!("there is no {other} clock"))),
        }
    }

    fn timer_facts(&self, timer: Timer) -> Result<TimerFacts, Error> {
        match timer {
            Timer::THREAD => Ok(self.thread_facts),
            Timer::PROCESS => Ok(self.process_facts),
            other => Err(Error::not_supported("read", format!("there is no {other} clock"))),
        }
    }
}

fn facts(clock: libc::clockid_t) -> Result<TimerFacts, Error> {
    let failed = |error| os_error("create", "cannot measure a CPU clock", &error);
    Ok(TimerFacts {
        resolution_ns: clock::resolution(clock).map_err(failed)?,
        overhead_ns: clock::overhead(clock).map_err(failed)?,
        approximate: false,
    })
}

/// What the OS said about something attempted.
fn os_error(step: &str, what: &str, error: &std::io::Error) -> Error {
    let code = match error.kind() {
        std::io::ErrorKind::PermissionDenied => ErrorCode::PRIVILEGE,
        _ => ErrorCode::OS,
    };
    Error {
        os_code: error.raw_os_error().unwrap_or(0).into(),
        ..Error::new(code, step, format!("{what}: {error}"))
    }
}

fn gone(task: TaskId) -> Error {
    Error::new(ErrorCode::GONE, "read", format!("process {} has ended", task.pid))
}

outrigger_sdk::export_backend!(LinuxProc, c"linux-proc");
