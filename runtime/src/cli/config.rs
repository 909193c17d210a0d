//! `outrigger config`

use super::USAGE;
use super::common::{Common, state_dir};
use super::output::{Failure, print, print_json};
use crate::config;
use serde_json::json;
use std::path::PathBuf;

/// Look at the configuration.
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Print the configuration in force, and where each value comes from.
    #[command(
        after_help = "Examples:\n  outrigger config show\n  OUTRIGGER__TIMING__TICK=1s outrigger config show --json"
    )]
    Show {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say everything that is wrong with the configuration.
    #[command(
        after_help = "Examples:\n  outrigger config check\n  outrigger config check web.toml --json"
    )]
    Check {
        /// File to check, instead of the one that would be used.
        file: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: &Command, common: &Common) -> Result<u8, Failure> {
    match command {
        Command::Show { json } => {
            let loaded = common.load(Vec::new())?;
            if *json {
                return print_json(&config::json(&loaded));
            }
            let state = state_dir(&loaded);
            let state = format!("\n# State lives in {}.\n", state.path().display());
            print(&(config::text(&loaded) + &state))
        }
        Command::Check { file, json } => check(file.as_ref(), *json, common),
    }
}

fn check(file: Option<&PathBuf>, json: bool, common: &Common) -> Result<u8, Failure> {
    let file = file.or(common.config.as_ref()).cloned();
    match (common.load_file(file, Vec::new()), json) {
        (Ok(loaded), true) => {
            print_json(&json!({ "valid": true, "sources": loaded.sources, "problems": [] }))
        }
        (Ok(loaded), false) => print(&match loaded.sources.as_slice() {
            [] => "good: no file, variable or option; everything is built in\n".to_owned(),
            sources => format!("good: {}\n", sources.join(", ")),
        }),
        (Err(error), true) => {
            print_json(&json!({ "valid": false, "problems": error.problems }))?;
            Ok(USAGE)
        }
        (Err(error), false) => Err(error.into()),
    }
}
