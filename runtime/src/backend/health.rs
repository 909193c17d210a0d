//! How a plugin is doing, and whether it is asked at all: a small machine of states.
//!
//! ```text
//! discovered → checked → probed → active ⇄ degraded
//!                                   ↘      ↙
//!                                  quarantined (until; then one call decides)
//! ```
//!
//! A panic or a nonsensical answer quarantines at once, a late answer when it is the third within
//! a minute: on a starved machine everybody is late now and then, and that is when we are needed
//! most. Each quarantine lasts twice as long as the one before, up to a bound; ten quiet minutes
//! forget. What an operating system refuses is not the plugin's fault and changes nothing here.
//!
//! The machine is pure: time is handed in. Remembering across restarts is not done here.

use outrigger_sdk::ErrorCode;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

const SECOND: u64 = 1_000_000_000;

/// First quarantine, ns: short, since the next backend has taken over and one call will tell.
pub const FIRST_QUARANTINE: u64 = SECOND;
/// Longest quarantine, ns.
pub const LONGEST_QUARANTINE: u64 = 300 * SECOND;
/// Late answers within [`LATE_WINDOW`] that quarantine.
pub const LATE_LIMIT: usize = 3;
/// See [`LATE_LIMIT`], ns.
pub const LATE_WINDOW: u64 = 60 * SECOND;
/// Time without a fault after which the next quarantine is a first one again, ns.
pub const FORGET_AFTER: u64 = 600 * SECOND;

/// Where a plugin stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Its file was found.
    Discovered,
    /// Its file, manifest and configuration were found good, and its backend was made.
    Checked,
    /// It said what it can do here.
    Probed,
    /// It answers.
    Active,
    /// It answers, but something was wrong lately.
    Degraded {
        /// What, one sentence.
        reason: String,
    },
    /// It is not asked; after `until_ns` one call decides.
    Quarantined {
        /// End, ns of the monotonic clock; `u64::MAX` if it will not be asked again.
        until_ns: u64,
        /// Why, one sentence.
        reason: String,
    },
}

impl State {
    /// Its name, as in `status`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Discovered => "discovered",
            Self::Checked => "checked",
            Self::Probed => "probed",
            Self::Active => "active",
            Self::Degraded { .. } => "degraded",
            Self::Quarantined { .. } => "quarantined",
        }
    }
}

/// Something that happened to a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its backend was made.
    Created,
    /// It said what it can do.
    Probed,
    /// It answered, in time and sensibly; an ordinary error is an answer.
    Answered,
    /// It did not answer in time.
    Late {
        /// One sentence.
        reason: String,
    },
    /// It panicked, or answered nonsense.
    Fault {
        /// One sentence.
        reason: String,
    },
    /// Its lane ended: it cannot be asked any more.
    Ended {
        /// One sentence.
        reason: String,
    },
}

impl Event {
    /// What a backend's answer means for its health.
    pub fn of<T>(result: &Result<T, outrigger_sdk::Error>) -> Self {
        match result {
            Err(error) if matches!(error.code, ErrorCode::PANIC | ErrorCode::NONSENSE) => {
                Self::Fault { reason: error.to_string() }
            }
            _ => Self::Answered,
        }
    }
}

/// The machine. Times are ns of the monotonic clock.
#[derive(Clone, Debug)]
pub struct Machine {
    state: State,
    late: Vec<u64>,
    quarantines: u32,
    last_fault: u64,
}

impl Default for Machine {
    fn default() -> Self {
        Self { state: State::Discovered, late: Vec::new(), quarantines: 0, last_fault: 0 }
    }
}

impl Machine {
    /// Where it stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Takes one event at `now`.
    pub fn event(&mut self, event: Event, now: u64) {
        match event {
            Event::Created => self.state = State::Checked,
            Event::Probed => self.state = State::Probed,
            Event::Answered => self.answered(now),
            Event::Late { reason } => self.late(reason, now),
            Event::Fault { reason } => self.fault(reason, now),
            Event::Ended { reason } => {
                self.state = State::Quarantined { until_ns: u64::MAX, reason };
            }
        }
    }

