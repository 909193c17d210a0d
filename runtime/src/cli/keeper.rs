//! The hidden `outrigger keeper`: waits for the end of a sidecar and puts back what it left.

use super::common::Common;
use super::output::Failure;
use outrigger_undo::Task;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The sidecar, as PID:START.
    #[arg(long)]
    owner: Task,
}

pub(super) fn run(args: &Args, common: &Common) -> ExitCode {
    if crate::mutation::skip_undo() {
        println!("ready");
        return ExitCode::SUCCESS;
    }
    match &common.state_dir {
        Some(directory) => outrigger_undo::keeper::main(directory, args.owner),
        None => ExitCode::from(Failure::usage("keeper: --state-dir is missing").tell()),
    }
}
