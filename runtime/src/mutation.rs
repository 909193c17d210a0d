//! Faults that the end-to-end tests switch on to prove that they would notice.
//!
//! Without the cargo feature `mutations` every question here is answered "no" at compile time.
//! With it, the environment variable `OUTRIGGER_TEST_MUTATION` names the one fault:
//! `enforcer-noop` (writes are skipped and pretended), `skip-undo` (nothing is taken back when
//! the sidecar stops), `stuck-undo` (taking back never comes to an end), `leaf-only` (the lever is always the antagonist's own leaf),
//! `panic-STAGE` (that stage, or the sensor, panics once), `blind` (nobody ever waits because of
//! others), `jumpy` (everybody always does), `leave-stragglers` (what a command leaves running
//! stays), `forget-code` (the code of a command is taken for 0).

#[cfg(feature = "mutations")]
fn is(name: &str) -> bool {
    std::env::var_os("OUTRIGGER_TEST_MUTATION").is_some_and(|mutation| mutation == name)
}

#[cfg(not(feature = "mutations"))]
const fn is(_: &str) -> bool {
    false
}

/// Writes are skipped and pretended.
pub fn noop() -> bool {
    is("enforcer-noop")
}

/// Nothing is taken back at the end.
pub fn skip_undo() -> bool {
    is("skip-undo")
}

/// Taking back never comes to an end, as if the kernel did not answer.
pub fn stick_in_undo() {
    while is("stuck-undo") {
        std::thread::park();
    }
}

/// The lever is always the antagonist's own leaf.
pub fn leaf_only() -> bool {
    is("leaf-only")
}

/// Panics, once in the life of the process, when `stage` (or `sensor`) works on its eighth batch.
pub fn panic_in(stage: &str) {
    #[cfg(feature = "mutations")]
    {
        use std::sync::atomic::{AtomicU32, Ordering};
        static BATCHES: AtomicU32 = AtomicU32::new(0);
        if is(&format!("panic-{stage}")) && BATCHES.fetch_add(1, Ordering::Relaxed) == 7 {
            panic!("mutation: panic in {stage}");
        }
    }
    #[cfg(not(feature = "mutations"))]
    let _ = stage;
}

/// Nobody ever waits because of others.
pub fn blind() -> bool {
    is("blind")
}

/// Everybody always waits because of others.
pub fn jumpy() -> bool {
    is("jumpy")
}

/// What a command leaves running stays.
pub fn leave_stragglers() -> bool {
    is("leave-stragglers")
}

/// The code of a command is taken for 0.
pub fn forget_code() -> bool {
    is("forget-code")
}
