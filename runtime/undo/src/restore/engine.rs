//! Puts knobs back, and then what inherited from them.
//!
//! Knobs first, newest first, each compared before it is written; what fails is tried again as
//! long as anything else succeeds, since the kernel couples knobs (a weight cannot be written
//! while the group is idle, a burst not below its quota). Then descendants, to a fixpoint. Then
//! contexts, the innermost first.

use super::judge::{self, Order, Verdict, are_coupled, judge};
use super::world::World;
use super::{Item, Outcome, Report};
use crate::knob::{KnobError, KnobErrorCode};
use crate::{Entry, Kind, Task};
use std::collections::HashSet;

/// A process that forks faster than it is swept is given up on after this many sweeps, or
/// after [`PATIENCE_MS`].
pub(super) const SWEEPS: usize = 200;
pub(super) const PATIENCE_MS: u64 = 5_000;
/// Rounds of trying again what failed because of another knob.
const ROUNDS: usize = 4;

pub(super) struct Engine<'w> {
    pub(super) world: &'w dyn World,
    /// All outstanding entries: who is whose ancestor does not depend on what is selected.
    pub(super) all: Vec<&'w Entry>,
    pub(super) selected: HashSet<u64>,
    pub(super) report: Report,
}

/// Puts the selected ones of all outstanding entries back.
pub fn give_back(world: &dyn World, all: &[&Entry], select: &dyn Fn(&Entry) -> bool) -> Report {
    let selected: Vec<&Entry> = all.iter().copied().filter(|entry| select(entry)).collect();
    let order = Order::of(selected.iter().copied());
    let mut engine = Engine {
        world,
        all: all.to_vec(),
        selected: selected.iter().map(|entry| entry.token).collect(),
        report: Report::default(),
    };
    engine.knobs(&order.knobs);
    engine.descendants();
    engine.contexts(&order);
    engine.report.items.sort_by_key(|item| item.token);
    engine.report
}

impl<'w> Engine<'w> {
    pub(super) fn tell(&mut self, entry: &Entry, outcome: Outcome) {
        self.report.items.push(Item {
            operation: entry.operation.clone(),
            token: entry.token,
            outcome,
        });
    }

