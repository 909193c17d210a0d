//! `outrigger pause` and `outrigger resume`

use super::common::Common;
use super::instances::{Which, one};
use super::output::{Failure, print, print_json};
use crate::control::{Method, request};
use serde_json::json;

// No text of its own: `pause` and `resume` each have theirs.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  outrigger pause
  outrigger resume --instance daemon")]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
    /// Only say which sidecar would be told.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, common: &Common, paused: bool) -> Result<u8, Failure> {
    let living = one(&args.which, common)?;
    let verb = if paused { "pause" } else { "resume" };
    if args.dry_run {
        let answer = json!({ "instance": living.id, "would": verb });
        let text = format!("{} would be told to {verb}\n", living.id);
        return if args.json { print_json(&answer) } else { print(&text) };
    }
    let mut answer = request(&living.socket, Method::Post, &format!("/v1/{verb}"))?;
    if args.json {
        answer["instance"] = living.id.into();
        return print_json(&answer);
    }
    let changed = answer["changed"].as_bool().unwrap_or_default();
    print(&match (paused, changed) {
        (true, true) => format!("{} is paused: nobody is held back\n", living.id),
        (true, false) => format!("{} was paused already\n", living.id),
        (false, true) => format!("{} goes on\n", living.id),
        (false, false) => format!("{} was not paused\n", living.id),
    })
}
