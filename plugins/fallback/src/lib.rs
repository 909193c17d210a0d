//! The answer where no backend works: `not supported`, with the reason.
//!
//! It exists so that the host always has somebody to ask, and so that what is missing is said
//! instead of being an empty list. The one thing it can tell is the wall clock, flagged as an
//! approximation of CPU time. It is also linked into the host itself, for when not even this
//! library can be loaded.
#![forbid(unsafe_code)]

use outrigger_sdk::{
    Backend, Capability, CapabilityReport, ContextNode, Description, Desired, Error, Host,
    Observation, ObserveRequest, Permit, PreparedOperation, SurveyRequest, TaskId, Timer,
    TimerFacts,
};
use std::hint::black_box;
use std::time::Instant;

/// The OS states no resolution for this clock; spec: 1 us.
const RESOLUTION_NS: u64 = 1_000;
/// Readings averaged when the overhead is measured.
const READINGS: u32 = 1_000;

const REASON: &str = "no backend for this operating system could be opened";
const HINT: &str = "`outrigger plugins list` says which were found and why each was refused";

/// A backend that can do nothing, and says so.
#[derive(Clone, Copy, Debug)]
pub struct Fallback {
    started: Instant,
    overhead_ns: u64,
}

fn reports() -> Vec<CapabilityReport> {
    Capability::ALL
        .iter()
        .map(|capability| match *capability {
            timer @ (Capability::TIMER_SELF | Capability::TIMER_PROCESS) => {
                CapabilityReport::degraded(
                    timer,
                    "wall-clock time stands in for CPU time; user and system time are not known",
                    HINT,
                )
            }
            other => CapabilityReport::unavailable(other, REASON, HINT),
        })
        .collect()
}

fn no(step: &str) -> Error {
    Error::not_supported(step, format!("{REASON}; {HINT}"))
}

impl Backend for Fallback {
    fn describe() -> Description {
        Description {
            name: "fallback".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "answers `not supported`, with the reason, where no backend works".into(),
            platforms: ["linux", "macos", "windows"].map(Into::into).into_iter().collect(),
            capabilities: reports().into(),
            config_schema: r#"{"type":"object","additionalProperties":false}"#.into(),
            preference: i32::MIN,
        }
    }

    fn create(_: Host, _: &str) -> Result<Self, Error> {
        let started = Instant::now();
        for _ in 0..READINGS {
            black_box(black_box(started).elapsed());
        }
        let total = started.elapsed().as_nanos() / u128::from(READINGS);
        Ok(Self { started, overhead_ns: u64::try_from(total).unwrap_or(u64::MAX) })
    }

    fn probe(&mut self) -> Result<Vec<CapabilityReport>, Error> {
        Ok(reports())
    }

    fn observe(&mut self, _: &ObserveRequest, _: &mut Observation) -> Result<(), Error> {
        Err(no("observe"))
    }

    fn survey(&mut self, _: &SurveyRequest) -> Result<Vec<ContextNode>, Error> {
        Err(no("survey"))
    }

    fn prepare(&mut self, _: &Desired) -> Result<Vec<PreparedOperation>, Error> {
        Err(no("prepare"))
    }

    fn commit(&mut self, _: Permit<'_>) -> Result<String, Error> {
        Err(no("commit"))
    }

    fn timer(&self, timer: Timer, _: TaskId) -> Result<u64, Error> {
        if !Timer::ALL.contains(&timer) {
            return Err(Error::not_supported("timer", format!("there is no clock {timer}")));
        }
        // Five centuries fit.
        Ok(self.started.elapsed().as_nanos() as u64)
    }

    fn timer_facts(&self, timer: Timer) -> Result<TimerFacts, Error> {
        if !Timer::ALL.contains(&timer) {
            return Err(Error::not_supported("timer", format!("there is no clock {timer}")));
        }
        Ok(TimerFacts {
            resolution_ns: RESOLUTION_NS,
            overhead_ns: self.overhead_ns,
            approximate: true,
        })
    }
}

outrigger_sdk::export_backend!(Fallback, c"fallback");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use outrigger_sdk::{ContextId, ErrorCode, Level};

    fn fallback() -> Fallback {
        Fallback::create(Host::silent(), "{}").unwrap()
    }

    #[test]
    fn every_capability_is_reported_with_a_reason_and_none_is_full() {
        let reports = fallback().probe().unwrap();
        let named: Vec<Capability> = reports.iter().map(|report| report.capability).collect();
        assert_eq!(named, Capability::ALL);
        for report in reports {
            assert_ne!(report.level, Level::FULL, "{}", report.capability);
            assert!(!report.reason.is_empty() && !report.hint.is_empty(), "{}", report.capability);
        }
    }

    #[test]
    fn every_request_is_refused_as_not_supported_with_the_reason() {
        let mut fallback = fallback();
        let survey = SurveyRequest { space: "".into(), root: "/".into(), limit: 1 };
        let desired = Desired::context(ContextId::ours("a"), []);
        let errors = [
            fallback.observe(&ObserveRequest::default(), &mut Observation::default()).unwrap_err(),
            fallback.survey(&survey).unwrap_err(),
            fallback.prepare(&desired).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.code, ErrorCode::NOT_SUPPORTED);
            assert!(error.message.contains(REASON), "{error}");
        }
    }

    #[test]
    fn the_clock_is_flagged_as_an_approximation_and_does_not_run_backwards() {
        let fallback = fallback();
        for timer in [Timer::THREAD, Timer::PROCESS] {
            let facts = fallback.timer_facts(timer).unwrap();
            assert!(facts.approximate);
            assert_eq!(facts.resolution_ns, RESOLUTION_NS);
            let mut last = 0;
            for _ in 0..1_000 {
                let now = fallback.timer(timer, TaskId::default()).unwrap();
                assert!(now >= last);
                last = now;
            }
        }
        assert!(fallback.timer(Timer(99), TaskId::default()).is_err());
    }
}
