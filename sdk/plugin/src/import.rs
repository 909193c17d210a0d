//! The host's side of the boundary: a loaded module looks like any other [`Backend`].

use crate::{
    Backend, CapabilityReport, ContextNode, Description, Desired, Error, Host, Observation,
    ObserveRequest, Permit, PreparedOperation, SurveyRequest, TaskId, Timer, TimerFacts, operation,
};
use outrigger_abi::v1::{BackendModRef, BackendObject};

/// A backend that lives in a loaded library.
///
/// [`Backend::describe`] and [`Backend::create`] belong to types, and a loaded backend is a
/// value: use [`Loaded::describe_module`] and [`Loaded::create_from`].
pub struct Loaded {
    object: BackendObject,
}

impl Loaded {
    /// Asks a module what it is.
    ///
    /// # Errors
    /// The plugin panicked.
    pub fn describe_module(module: BackendModRef) -> Result<Description, Error> {
        (module.describe())().into_result()
    }

    /// Makes the backend of a module.
    ///
    /// # Errors
    /// What the plugin answered.
    pub fn create_from(module: BackendModRef, host: Host, config: &str) -> Result<Self, Error> {
        (module.create())(host.calls(), config.into()).into_result().map(Self::new)
    }

    pub(crate) fn new(object: BackendObject) -> Self {
        Self { object }
    }
}

impl Backend for Loaded {
    fn describe() -> Description
    where
        Self: Sized,
    {
        Description {
            name: "loaded".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "a backend in a library; ask its module".into(),
            platforms: Vec::new().into(),
            capabilities: Vec::new().into(),
            config_schema: "{}".into(),
            preference: 0,
        }
    }

    fn create(_: Host, _: &str) -> Result<Self, Error>
    where
        Self: Sized,
    {
        Err(Error::not_supported("create", "a loaded backend is made from its module"))
    }

    fn probe(&mut self) -> Result<Vec<CapabilityReport>, Error> {
        self.object.probe().into_result().map(Vec::from)
    }

    fn observe(&mut self, request: &ObserveRequest, into: &mut Observation) -> Result<(), Error> {
        self.object.observe(request, into).into_result()
    }

    fn survey(&mut self, request: &SurveyRequest) -> Result<Vec<ContextNode>, Error> {
        self.object.survey(request).into_result().map(Vec::from)
    }

    fn prepare(&mut self, desired: &Desired) -> Result<Vec<PreparedOperation>, Error> {
        let prepared = self.object.prepare(desired).into_result()?;
        let refused =
            prepared.refused.into_iter().map(|r| PreparedOperation::refused(r.knob, r.error));
        let ready = prepared
            .operations
            .into_iter()
            .map(|o| PreparedOperation { knob: o.knob, operation: operation::decode(&o) });
        Ok(ready.chain(refused).collect())
    }

    fn commit(&mut self, permit: Permit<'_>) -> Result<String, Error> {
        // Which knob asked for it is no longer of interest: the journal does not keep it.
        let operation = operation::encode(crate::Capability(0), permit.operation())?;
        let outcome = self.object.commit(&operation, permit.token()).into_result()?;
        Ok(outcome.read_back.into())
    }

    fn timer(&self, timer: Timer, task: TaskId) -> Result<u64, Error> {
        self.object.timer(timer, task).into_result()
    }

    fn timer_facts(&self, timer: Timer) -> Result<TimerFacts, Error> {
        self.object.timer_facts(timer).into_result()
    }
}
