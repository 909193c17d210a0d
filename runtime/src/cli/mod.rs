//! The command line: one file for each command.
//!
//! Commands parse, ask and print; they decide nothing. Roles that must stay small (keeper, shim,
//! the demo's processes) are dispatched before any thread or runtime exists.

mod attach;
mod common;
mod config;
mod daemon;
mod doctor;
mod explain;
mod instances;
mod keeper;
mod launch;
mod output;
mod pause;
mod plugins;
mod restore;
mod run;
mod serve;
mod status;
mod targets;

use crate::demo;
use clap::{Parser, Subcommand};
use common::Common;
use output::Failure;
use std::process::ExitCode;

/// Done.
const DONE: u8 = 0;
/// Failed.
const FAILED: u8 = 1;
/// Bad usage, configuration or policy.
const USAGE: u8 = 2;
/// The host cannot do what was required.
const HOST: u8 = 3;

/// Keeps an application fast when something beside it goes wild.
///
/// Outrigger watches processes, works out who waits because of whom, and holds back what may be
/// held back with whatever the operating system offers. Without contention it takes nothing from
/// anybody; everything it changed is put back, also after kill -9.
#[derive(Parser)]
#[command(name = "outrigger", version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  outrigger demo                                    see it work on this machine
  outrigger doctor                                  what this host can do, and why not more
  outrigger run --best-effort 'name=stress-ng*' -- redis-server
  outrigger attach --pid 4711 --best-effort 'command=*backup*'
  outrigger explain 4712                            why this process runs as it does

Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 the host cannot do what was required.";

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Attach(attach::Args),
    Daemon(daemon::Args),
    Status(status::Args),
    Explain(explain::Args),
    Doctor(doctor::Args),
    #[command(
        subcommand,
        after_help = "Examples:\n  outrigger plugins list\n  outrigger plugins probe\n  outrigger plugins check ./liboutrigger_mine.so"
    )]
    Plugins(plugins::Command),
    #[command(
        subcommand,
        after_help = "Examples:\n  outrigger config show\n  outrigger config check web.toml"
    )]
    Config(config::Command),
    Restore(restore::Args),
    /// Tell a running sidecar to hold nobody back.
    ///
    /// Everything is as it was found until `outrigger resume`; meanwhile it goes on watching.
    Pause(pause::Args),
    /// Tell a paused sidecar to go on.
    Resume(pause::Args),
    /// See the main job done on this machine, with figures: a small service under load, CPU hogs
    /// beside it, and three phases in turn: alone, unmanaged, governed.
    #[command(
        after_help = "Examples:\n  outrigger demo\n  outrigger demo --seconds 10 --rounds 5 --json > demo.json\n\nExit codes: 0 every line of the verdict is [yes], 1 one is not, or it failed, 3 this machine cannot show it."
    )]
    Demo(demo::Args),
    #[command(hide = true)]
    Keeper(keeper::Args),
    #[command(hide = true)]
    Launch(launch::Args),
    #[command(hide = true)]
    DemoService(demo::service::Args),
    #[command(hide = true)]
    DemoLoad(demo::load::Args),
    #[command(hide = true)]
    DemoHog(demo::hog::Args),
}

/// The whole program.
pub fn main() -> ExitCode {
    let Cli { common, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let code = match command {
        Command::Keeper(args) => return keeper::run(&args, &common),
        Command::Launch(args) => Ok(crate::launch::shim(args.gate, &args.command)),
        Command::DemoService(args) => role(demo::service::run(&args)),
        Command::DemoLoad(args) => role(demo::load::run(&args)),
        Command::DemoHog(args) => demo::hog::run(&args),
        Command::Run(args) => return ExitCode::from(run::run(&args, &common)),
        Command::Attach(args) => attach::run(&args, &common),
        Command::Daemon(args) => daemon::run(&args, &common),
        Command::Status(args) => status::run(&args, &common),
        Command::Explain(args) => explain::run(&args, &common),
        Command::Doctor(args) => doctor::run(&args, &common),
        Command::Plugins(command) => plugins::run(&command, &common),
        Command::Config(command) => config::run(&command, &common),
        Command::Restore(args) => restore::run(&args, &common),
        Command::Pause(args) => pause::run(&args, &common, true),
        Command::Resume(args) => pause::run(&args, &common, false),
        Command::Demo(args) => run_demo(&args),
    };
    ExitCode::from(code.unwrap_or_else(Failure::tell))
}

fn run_demo(args: &demo::Args) -> Result<u8, Failure> {
    if let Some(unmet) = demo::needs::unmet() {
        return Err(Failure::host(unmet));
    }
    match demo::run(args, &demo::Sidecar) {
        Ok(true) => Ok(DONE),
        Ok(false) => Ok(FAILED),
        Err(error) => Err(Failure::failed(error)),
    }
}

fn role(result: std::io::Result<()>) -> Result<u8, Failure> {
    result.map(|()| DONE).map_err(Failure::failed)
}

/// Help goes to standard output and is no failure; anything else is bad usage.
fn usage(error: &clap::Error) -> ExitCode {
    // Nothing can be told to somebody whose terminal is gone.
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::from(DONE);
    }
    // `run` passes on every code of CMD, so that it needs one of its own for everything.
    let is_run = std::env::args_os().nth(1).is_some_and(|command| command == "run");
    ExitCode::from(if is_run { crate::launch::EXIT_OURS } else { USAGE })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_visible_command_has_help_with_examples() {
        for command in Cli::command().get_subcommands().filter(|c| !c.is_hide_set()) {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name}");
            let below = command.get_subcommands().all(|inner| inner.get_after_help().is_some());
            assert!(command.get_after_help().is_some() && below, "{name} has no examples");
        }
    }
}
