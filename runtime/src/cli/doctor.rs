//! `outrigger doctor`

use super::common::Common;
use super::output::{Failure, print, print_json};
use crate::doctor;

/// Tell what this host can do, why not more, and what to do about it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  outrigger doctor
  outrigger doctor --json | jq '.capabilities[] | select(.level != \"full\")'")]
pub(super) struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let loaded = common.load(Vec::new())?;
    crate::telemetry::start(&loaded.config.log);
    let executable = std::env::current_exe().ok();
    let diagnosis =
        doctor::diagnose(&loaded.config.plugins, &common.plugin_dirs, executable.as_deref());
    if args.json { print_json(&diagnosis) } else { print(&diagnosis.to_string()) }
}
