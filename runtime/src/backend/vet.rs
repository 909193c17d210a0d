//! Looks at what a backend wants to write before it is journalled: nonsense goes no further.
//!
//! The journal's restore trusts its records, and a record is what a plugin once prepared. So each
//! operation must be of a kind that belongs to the knob it was asked for, about a task that was
//! asked about, at a place where such a thing can be, with a value that can be. Pure: mounts are
//! handed in. Whether the value is *right* is the planner's business, not judged here.

use outrigger_sdk::undo::{Kind, Operation};
use outrigger_sdk::{
    Capability, ContextId, Desired, Error, ErrorCode, PreparedOperation, SubjectKind,
};
use std::path::{Component, Path, PathBuf};

/// More operations than any sensible answer has: every thread of a very large process, twice.
pub const MAX_OPERATIONS: usize = 65_536;

/// Longest text of a value or a locator; control files take at most a page.
const MAX_TEXT: usize = 4096;

/// Looks at the answer to `desired`. `mounts` are the mount points of cgroup hierarchies.
///
/// # Errors
/// [`ErrorCode::NONSENSE`], naming the first thing that is wrong. One operation that is makes the
/// whole answer worthless: the backend has misunderstood, or lies.
pub fn answer(
    desired: &Desired,
    prepared: &[PreparedOperation],
    mounts: &[PathBuf],
) -> Result<(), Error> {
    if prepared.len() > MAX_OPERATIONS {
        return Err(nonsense(format!("it prepared {} operations at once", prepared.len())));
    }
    for item in prepared {
        if !desired.settings.iter().any(|setting| setting.knob == item.knob) {
            return Err(nonsense(format!("it answered about {}, which was not asked", item.knob)));
        }
        if let Ok(operation) = &item.operation {
            one(desired, item.knob, operation, mounts).map_err(|what| {
                nonsense(format!("for {} it prepared {:?} {what}", item.knob, operation.kind))
            })?;
        }
    }
    Ok(())
}

fn nonsense(message: String) -> Error {
    Error::new(ErrorCode::NONSENSE, "prepare", message)
}

fn one(
    desired: &Desired,
    knob: Capability,
    operation: &Operation,
    mounts: &[PathBuf],
) -> Result<(), String> {
    if !family(knob).contains(&operation.kind) {
        return Err("which is no way to turn that knob".to_owned());
    }
    for (name, text) in [
        ("locator", &operation.locator),
        ("value before", &operation.before),
        ("value after", &operation.after),
    ] {
        if text.len() > MAX_TEXT || text.contains('\0') {
            return Err(format!("with a {name} of {} bytes or with a NUL in it", text.len()));
        }
    }
    subject(desired, knob, operation)?;
    place(operation, mounts)?;
    value(operation.kind, &operation.before)
        .map_err(|what| format!("with a value before {what}"))?;
    value(operation.kind, &operation.after).map_err(|what| format!("with a value after {what}"))
}

/// The kinds of operation a knob can need. Context knobs may make the context and move its tasks
/// along when they need one more hierarchy; caps may be expressed by nice where there is nothing
/// better.
fn family(knob: Capability) -> &'static [Kind] {
    const CONTEXT: &[Kind] = &[Kind::File, Kind::Context, Kind::Membership];
    match knob {
        Capability::CPU_LIMIT => &[Kind::File, Kind::Context, Kind::Membership, Kind::Nice],
        Capability::PRIORITY => &[Kind::Nice, Kind::SchedPolicy],
        Capability::SCHED_CLASS => &[Kind::SchedPolicy],
        Capability::AUTOGROUP => &[Kind::Autogroup],
        Capability::AFFINITY => &[Kind::Affinity],
        Capability::IO_PRIORITY => &[Kind::IoPriority],
        Capability::OOM_SCORE_ADJ => &[Kind::OomScoreAdj],
        Capability::RLIMIT => &[Kind::Rlimit],
        Capability::FREEZE | Capability::KILL => &[Kind::File],
        knob if knob.is_knob() => CONTEXT,
        _ => &[],
    }
}

/// Whether the operation is about what was asked about.
fn subject(desired: &Desired, knob: Capability, operation: &Operation) -> Result<(), String> {
    let Some(task) = operation.task else {
        return match operation.kind {
            Kind::File | Kind::Context => Ok(()),
            _ => Err("without a task".to_owned()),
        };
    };
    if matches!(operation.kind, Kind::File | Kind::Context) {
        return Err(format!("about {task}, which such an operation is not about"));
    }
    if task.pid <= 1 || task.tid == 1 {
        return Err(format!("about {task}, which nobody may touch"));
    }
    if task.start == 0 {
        return Err(format!("about {task} without its start time"));
    }
    // A process's first thread has its number and its start.
    let leads = task.tid == 0 || task.tid == task.pid;
    let is_asked = |asked: &outrigger_sdk::TaskId| {
        asked.pid == task.pid
            && (asked.tid == 0 || asked.tid == task.tid)
            && (asked.start == task.start || asked.tid == 0 && !leads)
    };
    let asked = if desired.kind == SubjectKind::TASK {
        is_asked(&desired.task)
    } else if knob == Capability::MEMBERS {
        desired.settings.iter().flat_map(|s| s.tasks.iter()).any(is_asked)
    } else {
        // A context that needs one more hierarchy takes its tasks there; which they are, only
        // the backend knows. That it is this context's place is checked below.
        operation.kind == Kind::Membership
            && (leads_to(&operation.after, &desired.context) || makes_room(operation))
    };
    if !asked {
        return Err(format!("about {task}, which was not asked about"));
    }
    if knob == Capability::MEMBERS && !leads_to(&operation.after, &desired.context) {
        return Err(format!("into {}, which is not the context asked for", operation.after));
    }
    Ok(())
}

