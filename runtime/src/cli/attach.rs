//! `outrigger attach`

use super::common::{Common, state_dir};
use super::output::Failure;
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
/// given by number has ended; then puts everything back. Whoever is protected is not held back,
/// whatever --best-effort matches. `nohup` keeps it alive when the terminal is closed.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("targets").required(true).multiple(true)
    .args(["pids", "cgroup", "matching"]))]
#[command(after_help = "\
Examples:
  outrigger attach --pid \"$(pidof redis-server)\" --best-effort 'name=stress-ng*'
  outrigger attach --cgroup /app --best-effort cgroup=/batch
  outrigger attach --match 'exe=/usr/sbin/nginx,uid=33' --neighbours same-session --dry-run")]
pub(super) struct Args {
    /// Process to protect, or several with blanks or commas between them; may be repeated.
    #[arg(long = "pid", value_name = "N", value_parser = pids)]
    pids: Vec<Pids>,
    /// Cgroup to protect, with everything below it, as a path within its hierarchy.
    #[arg(long, value_name = "PATH")]
    cgroup: Vec<String>,
    /// Processes to protect, as KEY=GLOB[,KEY=GLOB...]; may be repeated.
    #[arg(long = "match", id = "matching", value_name = "EXPR", value_parser = targets::parse)]
    matching: Vec<Selector>,
    #[command(flatten)]
    best_effort: BestEffort,
    /// Fail instead of staying if nothing can be done here or nobody is there to be protected.
    #[arg(long)]
    require: bool,
    /// Work out what would be done, tell it, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What one `--pid` names: `pidof` answers with several.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pids(Vec<u32>);

fn pids(text: &str) -> Result<Pids, String> {
    let words = text.split([' ', ',', '\n', '\t']).filter(|word| !word.is_empty());
    let numbers: Result<Vec<u32>, _> = words
        .map(|word| match word.parse() {
            Ok(pid) if pid >= 2 => Ok(pid),
            Ok(_) => Err(format!("{word}: process 1 is never touched")),
            Err(_) => Err(format!("{word:?} is not a process number")),
        })
        .collect();
    match numbers?.as_slice() {
        [] => Err("there is no process number in it; is the program running?".to_owned()),
        some => Ok(Pids(some.to_vec())),
    }
}

pub(super) fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let inbox = SignalInbox::for_ending().map_err(Failure::failed)?;
    let loaded = common.load(args.best_effort.options())?;
    crate::telemetry::start(&loaded.config.log);
    let pids: Vec<u32> = args.pids.iter().flat_map(|Pids(pids)| pids).copied().collect();
    let tasks = pids.iter().map(|&pid| identify(pid)).collect::<Result<Vec<_>, _>>()?;
    let mut selectors: Vec<Selector> = pids.iter().flat_map(|&p| targets::family(p)).collect();
    let mut config = loaded.config.clone();
    args.best_effort.add_to(&mut config.policy, &selectors, &targets::ours());
    selectors.extend(args.cgroup.iter().map(|path| targets::cgroup(path)));
    selectors.extend(args.matching.iter().cloned());
    targets::protect(&mut config.policy, "app", selectors);
    let instance = Instance::create(&state_dir(&loaded), "attach", std::process::id())?;
    let serving = begin(Plan {
        loaded: &loaded,
        config,
        plugin_dirs: &common.plugin_dirs,
        instance,
        mode: Mode::Attach,
        dry_run: args.dry_run,
    })?;
    let serving = serving.announce(args.require)?;
    let only_pids = args.cgroup.is_empty() && args.matching.is_empty();
    serving.stay(&inbox, || only_pids && !tasks.iter().any(|task| knob::is_alive(*task)))
}

fn identify(pid: u32) -> Result<Task, Failure> {
    knob::identify(pid).ok_or_else(|| Failure::failed(format!("there is no process {pid}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pidof_prints_is_a_list() {
        assert_eq!(pids("12 7\n"), Ok(Pids(vec![12, 7])));
        assert_eq!(pids("12,7"), Ok(Pids(vec![12, 7])));
        assert!(pids("").is_err_and(|told| told.contains("is the program running?")));
        assert!(pids("1").is_err() && pids("x").is_err());
    }
}
