//! What can go wrong in the demo itself.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A process could not be started.
    #[error("cannot start {role}: {source}")]
    Start {
        /// Which.
        role: &'static str,
        /// What the OS said.
        source: io::Error,
    },
    /// A process ended before it was told to.
    #[error("{role} ended unexpectedly ({status}); its own message is above")]
    Ended {
        /// Which.
        role: &'static str,
        /// How.
        status: ExitStatus,
    },
    /// A process did not end when it was told to.
    #[error("{role} did not end within {} s and was killed", patience.as_secs())]
    Stuck {
        /// Which.
        role: &'static str,
        /// How long was waited.
        patience: Duration,
    },
    /// A pipe to a process failed.
    #[error("lost touch with {role}: {source}")]
    Talk {
        /// Which.
        role: &'static str,
        /// What the OS said.
        source: io::Error,
    },
    /// The directory for the demo's socket and configuration could not be made.
    #[error("cannot create {path}: {source}; set TMPDIR to a directory that can be written")]
    Directory {
        /// Where.
        path: String,
        /// What the OS said.
        source: io::Error,
    },
    /// The CPU time of one of the demo's processes could not be read.
    #[error("cannot read /proc/{pid}/stat: {source}; the demo needs a readable /proc")]
    CpuTime {
        /// Whose.
        pid: u32,
        /// What the OS said.
        source: io::Error,
    },
    /// The CPU time of the machine could not be read.
    #[error("cannot read /proc/stat: {source}; the demo needs a readable /proc")]
    MachineTime {
        /// What the OS said.
        source: io::Error,
    },
    /// The sidecar could not be started or did not do its part.
    #[error("the sidecar failed: {0}")]
    Govern(String),
    /// The result could not be printed.
    #[error("cannot print the result: {0}")]
    Print(io::Error),
    /// Ctrl-C or termination.
    #[error("interrupted")]
    Interrupted,
}
