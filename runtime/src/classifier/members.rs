//! The members of a workload, as they are told.

use super::census::Entry;
use crate::flow::message::Member;
use std::sync::Arc;

/// Members are told at every tick, but most workloads are idle most of the time.
#[derive(Debug, Default)]
pub(super) struct Members {
    list: Arc<[Member]>,
    busy: bool,
}

impl Members {
    /// As last built.
    pub(super) fn list(&self) -> Arc<[Member]> {
        Arc::clone(&self.list)
    }

    /// Builds the list anew if anything may have changed.
    pub(super) fn refresh<'a, I: Iterator<Item = &'a Entry>>(
        &mut self,
        changed: bool,
        tick: u64,
        entries: impl Fn() -> I,
    ) {
        let busy = entries().any(|entry| entry.at(tick).is_some());
        if changed || busy || self.busy {
            self.list = entries().map(|entry| member(entry, tick)).collect();
        }
        self.busy = busy;
    }

    /// CPU used by all of them, millicores.
    pub(super) fn millicores(&self) -> f64 {
        if self.busy { self.list.iter().map(|member| member.millicores).sum() } else { 0.0 }
    }
}

fn member(entry: &Entry, tick: u64) -> Member {
    Member {
        task: entry.info.task,
        name: entry.info.name.to_string(),
        session: entry.info.session,
        contexts: entry.info.contexts.to_vec(),
        millicores: entry.at(tick).and_then(|signals| signals.millicores).unwrap_or(0.0),
    }
}
