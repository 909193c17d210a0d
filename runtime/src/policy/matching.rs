//! Selectors, compiled: which workload a process belongs to.
//!
//! Looks only at what it is given; it keeps no table of processes (the classifier does) and
//! never asks the operating system.

use super::text::Text;
use super::{Policy, Problem, Selector};
use outrigger_sdk::{Fields, TaskInfo};
use std::collections::HashMap;
use std::sync::Arc;

/// A process's ancestors as they were when it was first seen, parent first.
pub type Lineage = Arc<[Arc<TaskInfo>]>;

/// What a selector is held against.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The process.
    pub info: &'a TaskInfo,
    /// Its ancestors, parent first.
    pub lineage: &'a [Arc<TaskInfo>],
    /// Which process each number in the policy means.
    pub pins: &'a Pins,
}

/// Process numbers are reused, so a number in the policy means the first process seen with it
/// after the policy came into force, and nobody after that one.
#[derive(Clone, Debug, Default)]
pub struct Pins(HashMap<u32, u64>);

impl Pins {
    /// Takes note of a process; the first with its number stays.
    pub fn pin(&mut self, pid: u32, start: u64) {
        self.0.entry(pid).or_insert(start);
    }
    fn means(&self, pid: u32, info: &TaskInfo) -> bool {
        info.task.pid == pid && self.0.get(&pid).is_none_or(|&start| start == info.task.start)
    }
}

/// Whether a selector matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It does not.
    No,
    /// Whatever could be read matches, but something the selector asks for could not be read:
    /// treated as no match, and reported.
    Unreadable,
    /// It does.
    Yes,
}

/// The outcome of a search through the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Position of the workload in the policy.
    pub workload: Option<usize>,
    /// Workloads before it that might have matched if everything could be read.
    pub undecided: Vec<usize>,
}

/// All selectors of a policy.
#[derive(Debug)]
pub struct Matcher {
    workloads: Vec<Vec<Compiled>>,
    pids: Vec<u32>,
}

impl Matcher {
    /// Compiles a policy's selectors.
    ///
    /// # Errors
    /// Globs that do not parse, all of them, with their key paths.
    pub fn new(policy: &Policy) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut workloads = Vec::with_capacity(policy.workloads.len());
        for (w, workload) in policy.workloads.iter().enumerate() {
            let compiled = workload.selectors.iter().enumerate().map(|(s, selector)| {
                Compiled::new(selector, &format!("workload[{w}].match[{s}]"), &mut problems)
            });
            workloads.push(compiled.collect());
        }
        let pids = numbers(policy);
        if problems.is_empty() { Ok(Self { workloads, pids }) } else { Err(problems) }
    }

    /// The first workload in the policy's order one of whose selectors matches.
    #[must_use]
    pub fn find(&self, subject: Subject<'_>) -> Found {
        let mut found = Found::default();
        for (index, selectors) in self.workloads.iter().enumerate() {
            match selectors.iter().map(|s| s.matches(subject)).max() {
                Some(Verdict::Yes) => {
                    found.workload = Some(index);
                    return found;
                }
                Some(Verdict::Unreadable) => found.undecided.push(index),
                Some(Verdict::No) | None => {}
            }
        }
        found
    }

    /// Whether the policy names a process by this number.
    #[must_use]
    pub fn mentions(&self, pid: u32) -> bool {
        self.pids.contains(&pid)
    }
}

fn numbers(policy: &Policy) -> Vec<u32> {
    let stated = || policy.workloads.iter().flat_map(|w| &w.selectors);
    let selectors = || stated().chain(stated().flat_map(|selector| &selector.except));
    let ancestors = selectors().flat_map(|s| &s.descendant_of).filter_map(|t| t.parse().ok());
    selectors().flat_map(|s| &s.pid).copied().chain(ancestors).collect()
}

#[derive(Debug)]
struct Compiled {
    /// Asks for nothing: matches nothing, rather than everything.
    empty: bool,
    exe: Vec<Text>,
    name: Vec<Text>,
    command: Vec<Text>,
    thread: Vec<Text>,
    uid: Vec<u32>,
    cgroup: Vec<Text>,
    parent: Vec<Text>,
    descendant_of: Vec<(Text, Option<u32>)>,
    pid: Vec<u32>,
    except: Vec<Compiled>,
}

