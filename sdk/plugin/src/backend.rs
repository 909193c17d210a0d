//! The trait every backend implements, in a plugin or inside the host.

use crate::{
    CapabilityReport, ContextNode, Description, Desired, Error, LogLevel, Observation,
    ObserveRequest, Operation, PreparedOperation, SurveyRequest, TaskId, Timer, TimerFacts,
};
use outrigger_abi::v1::HostCalls;
use std::marker::PhantomData;

/// A way to read and change how tasks run.
///
/// Calls come from one thread, one at a time, each with a deadline: a call that is late is taken
/// for lost and the backend is not asked again until it returns. Every method that is not
/// implemented answers `not supported`.
pub trait Backend: Send + 'static {
    /// What this backend is. Pure: looks at nothing, answers the same at every call.
    fn describe() -> Description
    where
        Self: Sized;

    /// Makes the backend. `config` is JSON that fits the schema in the description.
    ///
    /// # Errors
    /// The configuration is wrong in a way its schema cannot say.
    fn create(host: Host, config: &str) -> Result<Self, Error>
    where
        Self: Sized;

    /// Finds out what works on this machine with these privileges: one report for each
    /// capability of the description. Missing privileges are reports, not errors.
    ///
    /// # Errors
    /// The backend cannot work at all.
    fn probe(&mut self) -> Result<Vec<CapabilityReport>, Error>;

    /// Reads one sweep. `into` is empty and keeps its memory from sweep to sweep.
    ///
    /// # Errors
    /// The sweep as a whole failed; a single task that is gone or unreadable is data.
    fn observe(&mut self, request: &ObserveRequest, into: &mut Observation) -> Result<(), Error> {
        let _ = (request, into);
        Err(Error::not_supported("observe", "this backend reads nothing"))
    }

    /// Reads a part of the tree of contexts, parents before children.
    ///
    /// # Errors
    /// No such space or root.
    fn survey(&mut self, request: &SurveyRequest) -> Result<Vec<ContextNode>, Error> {
        let _ = request;
        Err(Error::not_supported("survey", "this backend has no contexts"))
    }

    /// Says what would have to be written to reach `desired`: reads, and writes nothing.
    /// What is already as desired needs no operation. The order of the answer is the order of
    /// the writes; a knob that cannot be turned is refused without hiding the others.
    ///
    /// # Errors
    /// The subject as a whole is gone or out of reach.
    fn prepare(&mut self, desired: &Desired) -> Result<Vec<PreparedOperation>, Error> {
        let _ = desired;
        Err(Error::not_supported("prepare", "this backend changes nothing"))
    }

    /// Writes one operation and returns the value read back. The permit is the proof that the
    /// host has it in its journal: write here and nowhere else, or nobody can turn it back.
    ///
    /// # Errors
    /// The write did not happen, or not completely; the code tells why.
    fn commit(&mut self, permit: Permit<'_>) -> Result<String, Error> {
        let _ = permit;
        Err(Error::not_supported("commit", "this backend changes nothing"))
    }

    /// Reads a clock, ns. `task` is ignored by [`Timer::THREAD`].
    ///
    /// # Errors
    /// The clock cannot be read; never 0 instead.
    fn timer(&self, timer: Timer, task: TaskId) -> Result<u64, Error> {
        let _ = (timer, task);
        Err(Error::not_supported("timer", "this backend has no clocks"))
    }

    /// What a clock is worth on this machine.
    ///
    /// # Errors
    /// There is no such clock.
    fn timer_facts(&self, timer: Timer) -> Result<TimerFacts, Error> {
        let _ = timer;
        Err(Error::not_supported("timer", "this backend has no clocks"))
    }
}

/// Permission to write one operation: it is in the journal.
///
/// Made by the host from a journal record, and by this crate on the plugin's side of the
/// boundary. It is a rail against the mistake of writing what nobody could turn back, not a
/// sandbox: a library can always call the system itself, or [`undo::knob`](crate::undo::knob), or
/// keep a journal of its own, which nobody restores from. What it cannot do is to make one out of
/// an operation:
///
/// ```compile_fail
/// # fn forge(operation: &outrigger_sdk::Operation) {
/// let permit = outrigger_sdk::Permit { operation, token: 1, seal: Default::default() };
/// # }
/// ```
#[derive(Debug)]
pub struct Permit<'a> {
    operation: &'a Operation,
    token: u64,
    seal: PhantomData<&'a ()>,
}

impl<'a> Permit<'a> {
    pub(crate) fn new(operation: &'a Operation, token: u64) -> Self {
        Self { operation, token, seal: PhantomData }
    }
    /// What may be written.
    pub fn operation(&self) -> &'a Operation {
        self.operation
    }
    /// Number of the journal record.
    pub fn token(&self) -> u64 {
        self.token
    }
}

/// What the host lends a backend.
#[derive(Clone, Copy)]
pub struct Host {
    calls: HostCalls,
}

impl Host {
    /// From what crossed the boundary, or from a host's own callbacks.
    pub fn new(calls: HostCalls) -> Self {
        Self { calls }
    }
    /// Writes into the host's log.
    pub fn log(&self, level: LogLevel, message: &str) {
        (self.calls.log)(self.calls.context, level, message.into());
    }
    /// The host's monotonic clock, ns.
    pub fn now_ns(&self) -> u64 {
        (self.calls.now_ns)(self.calls.context)
    }
    /// A host that logs nowhere, for tests.
    pub fn silent() -> Self {
        extern "C" fn log(_: u64, _: LogLevel, _: outrigger_abi::RStr<'_>) {}
        extern "C" fn now_ns(_: u64) -> u64 {
            use std::time::Instant;
            static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
            START.get_or_init(Instant::now).elapsed().as_nanos() as u64
        }
        Self { calls: HostCalls { context: 0, log, now_ns } }
    }
    pub(crate) fn calls(&self) -> HostCalls {
        self.calls
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}

impl<'a> From<&'a crate::undo::Journalled> for Permit<'a> {
    fn from(journalled: &'a crate::undo::Journalled) -> Self {
        Self::new(journalled.operation(), journalled.token())
    }
}
