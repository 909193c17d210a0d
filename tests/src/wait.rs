//! Waiting for what has no event to wait on. No test sleeps for a fixed time.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until `look` finds something, and returns it.
///
/// # Panics
/// When it found nothing within `patience`; `what` says what was expected.
pub fn until_some<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        sleep(PAUSE);
    }
}

/// Waits until `condition` holds.
///
/// # Panics
/// When it did not within `patience`; `what` says what was expected.
pub fn until(what: &str, patience: Duration, mut condition: impl FnMut() -> bool) {
    until_some(what, patience, || condition().then_some(()));
}
