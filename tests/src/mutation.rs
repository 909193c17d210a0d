//! Faults that a build with the feature `mutations` of the runtime can be told to have. Each
//! end-to-end test has one that turns it red: a test that cannot fail proves nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

/// A fault, by the value of `OUTRIGGER_TEST_MUTATION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The enforcer pretends to act.
    EnforcerNoop,
    /// Nothing is put back at the end, neither by the sidecar nor by the keeper.
    SkipUndo,
    /// Putting back at the end never comes to an end; the keeper is whole.
    StuckUndo,
    /// The weight goes on the hogs' own cgroup, not on the lever.
    LeafOnly,
    /// Nobody is ever found to wait because of others.
    Blind,
    /// Everybody is always found to wait because of others.
    Jumpy,
    /// What a command leaves running stays.
    LeaveStragglers,
    /// The code of a command is taken for 0.
    ForgetCode,
    /// The sensor panics once, at its eighth sweep.
    PanicSensor,
    /// This stage panics once, at its eighth batch.
    PanicMonitor,
    /// This stage panics once, at its eighth batch.
    PanicClassifier,
    /// This stage panics once, at its eighth batch.
    PanicTier,
    /// This stage panics once, at its eighth batch.
    PanicEnforcer,
}

impl Mutation {
    /// The environment variable.
    pub const VARIABLE: &str = "OUTRIGGER_TEST_MUTATION";

    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::EnforcerNoop,
        Self::SkipUndo,
        Self::StuckUndo,
        Self::LeafOnly,
        Self::Blind,
        Self::Jumpy,
        Self::LeaveStragglers,
        Self::ForgetCode,
        Self::PanicSensor,
        Self::PanicMonitor,
        Self::PanicClassifier,
        Self::PanicTier,
        Self::PanicEnforcer,
    ];

    /// The value of the variable.
    pub const fn value(self) -> &'static str {
        match self {
            Self::EnforcerNoop => "enforcer-noop",
            Self::SkipUndo => "skip-undo",
            Self::StuckUndo => "stuck-undo",
            Self::LeafOnly => "leaf-only",
            Self::Blind => "blind",
            Self::Jumpy => "jumpy",
            Self::LeaveStragglers => "leave-stragglers",
            Self::ForgetCode => "forget-code",
            Self::PanicSensor => "panic-sensor",
            Self::PanicMonitor => "panic-monitor",
            Self::PanicClassifier => "panic-classifier",
            Self::PanicTier => "panic-tier",
            Self::PanicEnforcer => "panic-enforcer",
        }
    }

    /// Runs a test with this fault and fails if the test does not.
    ///
    /// The test gets the fault to give to [`Start::mutated`](crate::Start::mutated), or `None`
    /// when it runs for its own sake.
    ///
    /// # Panics
    /// When the test stayed green.
    pub fn turns_red(self, test: impl FnOnce(Option<Self>)) {
        eprintln!("--- with {}, a failure is expected:", self.value());
        let outcome = catch_unwind(AssertUnwindSafe(|| test(Some(self))));
        assert!(outcome.is_err(), "the test stayed green with {}", self.value());
    }

    /// Runs a test of this test program again, with this fault in everything it starts, and fails
    /// if it passes. If the machine is too busy to judge by it, that is said and nothing proven.
    ///
    /// # Panics
    /// When the test stayed green, or there is none of that name.
    pub fn reddens(self, test: &str) {
        let mut again =
            Command::new(std::env::current_exe().expect("the kernel knows what it runs"));
        again.args(["--exact", test, "--test-threads=1"]).env(Self::VARIABLE, self.value());
        let output = again.output().expect("this program can be run again");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        if said.contains("NOISY:") && output.status.success() {
            return crate::noisy(&format!("{test} with {}", self.value()));
        }
        let red = !output.status.success() && said.contains(&format!("test {test} ... FAILED"));
        assert!(red, "{test} with {}:\n{said}", self.value());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_stays_green_is_noticed() {
        Mutation::SkipUndo.turns_red(|mutation| assert_eq!(mutation, None));

        let green = catch_unwind(|| Mutation::SkipUndo.turns_red(|_| ()));
        assert!(green.is_err());
    }
}
