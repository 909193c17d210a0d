//! The plugin's side of the boundary: panics end here, tokens become permits.

use crate::{
    Backend, Error, ErrorCode, Host, LogLevel, Permit, TaskId, Timer, TimerFacts, operation,
};
use outrigger_abi::v1::{self, AbiBackend, BackendObject, HostCalls, Prepared, Refused};
use outrigger_abi::{RResult, RStr, RVec};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A backend whose panics become errors. `None` only while it is dropped.
struct Guarded<B>(Option<B>);

impl<B> Guarded<B> {
    fn backend(&mut self, step: &str) -> Result<&mut B, Error> {
        self.0.as_mut().ok_or_else(|| Error::not_supported(step, "the backend is being dropped"))
    }

    fn shared(&self, step: &str) -> Result<&B, Error> {
        self.0.as_ref().ok_or_else(|| Error::not_supported(step, "the backend is being dropped"))
    }
}

impl<B> Drop for Guarded<B> {
    /// A panic in the author's `Drop` would unwind into the host: it ends here too.
    fn drop(&mut self) {
        let backend = self.0.take();
        let _: RResult<(), Error> = guard("drop", || {
            drop(backend);
            Ok(())
        });
    }
}

fn guard<T>(step: &str, call: impl FnOnce() -> Result<T, Error>) -> RResult<T, Error> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.into(),
        Err(payload) => {
            let text = payload
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("no message")
                .to_owned();
            // A payload may panic when it is dropped; a few bytes are cheaper than that.
            std::mem::forget(payload);
            RResult::RErr(Error::new(
                ErrorCode::PANIC,
                step,
                format!("the plugin panicked: {text}"),
            ))
        }
    }
}

/// Sends panic messages to the host's log instead of its terminal. A library has a standard
/// library of its own, so this touches nobody else's hook.
fn report_panics_to(host: Host) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(move |info| {
            host.log(LogLevel::ERROR, &info.to_string());
        }));
    });
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
        let host = Host::new(host);
        report_panics_to(host);
        Ok(object(B::create(host, config.as_str())?))
    })
}

/// The object that crosses the boundary.
pub(crate) fn object<B: Backend>(backend: B) -> BackendObject {
    v1::object(Guarded(Some(backend)))
}

impl<B: Backend> AbiBackend for Guarded<B> {
    fn probe(&mut self) -> RResult<RVec<v1::CapabilityReport>, Error> {
        guard("probe", || self.backend("probe")?.probe().map(RVec::from))
    }

    fn observe(
        &mut self,
        request: &v1::ObserveRequest,
        into: &mut v1::Observation,
    ) -> RResult<(), Error> {
        guard("observe", || self.backend("observe")?.observe(request, into))
    }

    fn survey(&mut self, request: &v1::SurveyRequest) -> RResult<RVec<v1::ContextNode>, Error> {
        guard("survey", || self.backend("survey")?.survey(request).map(RVec::from))
    }

    fn prepare(&mut self, desired: &v1::Desired) -> RResult<Prepared, Error> {
        guard("prepare", || {
            let mut prepared = Prepared { operations: RVec::new(), refused: RVec::new() };
            for item in self.backend("prepare")?.prepare(desired)? {
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
            let read_back = self.backend("commit")?.commit(Permit::new(&operation, token))?;
            Ok(v1::Outcome { read_back: read_back.into() })
        })
    }

    fn timer(&self, timer: Timer, task: TaskId) -> RResult<u64, Error> {
        guard("timer", || self.shared("timer")?.timer(timer, task))
    }

    fn timer_facts(&self, timer: Timer) -> RResult<TimerFacts, Error> {
        guard("timer", || self.shared("timer")?.timer_facts(timer))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        Capability, CapabilityReport, Description, Desired, Kind, Loaded, Observation,
        ObserveRequest, Operation, PreparedOperation, Setting,
    };

    /// Fails in every way a call can fail.
    struct Faulty;

    impl Drop for Faulty {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    impl Backend for Faulty {
        fn describe() -> Description {
            panic!("described")
        }
        fn create(_: Host, _: &str) -> Result<Self, Error> {
            Ok(Self)
        }
        fn probe(&mut self) -> Result<Vec<CapabilityReport>, Error> {
            panic!("{}", "probed")
        }
        fn observe(&mut self, _: &ObserveRequest, _: &mut Observation) -> Result<(), Error> {
            std::panic::panic_any(4711)
        }
        fn prepare(&mut self, _: &Desired) -> Result<Vec<PreparedOperation>, Error> {
            let operation = Operation {
                kind: Kind::Nice,
                task: None,
                locator: String::new(),
                before: "0".into(),
                after: "5".into(),
            };
            Ok(vec![
                PreparedOperation::refused(
                    Capability::AFFINITY,
                    Error::not_supported("prepare", "no CPUs"),
                ),
                PreparedOperation::ready(Capability::PRIORITY, operation),
            ])
        }
    }

    fn across() -> Loaded {
        Loaded::new(object(Faulty))
    }

    #[test]
    fn every_panic_becomes_an_error_with_its_step_and_message() {
        let mut backend = across();
        let probe = backend.probe().unwrap_err();
        assert_eq!((probe.code, probe.step.as_str()), (ErrorCode::PANIC, "probe"));
        assert_eq!(probe.message, "the plugin panicked: probed");
        let observe = backend.observe(&ObserveRequest::default(), &mut Observation::default());
        assert_eq!(observe.unwrap_err().message, "the plugin panicked: no message");
        assert_eq!(describe::<Faulty>().into_result().unwrap_err().step, "describe");
        drop(backend); // a panic here would end the test
    }

    #[test]
    fn what_is_not_implemented_is_not_supported() {
        let error = across().timer(Timer::THREAD, TaskId::default()).unwrap_err();
        assert_eq!(error.code, ErrorCode::NOT_SUPPORTED);
    }

    #[test]
    fn a_refused_knob_does_not_hide_the_others() {
        let desired = Desired::task(
            TaskId { pid: 7, tid: 0, start: 1 },
            [Setting::text(Capability::AFFINITY, "0"), Setting::number(Capability::PRIORITY, 3)],
        );
        let prepared = across().prepare(&desired).unwrap();
        assert_eq!(prepared.len(), 2);
        let ready = prepared.iter().find(|p| p.knob == Capability::PRIORITY).unwrap();
        assert_eq!(ready.operation.as_ref().unwrap().after, "5");
        let refused = prepared.iter().find(|p| p.knob == Capability::AFFINITY).unwrap();
        assert_eq!(refused.operation.as_ref().unwrap_err().message, "no CPUs");
    }
}
