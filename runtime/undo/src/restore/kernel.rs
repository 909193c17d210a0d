//! The real world: `/proc` and the cgroup file systems.

use super::world::{Person, Place, World};
use crate::Task;
use crate::knob::{self, KnobError, mounts::Mount};
use crate::operation::Kind;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The kernel this runs on.
#[derive(Debug)]
pub struct Kernel {
    started: Instant,
}

impl Default for Kernel {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

/// How long a dying task is given to leave its cgroup before it is looked at again.
const REST: Duration = Duration::from_millis(5);

/// More generations than any system has; parents change while they are read.
const LONGEST_LINE: usize = 4096;

impl World for Kernel {
    fn read(&self, kind: Kind, task: Option<Task>, locator: &str) -> Result<String, KnobError> {
        knob::read(kind, task, locator)
    }

    fn write(
        &self,
        kind: Kind,
        task: Option<Task>,
        locator: &str,
        value: &str,
    ) -> Result<String, KnobError> {
        knob::write(kind, task, locator, value)
    }

    fn census(&self) -> Vec<Person> {
        let mut census = Vec::new();
        for pid in numbers("/proc") {
            // A leader that ended is no reason to overlook its threads.
            let Some(process) = knob::stat(pid, 0).filter(|stat| !stat.kernel) else { continue };
            let mut add = |task: Task| {
                census.push(Person {
                    task,
                    process_start: process.start,
                    parent: process.ppid,
                    session: process.session,
                    group: process.group,
                });
            };
            if process.threads == 1 {
                add(Task { pid, tid: pid, start: process.start });
            } else {
                knob::threads(pid).unwrap_or_default().into_iter().for_each(add);
            }
        }
        census
    }

    fn line(&self, task: Task) -> Vec<Person> {
        let mut line: Vec<Person> = Vec::new();
        let mut next = Task { tid: task.number(), ..task };
        while next.pid > 0 && line.len() < LONGEST_LINE {
            let Some(process) = knob::stat(next.pid, 0) else { break };
            if !line.is_empty() {
                next.start = process.start;
            }
            line.push(Person {
                task: next,
                process_start: process.start,
                parent: process.ppid,
                session: process.session,
                group: process.group,
            });
            next = Task { pid: process.ppid, tid: process.ppid, start: 0 };
        }
        line
    }

    fn threads(&self, process: Task) -> Vec<Task> {
        match knob::is_alive(process) {
            true => knob::threads(process.pid).unwrap_or_default(),
            false => Vec::new(),
        }
    }

    fn splits_threads(&self, mount: &str) -> bool {
        Mount::at(Path::new(mount)).is_ok_and(|mount| !mount.is_v2())
    }

    fn place(&self, context: &str) -> Option<Place> {
        let mount = Mount::of(Path::new(context)).ok()?;
        let path = mount.path_of(Path::new(context))?;
        Some(Place { mount: mount.point.to_str()?.to_owned(), path })
    }

    fn has_cgroup(&self, mount: &str, path: &str) -> bool {
        let directory = Mount::at(Path::new(mount)).and_then(|mount| mount.directory(path));
        directory.is_ok_and(|directory| directory.is_dir())
    }

    fn members(&self, context: &str) -> Result<Vec<Task>, KnobError> {
        let apart = !Mount::of(Path::new(context))?.is_v2();
        let path = format!("{context}/{}", if apart { "tasks" } else { "cgroup.procs" });
        let text = fs::read_to_string(&path)
            .map_err(|error| KnobError::os(format_args!("read {path}"), &error))?;
        let numbers = text.lines().filter_map(|line| line.parse().ok());
        let member = |number| match apart {
            true => thread(number),
            false => knob::identify(number),
        };
        Ok(numbers.filter_map(member).collect())
    }

    fn children(&self, context: &str) -> Vec<String> {
        let entries = fs::read_dir(context).into_iter().flatten().flatten();
        let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        directories.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    fn autogroup_member(&self, name: &str) -> Option<Task> {
        let shares = |pid: &u32| knob::autogroup_of(*pid).is_ok_and(|(found, _)| found == name);
        numbers("/proc").filter(|pid| *pid > 1).find(shares).and_then(knob::identify)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn rest(&self) {
        std::thread::sleep(REST);
    }
}

/// Names in a directory that are numbers.
fn numbers(directory: &str) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The thread of this number, whoever's it is. `/proc/TID` answers, though it is not listed.
fn thread(tid: u32) -> Option<Task> {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    let pid = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()?;
    Some(Task { pid, tid, start: knob::start_time(pid, tid)? })
}
