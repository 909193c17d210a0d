//! Ctrl-C and termination: noted here, acted on by the demo between two steps, so that it can
//! stop what it started in order and still prove that everything was put back.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Error;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Catches SIGINT, SIGTERM and SIGHUP from now on, for the whole process. What was ignored (by
/// `nohup`, say) stays ignored.
pub fn catch() {
    let handler: extern "C" fn(libc::c_int) = note;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler stores to an atomic and does nothing else, which is
        // async-signal-safe.
        unsafe {
            if libc::signal(signal, handler as libc::sighandler_t) == libc::SIG_IGN {
                libc::signal(signal, libc::SIG_IGN);
            }
        }
    }
}

/// # Errors
/// When one of the signals has come.
pub fn check() -> Result<(), Error> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
}
