//! The hidden `outrigger launch`: waits at a gate and becomes another program.

use std::ffi::OsString;
use std::os::fd::RawFd;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Descriptor to wait on.
    #[arg(long)]
    pub gate: RawFd,
    /// The program and its arguments.
    #[arg(required = true, last = true)]
    pub command: Vec<OsString>,
}
