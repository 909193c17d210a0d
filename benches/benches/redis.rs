//! The experiment of the README: redis at 2,000 requests a second beside `stress-ng --cpu 8`,
//! alone, unmanaged, and governed by `outrigger attach`, in turn.
//!
//! ```text
//! cargo build --release
//! cargo bench -p outrigger-benches --bench redis -- --rounds 5 --seconds 8
//! ```
//!
//! It measures whole programs against the machine's scheduler: nothing else should run meanwhile.
//! The test of the same name judges by fewer and shorter rounds. Ends with 0 if it ran, whatever
//! the verdict, and with 1 if it could not.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use outrigger_tests::{Comparison, cgroups, installed, root};

/// redis beside stress-ng: alone, unmanaged, governed.
#[derive(Parser)]
struct Args {
    /// How often the three phases are repeated; figures are medians over the rounds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Length of one phase in seconds.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let Args { rounds, seconds, bench } = Args::parse();
    if !bench {
        // `cargo test --benches` only wants to know whether it starts.
        return ExitCode::SUCCESS;
    }
    if !(root() && cgroups() && installed("redis-server") && installed("stress-ng")) {
        return ExitCode::FAILURE;
    }
    let time = Duration::from_secs(seconds);
    println!("{}", Comparison { rounds, time, mutation: None }.run());
    ExitCode::SUCCESS
}
