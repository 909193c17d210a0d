//! A backend the host holds: its lane, its health, what it may do, and the calls into it.
//!
//! Whoever calls says what it wants and waits; which thread runs it, how long it may take, whether
//! the plugin is quarantined and whether its answer makes sense is decided here.

use super::call::{Call, CallError};
use super::health::{Event, Health, State};
use super::lane::{Condition, Lane, OnLate};
use super::load::About;
use super::locate::Place;
use super::negotiate::Offer;
use super::{deadline, vet};
use crate::clock::monotonic_ns;
use outrigger_sdk::undo::Journalled;
use outrigger_sdk::{
    Backend, Capability, ContextNode, Desired, Error, Observation, ObserveRequest, Permit,
    PreparedOperation, SurveyRequest, TaskId, Timer, TimerFacts,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Plugins of this project. Found in one of the usual places, they may do all they can.
const OURS: [&str; 8] = [
    "fallback",
    "linux-bpf",
    "linux-cgroup1",
    "linux-cgroup2",
    "linux-proc",
    "linux-systemd",
    "macos",
    "windows",
];

/// Whose a plugin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Built with this program: granted everything.
    Ours,
    /// Somebody else's: may read, and change what the configuration grants it.
    Foreign,
}

impl Trust {
    /// Whose a plugin of this name in this kind of place is. Its file's ownership was checked.
    pub fn of(name: &str, place: Place) -> Self {
        let ours = place != Place::Given && OURS.contains(&name);
        if ours { Self::Ours } else { Self::Foreign }
    }
}

/// A backend the host holds.
#[derive(Debug)]
pub struct Plugin {
    pub(super) about: About,
    pub(super) trust: Trust,
    pub(super) lane: Lane,
    pub(super) health: Arc<Health>,
    pub(super) offers: Vec<Offer>,
    pub(super) mounts: Arc<[PathBuf]>,
}

