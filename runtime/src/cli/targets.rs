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

/// For clap: reads a selector expression.
pub(super) fn parse(expression: &str) -> Result<Selector, ExpressionError> {
    selector(expression)
}

impl BestEffort {
    /// What goes into the configuration as a layer.
    pub fn options(&self) -> Vec<Given> {
        let neighbours = self.neighbours.iter();
        neighbours.map(|which| Given::option("--neighbours", "neighbours", which)).collect()
    }

    /// Puts the named processes before the workloads of the file: whoever types a command means it.
    pub fn add_to(&self, policy: &mut Policy) {
        if !self.best_effort.is_empty() {
            let workload = Workload {
                name: free_name(policy, "best-effort"),
                class: Some(Class::Background),
                selectors: self.best_effort.clone(),
                allow_irreversible: false,
            };
            policy.workloads.insert(0, workload);
        }
    }
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
    use super::*;

    #[test]
    fn what_is_typed_comes_first_and_what_is_launched_last() {
        let mut policy = Policy::default();
        protect(&mut policy, "app", family(7).to_vec());
        let typed = BestEffort {
            best_effort: vec![selector("name=x").unwrap()],
            neighbours: Some("same-session".into()),
        };
        typed.add_to(&mut policy);
        protect(&mut policy, "app", vec![cgroup("a/b/")]);
        let names: Vec<&str> = policy.workloads.iter().map(|w| w.name.as_str()).collect();
        assert_eq!(names, ["best-effort", "app", "app-2"]);
        assert_eq!(policy.workloads[2].selectors[0].cgroup, ["/a/b", "/a/b/*"]);
        assert_eq!(policy.problems(), []);
        assert_eq!(covers(&policy), (true, true));
        assert_eq!(typed.options()[0].key, ["neighbours"]);
    }

    #[test]
    fn an_empty_policy_covers_nobody() {
        assert_eq!(covers(&Policy::default()), (false, false));
    }
}
