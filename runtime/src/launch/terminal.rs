//! The terminal's foreground: which process group the keyboard talks to.

use std::os::fd::RawFd;

const STDIN: RawFd = 0;
const STDOUT: RawFd = 1;

/// The terminal on standard input.
#[derive(Debug)]
pub struct Terminal {
    ours: libc::pid_t,
    pipeline: bool,
}

impl Terminal {
    /// The terminal, if standard input is one. Whether we have its foreground is another question,
    /// whose answer changes (`outrigger run ... &`, then `fg`): see [`Terminal::is_ours`].
    pub fn find() -> Option<Self> {
        let ours = own_group();
        is_terminal(STDIN).then(|| Self { ours, pipeline: !is_terminal(STDOUT) })
    }

    /// Whether our output goes to something else, so that others of our group (the reader of a
    /// pipe) may need the keyboard.
    pub fn is_pipeline(&self) -> bool {
        self.pipeline
    }

    /// Makes that process group the foreground. Fails only if it is gone, which is seen anyway.
    pub fn give_to(&self, group: u32) {
        // SIGTTOU is blocked (see `signals`): a background group may then do this unharmed.
        // SAFETY: tcsetpgrp takes two numbers.
        if unsafe { libc::tcsetpgrp(STDIN, group.cast_signed()) } != 0 {
            tracing::debug!(group, error = %std::io::Error::last_os_error(), "terminal not given");
        }
    }

    /// Takes the foreground back.
    pub fn take_back(&self) {
        self.give_to(self.ours.cast_unsigned());
    }

    /// Whether whoever started us has given the foreground to our group (again).
    pub fn is_ours(&self) -> bool {
        holder() == Some(self.ours)
    }
}

fn is_terminal(descriptor: RawFd) -> bool {
    // SAFETY: isatty takes a number.
    unsafe { libc::isatty(descriptor) == 1 }
}

fn own_group() -> libc::pid_t {
    // SAFETY: getpgrp takes nothing and cannot fail.
    unsafe { libc::getpgrp() }
}

fn holder() -> Option<libc::pid_t> {
    // SAFETY: tcgetpgrp takes a number.
    let group = unsafe { libc::tcgetpgrp(STDIN) };
    (group > 0).then_some(group)
}
