//! `outrigger pause` and `outrigger resume`

use super::common::Common;
use super::instances::{Living, Which, one};
use super::output::{Failure, print, print_json};
use crate::control::{Method, request};
use crate::status::StatusView;
use serde_json::json;
use std::time::{Duration, Instant};

/// How long `pause` waits until it is true.
const PATIENCE: Duration = Duration::from_secs(10);

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
    let left = if paused { settle(&living) } else { 0 };
    answer["still_changed"] = left.into();
    if args.json {
        answer["instance"] = living.id.into();
        return print_json(&answer);
    }
    let changed = answer["changed"].as_bool().unwrap_or_default();
    if left > 0 {
        let id = &living.id;
        return print(&format!(
            "{id} is paused: nobody will be held back as soon as {left} changes are put back; \
             `outrigger status` tells more\n"
        ));
    }
    print(&match (paused, changed) {
        (true, true) => format!("{} is paused: nobody is held back\n", living.id),
        (true, false) => format!("{} was paused already\n", living.id),
        (false, true) => format!("{} goes on\n", living.id),
        (false, false) => format!("{} was not paused\n", living.id),
    })
}

/// Waits until what was decided before the pause has been put back; answers how many changes are
/// left when patience has ended.
fn settle(living: &Living) -> usize {
    let deadline = Instant::now() + PATIENCE;
    let mut first = None;
    let mut left = 0;
    while Instant::now() < deadline {
        // One that ends meanwhile puts everything back.
        let Ok(status) = request(&living.socket, Method::Get, "/v1/status") else { return 0 };
        let Ok(view) = serde_json::from_value::<StatusView>(status) else { return 0 };
        left = view.workloads.iter().map(|workload| workload.knobs.len()).sum();
        // What was on its way when the switch was turned has arrived two sweeps later.
        if left == 0 && (view.tick == 0 || view.tick >= *first.get_or_insert(view.tick) + 2) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    left
}
