//! `outrigger config`

use super::USAGE;
use super::common::{Common, state_dir};
use super::output::{Failure, print, print_json};
use crate::backend::{FALLBACK, inspect};
use crate::config::{self, ConfigError, Examined, Loaded, Problem};
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
    let loaded = common.examine(file).and_then(|Examined { loaded, mut problems }| {
        let verdict = loaded.as_ref().map(|loaded| plugins(loaded, common)).unwrap_or_default();
        problems.extend(verdict.problems);
        match loaded {
            Some(loaded) if problems.is_empty() => Ok((loaded, verdict.warnings)),
            _ => Err(ConfigError { problems }),
        }
    });
    match (loaded, json) {
        (Ok((loaded, warnings)), true) => print_json(&json!({
            "valid": true, "sources": loaded.sources, "problems": [], "warnings": warnings
        })),
        (Ok((loaded, warnings)), false) => {
            let mut text = match loaded.sources.as_slice() {
                [] => "good: no file, variable or option; everything is built in\n".to_owned(),
                sources => format!("good: {}\n", sources.join(", ")),
            };
            for warning in warnings {
                text.push_str(&format!("warning: {warning}\n"));
            }
            print(&text)
        }
        (Err(error), true) => {
            print_json(&json!({ "valid": false, "problems": error.problems }))?;
            Ok(USAGE)
        }
        (Err(error), false) => Err(error.into()),
    }
}

/// What only a look at the plugins tells.
#[derive(Default)]
struct Verdict {
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

/// Holds the configuration of each plugin that is there against its schema.
fn plugins(loaded: &Loaded, common: &Common) -> Verdict {
    let config = &loaded.config.plugins;
    let executable = std::env::current_exe().ok();
    let executable = executable.as_deref();
    let found = inspect::list(config, &common.plugin_dirs, executable);
    let path_of = |name: &str| {
        found.iter().find(|view| view.name.as_deref() == Some(name)).and_then(|v| v.path.as_ref())
    };
    let mut verdict = Verdict {
        warnings: config.unused(|name| name == FALLBACK || path_of(name).is_some()),
        ..Verdict::default()
    };
    for name in config.config.keys() {
        let Some(path) = path_of(name) else { continue };
        let view = inspect::check(path, config, executable);
        let key = format!("plugins.config.{name}");
        match (view.misconfigured(config), view.config_schema, view.reason) {
            (Some(message), ..) => {
                let place = loaded.origin(&key);
                verdict.problems.push(Problem { place, key, message, allowed: None });
            }
            (None, None, Some(reason)) => {
                verdict.warnings.push(format!("{key} was not checked: {reason}"));
            }
            (None, ..) => {}
        }
    }
    verdict
}
