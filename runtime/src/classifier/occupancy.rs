//! Which workloads live in which context: a context's pressure says something about a workload
//! only if nobody else lives there.

use outrigger_sdk::ContextId;
use std::collections::{BTreeMap, HashMap};

/// How a workload stands to a context it lives in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Members and others live in it.
    Shared,
    /// Only members live in it.
    Sole,
}

/// Numbers of processes per context, those below it included, and workload (`None`: of no
/// workload).
#[derive(Debug, Default)]
pub(super) struct Occupancy {
    contexts: HashMap<ContextId, BTreeMap<Option<usize>, usize>>,
}

impl Occupancy {
    pub(super) fn enter(&mut self, contexts: &[ContextId], workload: Option<usize>) {
        for context in contexts.iter().flat_map(upward) {
            *self.contexts.entry(context).or_default().entry(workload).or_default() += 1;
        }
    }

    pub(super) fn leave(&mut self, contexts: &[ContextId], workload: Option<usize>) {
        for context in contexts.iter().flat_map(upward) {
            let Some(owners) = self.contexts.get_mut(&context) else { continue };
            if let Some(count) = owners.get_mut(&workload) {
                *count -= 1;
                if *count == 0 {
                    owners.remove(&workload);
                }
            }
            if owners.is_empty() {
                self.contexts.remove(&context);
            }
        }
    }

    /// The workloads that live in a context, and how each stands to it.
    pub(super) fn standings(
        &self,
        context: &ContextId,
    ) -> impl Iterator<Item = (usize, Standing)> + use<'_> {
        let owners = self.contexts.get(context);
        let alone = owners.is_some_and(|owners| owners.len() == 1);
        let standing = if alone { Standing::Sole } else { Standing::Shared };
        let workloads = owners.into_iter().flat_map(|owners| owners.keys().flatten());
        workloads.map(move |&workload| (workload, standing))
    }
}

/// A context and everything above it.
fn upward(context: &ContextId) -> impl Iterator<Item = ContextId> + use<'_> {
    let path = context.path.as_str();
    let ends = path.match_indices('/').map(|(at, _)| at.max(1)).chain([path.len()]);
    let mut last = 0;
    ends.filter(move |&end| std::mem::replace(&mut last, end) != end)
        .map(|end| ContextId { space: context.space.clone(), path: path[..end].into() })
}

/// Whether `place` is `context` or below it.
pub(super) fn within(place: &ContextId, context: &ContextId) -> bool {
    place.space == context.space
        && place.path.strip_prefix(context.path.as_str()).is_some_and(|rest| {
            rest.is_empty() || rest.starts_with('/') || context.path.ends_with('/')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_ones_own_only_if_nobody_else_lives_there_or_below() {
        let at = |path: &str| [ContextId::new("unified", path)];
        let mut occupancy = Occupancy::default();
        occupancy.enter(&at("/app"), Some(0));
        occupancy.enter(&at("/app/worker"), Some(0));
        occupancy.enter(&at("/application"), None);
        let standing = |o: &Occupancy, space, path| {
            o.standings(&ContextId::new(space, path)).collect::<Vec<_>>()
        };
        assert_eq!(standing(&occupancy, "unified", "/app"), [(0, Standing::Sole)]);
        assert_eq!(standing(&occupancy, "unified", "/"), [(0, Standing::Shared)]);
        assert_eq!(standing(&occupancy, "unified", "/application"), []);
        assert_eq!(standing(&occupancy, "cpu", "/app"), []);
        occupancy.enter(&at("/app/worker"), None);
        assert_eq!(standing(&occupancy, "unified", "/app"), [(0, Standing::Shared)]);
        occupancy.leave(&at("/app/worker"), None);
        occupancy.leave(&at("/application"), None);
        assert_eq!(standing(&occupancy, "unified", "/"), [(0, Standing::Sole)]);
        occupancy.leave(&at("/app"), Some(0));
        occupancy.leave(&at("/app/worker"), Some(0));
        assert!(occupancy.contexts.is_empty());
    }

    #[test]
    fn upward_ends_at_the_root() {
        let up = |path: &str| -> Vec<String> {
            upward(&ContextId::new("s", path)).map(|c| c.path.to_string()).collect()
        };
        assert_eq!(up("/a/bc"), ["/", "/a", "/a/bc"]);
        assert_eq!(up("/"), ["/"]);
        assert_eq!(up("job"), ["job"]);
    }
}
