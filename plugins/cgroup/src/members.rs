//! Who is put into a context, and who is not.
//!
//! A task is moved only out of the root of a hierarchy, out of a context of ours, out of a
//! subtree that was delegated to us, or if we launched it. Everybody else keeps their cgroup:
//! moving them would empty somebody's scope, escape a container's limits and leave memory
//! charges behind. A whole process is moved where all its threads are together; where they are
//! apart (v1 allows that) each thread is an operation of its own, so that undo is exact.

use crate::draft::Draft;
use crate::group::Group;
use crate::mounts::Space;
use crate::place::Places;
use crate::version::Version;
use outrigger_sdk::undo::{Kind, Task, knob};
use outrigger_sdk::{Capability, Error, ErrorCode, TaskId, TaskIdExt, maker};
use std::collections::HashSet;

/// Run time a v1 group may give to real-time tasks, us per period. Exists with
/// `CONFIG_RT_GROUP_SCHED`; a group without any takes no real-time task.
const RT_RUNTIME: &str = "cpu.rt_runtime_us";

/// The rules of who may be moved.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Bases of the hierarchies.
    pub places: &'a Places,
    /// Names of our contexts.
    pub ours: &'a HashSet<String>,
    /// We launched these tasks, so any origin is ours to change.
    pub launched: bool,
}

impl Rules<'_> {
    /// Whether a task may be moved out of the cgroup it is in.
    fn allow<V: Version>(&self, group: &Group, from: &str) -> Result<(), Error> {
        let space = group.hierarchy.space;
        let place = self.places.get(space);
        let ours = |place: &crate::place::Place| {
            place.delegated(from) || self.ours.iter().any(|name| place.path(name) == from)
        };
        if !self.launched
            && let Some(pid) = maker::another(from)
        {
            return Err(Error::new(
                ErrorCode::NOT_DELEGATED,
                "assign",
                format!("it is in {from}, held by process {pid}, another running sidecar"),
            ));
        }
        if self.launched || from == "/" || place.is_some_and(ours) {
            return Ok(());
        }
        let lever = match space == V::CPU {
            true => "; its cgroup's weight is the lever",
            false => "",
        };
        Err(Error::new(
            ErrorCode::NOT_DELEGATED,
            "assign",
            format!("it is in {from} of {}, which belongs to somebody else{lever}", space.name()),
        ))
    }
}

/// A thread and the text of its `/proc/PID/task/TID/cgroup`.
struct Thread {
    task: Task,
    cgroups: String,
}

/// Prepares membership of `tasks` in each of `groups` (one per hierarchy, the same context).
pub fn prepare<V: Version>(
    tasks: &[TaskId],
    groups: &[&Group],
    rules: Rules<'_>,
    draft: &mut Draft,
) {
    for task in tasks {
        match threads_of(*task) {
            Ok(threads) => {
                for group in groups {
                    if let Err(error) = place::<V>(*task, &threads, group, rules, draft) {
                        let message = format!("{}: {}", task.to_task(), error.message).into();
                        draft.refuse(Capability::MEMBERS, Error { message, ..error });
                    }
                }
            }
            Err(error) => draft.refuse(Capability::MEMBERS, error),
        }
    }
}

/// The tasks that are in a context already, whole processes where all threads are.
pub fn present(group: &Group) -> Vec<TaskId> {
    let Ok(procs) = group.read("cgroup.procs") else { return Vec::new() };
    let mut pids: Vec<u32> = procs.lines().filter_map(|line| line.trim().parse().ok()).collect();
    pids.sort_unstable();
    pids.dedup();
    let mut found = Vec::new();
    for process in pids.into_iter().filter_map(knob::identify).map(TaskId::from_task) {
        let Ok(threads) = threads_of(process) else { continue };
        let inside = |thread: &&Thread| {
            group.hierarchy.space.path_in(&thread.cgroups) == Some(group.path.as_str())
        };
        if threads.iter().all(|thread| inside(&thread)) {
            found.push(process);
        } else {
            found.extend(threads.iter().filter(inside).map(|one| TaskId::from_task(one.task)));
        }
    }
    found
}

