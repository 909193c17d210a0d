//! From a desired state to operations, and one operation to the kernel.
//!
//! Nice, class, affinity and I/O priority are per thread: each thread gets an operation of its
//! own, so that each gets its own value back. Threads born while they are listed are found by
//! listing again until nothing is new; those born between here and the commit are found when the
//! host, which sends its desires again and again, prepares the next time.

use crate::rules::{OURS, Rules};
use crate::wish::Wish;
use outrigger_sdk::undo::knob;
use outrigger_sdk::{
    Desired, Error, ErrorCode, Kind, Operation, Permit, PreparedOperation, Setting, SubjectKind,
    Task, TaskIdExt as _, knob_error,
};
use std::collections::{BTreeMap, BTreeSet};

/// Most listings of a process's threads; one that forks faster than this is prepared again soon.
const LISTINGS: usize = 16;

/// Most normalised values remembered.
const SETTLED: usize = 4096;

/// Turns knobs.
#[derive(Debug)]
pub(crate) struct Actor {
    pub rules: Rules,
    /// What the kernel made of a value that it did not take as it was (CPUs outside a cpuset):
    /// asking for the same again would not change anything.
    settled: BTreeMap<(Kind, Task, String), (String, String)>,
}

impl Actor {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, settled: BTreeMap::new() }
    }

    /// Reads, and says what would have to be written.
    ///
    /// # Errors
    /// The task is gone, a kernel thread or process 1, or the subject is no task at all.
    pub(crate) fn prepare(&self, desired: &Desired) -> Result<Vec<PreparedOperation>, Error> {
        if desired.kind != SubjectKind::TASK {
            return Err(Error::not_supported(STEP, "this backend knows tasks and no contexts"));
        }
        let task = desired.task.to_task();
        changeable(task)?;
        let mut prepared = Vec::new();
        for setting in &desired.settings {
            self.prepare_one(task, setting, &mut prepared);
        }
        Ok(prepared)
    }

    fn prepare_one(&self, task: Task, setting: &Setting, into: &mut Vec<PreparedOperation>) {
        let knob = setting.knob;
        let wish = match Wish::read(setting) {
            Ok(wish) => wish,
            Err(error) => return into.push(PreparedOperation::refused(knob, error)),
        };
        let subjects = if !wish.per_thread() {
            match task.tid {
                0 => Ok(vec![task]),
                _ => Err(Error::not_supported(STEP, format!("{knob} is of whole processes only"))),
            }
        } else {
            threads(task)
        };
        let subjects = match subjects {
            Ok(subjects) => subjects,
            Err(error) => return into.push(PreparedOperation::refused(knob, error)),
        };
        // A hundred threads refused for one reason are one refusal.
        let mut refused: Option<(Error, usize)> = None;
        for subject in subjects {
            match self.operation(subject, &wish) {
                Ok(Some(operation)) => into.push(PreparedOperation::ready(knob, operation)),
                Ok(None) => {}
                // A thread that ended needs nothing any more.
                Err(error) if error.code == ErrorCode::GONE && subject.tid != task.tid => {}
                Err(error) => {
                    let (_, count) = refused.get_or_insert((error, 0));
                    *count += 1;
                }
            }
        }
        if let Some((mut error, count)) = refused {
            if count > 1 {
                error.message =
                    format!("{} (and {} more threads likewise)", error.message, count - 1).into();
            }
            into.push(PreparedOperation::refused(knob, error));
        }
    }

    /// What has to be written to one thread or process; `None` if it is as wished.
    fn operation(&self, task: Task, wish: &Wish) -> Result<Option<Operation>, Error> {
        let kind = wish.kind;
        let before = knob::read(kind, Some(task), &wish.locator)
            .map_err(|error| knob_error(STEP, &error))?;
        let after = wish.value_over(&before);
        let settled = self.settled.get(&(kind, task, wish.locator.clone()));
        let is_settled = settled.is_some_and(|(asked, made)| *asked == after && *made == before);
        if after == before || is_settled {
            return Ok(None);
        }
        let operation =
            Operation { kind, task: Some(task), locator: wish.locator.clone(), before, after };
        self.rules.check(STEP, &operation)?;
        Ok(Some(operation))
    }

    /// Writes one operation and answers what was read back.
    ///
    /// # Errors
    /// It is none of ours, the value is no longer what it was when the operation was prepared,
    /// the task is gone, or the OS refused.
    pub(crate) fn commit(&mut self, permit: Permit<'_>) -> Result<String, Error> {
        const STEP: &str = "commit";
        let operation = permit.operation();
        let Operation { kind, task, locator, before, after } = operation;
        let (kind, task) = match task {
            Some(task) if OURS.contains(kind) => (*kind, *task),
            _ => return self.rules.check(STEP, operation).map(|()| String::new()),
        };
        let now =
            knob::read(kind, Some(task), locator).map_err(|error| knob_error(STEP, &error))?;
        if now == *after {
            return Ok(now);
        }
        if now != *before {
            let message = format!("{kind:?} of {task} is {now} and no longer {before}");
            return Err(Error::new(ErrorCode::FOREIGN, STEP, message));
        }
        self.rules.check(STEP, operation)?;
        let made = knob::write(kind, Some(task), locator, after)
            .map_err(|error| knob_error(STEP, &error))?;
        if made != *after {
            if self.settled.len() >= SETTLED {
                self.settled.clear();
            }
            self.settled.insert((kind, task, locator.clone()), (after.clone(), made.clone()));
        }
        Ok(made)
    }
}

const STEP: &str = "prepare";

/// # Errors
/// The task is gone, or nobody may change it.
fn changeable(task: Task) -> Result<(), Error> {
    let found = knob::stat(task.pid, task.tid).filter(|stat| stat.start == task.start);
    let Some(stat) = found else {
        return Err(Error::new(ErrorCode::GONE, STEP, format!("{task} has ended")));
    };
    if stat.kernel || task.pid == 1 {
        let message = format!("{task} is the kernel's or process 1; those are left alone");
        return Err(Error::new(ErrorCode::NOT_DELEGATED, STEP, message));
    }
    Ok(())
}

/// All threads of a process, listed until nothing is new; a thread is its own only one.
fn threads(task: Task) -> Result<Vec<Task>, Error> {
    if task.tid != 0 {
        return Ok(vec![task]);
    }
    let mut all = BTreeSet::new();
    for _ in 0..LISTINGS {
        let listed = knob::threads(task.pid).map_err(|error| {
            let message = format!("cannot list the threads of {task}: {error}");
            let gone = matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH));
            let code = if gone { ErrorCode::GONE } else { ErrorCode::OS };
            Error {
                os_code: error.raw_os_error().unwrap_or(0).into(),
                ..Error::new(code, STEP, message)
            }
        })?;
        let known = all.len();
        all.extend(listed);
        if all.len() == known {
            break;
        }
    }
    // Were they this process's? The number might be another's by now.
    if knob::start_time(task.pid, 0) != Some(task.start) {
        return Err(Error::new(ErrorCode::GONE, STEP, format!("{task} has ended")));
    }
    Ok(all.into_iter().collect())
}
