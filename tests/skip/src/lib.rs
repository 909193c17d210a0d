//! How a test says that it could not run, or could not judge: past the test harness, which shows
//! nothing of a test that passes.
//!
//! `print!` and `eprint!` are captured; what is written to standard error itself is not. A crate
//! of its own, because the tests of every other one need it and it must need none of them.

use std::io::{Write, stderr};

/// Says why a test does not run. Continuous integration, where nothing may be missing, fails on
/// the word.
pub fn skip(reason: &str) {
    // Where nobody listens there is nobody to be told.
    let _ = writeln!(stderr(), "SKIPPED: {reason}");
}

/// Says that a test ran, and that the machine was too busy with other things to judge by it. Not
/// a skip: what is missing is quiet.
pub fn noisy(reason: &str) {
    // Where nobody listens there is nobody to be told.
    let _ = writeln!(stderr(), "NOISY: not judged, {reason}");
}

/// Whether we are root; says why the test is skipped if not.
#[cfg(unix)]
pub fn root() -> bool {
    // SAFETY: geteuid touches no memory and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        skip("needs root");
    }
    root
}
