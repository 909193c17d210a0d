//! The tree of contexts as surveyed, and what one place in it is worth.
//!
//! Pure: it is made from a survey and asked questions. It does not know which processes are
//! protected (that is [`super::scene`]) and decides nothing.

use crate::flow::activity::ShareStep;
use outrigger_sdk::{ContextId, ContextNode};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// Weight everybody has who was given none.
pub const DEFAULT_WEIGHT: u32 = 100;

/// What a context with the idle flag counts against others: the kernel gives it the load weight
/// 3 where the default is 1024 (`WEIGHT_IDLEPRIO`, `kernel/sched/sched.h`).
const IDLE_WEIGHT: f64 = 3.0 * 100.0 / 1024.0;

/// A surveyed tree of one space.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    space: String,
    nodes: BTreeMap<String, ContextNode>,
    seats: HashMap<u32, String>,
    /// Depth from which nodes may be missing, if the survey was cut off.
    cut_at: Option<usize>,
}

/// The part of the CPU a context gets while its rivals want all of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Share {
    /// 0..=1.
    pub fraction: f64,
    /// How it comes about, from the root down.
    pub steps: Vec<ShareStep>,
}

// === impl Tree ===

impl Tree {
    /// From the answer to a survey that was limited to `limit` nodes.
    pub fn new(survey: Vec<ContextNode>, limit: u32) -> Self {
        let cut_at = (survey.len() >= limit as usize)
            .then(|| survey.iter().map(|node| depth(&node.context.path)).max().unwrap_or(0))
            // The deepest level seen may be incomplete, and so are the children of the one above.
            .map(|deepest| deepest.saturating_sub(1));
        let space = survey.first().map(|n| n.context.space.to_string()).unwrap_or_default();
        let mut tree = Self { space, cut_at, ..Self::default() };
        for node in survey {
            let path = normal(&node.context.path);
            tree.seats.extend(node.pids.iter().map(|pid| (*pid, path.clone())));
            tree.nodes.insert(path, node);
        }
        tree
    }

    /// The space the paths belong to.
    pub fn space(&self) -> &str {
        &self.space
    }

    /// The context at a path.
    pub fn context(&self, path: &str) -> ContextId {
        ContextId::new(&self.space, path)
    }

    /// The node at a path.
    pub fn node(&self, path: &str) -> Option<&ContextNode> {
        self.nodes.get(path)
    }

    /// Every node, parents before children.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &ContextNode)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// Where a process sits.
    pub fn seat(&self, pid: u32) -> Option<&str> {
        self.seats.get(&pid).map(String::as_str)
    }

    /// Whether everything below a path was surveyed.
    pub fn complete(&self, path: &str) -> bool {
        self.cut_at.is_none_or(|cut| self.below(path).all(|(path, _)| depth(path) < cut))
    }

    /// Whether a manager other than us owns the node or one of its ancestors.
    pub fn managed(&self, path: &str) -> bool {
        lineage(path).any(|path| self.nodes.get(path).is_some_and(|node| node.managed))
    }

    /// The node and everything below it.
    pub fn below<'a>(
        &'a self,
        path: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a ContextNode)> + 'a {
        self.nodes().filter(move |(other, _)| contains(path, other))
    }

    fn holds(&self, path: &str, rival: &impl Fn(u32) -> bool) -> bool {
        self.below(path).any(|(_, node)| node.pids.iter().any(|pid| rival(*pid)))
    }

    /// What a node counts against its siblings. One without a weight of its own (cgroup v2
    /// without the controller) counts task by task.
    fn weight(&self, path: &str, rival: &impl Fn(u32) -> bool) -> f64 {
        match self.nodes.get(path) {
            Some(node) if node.idle => IDLE_WEIGHT,
            Some(node) if node.weight == 0 => {
                let tasks = self.below(path).flat_map(|(_, node)| node.pids.iter());
                f64::from(DEFAULT_WEIGHT) * tasks.filter(|pid| rival(**pid)).count().max(1) as f64
            }
            Some(node) => f64::from(node.weight),
            None => f64::from(DEFAULT_WEIGHT),
        }
    }

    /// The part of the CPU the context at `path` gets while all who are a `rival` want all of it.
    ///
    /// Tasks directly in a node count as weight 100 each where they compete with its children;
    /// autogroups may bundle them in the root, which this does not see.
    pub fn effective_share(&self, path: &str, rival: impl Fn(u32) -> bool) -> Share {
        let mut share = Share { fraction: 1.0, steps: Vec::new() };
        for here in lineage(path).filter(|path| *path != "/") {
            let above = parent(here).unwrap_or("/");
            let siblings: f64 = self
                .nodes
                .keys()
                .filter(|other| parent(other) == Some(above) && *other != here)
                .filter(|other| self.holds(other, &rival))
                .map(|other| self.weight(other, &rival))
                .sum();
            let tasks = self
                .nodes
                .get(above)
                .filter(|node| node.tasks_compete)
                .map_or(0, |node| node.pids.iter().filter(|pid| rival(**pid)).count());
            let rivals = siblings + f64::from(DEFAULT_WEIGHT) * tasks as f64;
            let weight = self.weight(here, &rival);
            share.fraction *= weight / (weight + rivals);
            share.steps.push(ShareStep { path: here.to_owned(), weight, rivals });
        }
        share
    }
}

// === paths ===

/// A path without a trailing slash, the root being `/`.
fn normal(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.to_owned(),
    }
}

/// Steps from the root.
fn depth(path: &str) -> usize {
    path.split('/').filter(|part| !part.is_empty()).count()
}

