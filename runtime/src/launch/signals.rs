//! Signals as things to read, instead of handlers.
//!
//! They are blocked in the main thread before any other thread exists, so that every thread
//! inherits the mask and they wait here until somebody reads them. Processes inherit the mask too:
//! whatever is to run as if we were not there gets the one we found ([`OriginalMask`]).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Passed on to CMD.
pub const FORWARDED: [libc::c_int; 8] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
    libc::SIGTSTP,
];

/// Ours to act on: children, being continued. The last is blocked so that handing over the
/// terminal from the background does not stop us.
const OWN: [libc::c_int; 3] = [libc::SIGCHLD, libc::SIGCONT, libc::SIGTTOU];

/// What ends a sidecar that has no child.
const ENDING: [libc::c_int; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// One signal that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Its number.
    pub signal: libc::c_int,
    /// Whether the kernel sent it (Ctrl-C, a closed terminal) instead of a process.
    pub from_kernel: bool,
}

/// Where signals wait.
#[derive(Debug)]
pub struct SignalInbox {
    descriptor: OwnedFd,
    before: OriginalMask,
}

/// The signals that were blocked before we blocked any.
#[derive(Clone, Copy)]
pub struct OriginalMask(libc::sigset_t);

impl OriginalMask {
    /// Makes it the calling thread's mask again. Async-signal-safe.
    pub fn put_back(&self) {
        // SAFETY: the set is initialised; the old mask is not asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

impl std::fmt::Debug for OriginalMask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OriginalMask").finish_non_exhaustive()
    }
}

impl SignalInbox {
    /// Blocks what [`supervise`](super::supervise) needs in the calling thread and opens the
    /// inbox. Call it in the main thread, before any other thread starts.
    ///
    /// # Errors
    /// What the OS said; no descriptors left, in practice.
    pub fn for_child() -> io::Result<Self> {
        Self::of(FORWARDED.iter().chain(&OWN).copied())
    }

    /// The same for a sidecar without a child: SIGINT, SIGTERM, SIGHUP and SIGQUIT end it. An
    /// ignored SIGHUP stays ignored: that is what `nohup` is for.
    ///
    /// # Errors
    /// See [`SignalInbox::for_child`].
    pub fn for_ending() -> io::Result<Self> {
        Self::of(ENDING.into_iter().filter(|&s| s != libc::SIGHUP || !is_ignored(s)))
    }

    fn of(signals: impl IntoIterator<Item = libc::c_int>) -> io::Result<Self> {
        let set = signal_set(signals);
        let mut before = signal_set([]);
        // SAFETY: both sets are initialised.
        let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, &mut before) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        // SAFETY: the set is initialised and -1 asks for a new descriptor.
        let descriptor =
            unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and nobody else's.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Self { descriptor, before: OriginalMask(before) })
    }

    /// The mask that processes should have that are not ours.
    pub fn original_mask(&self) -> OriginalMask {
        self.before
    }

    /// Waits for the next signal, at most so long if a limit is given.
    ///
    /// # Errors
    /// What the OS said.
    pub fn wait(&self, at_most: Option<Duration>) -> io::Result<Option<Arrived>> {
        if let Some(arrived) = self.read()? {
            return Ok(Some(arrived));
        }
        let limit = at_most.map_or(-1, |limit| limit.as_millis().min(60_000) as libc::c_int);
        let mut waiting =
            libc::pollfd { fd: self.descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, which lives through the call. Interruption is no error: the caller
        // looks again.
        unsafe { libc::poll(&mut waiting, 1, limit) };
        self.read()
    }

    fn read(&self) -> io::Result<Option<Arrived>> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer has exactly that size.
        let read =
            unsafe { libc::read(self.descriptor.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        if read == size.cast_signed() {
            // SAFETY: the kernel filled all of it.
            let info = unsafe { info.assume_init() };
            return Ok(Some(Arrived {
                signal: info.ssi_signo.cast_signed(),
                from_kernel: info.ssi_code == libc::SI_KERNEL,
            }));
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
            _ => Err(error),
        }
    }
}

impl AsRawFd for SignalInbox {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

/// Stops this process and the rest of its group, as the terminal would have, and returns when it
/// has been continued. A group without a shell cannot be stopped that way: then it returns at once.
pub fn stop_ourselves(signal: libc::c_int) {
    let set = signal_set([signal]);
    // SAFETY: the set is initialised; kill(0, ...) touches no memory. The order matters: a signal
    // that is blocked while it is sent stays pending and takes effect when it is let through.
    unsafe {
        libc::kill(0, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
    }
}

/// Whether whoever started us wants this signal ignored.
fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call only fills the structure, of which all zero is valid.
    let (result, action) = unsafe {
        let result = libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
        (result, action.assume_init())
    };
    result == 0 && action.sa_sigaction == libc::SIG_IGN
}

fn signal_set(signals: impl IntoIterator<Item = libc::c_int>) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set before anything is added to it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SIGURG is ignored by default and SIG_DFL all the same: only the disposition counts.
    #[test]
    fn only_what_was_set_to_be_ignored_is_ignored() {
        assert!(!is_ignored(libc::SIGURG));
        // SAFETY: nobody else in this process uses the signal.
        unsafe { libc::signal(libc::SIGURG, libc::SIG_IGN) };
        assert!(is_ignored(libc::SIGURG));
    }
}
