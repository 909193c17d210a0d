//! Chance that can be repeated: `OUTRIGGER_TEST_RUNS` says how often a test runs, and
//! `OUTRIGGER_TEST_SEED` with what numbers. Run after run the seed grows by one, so that each can
//! be repeated alone.

use std::time::{Duration, SystemTime};

/// The seeds of a test's runs.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    first: u64,
    runs: u64,
}

/// What one run makes of its seed.
#[derive(Clone, Debug)]
pub struct Draw(u64);

// === impl Seeds ===

impl Seeds {
    /// Those of the environment; else `runs` from one that nobody knows beforehand.
    ///
    /// # Panics
    /// When a variable is not a number.
    pub fn given(runs: u64) -> Self {
        let given = |variable: &str| {
            let text = std::env::var(variable).ok()?;
            Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
        };
        let anything = || {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            now.map_or(0, |now| now.subsec_nanos().into())
        };
        Self {
            first: given("OUTRIGGER_TEST_SEED").unwrap_or_else(anything),
            runs: given("OUTRIGGER_TEST_RUNS").unwrap_or(runs),
        }
    }

    /// This one only, whatever the environment says.
    pub const fn only(seed: u64) -> Self {
        Self { first: seed, runs: 1 }
    }

    /// One after the other.
    pub fn all(self) -> impl Iterator<Item = u64> {
        (0..self.runs).map(move |run| self.first.wrapping_add(run))
    }
}

// === impl Draw ===

impl Draw {
    /// The same seed draws the same.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A time shorter than `limit`.
    pub fn within(&mut self, limit: Duration) -> Duration {
        // SplitMix64 (Steele and others 2014): neighbouring seeds draw nothing alike.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        limit.mul_f64((mixed >> 11) as f64 / (1u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_again_and_its_neighbour_something_else() {
        let second = Duration::from_secs(1);
        let draw = |seed| {
            let mut draw = Draw::new(seed);
            [draw.within(second), draw.within(second)]
        };

        assert_eq!(draw(7), draw(7));
        assert!(draw(7).iter().all(|time| *time < second));
        assert_ne!(draw(7)[0], draw(7)[1]);
        assert_ne!(draw(7)[0], draw(8)[0]);
    }
}
