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
    let selectors = || policy.workloads.iter().flat_map(|w| &w.selectors);
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
        let empty = *selector == Selector::default();
        Self { empty, exe, name, command, thread, uid, cgroup, parent, descendant_of, pid }
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
        if all { verdict } else { Verdict::No }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::Workload;
    use outrigger_sdk::{ContextId, TaskId};
    use proptest::prelude::*;

    fn info(pid: u32, name: &str) -> TaskInfo {
        TaskInfo {
            task: TaskId { pid, tid: 0, start: 1 },
            parent: 1,
            session: 1,
            uid: 0,
            present: Fields::EXE.with(Fields::COMMAND).with(Fields::CONTEXTS),
            name: name.into(),
            exe: format!("/bin/{name}").as_str().into(),
            command: vec![name.into(), "-x".into()].into(),
            contexts: vec![ContextId::new("cpu", "/a/b")].into(),
            kernel: false,
            thread_names: vec!["io-1".into()].into(),
        }
    }

    fn policy(selectors: Vec<Vec<Selector>>) -> Policy {
        let workloads = selectors.into_iter().enumerate().map(|(n, selectors)| Workload {
            name: format!("w{n}"),
            class: None,
            selectors,
            allow_irreversible: false,
        });
        Policy { workloads: workloads.collect(), ..Policy::default() }
    }

    fn selects(selector: Selector, info: &TaskInfo, lineage: &[Arc<TaskInfo>]) -> Verdict {
        let mut problems = Vec::new();
        let compiled = Compiled::new(&selector, "test", &mut problems);
        assert_eq!(problems, []);
        compiled.matches(Subject { info, lineage, pins: &Pins::default() })
    }

    fn list(items: &[&str]) -> Vec<String> {
        items.iter().map(|&item| item.into()).collect()
    }

    #[test]
    fn every_key_present_must_hold() {
        let task = info(5, "redis");
        let all = Selector {
            exe: list(&["/bin/*"]),
            name: list(&["nginx", "redis"]),
            command: list(&["redis -?"]),
            thread: list(&["io-[0-9]"]),
            uid: vec![0],
            cgroup: list(&["/a/*"]),
            parent: list(&["sh"]),
            descendant_of: list(&["7"]),
            pid: vec![5],
        };
        let lineage = [Arc::new(info(6, "sh")), Arc::new(info(7, "init"))];
        assert_eq!(selects(all.clone(), &task, &lineage), Verdict::Yes);
        let wrong: [fn(&mut Selector); 9] = [
            |s| s.exe = list(&["/sbin/*"]),
            |s| s.name = list(&["nginx"]),
            |s| s.command = list(&["redis"]),
            |s| s.thread = list(&["io"]),
            |s| s.uid = vec![1],
            |s| s.cgroup = list(&["/b*"]),
            |s| s.parent = list(&["init"]),
            |s| s.descendant_of = list(&["8"]),
            |s| s.pid = vec![6],
        ];
        for (key, change) in wrong.into_iter().enumerate() {
            let mut selector = all.clone();
            change(&mut selector);
            assert_eq!(selects(selector, &task, &lineage), Verdict::No, "key {key}");
        }
    }

    #[test]
    fn unreadable_is_not_no_match_and_nothing_asked_is_nothing_matched() {
        let mut task = info(5, "redis");
        task.present = Fields::NONE;
        let by_exe = Selector { exe: list(&["/bin/redis"]), ..Selector::default() };
        assert_eq!(selects(by_exe.clone(), &task, &[]), Verdict::Unreadable);
        let other_name = Selector { name: list(&["nginx"]), ..by_exe };
        assert_eq!(selects(other_name, &task, &[]), Verdict::No);
        assert_eq!(selects(Selector::default(), &task, &[]), Verdict::No);
    }

    #[test]
    fn a_number_means_the_first_process_that_had_it() {
        let matcher =
            Matcher::new(&policy(vec![vec![Selector { pid: vec![5], ..Selector::default() }]]));
        let (matcher, mut pins) = (matcher.unwrap(), Pins::default());
        assert!(matcher.mentions(5) && !matcher.mentions(6));
        let first = info(5, "a");
        let mut second = info(5, "a");
        second.task.start = 99;
        pins.pin(5, first.task.start);
        pins.pin(5, second.task.start);
        let find = |info| matcher.find(Subject { info, lineage: &[], pins: &pins }).workload;
        assert_eq!((find(&first), find(&second)), (Some(0), None));
    }

    /// `*` is any text, `?` any one character; nothing else in the alphabet below is special.
    fn naive_glob(glob: &[u8], text: &[u8]) -> bool {
        match (glob.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                naive_glob(rest, text) || (!text.is_empty() && naive_glob(glob, &text[1..]))
            }
            (Some((b'?', rest)), Some((_, tail))) => naive_glob(rest, tail),
            (Some((g, rest)), Some((t, tail))) => g == t && naive_glob(rest, tail),
            _ => false,
        }
    }

    fn naive(selector: &Selector, info: &TaskInfo, lineage: &[Arc<TaskInfo>]) -> bool {
        let any = |globs: &[String], texts: &[&str]| {
            globs.is_empty()
                || globs
                    .iter()
                    .any(|g| texts.iter().any(|t| naive_glob(g.as_bytes(), t.as_bytes())))
        };
        let ancestors = |of: &[Arc<TaskInfo>]| -> Vec<String> {
            of.iter().flat_map(|a| [a.name.to_string(), a.exe.to_string()]).collect()
        };
        let (parent, all) = (ancestors(&lineage[..lineage.len().min(1)]), ancestors(lineage));
        let strs = |texts: &[String]| -> Vec<&'static str> {
            texts.iter().map(|t| &*Box::leak(t.clone().into_boxed_str())).collect()
        };
        *selector != Selector::default()
            && any(&selector.name, &[&info.name])
            && any(&selector.exe, &[&info.exe])
            && any(&selector.parent, &strs(&parent))
            && any(&selector.descendant_of, &strs(&all))
            && (selector.uid.is_empty() || selector.uid.contains(&info.uid))
    }

    prop_compose! {
        fn a_selector()(
            name in proptest::collection::vec("[ab*?]{1,3}", 0..3),
            exe in proptest::collection::vec("[/abin*?]{1,6}", 0..2),
            parent in proptest::collection::vec("[ab*?]{1,2}", 0..2),
            descendant_of in proptest::collection::vec("[ab*?]{1,2}", 0..2),
            uid in proptest::collection::vec(0u32..2, 0..2),
        ) -> Selector {
            Selector { name, exe, parent, descendant_of, uid, ..Selector::default() }
        }
    }

    proptest! {
        #[test]
        fn the_first_workload_of_a_naive_model_is_found(
            selectors in proptest::collection::vec(proptest::collection::vec(a_selector(), 1..3), 1..6),
            name in "[ab]{1,3}", uid in 0u32..2,
            ancestors in proptest::collection::vec("[ab]{1,2}", 0..4),
        ) {
            let task = TaskInfo { uid, ..info(9, &name) };
            let lineage: Vec<_> =
                ancestors.iter().enumerate().map(|(n, a)| Arc::new(info(n as u32 + 20, a))).collect();
            let matcher = Matcher::new(&policy(selectors.clone())).unwrap();
            let subject = Subject { info: &task, lineage: &lineage, pins: &Pins::default() };
            let expected =
                selectors.iter().position(|any| any.iter().any(|s| naive(s, &task, &lineage)));
            prop_assert_eq!(matcher.find(subject).workload, expected);
        }
    }
}
