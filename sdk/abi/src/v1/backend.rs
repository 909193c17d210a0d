//! The backend object and the root module of its library.

use super::capability::CapabilityReport;
use super::context::{ContextNode, SurveyRequest};
use super::description::Description;
use super::desired::Desired;
use super::error::Error;
use super::host::HostCalls;
use super::observation::{Observation, ObserveRequest};
use super::operation::{Operation, Outcome, Prepared};
use super::task::TaskId;
use super::timer::{Timer, TimerFacts};
use abi_stable::library::RootModule;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RBox, RResult, RStr, RVec};
use abi_stable::{StableAbi, package_version_strings, sabi_trait};

/// A backend, as it crosses the boundary. Authors implement `outrigger_sdk::Backend` instead.
#[sabi_trait]
pub trait AbiBackend: Send {
    /// Finds out what works here.
    fn probe(&mut self) -> RResult<RVec<CapabilityReport>, Error>;
    /// Reads one sweep into a buffer that was cleared.
    fn observe(&mut self, request: &ObserveRequest, into: &mut Observation) -> RResult<(), Error>;
    /// Reads a part of the tree of contexts.
    fn survey(&mut self, request: &SurveyRequest) -> RResult<RVec<ContextNode>, Error>;
    /// Says what would have to be written; writes nothing.
    fn prepare(&mut self, desired: &Desired) -> RResult<Prepared, Error>;
    /// Writes one operation that the host has journalled under `token`, and reads it back.
    fn commit(&mut self, operation: &Operation, token: u64) -> RResult<Outcome, Error>;
    /// Reads a clock, ns.
    fn timer(&self, timer: Timer, task: TaskId) -> RResult<u64, Error>;
    /// What the clock is worth.
    #[sabi(last_prefix_field)]
    fn timer_facts(&self, timer: Timer) -> RResult<TimerFacts, Error>;
}

/// A backend object of a plugin.
pub type BackendObject = AbiBackend_TO<'static, RBox<()>>;

/// The root module of a plugin.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = BackendModRef)))]
#[sabi(missing_field(panic))]
pub struct BackendMod {
    /// What the backend is. Pure.
    pub describe: extern "C" fn() -> RResult<Description, Error>,
    /// Makes the backend from its configuration (JSON text that fits its schema).
    #[sabi(last_prefix_field)]
    pub create: extern "C" fn(HostCalls, RStr<'_>) -> RResult<BackendObject, Error>,
}

impl RootModule for BackendModRef {
    abi_stable::declare_root_module_statics! {BackendModRef}
    const BASE_NAME: &'static str = "outrigger_backend";
    const NAME: &'static str = "outrigger_backend";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// Makes the object that crosses the boundary from an implementation.
pub fn object(backend: impl AbiBackend + 'static) -> BackendObject {
    AbiBackend_TO::from_value(backend, abi_stable::sabi_trait::TD_Opaque)
}