impl Plugin {
    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        self.lane.name()
    }
    /// What is known of it.
    pub fn about(&self) -> &About {
        &self.about
    }
    /// Whose it is.
    pub fn trust(&self) -> Trust {
        self.trust
    }
    /// How it is doing.
    pub fn state(&self) -> State {
        self.health.state()
    }
    /// Whether it is out of quarantine.
    pub fn is_trusted(&self) -> bool {
        self.health.is_trusted()
    }
    /// Whether it may be asked now: out of quarantine, or due for the call that decides.
    pub fn admits_calls(&self) -> bool {
        self.health.is_trusted() || self.health.admits(monotonic_ns())
    }
    /// What it can and may do here.
    pub fn offers(&self) -> &[Offer] {
        &self.offers
    }
    /// What it can and may do about one capability.
    pub fn offer(&self, capability: Capability) -> Option<&Offer> {
        self.offers.iter().find(|offer| offer.capability == capability)
    }

    /// Whether it may do something: what it did not describe, a foreign plugin may not.
    fn may(&self, capability: Capability) -> bool {
        self.trust == Trust::Ours || self.offer(capability).is_some_and(|offer| offer.granted)
    }

    /// The call that is past its deadline and has not come back, if there is one. While there is,
    /// a write of this plugin may still happen: whoever restores must wait for the end of the
    /// process, which is what the keeper does.
    pub fn hanging(&self) -> Option<&'static str> {
        match self.lane.condition() {
            Condition::InDoubt { step, .. } => Some(step),
            Condition::Ready | Condition::Ended { .. } => None,
        }
    }

    /// Reads one sweep. `into` is a buffer to be reused; it comes back filled.
    ///
    /// A backend tells births and ends once. What it tells after its deadline goes to `on_late`,
    /// before it is asked again.
    pub fn observe(
        &self,
        request: ObserveRequest,
        mut into: Observation,
        on_late: impl FnOnce(Observation) + Send + 'static,
    ) -> Call<Observation> {
        let late: OnLate<Result<Observation, Error>> = Box::new(|result, _| {
            if let Ok(Ok(observation)) = result {
                on_late(observation);
            }
        });
        self.start("observe", deadline::OBSERVE, Some(late), move |backend| {
            into.clear();
            backend.observe(&request, &mut into).map(|()| into)
        })
    }

    /// Reads a part of the tree of contexts.
    pub fn survey(&self, request: SurveyRequest) -> Call<Vec<ContextNode>> {
        self.start("survey", deadline::SURVEY, None, move |backend| backend.survey(&request))
    }

    /// Asks what would have to be written. The answer has been looked at (`vet`): what comes back
    /// may be journalled.
    pub fn prepare(&self, desired: Desired) -> Call<Vec<PreparedOperation>> {
        if let Some(setting) = desired.settings.iter().find(|setting| !self.may(setting.knob)) {
            return self.refused(CallError::NotGranted {
                plugin: self.name().clone(),
                capability: setting.knob,
            });
        }
        let mounts = self.mounts.clone();
        self.start("prepare", deadline::PREPARE, None, move |backend| {
            let prepared = backend.prepare(&desired)?;
            vet::answer(&desired, &prepared, &mounts)?;
            Ok(prepared)
        })
    }

    /// Writes what was journalled, and answers the value read back.
    ///
    /// After a missed deadline the knob is in doubt until `on_late` is called with what the write
    /// did after all, or why nobody will ever know.
    pub fn commit(
        &self,
        journalled: Arc<Journalled>,
        on_late: impl FnOnce(Result<String, Error>) + Send + 'static,
    ) -> Call<String> {
        let name = self.name().clone();
        let told: OnLate<Result<String, Error>> = Box::new(move |result, took| {
            tracing::warn!(plugin = %name, took_ms = took.as_millis() as u64, "a late write came back");
            on_late(result.unwrap_or_else(|reason| {
                Err(Error::new(outrigger_sdk::ErrorCode::PANIC, "commit", reason))
            }));
        });
        self.start("commit", deadline::COMMIT, Some(told), move |backend| {
            backend.commit(Permit::from(&*journalled))
        })
    }

    /// Reads a clock, ns.
    pub fn timer(&self, timer: Timer, task: TaskId) -> Call<u64> {
        self.start("timer", deadline::TIMER, None, move |backend| backend.timer(timer, task))
    }

    /// What a clock is worth here.
    pub fn timer_facts(&self, timer: Timer) -> Call<TimerFacts> {
        self.start("timer_facts", deadline::TIMER, None, move |backend| backend.timer_facts(timer))
    }

    fn refused<T: Send + 'static>(&self, error: CallError) -> Call<T> {
        Call { pending: Err(error), health: self.health.clone() }
    }

    fn start<T: Send + 'static>(
        &self,
        step: &'static str,
        deadline: Duration,
        on_late: Option<OnLate<Result<T, Error>>>,
        call: impl FnOnce(&mut dyn Backend) -> Result<T, Error> + Send + 'static,
    ) -> Call<T> {
        if !self.admits_calls() {
            let reason = match self.state() {
                State::Quarantined { reason, .. } => reason,
                // It was let out between the two looks: the next call will see that.
                other => format!("it was until now, and is {}", other.name()),
            };
            return self.refused(CallError::Quarantined { plugin: self.name().clone(), reason });
        }
        let health = self.health.clone();
        let until = Instant::now() + deadline;
        let noted = move |backend: &mut dyn Backend| {
            let result = call(backend);
            let event = Event::of(&result);
            // An answer that comes too late does not show that the plugin answers.
            if event != Event::Answered || Instant::now() <= until {
                health.event(event, monotonic_ns());
            }
            result
        };
        let pending = self.lane.submit(step, deadline, noted, on_late).map_err(CallError::from);
        Call { pending, health: self.health.clone() }
    }
}