    /// All comparisons come before the first write, since a write may change what a coupled knob
    /// reads as.
    pub(super) fn knobs(&mut self, entries: &[&'w Entry]) {
        let mut pending = Vec::new();
        for entry in entries {
            match self.compare(entry) {
                Ok((target, current)) => pending.push((*entry, target, current)),
                Err(outcome) => self.tell(entry, outcome),
            }
        }
        let mut written: Vec<&Entry> = Vec::new();
        for round in 1..=ROUNDS {
            let before = pending.len();
            for (entry, target, compared) in std::mem::take(&mut pending) {
                let coupled = written.iter().any(|other| are_coupled(entry, other));
                match self.put_back(entry, target, &compared, coupled) {
                    Outcome::Failed { .. } if round < ROUNDS => {
                        pending.push((entry, target, compared))
                    }
                    outcome => {
                        written.push(entry);
                        self.tell(entry, outcome);
                    }
                }
            }
            if pending.len() == before {
                break;
            }
        }
        for (entry, target, compared) in pending {
            let coupled = written.iter().any(|other| are_coupled(entry, other));
            let outcome = self.put_back(entry, target, &compared, coupled);
            self.tell(entry, outcome);
        }
    }

    /// The task to act on and the present value, if it is ours to put back.
    fn compare(&self, entry: &Entry) -> Result<(Option<Task>, String), Outcome> {
        let operation = &entry.operation;
        if is_irreversible(entry) {
            return Err(Outcome::Irreversible);
        }
        let mut target = operation.task;
        let mut current = self.world.read(operation.kind, target, &operation.locator);
        if let (Err(error), Some(name)) = (&current, &entry.kin.autogroup)
            && error.is_gone()
        {
            // The process is gone, but the knob is shared by its session.
            target = self.world.autogroup_member(name);
            if target.is_some() {
                current = self.world.read(operation.kind, target, &operation.locator);
            }
        }
        let current = current.map_err(|error| failed(&error))?;
        match judge(entry, &current) {
            Verdict::Restore => Ok((target, current)),
            // A process's leader may be back where it was, and other threads not.
            Verdict::Unchanged if self.is_whole_process_of_apart_threads(entry) => {
                Ok((target, current))
            }
            Verdict::Unchanged => Err(Outcome::Unchanged),
            Verdict::Foreign if self.is_kernels_doing(entry, &current) => Ok((target, current)),
            Verdict::Foreign => Err(Outcome::Foreign { found: current }),
        }
    }

    /// A group that ceases to be idle gets the default weight. If whoever cleared it for us died
    /// before writing that down, that weight is nobody's decision.
    fn is_kernels_doing(&self, entry: &Entry, current: &str) -> bool {
        let locator = entry.operation.locator.as_str();
        let group = match current {
            "1024" => locator.strip_suffix("/cpu.shares"),
            "100" => locator.strip_suffix("/cpu.weight"),
            _ => None,
        };
        let idle = group.map(|group| format!("{group}/cpu.idle"));
        idle.is_some_and(|idle| self.all.iter().any(|entry| entry.operation.locator == idle))
    }

    fn is_whole_process_of_apart_threads(&self, entry: &Entry) -> bool {
        let operation = &entry.operation;
        operation.kind == Kind::Membership
            && operation.task.is_some_and(|task| task.tid == 0)
            && self.world.splits_threads(&operation.locator)
    }

    fn put_back(
        &self,
        entry: &Entry,
        target: Option<Task>,
        compared: &str,
        coupled: bool,
    ) -> Outcome {
        let operation = &entry.operation;
        if operation.kind == Kind::Membership {
            return self.move_back(entry);
        }
        match self.world.read(operation.kind, target, &operation.locator) {
            Ok(current) if current == operation.before => return Outcome::Restored,
            Ok(current) if current != compared && !coupled => {
                return Outcome::Foreign { found: current };
            }
            Ok(_) => {}
            Err(error) => return failed(&error),
        }
        match self.world.write(operation.kind, target, &operation.locator, &operation.before) {
            Ok(now) if now == operation.before => Outcome::Restored,
            Ok(now) => Outcome::Failed {
                error: format!("wrote `{}` and it reads as `{now}`", operation.before),
            },
            Err(error) => failed(&error),
        }
    }

    /// A task goes back to its cgroup; a process on v1 thread by thread, unless all are together.
    fn move_back(&self, entry: &Entry) -> Outcome {
        let operation = &entry.operation;
        let (Some(task), mount) = (operation.task, operation.locator.as_str()) else {
            return Outcome::Failed { error: "the journal names no task".to_owned() };
        };
        let Some(to) = self.living(mount, &operation.before) else { return Outcome::Gone };
        let reached = || match to == operation.before {
            true => Outcome::Restored,
            false => Outcome::Moved { to: to.clone() },
        };
        if !self.is_whole_process_of_apart_threads(entry) {
            return match self.world.write(Kind::Membership, Some(task), mount, &to) {
                Ok(_) => reached(),
                Err(error) => failed(&error),
            };
        }
        let own: HashSet<Task> = (self.all.iter())
            .filter(|other| {
                other.operation.kind == Kind::Membership && other.operation.locator == mount
            })
            .filter_map(|other| other.operation.task)
            .collect();
        let mut moved = false;
        for _ in 0..SWEEPS {
            let threads = self.world.threads(task);
            let inside: Vec<Task> = (threads.iter().copied())
                .filter(|thread| !own.contains(thread) && self.is_where_we_put_it(entry, *thread))
                .collect();
            if inside.is_empty() {
                return if moved { reached() } else { Outcome::Unchanged };
            }
            let together = inside.len() == threads.len();
            let movers = if together { std::slice::from_ref(&task) } else { &inside };
            for mover in movers {
                // Looking at the others took a while.
                if !self.is_where_we_put_it(entry, *mover) {
                    continue;
                }
                match self.world.write(Kind::Membership, Some(*mover), mount, &to) {
                    Ok(_) => moved = true,
                    Err(error) if error.is_gone() && mover.tid != 0 => {}
                    Err(error) => return failed(&error),
                }
            }
        }
        Outcome::Failed { error: format!("{task} made threads faster than they could be moved") }
    }

    fn is_where_we_put_it(&self, entry: &Entry, task: Task) -> bool {
        let now = self.world.read(Kind::Membership, Some(task), &entry.operation.locator);
        now.is_ok_and(|now| judge(entry, &now) == Verdict::Restore)
    }

    /// The cgroup itself, or the nearest one above that exists.
    pub(super) fn living(&self, mount: &str, path: &str) -> Option<String> {
        judge::upwards(path).find(|path| self.world.has_cgroup(mount, path)).map(str::to_owned)
    }
}

fn is_irreversible(entry: &Entry) -> bool {
    let name = entry.operation.locator.rsplit('/').next().unwrap_or_default();
    entry.operation.kind == Kind::File && crate::knob::TRIGGERS.contains(&name)
}

pub(super) fn failed(error: &KnobError) -> Outcome {
    match error.code() {
        KnobErrorCode::Gone => Outcome::Gone,
        _ => Outcome::Failed { error: error.to_string() },
    }
}
