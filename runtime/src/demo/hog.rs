//! The antagonist: a process that wants a CPU, always.
//!
//! It reports nothing. How much it got is read from outside, from the CPU time the kernel
//! accounts to it, so that the figure does not depend on the hog's good will.

use std::fs;
use std::hint::black_box;

/// Name of a hog in `/proc/PID/comm`, by which a policy selects it.
pub const NAME: &str = "demo-hog";

/// Arguments of the hidden subcommand `demo-hog`.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Args {}

/// Computes until it is killed.
pub fn run(_: &Args) -> ! {
    // Only a label: see `service::run`.
    let _ = fs::write("/proc/self/comm", NAME);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    loop {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        black_box(state);
    }
}
