//! From options to workloads: what is protected, and what may be held back.

use crate::config::{ExpressionError, Given, selector};
use crate::flow::message::Name;
use crate::policy::{Class, Policy, Selector, Workload};

/// Who may be held back; for `run` and `attach`.
#[derive(clap::Args)]
pub(super) struct BestEffort {
    /// Processes that may be held back, as KEY=GLOB[,KEY=GLOB...] (keys of a selector: name, exe,
    /// command, thread, uid, cgroup, parent, descendant_of, pid); may be repeated.
    #[arg(long = "best-effort", value_name = "EXPR", value_parser = parse)]
    best_effort: Vec<Selector>,
    /// Whether CPU-heavy processes that nothing names may be held back too.
    #[arg(long, value_name = "WHICH", value_parser = ["untouched", "same-session"])]
    neighbours: Option<String>,
}

/// For clap, which names the option: reads a selector expression that can be used.
pub(super) fn parse(expression: &str) -> Result<Selector, ExpressionError> {
    let selector = selector(expression)?;
    match selector.problems().as_slice() {
        [] => Ok(selector),
        problems => Err(ExpressionError {
            expression: expression.to_owned(),
            message: problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        }),
    }
}

impl BestEffort {
    /// What goes into the configuration as a layer.
    pub fn options(&self) -> Vec<Given> {
        let neighbours = self.neighbours.iter();
        neighbours.map(|which| Given::option("--neighbours", "neighbours", which)).collect()
    }

    /// Puts the named processes before the workloads of the file: whoever types a command means it.
    /// Nobody means `protected` or `ours`, although a glob may well match them.
    pub fn add_to(&self, policy: &mut Policy, protected: &[Selector], ours: &[Selector]) {
        if !self.best_effort.is_empty() {
            let except = [protected, ours].concat();
            let selectors = self.best_effort.iter();
            let workload = Workload {
                name: free_name(policy, "best-effort"),
                class: Some(Class::Background),
                selectors: selectors
                    .map(|selector| Selector { except: except.clone(), ..selector.clone() })
                    .collect(),
                allow_irreversible: false,
            };
            policy.workloads.insert(0, workload);
        }
    }
}

/// This process, its helpers, and its ancestors (`sudo`, `timeout`, `sh -c`), whose command lines
/// contain ours with every glob in it.
pub(super) fn ours() -> Vec<Selector> {
    let pid = std::iter::successors(Some(std::process::id()), |&pid| parent(pid)).collect();
    let mut ours = vec![Selector { pid, ..Selector::default() }];
    let name = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !name.trim_end().is_empty() && name.trim_end().chars().all(plain) {
        // The keeper, which may be replaced, and other sidecars on the host.
        ours.push(Selector { name: vec![name.trim_end().to_owned()], ..Selector::default() });
    }
    ours
}

fn parent(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok().filter(|&parent| parent > 0)
}

/// Puts the protected workload after all others: what the policy says of one of its processes
/// (its compaction thread, its backup) is more particular.
pub(super) fn protect(policy: &mut Policy, name: &str, selectors: Vec<Selector>) -> Name {
    let workload = Workload {
        name: free_name(policy, name),
        class: Some(Class::LatencyCritical),
        selectors,
        allow_irreversible: false,
    };
    let name = workload.name.as_str().into();
    policy.workloads.push(workload);
    name
}

/// A process and everything it starts.
pub(super) fn family(pid: u32) -> [Selector; 2] {
    [
        Selector { pid: vec![pid], ..Selector::default() },
        Selector { descendant_of: vec![pid.to_string()], ..Selector::default() },
    ]
}

/// A cgroup and everything below it.
pub(super) fn cgroup(path: &str) -> Selector {
    let path = format!("/{}", path.trim_matches('/'));
    let below = if path == "/" { "/*".to_owned() } else { format!("{path}/*") };
    Selector { cgroup: vec![path, below], ..Selector::default() }
}

fn free_name(policy: &Policy, wanted: &str) -> String {
    let taken = |name: &str| policy.workloads.iter().any(|workload| workload.name == name);
    let mut name = wanted.to_owned();
    let mut number = 2;
    while taken(&name) {
        name = format!("{wanted}-{number}");
        number += 1;
    }
    name
}