/// The last part of a path; empty for the root.
pub fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or("")
}

/// The path one step up; the root has none.
pub fn parent(path: &str) -> Option<&str> {
    match path.rsplit_once('/')? {
        ("", "") => None,
        ("", _) => Some("/"),
        (above, _) => Some(above),
    }
}

/// Whether `inner` is `outer` or below it.
pub fn contains(outer: &str, inner: &str) -> bool {
    outer == "/"
        || inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The root, then step by step down to `path` itself.
pub fn lineage(path: &str) -> impl Iterator<Item = &str> {
    let root = std::iter::once("/");
    let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
    let inner = ends.map(move |end| &path[..end]);
    let whole = (path != "/").then_some(path);
    root.chain(inner).chain(whole)
}

/// The lowest context that holds both.
pub fn common_ancestor<'a>(one: &'a str, other: &str) -> &'a str {
    lineage(one).filter(|path| contains(path, other)).last().unwrap_or("/")
}

/// The child of `ancestor` on the way to `path`; none if `path` is `ancestor`.
pub fn child_towards<'a>(ancestor: &str, path: &'a str) -> Option<&'a str> {
    lineage(path).find(|step| *step != "/" && parent(step) == Some(ancestor))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::enforcer::model::node;

    #[test]
    fn paths() {
        assert_eq!(lineage("/a/b").collect::<Vec<_>>(), ["/", "/a", "/a/b"]);
        assert_eq!(lineage("/").collect::<Vec<_>>(), ["/"]);
        assert_eq!(parent("/a/b"), Some("/a"));
        assert_eq!(parent("/a"), Some("/"));
        assert_eq!(parent("/"), None);
        assert!(contains("/a", "/a/b") && contains("/", "/a") && contains("/a", "/a"));
        assert!(!contains("/a", "/ab") && !contains("/a/b", "/a"));
        assert_eq!(common_ancestor("/a/b/c", "/a/b/d/e"), "/a/b");
        assert_eq!(common_ancestor("/a", "/b"), "/");
        assert_eq!(common_ancestor("/a", "/a/b"), "/a");
        assert_eq!(child_towards("/", "/a/b"), Some("/a"));
        assert_eq!(child_towards("/a", "/a/b"), Some("/a/b"));
        assert_eq!(child_towards("/a", "/a"), None);
        assert_eq!(child_towards("/", "/"), None);
    }

    #[test]
    fn a_low_weight_on_a_leaf_leaves_the_cousin_its_half() {
        let mut leaf = node("/user/leaf", &[1]);
        leaf.weight = 1;
        let tree = Tree::new(
            vec![
                node("/", &[]),
                node("/user", &[]),
                node("/system", &[]),
                leaf,
                node("/system/leaf", &[2]),
            ],
            100,
        );
        assert_eq!(tree.effective_share("/system/leaf", |_| true).fraction, 0.5);
        assert_eq!(tree.effective_share("/user/leaf", |_| true).fraction, 0.5);
    }

    #[test]
    fn tasks_in_a_v1_root_compete_one_by_one() {
        let mut root = node("/", &[1, 2, 3, 4, 5, 6, 7, 8]);
        root.tasks_compete = true;
        let tree = Tree::new(vec![root, node("/app", &[9])], 100);
        let share = tree.effective_share("/app", |_| true);
        assert!((share.fraction - 1.0 / 9.0).abs() < 1e-9, "{share:?}");
        assert_eq!(share.steps.len(), 1);
        assert_eq!(share.steps[0].rivals, 800.0);
        let known = tree.effective_share("/app", |pid| pid == 8 || pid == 9);
        assert_eq!(known.fraction, 0.5, "who sleeps is no rival");
    }

    #[test]
    fn without_the_controller_tasks_count_one_by_one() {
        let bare = |path: &str, pids: &[u32]| ContextNode { weight: 0, ..node(path, pids) };
        let tree =
            Tree::new(vec![node("/", &[]), bare("/app", &[1]), bare("/jobs", &[2, 3, 4])], 100);
        assert_eq!(tree.effective_share("/app", |_| true).fraction, 0.25);
        assert_eq!(tree.effective_share("/jobs", |_| true).fraction, 0.75);
    }

    #[test]
    fn unpopulated_siblings_are_no_rivals() {
        let tree = Tree::new(vec![node("/", &[]), node("/a", &[1]), node("/b", &[])], 100);
        assert_eq!(tree.effective_share("/a", |_| true).fraction, 1.0);
    }

    #[test]
    fn a_cut_survey_vouches_only_for_what_it_has_seen() {
        let survey = vec![
            node("/", &[]),
            node("/a", &[1]),
            node("/b", &[]),
            node("/b/c", &[]),
            node("/b/c/d", &[2]),
        ];
        let whole = Tree::new(survey.clone(), 6);
        assert!(whole.complete("/a") && whole.complete("/b/c/d"));
        let cut = Tree::new(survey, 5);
        assert!(cut.complete("/a"), "its children would have been seen before /b/c/d");
        assert!(!cut.complete("/b/c/d") && !cut.complete("/b"));
    }

    #[test]
    fn managed_is_inherited() {
        let mut slice = node("/system.slice", &[]);
        slice.managed = true;
        let tree = Tree::new(vec![node("/", &[]), slice, node("/system.slice/x", &[1])], 100);
        assert!(tree.managed("/system.slice/x") && !tree.managed("/"));
        assert_eq!(tree.seat(1), Some("/system.slice/x"));
        assert_eq!(tree.seat(2), None);
    }
}
