//! How often a workload may change within a window, and the proof that it does not more often.

use std::collections::VecDeque;

/// The changes of one workload, by time.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget {
    spent: VecDeque<u64>,
}

impl Budget {
    /// Forgets what happened more than a window ago.
    pub(super) fn forget(&mut self, now: u64, window_ns: u64) {
        while self.spent.front().is_some_and(|&at| now.saturating_sub(at) >= window_ns) {
            self.spent.pop_front();
        }
    }

    /// Changes within the window.
    pub(super) fn spent(&self) -> usize {
        self.spent.len()
    }

    /// Changes still allowed within the window.
    pub(super) fn left(&self, limit: u32) -> usize {
        (limit as usize).saturating_sub(self.spent.len())
    }

    /// Notes a change.
    pub(super) fn spend(&mut self, now: u64) {
        self.spent.push_back(now);
    }
}
