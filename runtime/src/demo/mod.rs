//! `outrigger demo`: the main job, embedded. A small service under load, CPU hogs beside it, and
//! three phases in turn: alone, unmanaged, governed by the real sidecar with its plugins.
//!
//! The demo observes from outside: latency is measured by the service's client, CPU time and
//! everything that was changed are read from the kernel, and the sidecar is another process that
//! is told what to do by a policy file like any other. Nothing here knows how it works.

mod error;
pub mod govern;
pub mod hog;
mod interrupt;
pub mod load;
mod machine;
pub mod needs;
mod phases;
mod protocol;
mod report;
mod role;
pub mod service;
pub mod snapshot;
mod stage;
mod summary;
mod table;
mod verdict;

use std::io::{self, Write};

use crate::status::plain_lines;
pub use error::Error;
pub use govern::{Governed, Governor, Sidecar, Targets};
pub use machine::{Machine, busy_time};
pub use phases::{Measurement, Phase};
pub use protocol::Protocol;
pub use report::Report;
pub use summary::Summary;
pub use table::Table;
pub use verdict::{PhaseResult, Verdict, summarise};

/// Arrivals per second. Often enough for a 99.9th percentile of a few seconds to mean something.
const RATE: u32 = 2000;
/// CPU time of one request in microseconds. With [`RATE`] the service needs a tenth of a CPU,
/// half of its fair share among the default hogs: what it suffers is waiting, not overload.
const WORK_US: u64 = 50;
/// Hogs per CPU unless told otherwise. The scheduler then has a queue on every CPU, however many
/// there are; one hog per CPU could often be dodged.
const HOGS_PER_CPU: usize = 4;

/// Arguments of `outrigger demo`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Length of one phase in seconds.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// How often the three phases are repeated; figures are medians over the rounds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Print the result as JSON on standard output (progress goes to standard error).
    #[arg(long)]
    pub json: bool,
    /// Number of CPU hogs [default: 4 for each CPU].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub hogs: Option<u32>,
    /// Start each hog in a session (and so an autogroup) of its own.
    #[arg(long)]
    pub own_sessions: bool,
    /// Requests per second.
    #[arg(long, default_value_t = RATE, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
    /// CPU time of one request in microseconds.
    #[arg(long, default_value_t = WORK_US, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub work_us: u64,
}

impl Args {
    /// How many hogs on so many CPUs.
    fn hogs_on(&self, cpus: usize) -> u32 {
        self.hogs.unwrap_or_else(|| (HOGS_PER_CPU * cpus).try_into().unwrap_or(u32::MAX))
    }
}

/// Runs the demo with `governor` and prints the result to standard output.
///
/// Returns true if all phases ran, every promise was kept and everything was restored. It installs
/// signal handlers and starts processes that die with the calling thread: call it on a thread
/// that stays, best the main one.
///
/// # Errors
/// When a phase failed or the demo was interrupted; by then all its processes are gone.
pub fn run(args: &Args, governor: &dyn Governor) -> Result<bool, Error> {
    interrupt::catch();
    let report = phases::run(args, governor, &mut report::Live::default())?;
    let mut out = io::stdout().lock();
    let printed = if args.json {
        serde_json::to_writer_pretty(&mut out, &report)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        // Others choose the names of their cgroups.
        out.write_all(plain_lines(&report.to_string()).as_bytes())
    };
    printed.map_err(Error::Print)?;
    Ok(report.restored && report.verdict.is_none_or(|verdict| verdict.met))
}
