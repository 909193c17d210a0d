//! Signals as bytes in a pipe, so that one `poll(2)` waits for all there is to wait for.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

/// Where the handler writes to; -1 until there is a pipe.
static PIPE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn on_signal(_: libc::c_int) {
    // SAFETY: write(2) is async-signal-safe, and one byte is read from a live static. The errno
    // of the interrupted code is put back; a full pipe has a byte in it, which is all it takes.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        libc::write(PIPE.load(Ordering::Relaxed), [0u8].as_ptr().cast(), 1);
        *errno = before;
    }
}

/// Ignores what a terminal sends and turns `SIGTERM` into a readable byte.
///
/// # Errors
/// No pipe, or the system refuses a handler.
pub(super) fn install() -> io::Result<OwnedFd> {
    let mut ends = [-1; 2];
    // SAFETY: the kernel writes two descriptors into `ends`.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // The writing end lives as long as the process: the handler may run at any time.
    PIPE.store(ends[1], Ordering::Relaxed);
    // SAFETY: the descriptor is open and nobody else's.
    let reader = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    for signal in [libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGPIPE] {
        set(signal, libc::SIG_IGN)?;
    }
    set(libc::SIGTERM, on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t)?;
    unblock(libc::SIGTERM);
    Ok(reader)
}

/// The mask is inherited from whoever started us, and a sidecar blocks what it reads by signalfd.
fn unblock(signal: libc::c_int) {
    // SAFETY: all-zero is a valid signal set, the calls write into it alone, and with a valid
    // signal number and a valid `how` they cannot fail.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
    }
}

fn set(signal: libc::c_int, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: all-zero is a valid value of this plain C struct: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler only does what is safe in one, and `action` outlives the call.
    match unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Takes the bytes out.
pub(super) fn drain(reader: &OwnedFd) {
    let mut bytes = [0u8; 16];
    // SAFETY: the descriptor is open, does not block, and the kernel writes at most 16 bytes.
    while unsafe { libc::read(reader.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len()) } > 0 {}
}
