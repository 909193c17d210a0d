//! `outrigger run`

use super::common::{Common, state_dir};
use super::output::{Failure, tell};
use super::serve::{Plan, Serving, begin};
use super::targets::{self, BestEffort};
use super::{FAILED, HOST};
use crate::flow::message::Name;
use crate::launch::{self, EXIT_OURS, Fate, Held, Hooks, SignalInbox, Straggler};
use crate::mutation;
use crate::paths::Instance;
use crate::sidecar::StartError;
use crate::status::{Mode, plain};
use outrigger_sdk::{TaskId, TaskIdExt};
use std::ffi::OsString;

/// Run a program and keep it fast.
///
/// CMD and everything it starts is protected; what --best-effort or the configuration names is
/// held back while CMD waits because of it. Terminal, signals and exit code are CMD's own; what
/// CMD leaves running is ended. If CMD cannot be governed it runs all the same and a warning says
/// why, unless --require. CMD and what it starts is never held back by --best-effort.
///
/// If Outrigger itself is killed (SIGKILL), CMD lives on, ungoverned, and its keeper puts every
/// change back; what is left of its state directory is removed at the next start.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  outrigger run --best-effort 'name=stress-ng*' -- redis-server --port 6379
  outrigger run --neighbours same-session -- ./server
  outrigger run --require --config web.toml -- nginx -g 'daemon off;'

Exit code: CMD's (128 + N if signal N killed it); 125 Outrigger failed, 126 CMD cannot be executed,
127 CMD was not found; 3 with --require if the host cannot govern.")]
pub(super) struct Args {
    #[command(flatten)]
    best_effort: BestEffort,
    /// Fail instead of running CMD ungoverned.
    #[arg(long)]
    require: bool,
    /// Run CMD, work out what would be done, tell it, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// The program and its arguments.
    #[arg(value_name = "CMD", required = true, last = true)]
    command: Vec<OsString>,
}

/// The exit code; everything has been said.
pub(super) fn run(args: &Args, common: &Common) -> u8 {
    match attempt(args, common) {
        Ok(code) => code,
        Err(failure) => {
            tell(&failure.message);
            // Codes of ours must not be taken for CMD's.
            if failure.code == HOST { HOST } else { EXIT_OURS }
        }
    }
}

fn attempt(args: &Args, common: &Common) -> Result<u8, Failure> {
    // Signals first: whatever arrives from now on waits for somebody to read it.
    let inbox = SignalInbox::for_child().map_err(Failure::failed)?;
    let held = launch::hold(&args.command, &inbox).map_err(Failure::failed)?;
    let serving = match govern(args, common, &held) {
        Ok(serving) => Some(serving),
        Err(failure) if args.require => return Err(failure),
        Err(failure) => {
            tell(&format!("{} runs ungoverned:\n{}", name(&args.command), failure.message));
            None
        }
    };
    let hooks = serving
        .as_ref()
        .map_or_else(Hooks::none, |(serving, app)| serving.sidecar.hooks(app.clone()));
    let ended = launch::supervise(held, &inbox, &hooks).map_err(Failure::failed);
    drop(hooks);
    let end = serving.map(|(serving, _)| serving.end());
    let ended = ended?;
    report(&ended.stragglers);
    let code = match end {
        // It has been said; CMD's own code is what the caller wants to know.
        Some(end) if end.code == FAILED && ended.code == 0 && args.require => EXIT_OURS,
        _ if mutation::forget_code() => 0,
        _ => ended.code,
    };
    Ok(end.map_or(code, |end| end.exit_with(code)))
}

/// Starts a sidecar for the waiting child and puts the child into its context.
fn govern(args: &Args, common: &Common, held: &Held) -> Result<(Serving, Name), Failure> {
    let loaded = common.load(args.best_effort.options())?;
    crate::telemetry::start(&loaded.config.log);
    let pid = held.task().pid;
    let mut config = loaded.config.clone();
    let family = targets::family(pid);
    args.best_effort.add_to(&mut config.policy, &family, &targets::ours());
    let app = targets::protect(&mut config.policy, "app", family.to_vec());
    let instance = Instance::create(&state_dir(&loaded), "run", std::process::id())?;
    let plan = Plan {
        loaded: &loaded,
        config,
        plugin_dirs: &common.plugin_dirs,
        instance,
        mode: Mode::Run,
        dry_run: args.dry_run,
    };
    let serving = begin(plan)?;
    let obstacle = serving.obstacle();
    if let Some(why) = &obstacle {
        if args.require {
            serving.end();
            return Err(Failure::host(why));
        }
        tell(&format!("{} runs, but nothing can be done for it: {why}", name(&args.command)));
    }
    if let Err(error) = serving.sidecar.launch(&app, TaskId::from_task(held.task())) {
        if args.require {
            serving.end();
            return Err(Failure::host(error));
        }
        if obstacle.is_none() {
            tell(&format!("{} runs where it is: {error}", name(&args.command)));
        }
    }
    Ok((serving, app))
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            error @ StartError::Policy(_) => Self::usage(error),
            error @ (StartError::System(_) | StartError::Failed(_)) => Self::failed(error),
        }
    }
}

fn name(command: &[OsString]) -> String {
    command.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What CMD left behind, if that is worth a line.
fn report(stragglers: &[Straggler]) {
    for straggler in stragglers {
        let Straggler { pid, name, daemonised, fate } = straggler;
        let what = if *daemonised { "had made itself a daemon" } else { "still ran" };
        let fate = match fate {
            // Ended as soon as it was asked to: nothing to tell, unless it had hidden.
            Fate::Ended if !daemonised => continue,
            Fate::Ended => "was ended",
            Fate::Killed => "did not end when asked to and was killed",
            Fate::Remains => "could not be ended",
        };
        let name = plain(name);
        tell(&format!("process {pid} ({name}) {what} after the command ended, and {fate}"));
    }
}