    fn answered(&mut self, now: u64) {
        self.late.retain(|at| now.saturating_sub(*at) < LATE_WINDOW);
        match &self.state {
            // An answer that was on its way when the quarantine began ends nothing.
            State::Quarantined { until_ns, .. } if now < *until_ns => {}
            State::Quarantined { reason, .. } => {
                self.state = State::Degraded { reason: reason.clone() };
            }
            State::Degraded { .. }
                if self.late.is_empty() && now.saturating_sub(self.last_fault) >= LATE_WINDOW =>
            {
                self.state = State::Active;
            }
            State::Degraded { .. } | State::Active => {}
            State::Discovered | State::Checked | State::Probed => self.state = State::Active,
        }
    }

    fn late(&mut self, reason: String, now: u64) {
        self.late.retain(|at| now.saturating_sub(*at) < LATE_WINDOW);
        self.late.push(now);
        let on_trial = matches!(self.state, State::Quarantined { .. });
        if on_trial || self.late.len() >= LATE_LIMIT {
            self.late.clear();
            self.fault(reason, now);
        } else {
            self.last_fault = now;
            self.state = State::Degraded { reason };
        }
    }

    fn fault(&mut self, reason: String, now: u64) {
        if let State::Quarantined { until_ns: u64::MAX, .. } = self.state {
            return;
        }
        if now.saturating_sub(self.last_fault) >= FORGET_AFTER {
            self.quarantines = 0;
        }
        let length =
            FIRST_QUARANTINE.saturating_mul(1 << self.quarantines.min(32)).min(LONGEST_QUARANTINE);
        self.quarantines += 1;
        self.last_fault = now;
        self.state = State::Quarantined { until_ns: now.saturating_add(length), reason };
    }
}

/// The machine as lanes and readers share it: whether to ask is one atomic load.
#[derive(Debug)]
pub struct Health {
    plugin: Arc<str>,
    machine: Mutex<Machine>,
    /// End of the quarantine, or 0.
    until_ns: AtomicU64,
}

impl Health {
    /// Of a plugin that was just found; the name is for the log.
    pub fn new(plugin: Arc<str>) -> Self {
        Self { plugin, machine: Mutex::default(), until_ns: AtomicU64::new(0) }
    }

    /// Takes one event, now.
    pub fn event(&self, event: Event, now: u64) {
        let mut machine = self.lock();
        let before = machine.state.clone();
        machine.event(event, now);
        let until = match machine.state() {
            State::Quarantined { until_ns, .. } => *until_ns,
            _ => 0,
        };
        self.until_ns.store(until, Ordering::Relaxed);
        let after = machine.state().clone();
        drop(machine);
        if before != after {
            self.tell(&after, now);
        }
    }

    fn tell(&self, state: &State, now: u64) {
        let plugin = &*self.plugin;
        match state {
            State::Quarantined { until_ns: u64::MAX, reason } => {
                tracing::error!(plugin, %reason, "the plugin is not asked any more");
            }
            State::Quarantined { until_ns, reason } => {
                let seconds = until_ns.saturating_sub(now) / SECOND;
                tracing::warn!(plugin, seconds, %reason, "the plugin is quarantined");
            }
            State::Degraded { reason } => {
                tracing::warn!(plugin, %reason, "the plugin is degraded");
            }
            _ => tracing::debug!(plugin, state = state.name(), "the plugin's state"),
        }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.lock().state.clone()
    }

    /// Whether it is out of quarantine: what routing and the capability check look at.
    pub fn is_trusted(&self) -> bool {
        self.until_ns.load(Ordering::Relaxed) == 0
    }

    /// Whether it may be asked at `now`: trusted, or due for the call that decides.
    pub fn admits(&self, now: u64) -> bool {
        now >= self.until_ns.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests;
