//! `outrigger status`

use super::common::Common;
use super::instances::{Which, one};
use super::output::{Failure, print, print_json};
use crate::control::{Method, request};
use crate::status::{StatusView, render};

/// Show what a running sidecar sees and does, and why nothing is done when nothing is.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  outrigger status
  outrigger status --instance run-4711
  outrigger status --json | jq '.workloads[] | {name, tier, wait_ms_per_s}'")]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let living = one(&args.which, common)?;
    let answer = request(&living.socket, Method::Get, "/v1/status")?;
    if args.json {
        return print_json(&answer);
    }
    let view: StatusView = serde_json::from_value(answer).map_err(|error| {
        Failure::failed(format!("{} is of another version: {error}", living.id))
    })?;
    // Into a file or a pipe nothing is cut.
    print(&render::status(&view, render::width().unwrap_or(usize::MAX)))
}
