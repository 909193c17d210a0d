//! Per-thread knobs: nice, scheduling policy, affinity, I/O priority.
//!
//! All go by number; the caller checks whose number it is before and after.

use super::{KnobError, cpu_list};
use crate::Task;
use libc::{c_int, c_long};

/// `SCHED_RESET_ON_FORK` of `sched_setscheduler(2)`.
const RESET_ON_FORK: c_int = 0x4000_0000;
/// `IOPRIO_WHO_PROCESS` of `ioprio_set(2)`; there is no libc wrapper.
const IOPRIO_WHO_PROCESS: c_int = 1;
/// Bytes of the largest CPU mask the kernel can be built for.
const MASK_BYTES: usize = (cpu_list::MAX_CPU as usize + 1) / 8;

fn number(task: Task) -> c_int {
    // Numbers come from /proc, where they are positive ints.
    c_int::try_from(task.number()).unwrap_or(c_int::MAX)
}

pub(super) fn nice(task: Task) -> Result<String, KnobError> {
    // SAFETY: takes two integers. The bare call answers 20 - nice, which is never negative.
    let answer = unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, number(task)) };
    if answer < 0 {
        return Err(KnobError::last_os(format_args!("read the nice value of {task}")));
    }
    Ok((20 - answer).to_string())
}

pub(super) fn set_nice(task: Task, value: &str) -> Result<(), KnobError> {
    let nice = in_range(value, -20, 19, "nice value")?;
    // SAFETY: takes three integers.
    let answer =
        unsafe { libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, number(task), nice) };
    done(answer, || format!("set the nice value of {task} to {nice}"))
}

pub(super) fn policy(task: Task) -> Result<String, KnobError> {
    let attempt = || format!("read the scheduling policy of {task}");
    // SAFETY: takes an integer.
    let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, number(task)) };
    if policy < 0 {
        return Err(KnobError::last_os(attempt()));
    }
    let mut param: c_int = 0;
    // SAFETY: `struct sched_param` of the kernel is one int, and `param` outlives the call.
    let answer = unsafe { libc::syscall(libc::SYS_sched_getparam, number(task), &raw mut param) };
    done(answer, attempt)?;
    let reset = if policy & c_long::from(RESET_ON_FORK) == 0 { "" } else { "+reset" };
    let name = match (policy & !c_long::from(RESET_ON_FORK)) as c_int {
        libc::SCHED_OTHER => "other".to_owned(),
        libc::SCHED_BATCH => "batch".to_owned(),
        libc::SCHED_IDLE => "idle".to_owned(),
        libc::SCHED_FIFO => format!("fifo:{param}"),
        libc::SCHED_RR => format!("rr:{param}"),
        other => {
            return Err(KnobError::new(
                super::KnobErrorCode::NotSupported,
                format!("{task} has scheduling policy {other}, which cannot be put back"),
            ));
        }
    };
    Ok(name + reset)
}

pub(super) fn set_policy(task: Task, value: &str) -> Result<(), KnobError> {
    let (name, reset) = match value.strip_suffix("+reset") {
        Some(name) => (name, RESET_ON_FORK),
        None => (value, 0),
    };
    let (policy, param) = match name.split_once(':') {
        None if name == "other" => (libc::SCHED_OTHER, 0),
        None if name == "batch" => (libc::SCHED_BATCH, 0),
        None if name == "idle" => (libc::SCHED_IDLE, 0),
        Some(("fifo", level)) => (libc::SCHED_FIFO, in_range(level, 1, 99, "priority")?),
        Some(("rr", level)) => (libc::SCHED_RR, in_range(level, 1, 99, "priority")?),
        _ => {
            return Err(KnobError::range(format!(
                "scheduling policy `{value}` is none of other, batch, idle, fifo:N, rr:N"
            )));
        }
    };
    // SAFETY: `struct sched_param` of the kernel is one int, and `param` outlives the call.
    let answer = unsafe {
        libc::syscall(libc::SYS_sched_setscheduler, number(task), policy | reset, &raw const param)
    };
    done(answer, || format!("set the scheduling policy of {task} to {value}"))
}

/// The mask as the kernel applies it: what was asked for, without CPUs that are offline or
/// outside the cpuset. That is all the kernel tells, so it is all that can be put back.
pub(super) fn affinity(task: Task) -> Result<String, KnobError> {
    let mut mask = [0u8; MASK_BYTES];
    // SAFETY: the kernel writes at most `MASK_BYTES` bytes into `mask`.
    let written = unsafe {
        libc::syscall(libc::SYS_sched_getaffinity, number(task), MASK_BYTES, mask.as_mut_ptr())
    };
    let Ok(written) = usize::try_from(written) else {
        return Err(KnobError::last_os(format_args!("read the affinity of {task}")));
    };
    let cpus: Vec<u32> =
        (0..written as u32 * 8).filter(|cpu| mask[bit(*cpu).0] & bit(*cpu).1 != 0).collect();
    Ok(cpu_list::format(&cpus))
}

pub(super) fn set_affinity(task: Task, value: &str) -> Result<(), KnobError> {
    let cpus = cpu_list::parse(value).map_err(|error| KnobError::range(error.to_string()))?;
    if cpus.is_empty() {
        return Err(KnobError::range("an affinity needs at least one CPU"));
    }
    let mut mask = [0u8; MASK_BYTES];
    for cpu in cpus {
        mask[bit(cpu).0] |= bit(cpu).1;
    }
    // SAFETY: the kernel reads `MASK_BYTES` bytes of `mask`.
    let answer = unsafe {
        libc::syscall(libc::SYS_sched_setaffinity, number(task), MASK_BYTES, mask.as_ptr())
    };
    done(answer, || format!("set the affinity of {task} to {value}"))
}

/// Byte and bit of a CPU in a mask of longs, seen as bytes.
fn bit(cpu: u32) -> (usize, u8) {
    let byte = cpu as usize / 8;
    // On a big-endian machine the bytes of each long are in the opposite order.
    let byte =
        if cfg!(target_endian = "big") { byte ^ (size_of::<libc::c_ulong>() - 1) } else { byte };
    (byte, 1 << (cpu % 8))
}

pub(super) fn io_priority(task: Task) -> Result<String, KnobError> {
    // SAFETY: takes two integers.
    let answer = unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, number(task)) };
    if answer < 0 {
        return Err(KnobError::last_os(format_args!("read the I/O priority of {task}")));
    }
    Ok(answer.to_string())
}

pub(super) fn set_io_priority(task: Task, value: &str) -> Result<(), KnobError> {
    let priority = in_range(value, 0, 0xffff, "I/O priority")?;
    // SAFETY: takes three integers.
    let answer =
        unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, number(task), priority) };
    done(answer, || format!("set the I/O priority of {task} to {priority}"))
}

/// A decimal number within its documented range.
pub(super) fn in_range(
    value: &str,
    low: c_int,
    high: c_int,
    what: &str,
) -> Result<c_int, KnobError> {
    value
        .parse()
        .ok()
        .filter(|number| (low..=high).contains(number))
        .ok_or_else(|| KnobError::range(format!("{what} `{value}` is not within {low} to {high}")))
}

fn done(answer: c_long, attempt: impl Fn() -> String) -> Result<(), KnobError> {
    if answer < 0 { Err(KnobError::last_os(attempt())) } else { Ok(()) }
}
