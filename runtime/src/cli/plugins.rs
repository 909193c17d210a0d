//! `outrigger plugins`

use super::common::Common;
use super::output::{Failure, print, print_json};
use super::{DONE, FAILED};
use crate::backend::inspect::{self, PluginView};
use crate::backend::{FALLBACK, host, negotiate::Offer};
use outrigger_sdk::Level;
use serde_json::json;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Look at plugins: what was found, what each can do here, and why one is not used.
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// List what is found, running none of its code.
    #[command(
        after_help = "Examples:\n  outrigger plugins list\n  outrigger plugins list --plugin-dir target/debug --json"
    )]
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Load everything that is found and ask it what it can do here.
    #[command(
        after_help = "Examples:\n  outrigger plugins probe\n  outrigger plugins probe --json | jq '.[].capabilities'"
    )]
    Probe {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check one file: whether it would be used, what it can do, which grant it needs.
    #[command(after_help = "Examples:\n  outrigger plugins check ./liboutrigger_mine.so")]
    Check {
        /// The plugin's file.
        file: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: &Command, common: &Common) -> Result<u8, Failure> {
    let loaded = common.load(Vec::new())?;
    crate::telemetry::start(&loaded.config.log);
    let config = &loaded.config.plugins;
    let executable = std::env::current_exe().ok();
    let executable = executable.as_deref();
    match command {
        Command::List { json } => {
            show(&inspect::list(config, &common.plugin_dirs, executable), *json, false)
        }
        Command::Probe { json } => {
            let registry = host::start(config, &common.plugin_dirs, executable);
            show(&inspect::views(&registry), *json, true)
        }
        Command::Check { file, json } => {
            let view = inspect::check(file, config, executable);
            if *json {
                print_json(&json!(view))?
            } else {
                print(&in_full(&view))?
            };
            Ok(if view.is_usable() { DONE } else { FAILED })
        }
    }
}

fn show(views: &[PluginView], json: bool, in_detail: bool) -> Result<u8, Failure> {
    if json {
        return print_json(&views);
    }
    if views.is_empty() {
        return print("no plugin was found; --plugin-dir names a directory to search\n");
    }
    let lines = views.iter().map(|view| if in_detail { in_full(view) } else { in_short(view) });
    print(&lines.collect::<String>())
}

fn in_short(view: &PluginView) -> String {
    let path = view.path.as_ref().map_or_else(|| "built in".into(), |p| p.display().to_string());
    let name = view.name.as_deref().unwrap_or("-");
    let about = view.reason.as_ref().unwrap_or(&path);
    format!("{name:<18} {:<10} {about}\n", view.standing())
}

fn in_full(view: &PluginView) -> String {
    let mut text = String::new();
    let name = view.name.as_deref().unwrap_or("(no name)");
    let version = view.version.as_deref().unwrap_or_default();
    let _ = writeln!(text, "{name} {version} ({})", view.standing());
    for (label, value) in [
        ("file", view.path.as_ref().map(|path| path.display().to_string())),
        ("digest", view.digest.clone()),
        ("about", view.summary.clone()),
        ("abi", view.abi.clone()),
        ("built with", view.toolchain.clone()),
        ("reason", view.reason.clone()),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let _ = writeln!(text, "  {label:<11} {value}");
        }
    }
    // The fallback is unavailable for everything by design: once is enough.
    let is_fallback = view.name.as_deref() == Some(FALLBACK);
    let listed = |offer: &&Offer| !is_fallback || offer.level > Level::UNAVAILABLE;
    for offer in view.capabilities.iter().filter(listed) {
        text.push_str(&capability(offer));
    }
    let unlisted = view.capabilities.len() - view.capabilities.iter().filter(listed).count();
    if unlisted > 0 {
        let _ = writeln!(text, "  and {unlisted} capabilities unavailable");
    }
    if !view.grant_needed.is_empty() {
        let names: Vec<String> = view.grant_needed.iter().map(|n| format!("{n:?}")).collect();
        let _ = writeln!(
            text,
            "  it may only observe until the configuration says, under [plugins.grants]:\n    {name} = [{}]",
            names.join(", ")
        );
    }
    text
}

fn capability(offer: &Offer) -> String {
    let Offer { capability, level, reason, hint, granted } = offer;
    let mut text = format!("  {:<18} {level}", capability.to_string());
    if !granted {
        text.push_str(", not granted");
    }
    if *level != Level::FULL && !reason.is_empty() {
        let _ = write!(text, ": {reason}");
        if !hint.is_empty() {
            let _ = write!(text, " ({hint})");
        }
    }
    text.push('\n');
    text
}
