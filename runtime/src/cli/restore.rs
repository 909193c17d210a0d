//! `outrigger restore`

use super::common::{Common, Whereabouts};
use super::output::{Failure, print, print_json};
use super::serve::leftovers;
use super::{DONE, FAILED};
use crate::paths::Instance;
use outrigger_undo::{JournalError, Outcome, Report};
use serde_json::json;
use std::fmt::Write as _;

/// Put back what a dead sidecar changed and nobody has put back yet.
///
/// Normally there is nothing to do: a sidecar puts everything back when it ends, and its keeper
/// does when it is killed. Sidecars that are alive are left alone.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  outrigger restore --dry-run
  outrigger restore --json")]
pub(super) struct Args {
    /// Only this one, instead of every dead sidecar of the state directory.
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// Only say what is still changed.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let Whereabouts { state, .. } = common.whereabouts();
    let mut instances = state.instances()?;
    if let Some(name) = &args.instance {
        instances.retain(|instance| instance.id == *name);
        if instances.is_empty() {
            let place = state.path().display();
            return Err(Failure::failed(format!("there is nothing of {name:?} in {place}")));
        }
    }
    if args.dry_run { look(&instances, args.json) } else { restore(&instances, args.json) }
}

fn restore(instances: &[Instance], json: bool) -> Result<u8, Failure> {
    let (mut code, mut text, mut all) = (DONE, String::new(), Vec::new());
    for instance in instances {
        let id = &instance.id;
        match outrigger_undo::restore(&instance.directory) {
            Ok(report) => {
                if report.is_clean() {
                    if !instance.may_be_starting() {
                        instance.remove();
                        // The daemon's is not in its directory; somebody else may have it by now.
                        let _ = crate::control::clear(&instance.socket);
                    }
                    if !(report.items.is_empty() && report.notes.is_empty()) {
                        text.push_str(&summary(id, &report));
                    }
                } else {
                    code = FAILED;
                    let _ = writeln!(text, "{id}: {}", leftovers(&report));
                }
                all.push(json!({ "instance": id, "report": report }));
            }
            // Alive: what it changed is its own business.
            Err(JournalError::InUse { owner, .. }) => {
                let _ = writeln!(text, "{id}: process {} is alive and was left alone", owner.pid);
                all.push(json!({ "instance": id, "alive": owner.pid }));
            }
            Err(error) => {
                code = FAILED;
                let _ = writeln!(text, "{id}: {error}");
                all.push(json!({ "instance": id, "error": error.to_string() }));
            }
        }
    }
    if json {
        print_json(&all)?;
    } else if text.is_empty() {
        print("nothing was left behind\n")?;
    } else {
        print(&text)?;
    }
    Ok(code)
}

fn summary(id: &str, report: &Report) -> String {
    let restored = report.items.iter().filter(|i| i.outcome == Outcome::Restored).count();
    let mut text = format!("{id}: {restored} of {} changes put back", report.items.len());
    for item in &report.items {
        match &item.outcome {
            Outcome::Foreign { found } => {
                let _ = write!(
                    text,
                    "\n  {}: somebody else made it {found}; left so",
                    item.operation.locator
                );
            }
            Outcome::Moved { to } => {
                let _ = write!(
                    text,
                    "\n  {}: its place is gone; it is in {to} now",
                    item.operation.locator
                );
            }
            _ => {}
        }
    }
    for note in &report.notes {
        let _ = write!(text, "\n  {note}");
    }
    text + "\n"
}

fn look(instances: &[Instance], json: bool) -> Result<u8, Failure> {
    let (mut text, mut all) = (String::new(), Vec::new());
    for instance in instances {
        let id = &instance.id;
        let Some(left) =
            outrigger_undo::outstanding(&instance.directory).map_err(Failure::failed)?
        else {
            continue;
        };
        if left.is_owner_alive {
            let _ =
                writeln!(text, "{id}: process {} is alive and would be left alone", left.owner.pid);
        }
        for entry in left.entries.iter().filter(|_| !left.is_owner_alive) {
            let operation = &entry.operation;
            let on = operation.task.map_or_else(String::new, |task| format!(" of {task}"));
            let _ = writeln!(
                text,
                "{id}: {:?}{on} {} would go back to {}",
                operation.kind,
                operation.locator,
                entry.origin()
            );
        }
        all.push(json!({
            "instance": id,
            "owner": left.owner.pid,
            "alive": left.is_owner_alive,
            "outstanding": left.entries.iter().map(|e| &e.operation).collect::<Vec<_>>(),
        }));
    }
    if json {
        return print_json(&all);
    }
    print(if text.is_empty() { "nothing was left behind\n" } else { &text })
}