/// Whether a path within a hierarchy is the context's.
fn leads_to(path: &str, context: &ContextId) -> bool {
    if context.space.is_empty() {
        path.rsplit('/').next() == Some(context.path.as_str())
    } else {
        path == context.path.as_str()
    }
}

/// Whether it moves a task one step down: a v2 group that hands controllers to its children may
/// hold no process itself.
fn makes_room(operation: &Operation) -> bool {
    let above = operation.after.rsplit_once('/').map(|(above, _)| above);
    above == Some(operation.before.as_str())
}

/// Whether the locator is one that such an operation can have.
fn place(operation: &Operation, mounts: &[PathBuf]) -> Result<(), String> {
    let locator = operation.locator.as_str();
    let path = Path::new(locator);
    match operation.kind {
        Kind::File | Kind::Context => {
            let below = mounts.iter().any(|mount| path != mount && path.starts_with(mount));
            if !plain(path) || !below {
                return Err(format!("at {locator:?}, which is not below a cgroup mount"));
            }
        }
        Kind::Membership => {
            if !mounts.iter().any(|mount| mount == path) {
                return Err(format!("at {locator:?}, which is not a cgroup mount"));
            }
        }
        Kind::Rlimit => {
            if !RLIMITS.contains(&locator) {
                return Err(format!("at {locator:?}, which is no resource limit"));
            }
        }
        _ => {
            if !locator.is_empty() {
                return Err(format!("at {locator:?}, although it needs no place"));
            }
        }
    }
    Ok(())
}

/// Names of resource limits, as the journal's format documents them.
const RLIMITS: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

/// Absolute, without `..`, `.` or doubled separators.
fn plain(path: &Path) -> bool {
    let mut components = path.components();
    components.next() == Some(Component::RootDir)
        && components.all(|component| matches!(component, Component::Normal(_)))
        && path.components().collect::<PathBuf>().as_os_str() == path.as_os_str()
}

/// Whether a value has the form of its kind, and is one the kernel has.
fn value(kind: Kind, text: &str) -> Result<(), String> {
    let number = |low: i64, high: i64| match text.parse::<i64>() {
        Ok(number) if (low..=high).contains(&number) => Ok(()),
        _ => Err(format!("of {text:?}, which is no number from {low} to {high}")),
    };
    match kind {
        Kind::Nice | Kind::Autogroup => number(-20, 19),
        Kind::OomScoreAdj => number(-1000, 1000),
        Kind::IoPriority => number(0, 0xffff),
        Kind::Rlimit => match text {
            "unlimited" => Ok(()),
            _ if text.parse::<u64>().is_ok() => Ok(()),
            _ => Err(format!("of {text:?}, which is no resource limit")),
        },
        Kind::SchedPolicy => match text.strip_suffix("+reset").unwrap_or(text) {
            "other" | "batch" | "idle" => Ok(()),
            real_time => match real_time.split_once(':') {
                Some(("fifo" | "rr", priority))
                    if priority.parse::<u8>().is_ok_and(|p| (1..=99).contains(&p)) =>
                {
                    Ok(())
                }
                _ => Err(format!("of {text:?}, which is no scheduling policy")),
            },
        },
        Kind::Affinity => {
            let good = !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_digit() || b == b',' || b == b'-');
            good.then_some(()).ok_or_else(|| format!("of {text:?}, which is no list of CPUs"))
        }
        Kind::Membership => {
            let path = Path::new(text);
            (text == "/" || plain(path))
                .then_some(())
                .ok_or_else(|| format!("of {text:?}, which is no place in a hierarchy"))
        }
        Kind::Context => match text {
            "absent" | "present" => Ok(()),
            _ => Err(format!("of {text:?}, which is neither absent nor present")),
        },
        _ => Ok(()),
    }
}

/// Mount points of the cgroup hierarchies of this machine, both versions.
pub fn cgroup_mounts() -> Vec<PathBuf> {
    std::fs::read_to_string("/proc/self/mountinfo").map_or_else(|_| Vec::new(), |t| mounts_in(&t))
}

/// Field 5 of each line is the mount point; the type follows a lone `-` (proc_pid_mountinfo(5)).
fn mounts_in(mountinfo: &str) -> Vec<PathBuf> {
    let line = |line: &str| {
        let (place, kind) = line.split_once(" - ")?;
        let kind = kind.split(' ').next()?;
        (kind == "cgroup" || kind == "cgroup2")
            .then(|| place.split(' ').nth(4).map(|path| PathBuf::from(unescaped(path))))?
    };
    mountinfo.lines().filter_map(line).collect()
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescaped(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests;