fn threads_of(task: TaskId) -> Result<Vec<Thread>, Error> {
    let task = task.to_task();
    let gone = || Error::new(ErrorCode::GONE, "assign", format!("{task} is gone"));
    let facts = knob::stat(task.pid, task.tid).filter(|stat| stat.start == task.start);
    let facts = facts.ok_or_else(gone)?;
    if task.pid == 1 || facts.kernel {
        let who = if task.pid == 1 { "the first process" } else { "a kernel thread" };
        return Err(Error::not_supported("assign", format!("{task} is {who} and is never moved")));
    }
    let tasks = match (task.tid, facts.threads) {
        (0, 1) => vec![Task { tid: task.pid, ..task }],
        (0, _) => knob::threads(task.pid).map_err(|_| gone())?,
        _ => vec![task],
    };
    let read = |task: Task| {
        let path = format!("/proc/{}/task/{}/cgroup", task.pid, task.tid);
        Some(Thread { task, cgroups: std::fs::read_to_string(path).ok()? })
    };
    let threads: Vec<Thread> = tasks.into_iter().filter_map(read).collect();
    if threads.is_empty() { Err(gone()) } else { Ok(threads) }
}

fn place<V: Version>(
    task: TaskId,
    threads: &[Thread],
    group: &Group,
    rules: Rules<'_>,
    draft: &mut Draft,
) -> Result<(), Error> {
    let space = group.hierarchy.space;
    let mut origins = Vec::with_capacity(threads.len());
    for thread in threads {
        let from = space.path_in(&thread.cgroups).ok_or_else(|| {
            Error::not_supported("assign", format!("it is in no cgroup of {}", space.name()))
        })?;
        origins.push((thread.task, from));
    }
    let outside: Vec<(Task, &str)> =
        origins.iter().copied().filter(|(_, from)| *from != group.path).collect();
    if outside.is_empty() {
        return Ok(());
    }
    for (_, from) in &outside {
        rules.allow::<V>(group, from)?;
    }
    if space == Space::Unified && task.tid != 0 {
        return Err(Error::not_supported(
            "assign",
            "the v2 tree holds whole processes, and this is one thread",
        ));
    }
    let (real_time, movable): (Vec<_>, Vec<_>) =
        outside.into_iter().partition(|(thread, _)| space == Space::Cpu && is_real_time(*thread));
    let held_back = !real_time.is_empty() && !takes_real_time(group);
    let movable =
        if held_back { movable } else { movable.into_iter().chain(real_time.clone()).collect() };

    let together = origins.iter().all(|(_, from)| *from == origins[0].1);
    if task.tid == 0 && !held_back && (together || space == Space::Unified) {
        draft.member(Capability::MEMBERS, task.to_task(), group, origins[0].1);
    } else {
        movable
            .iter()
            .for_each(|(thread, from)| draft.member(Capability::MEMBERS, *thread, group, from));
    }
    if !held_back {
        return Ok(());
    }
    Err(Error::not_supported(
        "assign",
        format!(
            "{} of its threads are real-time, and {} has no real-time run time \
             ({RT_RUNTIME}); they stay where they are",
            real_time.len(),
            group.path
        ),
    ))
}

/// FIFO, round-robin or deadline; the last cannot be named in text, which is an error here.
fn is_real_time(thread: Task) -> bool {
    match knob::read(Kind::SchedPolicy, Some(thread), "") {
        Ok(policy) => policy.starts_with("fifo") || policy.starts_with("rr"),
        Err(error) => error.code() == knob::KnobErrorCode::NotSupported,
    }
}

/// A kernel without the file does not keep real-time tasks apart.
fn takes_real_time(group: &Group) -> bool {
    if group.exists {
        return group.number(RT_RUNTIME, 0) != Ok(0);
    }
    // A new group starts with none.
    group.parent().is_none_or(|parent| parent.read(RT_RUNTIME).is_err())
}
