//! What the load generator found in one window of time: the latency distribution in a few numbers.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest latency that is told apart, ten minutes; what is longer is counted as this.
const LONGEST_NS: u64 = 600 * 1_000_000_000;

/// Latencies of one window, from the scheduled arrival to the response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Requests that were due in the window.
    pub arrivals: u64,
    /// Those of them that had no response when the window was closed. They are in the
    /// distribution with the time they had waited by then: leaving them out would flatter.
    pub unanswered: u64,
    /// Median, in microseconds.
    pub p50_us: f64,
    /// 99th percentile, in microseconds.
    pub p99_us: f64,
    /// 99.9th percentile, in microseconds.
    pub p999_us: f64,
    /// Largest, in microseconds.
    pub max_us: f64,
}

/// Collects latencies; three significant digits from a nanosecond to ten minutes.
#[derive(Debug)]
pub struct Latencies {
    histogram: Histogram<u64>,
    unanswered: u64,
}

// === impl Latencies ===

impl Latencies {
    /// An empty collection.
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, 3)
            .expect("constant bounds within what the histogram accepts");
        Self { histogram, unanswered: 0 }
    }

    /// Adds the latency of a request that was answered.
    pub fn answered(&mut self, latency: Duration) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(ns);
    }

    /// Adds a request that has waited `waited` and has no response.
    pub fn unanswered(&mut self, waited: Duration) {
        self.answered(waited);
        self.unanswered += 1;
    }

    /// The distribution so far; all zero when nothing was recorded.
    pub fn summary(&self) -> Summary {
        let us = |ns: u64| ns as f64 / 1000.0;
        let at = |quantile| us(self.histogram.value_at_quantile(quantile));
        Summary {
            arrivals: self.histogram.len(),
            unanswered: self.unanswered,
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: us(self.histogram.max()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unanswered_request_counts_with_the_time_it_waited() {
        let mut latencies = Latencies::new();
        (0..98).for_each(|_| latencies.answered(Duration::from_micros(100)));
        (0..2).for_each(|_| latencies.unanswered(Duration::from_secs(1)));

        let summary = latencies.summary();

        assert_eq!((summary.arrivals, summary.unanswered), (100, 2));
        assert!((99.0..101.0).contains(&summary.p50_us), "{summary:?}");
        assert!(summary.p99_us > 999_000.0, "{summary:?}");
    }
}
