//! The real hands: plugins on their lanes, every write in the journal first.

use super::hands::{Backend, Cause, Committed, Fate, Hands, Returned, Undone};
use super::load;
use crate::backend::{CallError, Plugin, Registry};
use crate::clock;
use crate::mutation;
use outrigger_sdk::undo::{self, Journal, JournalError, Journalled, Why, knob};
use outrigger_sdk::{
    Capability, ContextNode, Desired, Error, ErrorCode, Kind, Level, Operation, PreparedOperation,
    SurveyRequest, TaskId, TaskIdExt as _,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whether the scheduler groups tasks by session (`kernel.sched_autogroup_enabled`).
const AUTOGROUPS: &str = "/proc/sys/kernel/sched_autogroup_enabled";

/// Start times are in ticks of this length on every architecture we build for (`USER_HZ`).
const TICK_NS: u64 = 10_000_000;

/// The journal, shared with whoever ends it.
pub type SharedJournal = Arc<Mutex<Journal>>;

/// Late results, until they are fetched.
type Late = Arc<Mutex<Vec<(Arc<Journalled>, Result<String, Error>)>>>;

/// Plugins and journal.
pub struct Machine {
    registry: Arc<Registry>,
    journal: SharedJournal,
    late: Late,
    autogroups: bool,
}

// === impl Machine ===

impl Machine {
    /// Hands that work through these plugins and write into this journal.
    pub fn new(registry: Arc<Registry>, journal: SharedJournal) -> Self {
        let autogroups =
            std::fs::read_to_string(AUTOGROUPS).is_ok_and(|enabled| enabled.trim() == "1");
        Self { registry, journal, late: Late::default(), autogroups }
    }

    fn plugin(&self, backend: &Backend) -> Result<&Arc<Plugin>, Error> {
        self.registry.plugin(backend).ok_or_else(|| {
            Error::not_supported("route", format!("there is no backend {backend} any more"))
        })
    }

    /// Notes what became of a write. A journal that cannot be written any more keeps the entry
    /// in doubt, and undo looks for itself.
    fn settle(&self, journalled: &Journalled, result: &Result<String, Error>) {
        let mut journal = lock(&self.journal);
        let noted = match result {
            Ok(value) => journal.settle(journalled, Ok(value)),
            Err(error) if error.code == ErrorCode::FOREIGN => journal.withdraw(journalled),
            Err(error) => journal.settle(journalled, Err(&error.to_string())),
        };
        if let Err(error) = noted {
            tracing::error!(%error, token = journalled.token(), "the outcome of a write was not journalled");
        }
    }
}

impl Hands for Machine {
    fn survey(&mut self, limit: u32) -> Result<Vec<ContextNode>, Error> {
        let route = [Capability::CPU_WEIGHT, Capability::OBSERVE_CONTEXTS]
            .into_iter()
            .find_map(|capability| self.registry.route(capability))
            .ok_or_else(|| Error::not_supported("survey", "no backend here has contexts"))?;
        let plugin = route.best().ok_or_else(|| {
            Error::new(
                ErrorCode::DEADLINE,
                "survey",
                "the backend that has contexts is quarantined",
            )
        })?;
        let request = SurveyRequest { space: "".into(), root: "/".into(), limit };
        // A survey that was given up wrote nothing; the levers stay as they are.
        plugin.survey(request).wait().map_err(|error| match error {
            CallError::Backend(error) => error,
            other => Error::new(ErrorCode::DEADLINE, "survey", other.to_string()),
        })
    }

    /// What was found out at start: a quarantine passes, and what is in force stays meanwhile.
    fn level(&self, knob: Capability) -> Level {
        let route = self.registry.route(knob);
        let best = route.and_then(|route| route.candidates().first());
        best.map_or(Level::UNAVAILABLE, |candidate| candidate.level)
    }

    fn backends(&self, knob: Capability) -> Vec<Backend> {
        let route = self.registry.route(knob);
        let candidates = route.into_iter().flat_map(|route| route.askable());
        candidates
            .filter(|candidate| candidate.level != Level::UNAVAILABLE)
            .map(|candidate| candidate.plugin.name().clone())
            .collect()
    }

    fn prepare(
        &mut self,
        backend: &Backend,
        desired: &Desired,
    ) -> Result<Vec<PreparedOperation>, Error> {
        Ok(self.plugin(backend)?.prepare(desired.clone()).wait()?)
    }

    fn commit(&mut self, backend: &Backend, operation: Operation, cause: &Cause) -> Committed {
        let plugin = match self.plugin(backend) {
            Ok(plugin) => plugin.clone(),
            Err(error) => return Committed { token: None, result: Err(error) },
        };
        let why = Why {
            workload: cause.workload.to_string(),
            rule: cause.rule.clone(),
            tick: cause.tick,
        };
        let journalled = match lock(&self.journal).record(operation, &why) {
            Ok(journalled) => Arc::new(journalled),
            Err(error) => return Committed { token: None, result: Err(not_journalled(&error)) },
        };
        let token = Some(journalled.token());
        let (late, record) = (self.late.clone(), journalled.clone());
        let call = plugin.commit(journalled.clone(), move |result| {
            late.lock().unwrap_or_else(PoisonError::into_inner).push((record, result));
        });
        let result = match call.wait() {
            Ok(value) => Ok(value),
            Err(error) if error.is_in_doubt() => {
                return Committed { token, result: Err(error.into()) };
            }
            Err(error) => Err(Error::from(error)),
        };
        self.settle(&journalled, &result);
        Committed { token, result }
    }

    fn returned(&mut self) -> Vec<Returned> {
        let late = std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner));
        let settled = late.into_iter().map(|(journalled, result)| {
            self.settle(&journalled, &result);
            Returned { token: journalled.token(), result }
        });
        settled.collect()
    }

    fn undo(&mut self, select: &mut dyn FnMut(&Operation) -> bool) -> Vec<Undone> {
        let select = RefCell::new(select);
        let mut journal = lock(&self.journal);
        mutation::stick_in_undo();
        let report = journal.undo(|entry| (select.borrow_mut())(&entry.operation));
        for note in &report.notes {
            tracing::warn!(note, "while changes were taken back");
        }
        report.items.into_iter().map(undone).collect()
    }

    fn sessions(&mut self) -> BTreeMap<u32, Vec<u32>> {
        let mut sessions: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
            if let Some(session) = session(pid) {
                sessions.entry(session).or_default().push(pid);
            }
        }
        sessions
    }

    fn load(&mut self, task: TaskId) -> u32 {
        let read = |kind| knob::read(kind, Some(task.to_task()), "");
        match (read(Kind::SchedPolicy), read(Kind::Nice)) {
            (_, Err(error)) if error.is_gone() => 0,
            (Ok(policy), _) if policy.starts_with("idle") => load::IDLE,
            (_, nice) => {
                nice.ok().and_then(|nice| nice.parse().ok()).map_or(load::NICE_0, load::of_nice)
            }
        }
    }

    fn passing(&mut self, pid: u32, at_ns: u64) -> bool {
        let Some(start) = knob::start_time(pid, 0) else { return true };
        // Start times are cut off to the tick.
        start.saturating_add(1).saturating_mul(TICK_NS) > clock::boot_ns_of(at_ns)
    }

    fn autogroups(&self) -> bool {
        self.autogroups
    }
}

fn not_journalled(error: &JournalError) -> Error {
    Error::new(ErrorCode::OS, "journal", format!("nothing was written, since {error}"))
}

fn undone(item: undo::restore::Item) -> Undone {
    use undo::Outcome;
    let origin = item.operation.before.clone();
    let fate = match item.outcome {
        Outcome::Gone => Fate::Gone,
        Outcome::Foreign { found } => Fate::Foreign(found),
        Outcome::Failed { error } => Fate::Failed(error),
        Outcome::Moved { to } => Fate::Restored(to),
        _ => Fate::Restored(origin),
    };
    Undone { operation: item.operation, token: item.token, fate }
}

/// The session of a process; none for kernel threads, which have session 0.
fn session(pid: u32) -> Option<u32> {
    let pid = libc::pid_t::try_from(pid).ok()?;
    // SAFETY: takes a number and returns one; a process that is gone is -1.
    let session = unsafe { libc::getsid(pid) };
    u32::try_from(session).ok().filter(|session| *session != 0)
}

/// A journal whose holder panicked is whole: its file has only complete lines.
fn lock(journal: &SharedJournal) -> MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}