impl Compiled {
    fn new(selector: &Selector, path: &str, problems: &mut Vec<Problem>) -> Self {
        let mut texts = |key: &str, texts: &[String]| -> Vec<Text> {
            let compile = |text: &String| match Text::new(text) {
                Ok(compiled) => Some(compiled),
                Err(error) => {
                    let allowed =
                        format!("a glob of `*`, `?` and `[...]` is expected: {}", error.kind());
                    problems.push(Problem::new(format!("{path}.{key}"), text, allowed));
                    None
                }
            };
            texts.iter().filter_map(compile).collect()
        };
        let (exe, name) = (texts("exe", &selector.exe), texts("name", &selector.name));
        let (command, thread) =
            (texts("command", &selector.command), texts("thread", &selector.thread));
        let (cgroup, parent) =
            (texts("cgroup", &selector.cgroup), texts("parent", &selector.parent));
        let descendant_of = texts("descendant_of", &selector.descendant_of)
            .into_iter()
            .map(|text| {
                let number = match &text {
                    Text::Plain(plain) => plain.parse().ok(),
                    Text::Glob(_) => None,
                };
                (text, number)
            })
            .collect();
        let (uid, pid) = (selector.uid.clone(), selector.pid.clone());
        let except: Vec<_> =
            selector.except.iter().map(|except| Self::new(except, path, problems)).collect();
        let empty = Selector { except: Vec::new(), ..selector.clone() } == Selector::default();
        Self { empty, exe, name, command, thread, uid, cgroup, parent, descendant_of, pid, except }
    }

    fn matches(&self, subject: Subject<'_>) -> Verdict {
        let Subject { info, lineage, pins } = subject;
        let mut verdict = Verdict::Yes;
        // Cheap keys first; the first that does not match ends it.
        let mut key = |asked: bool, readable: bool, holds: &dyn Fn() -> bool| -> bool {
            if asked && !readable {
                verdict = Verdict::Unreadable;
            }
            !asked || !readable || holds()
        };
        let any = |texts: &[Text], text: &str| texts.iter().any(|t| t.matches(text));
        let named = |texts: &[Text], of: &TaskInfo| {
            any(texts, &of.name) || (of.present.has(Fields::EXE) && any(texts, &of.exe))
        };
        let has = |field| info.present.has(field);
        let all = !self.empty
            && key(!self.pid.is_empty(), true, &|| {
                self.pid.iter().any(|&pid| pins.means(pid, info))
            })
            && key(!self.uid.is_empty(), true, &|| self.uid.contains(&info.uid))
            && key(!self.name.is_empty(), true, &|| any(&self.name, &info.name))
            && key(!self.thread.is_empty(), true, &|| {
                any(&self.thread, &info.name)
                    || info.thread_names.iter().any(|t| any(&self.thread, t))
            })
            && key(!self.parent.is_empty(), true, &|| {
                lineage.first().is_some_and(|parent| named(&self.parent, parent))
            })
            && key(!self.descendant_of.is_empty(), true, &|| {
                self.descendant_of.iter().any(|(text, number)| {
                    lineage.iter().any(|ancestor| {
                        number.is_some_and(|pid| pins.means(pid, ancestor))
                            || named(std::slice::from_ref(text), ancestor)
                    })
                })
            })
            && key(!self.exe.is_empty(), has(Fields::EXE), &|| any(&self.exe, &info.exe))
            && key(!self.cgroup.is_empty(), has(Fields::CONTEXTS), &|| {
                info.contexts.iter().any(|context| any(&self.cgroup, &context.path))
            })
            && key(!self.command.is_empty(), has(Fields::COMMAND), &|| {
                let line: Vec<&str> = info.command.iter().map(|word| word.as_str()).collect();
                any(&self.command, &line.join(" "))
            });
        let excepted = || self.except.iter().any(|e| e.matches(subject) == Verdict::Yes);
        if all && !excepted() { verdict } else { Verdict::No }
    }
}

#[cfg(test)]
mod tests;
