//! What SIGPIPE did when this program was started, so that CMD gets the same.
//!
//! Rust's runtime ignores SIGPIPE before `main`, and sets it to its default in every process it
//! starts; so neither tells. A service manager may have meant it: systemd starts services with
//! SIGPIPE ignored unless told otherwise (`IgnoreSIGPIPE=`). The other dispositions nobody
//! touches.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

static WAS_IGNORED: AtomicBool = AtomicBool::new(false);

/// The C library calls what is in this section before it calls Rust's runtime.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    // SAFETY: all-zero is a valid value of this plain C struct, and the call writes into it alone.
    let ignored = unsafe {
        let mut found: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut found) == 0
            && found.sa_sigaction == libc::SIG_IGN
    };
    WAS_IGNORED.store(ignored, Ordering::Relaxed);
}

/// Makes SIGPIPE do that again, for a process that is about to exec. Async-signal-safe.
///
/// # Errors
/// Never, in practice: the number and the disposition are valid.
pub(super) fn put_back() -> io::Result<()> {
    let disposition =
        if WAS_IGNORED.load(Ordering::Relaxed) { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: no handler is set, so no code of ours is called later.
    match unsafe { libc::signal(libc::SIGPIPE, disposition) } {
        libc::SIG_ERR => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
