//! `outrigger attach`

use super::common::{Common, state_dir};
use super::output::{Failure, tell};
use super::serve::{Plan, begin};
use super::targets::{self, BestEffort};
use crate::launch::SignalInbox;
use crate::paths::Instance;
use crate::policy::Selector;
use crate::status::Mode;
use outrigger_undo::{Task, knob};

/// Keep programs fast that are running already.
///
/// Protects the given processes and everything they start, until Ctrl-C, or until every process
/// given by number has ended; then puts everything back.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  outrigger attach --pid $(pidof redis-server) --best-effort 'name=stress-ng*'
  outrigger attach --cgroup /app --best-effort cgroup=/batch
  outrigger attach --match 'exe=/usr/sbin/nginx,uid=33' --neighbours same-session --dry-run")]
pub(super) struct Args {
    /// Process to protect; may be repeated.
    #[arg(long, value_name = "N", required_unless_present_any = ["cgroup", "matching"],
          value_parser = clap::value_parser!(u32).range(2..))]
    pid: Vec<u32>,
    /// Cgroup to protect, with everything below it, as a path within its hierarchy.
    #[arg(long, value_name = "PATH")]
    cgroup: Vec<String>,
    /// Processes to protect, as KEY=GLOB[,KEY=GLOB...]; may be repeated.
    #[arg(long = "match", id = "matching", value_name = "EXPR", value_parser = targets::parse)]
    matching: Vec<Selector>,
    #[command(flatten)]
    best_effort: BestEffort,
    /// Work out what would be done, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let inbox = SignalInbox::for_ending().map_err(Failure::failed)?;
    let loaded = common.load(args.best_effort.options())?;
    crate::telemetry::start(&loaded.config.log);
    let tasks = args.pid.iter().map(|&pid| identify(pid)).collect::<Result<Vec<_>, _>>()?;
    let mut selectors: Vec<Selector> = args.pid.iter().flat_map(|&p| targets::family(p)).collect();
    let mut config = loaded.config.clone();
    args.best_effort.add_to(&mut config.policy, &selectors, &targets::ours());
    selectors.extend(args.cgroup.iter().map(|path| targets::cgroup(path)));
    selectors.extend(args.matching.iter().cloned());
    targets::protect(&mut config.policy, "app", selectors);
    let instance = Instance::create(&state_dir(&loaded), "attach", std::process::id())?;
    let id = instance.id.clone();
    let serving = begin(Plan {
        loaded: &loaded,
        config,
        plugin_dirs: &common.plugin_dirs,
        instance,
        mode: Mode::Attach,
        dry_run: args.dry_run,
    })?;
    tell(&format!("{id} is at work; `outrigger status` tells how, Ctrl-C ends it"));
    let only_pids = args.cgroup.is_empty() && args.matching.is_empty();
    serving.stay(&inbox, || only_pids && !tasks.iter().any(|task| knob::is_alive(*task)))
}

fn identify(pid: u32) -> Result<Task, Failure> {
    knob::identify(pid).ok_or_else(|| Failure::failed(format!("there is no process {pid}")))
}