/// Whether anything is protected, and whether anything may be held back.
pub(super) fn covers(policy: &Policy) -> (bool, bool) {
    let any = |test: fn(Class) -> bool| {
        // Without a class behaviour decides, which may make it either.
        policy.workloads.iter().any(|workload| workload.class.is_none_or(test))
    };
    let neighbours = policy.neighbours != crate::policy::Neighbours::Untouched;
    (any(Class::is_protected), neighbours || any(Class::is_best_effort))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::matching::{Matcher, Pins, Subject};
    use outrigger_sdk::{Fields, TaskId, TaskInfo};
    use std::sync::Arc;

    #[test]
    fn what_is_typed_comes_first_and_what_is_launched_last() {
        let mut policy = Policy::default();
        protect(&mut policy, "app", family(7).to_vec());
        let typed = BestEffort {
            best_effort: vec![selector("name=x").unwrap()],
            neighbours: Some("same-session".into()),
        };
        typed.add_to(&mut policy, &[], &[]);
        protect(&mut policy, "app", vec![cgroup("a/b/")]);
        let names: Vec<&str> = policy.workloads.iter().map(|w| w.name.as_str()).collect();
        assert_eq!(names, ["best-effort", "app", "app-2"]);
        assert_eq!(policy.workloads[2].selectors[0].cgroup, ["/a/b", "/a/b/*"]);
        assert_eq!(policy.problems(), []);
        assert_eq!(covers(&policy), (true, true));
        assert_eq!(typed.options()[0].key, ["neighbours"]);
    }

    #[test]
    fn an_expression_that_cannot_be_used_is_refused_when_it_is_read() {
        for wrong in ["name=[x", "pid=1", "name=a,command=[!", "nmae=x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        let told = parse("name=[x").unwrap_err().to_string();
        assert!(told.starts_with(r#""name=[x": name: "[x" is not allowed: a glob"#), "{told}");
        assert!(parse("name=[xy]*,uid=0").is_ok());
    }

    /// The workload of a process whose command line has `pattern` in it, among others of that kind.
    fn workload_of(task: TaskInfo, lineage: &[Arc<TaskInfo>]) -> Option<String> {
        let mut policy = Policy::default();
        let family = family(7);
        let typed =
            BestEffort { best_effort: vec![selector("name=python3*").unwrap()], neighbours: None };
        let ours = [Selector { pid: vec![6], ..Selector::default() }];
        typed.add_to(&mut policy, &family, &ours);
        protect(&mut policy, "app", family.to_vec());
        assert_eq!(policy.problems(), []);
        let matcher = Matcher::new(&policy).unwrap();
        assert!(matcher.mentions(6) && matcher.mentions(7));
        let subject = Subject { info: &task, lineage, pins: &Pins::default() };
        Some(policy.workloads[matcher.find(subject).workload?].name.clone())
    }

    fn python(pid: u32) -> TaskInfo {
        TaskInfo {
            task: TaskId { pid, tid: 0, start: 1 },
            parent: 1,
            session: 1,
            uid: 0,
            present: Fields::default(),
            name: "python3.11".into(),
            exe: "".into(),
            command: Vec::new().into(),
            contexts: Vec::new().into(),
            kernel: false,
            thread_names: Vec::new().into(),
        }
    }

    #[test]
    fn a_best_effort_glob_that_matches_the_protected_program_does_not_take_it() {
        assert_eq!(workload_of(python(7), &[]).as_deref(), Some("app"));
        assert_eq!(workload_of(python(9), &[Arc::new(python(7))]).as_deref(), Some("app"));
        assert_eq!(workload_of(python(8), &[]).as_deref(), Some("best-effort"));
    }

    #[test]
    fn a_best_effort_glob_does_not_take_who_started_us() {
        assert_eq!(workload_of(python(6), &[]), None);
        // What they started besides us is not ours.
        assert_eq!(workload_of(python(8), &[Arc::new(python(6))]).as_deref(), Some("best-effort"));
    }

    #[test]
    fn our_ancestors_and_processes_of_our_name_are_ours() {
        let ours = ours();
        assert!(ours[0].pid.contains(&std::process::id()) && ours[0].pid.contains(&1));
        assert!(!ours[1].name[0].is_empty());
    }

    #[test]
    fn an_empty_policy_covers_nobody() {
        assert_eq!(covers(&Policy::default()), (false, false));
    }
}
