//! The plugin's side of the boundary: panics end here, tokens become permits.

use crate::{Backend, Error, ErrorCode, Host, Permit, TaskId, Timer, TimerFacts, operation};
use outrigger_abi::v1::{self, AbiBackend, BackendObject, HostCalls, Prepared, Refused};
use outrigger_abi::{RResult, RStr, RVec};
use std::panic::{AssertUnwindSafe, catch_unwind};

struct Guarded<B>(B);

fn guard<T>(step: &str, call: impl FnOnce() -> Result<T, Error>) -> RResult<T, Error> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.into(),
        Err(payload) => {
            let text = payload
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("no message");
            RResult::RErr(Error::new(
                ErrorCode::PANIC,
                step,
                format!("the plugin panicked: {text}"),
            ))
        }
    }
}

#[doc(hidden)]
pub extern "C" fn describe<B: Backend>() -> RResult<v1::Description, Error> {
    guard("describe", || Ok(B::describe()))
}

#[doc(hidden)]
pub extern "C" fn create<B: Backend>(
    host: HostCalls,
    config: RStr<'_>,
) -> RResult<BackendObject, Error> {
    guard("create", || {
        let backend = B::create(Host::new(host), config.as_str())?;
        Ok(v1::object(Guarded(backend)))
    })
}

impl<B: Backend> AbiBackend for Guarded<B> {
    fn probe(&mut self) -> RResult<RVec<v1::CapabilityReport>, Error> {
        guard("probe", || self.0.probe().map(RVec::from))
    }

    fn observe(
        &mut self,
        request: &v1::ObserveRequest,
        into: &mut v1::Observation,
    ) -> RResult<(), Error> {
        guard("observe", || self.0.observe(request, into))
    }

    fn survey(&mut self, request: &v1::SurveyRequest) -> RResult<RVec<v1::ContextNode>, Error> {
        guard("survey", || self.0.survey(request).map(RVec::from))
    }

    fn prepare(&mut self, desired: &v1::Desired) -> RResult<Prepared, Error> {
        guard("prepare", || {
            let mut prepared = Prepared { operations: RVec::new(), refused: RVec::new() };
            for item in self.0.prepare(desired)? {
                match item.operation.and_then(|o| operation::encode(item.knob, &o)) {
                    Ok(operation) => prepared.operations.push(operation),
                    Err(error) => prepared.refused.push(Refused { knob: item.knob, error }),
                }
            }
            Ok(prepared)
        })
    }

    fn commit(&mut self, operation: &v1::Operation, token: u64) -> RResult<v1::Outcome, Error> {
        guard("commit", || {
            let operation = operation::decode(operation)?;
            let read_back = self.0.commit(Permit::new(&operation, token))?;
            Ok(v1::Outcome { read_back: read_back.into() })
        })
    }

    fn timer(&self, timer: Timer, task: TaskId) -> RResult<u64, Error> {
        guard("timer", || self.0.timer(timer, task))
    }

    fn timer_facts(&self, timer: Timer) -> RResult<TimerFacts, Error> {
        guard("timer", || self.0.timer_facts(timer))
    }
}
