//! What the parts say of themselves, in the form in which it is shown.

use crate::backend::health::State;
use crate::backend::{Registry, inspect};
use crate::classifier::RulesState;
use crate::enforcer::hands::{Fate, Undone};
use crate::monitor::WindowState;
use crate::status::{self, BackendView, CapabilityView, Hub, StageView};
use crate::steward::Health;
use crate::tier::LadderState;
use arc_swap::ArcSwap;
use outrigger_sdk::{Capability, Level};
use outrigger_undo::{Entry, Operation};
use std::sync::{Arc, PoisonError};

/// Where the cores publish how they are.
#[derive(Debug, Default)]
pub(super) struct Views {
    pub(super) window: Arc<ArcSwap<WindowState>>,
    pub(super) rules: Arc<ArcSwap<RulesState>>,
    pub(super) ladder: Arc<ArcSwap<LadderState>>,
}

/// What is known about the host, published anew when a plugin's state has changed.
pub(super) struct Facts {
    registry: Arc<Registry>,
    /// What does not work and will not.
    degraded: Vec<String>,
    published: Vec<State>,
}

// === impl Facts ===

impl Facts {
    pub(super) fn new(registry: Arc<Registry>, degraded: Vec<String>) -> Self {
        Self { registry, degraded, published: Vec::new() }
    }

    pub(super) fn refresh(&mut self, hub: &Hub) {
        let states: Vec<_> = self.registry.plugins().iter().map(|plugin| plugin.state()).collect();
        if self.published != states {
            hub.set_facts(facts(&self.registry, self.degraded.clone()));
            self.published = states;
        }
    }
}

fn facts(registry: &Registry, mut degraded: Vec<String>) -> status::Facts {
    let backends = inspect::views(registry)
        .into_iter()
        .map(|view| {
            let path = view.path.map(|path| path.display().to_string()).unwrap_or_default();
            BackendView {
                name: view.name.unwrap_or_else(|| path.clone()),
                version: view.version.unwrap_or_default(),
                path,
                state: view.state.to_owned(),
                reason: view.reason.unwrap_or_default(),
            }
        })
        .collect();
    let level = |capability| registry.level(capability);
    if level(Capability::CPU_WEIGHT) == Level::UNAVAILABLE {
        degraded.push(
            "priority-only: no backend can turn CPU weights here, so only per-process knobs act"
                .to_owned(),
        );
    }
    if level(Capability::OBSERVE_TASKS) == Level::UNAVAILABLE {
        degraded.push("blind: no backend can see processes here".to_owned());
    }
    let capabilities =
        Capability::ALL.iter().map(|&capability| capability_view(registry, capability)).collect();
    status::Facts { backends, capabilities, degraded }
}

fn capability_view(registry: &Registry, capability: Capability) -> CapabilityView {
    let backend = registry.route(capability).and_then(|route| route.best());
    let offer = registry.offer(capability).map(|(_, offer)| offer);
    CapabilityView {
        name: capability.to_string(),
        level: registry.level(capability).to_string(),
        backend: backend.map(|plugin| plugin.name().to_string()).unwrap_or_default(),
        reason: offer.map(|offer| offer.reason.to_string()).unwrap_or_default(),
        hint: offer.map(|offer| offer.hint.to_string()).unwrap_or_default(),
    }
}

/// How the stages are.
pub(super) fn stages(health: &Health) -> Vec<StageView> {
    let health = health.lock().unwrap_or_else(PoisonError::into_inner);
    health
        .iter()
        .map(|stage| StageView {
            name: stage.name.to_owned(),
            restarts: stage.restarts,
            last_ending: stage.last_ending.map(|ending| format!("{ending:?}").to_lowercase()),
        })
        .collect()
}

/// What could not be put back, in words: what was tried and failed, and what is outstanding
/// without having been tried.
pub(super) fn left<'a>(
    undone: &[Undone],
    outstanding: impl Iterator<Item = &'a Entry>,
) -> Vec<String> {
    let mut tried = Vec::new();
    let mut left = Vec::new();
    for Undone { operation, token, fate } in undone {
        if let Fate::Failed(why) = fate {
            tried.push(*token);
            left.push(format!("{}: {why}", knob(operation)));
        }
    }
    for entry in outstanding.filter(|entry| !tried.contains(&entry.token)) {
        let why = if entry.in_doubt.is_empty() {
            "the journal still has it"
        } else {
            "it is in doubt, since the call that was to write it has not returned"
        };
        left.push(format!("{}: {why}", knob(&entry.operation)));
    }
    left
}

fn knob(operation: &Operation) -> String {
    let mut text = format!("{:?}", operation.kind);
    if !operation.locator.is_empty() {
        text = format!("{text} {}", operation.locator);
    }
    match operation.task {
        Some(task) => format!("{text} of {task}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use outrigger_undo::{Journal, Kind, Why, knob};

    #[test]
    fn what_is_in_doubt_is_left_and_what_failed_is_told_once() {
        let place = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(place.path()).unwrap();
        let thread = knob::threads(std::process::id()).unwrap()[0];
        let operations = ["nice", "nofile"].map(|limit| Operation {
            kind: Kind::Rlimit,
            task: Some(thread),
            locator: limit.to_owned(),
            before: "1".to_owned(),
            after: "2".to_owned(),
        });
        let tokens = operations
            .clone()
            .map(|operation| journal.record(operation, &Why::default()).unwrap().token());
        let failed = Undone {
            operation: operations[0].clone(),
            token: tokens[0],
            fate: Fate::Failed("no such luck".to_owned()),
        };

        let left = left(&[failed], journal.outstanding());

        assert_eq!(left.len(), 2, "{left:?}");
        assert!(left[0].starts_with("Rlimit nice of") && left[0].ends_with(": no such luck"));
        assert!(left[1].starts_with("Rlimit nofile of") && left[1].contains("in doubt"));
    }
}
