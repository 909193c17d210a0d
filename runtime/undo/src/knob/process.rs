//! Knobs of a whole process: OOM score, soft resource limits, its autogroup.

use super::KnobError;
use super::sched::in_range;
use crate::Task;
use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

/// Locators of [`crate::Kind::Rlimit`] and their numbers (`getrlimit(2)`).
// The constants are signed in some C libraries.
#[allow(clippy::unnecessary_cast)]
const LIMITS: [(&str, u32); 16] = [
    ("cpu", libc::RLIMIT_CPU as u32),
    ("fsize", libc::RLIMIT_FSIZE as u32),
    ("data", libc::RLIMIT_DATA as u32),
    ("stack", libc::RLIMIT_STACK as u32),
    ("core", libc::RLIMIT_CORE as u32),
    ("rss", libc::RLIMIT_RSS as u32),
    ("nproc", libc::RLIMIT_NPROC as u32),
    ("nofile", libc::RLIMIT_NOFILE as u32),
    ("memlock", libc::RLIMIT_MEMLOCK as u32),
    ("as", libc::RLIMIT_AS as u32),
    ("locks", libc::RLIMIT_LOCKS as u32),
    ("sigpending", libc::RLIMIT_SIGPENDING as u32),
    ("msgqueue", libc::RLIMIT_MSGQUEUE as u32),
    ("nice", libc::RLIMIT_NICE as u32),
    ("rtprio", libc::RLIMIT_RTPRIO as u32),
    ("rttime", libc::RLIMIT_RTTIME as u32),
];

/// The kernel takes a new nice value of an autogroup at most every tenth of a second from the
/// unprivileged (`proc_sched_autogroup_set_nice`); three such spans are enough for a turn.
const AUTOGROUP_PATIENCE: Duration = Duration::from_millis(300);
const AUTOGROUP_PAUSE: Duration = Duration::from_millis(20);

pub(super) fn oom_score_adj(task: Task) -> Result<String, KnobError> {
    let path = format!("/proc/{}/oom_score_adj", task.pid);
    let text = fs::read_to_string(&path)
        .map_err(|error| KnobError::os(format_args!("read {path}"), &error))?;
    Ok(text.trim().to_owned())
}

pub(super) fn set_oom_score_adj(task: Task, value: &str) -> Result<(), KnobError> {
    let score = in_range(value, -1000, 1000, "oom_score_adj")?;
    write_file(&format!("/proc/{}/oom_score_adj", task.pid), &score.to_string())
}

fn limit_number(locator: &str) -> Result<u32, KnobError> {
    LIMITS.iter().find(|(name, _)| *name == locator).map(|(_, number)| *number).ok_or_else(|| {
        KnobError::refused(format!("`{locator}` is not the name of a resource limit"))
    })
}

fn limits(
    task: Task,
    number: u32,
    new: Option<&libc::rlimit64>,
) -> std::io::Result<libc::rlimit64> {
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `new` is null or points to a limit that outlives the call, as `old` does.
    let answer = unsafe { libc::syscall(libc::SYS_prlimit64, task.pid, number, new, &raw mut old) };
    if answer < 0 { Err(std::io::Error::last_os_error()) } else { Ok(old) }
}

pub(super) fn soft_limit(task: Task, locator: &str) -> Result<String, KnobError> {
    let found = limits(task, limit_number(locator)?, None)
        .map_err(|error| KnobError::os(format_args!("read limit {locator} of {task}"), &error))?;
    Ok(match found.rlim_cur {
        libc::RLIM64_INFINITY => "unlimited".to_owned(),
        soft => soft.to_string(),
    })
}

/// Sets the soft limit only: a lowered hard limit could not be raised again.
pub(super) fn set_soft_limit(task: Task, locator: &str, value: &str) -> Result<(), KnobError> {
    let number = limit_number(locator)?;
    let soft = match value {
        "unlimited" => libc::RLIM64_INFINITY,
        value => value.parse().map_err(|_| {
            KnobError::range(format!("limit `{value}` is neither a number nor `unlimited`"))
        })?,
    };
    let attempt = format!("set limit {locator} of {task} to {value}");
    let hard =
        limits(task, number, None).map_err(|error| KnobError::os(&attempt, &error))?.rlim_max;
    if soft > hard {
        return Err(KnobError::range(format!("{attempt}: the hard limit is {hard}")));
    }
    limits(task, number, Some(&libc::rlimit64 { rlim_cur: soft, rlim_max: hard }))
        .map_err(|error| KnobError::os(&attempt, &error))?;
    Ok(())
}

/// Name and nice value of the autogroup of a process.
pub(crate) fn autogroup_of(pid: u32) -> Result<(String, String), KnobError> {
    let path = format!("/proc/{pid}/autogroup");
    let none = || {
        KnobError::new(
            super::KnobErrorCode::NotSupported,
            format!(
                "process {pid} is in no autogroup (kernel.sched_autogroup_enabled, and built in?)"
            ),
        )
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        // The process is there, the file is not: built without it.
        Err(error)
            if error.raw_os_error() == Some(libc::ENOENT) && super::identify(pid).is_some() =>
        {
            return Err(none());
        }
        Err(error) => return Err(KnobError::os(format_args!("read {path}"), &error)),
    };
    match text.trim().split_once(" nice ") {
        Some((name, nice)) => Ok((name.to_owned(), nice.to_owned())),
        None => Err(none()),
    }
}

pub(super) fn autogroup(task: Task) -> Result<String, KnobError> {
    autogroup_of(task.pid).map(|(_, nice)| nice)
}

pub(super) fn set_autogroup(task: Task, value: &str) -> Result<(), KnobError> {
    let nice = in_range(value, -20, 19, "autogroup nice value")?.to_string();
    let path = format!("/proc/{}/autogroup", task.pid);
    let started = Instant::now();
    loop {
        match write_file(&path, &nice) {
            Err(error)
                if error.os_code() == libc::EAGAIN && started.elapsed() < AUTOGROUP_PATIENCE =>
            {
                std::thread::sleep(AUTOGROUP_PAUSE);
            }
            answer => return answer,
        }
    }
}

fn write_file(path: &str, value: &str) -> Result<(), KnobError> {
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|error| KnobError::os(format_args!("write {value} to {path}"), &error))
}
