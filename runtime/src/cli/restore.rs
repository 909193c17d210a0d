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
    let outcomes: Vec<&Outcome> = report.items.iter().map(|item| &item.outcome).collect();
    let mut text = format!("{id}: {}", fates(&outcomes));
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

/// How many were put back, and what became of those that need no line of their own.
fn fates(outcomes: &[&Outcome]) -> String {
    let count = |fate: &Outcome| outcomes.iter().filter(|outcome| **outcome == fate).count();
    let mut text = format!("{} of {} changes put back", count(&Outcome::Restored), outcomes.len());
    for (fate, words) in [
        (Outcome::Unchanged, "already as before"),
        (Outcome::Gone, "on what is no more"),
        (Outcome::Dropped, "gone with a context of ours"),
        (Outcome::Irreversible, "not to be taken back, as was allowed"),
    ] {
        match count(&fate) {
            0 => {}
            number => text.push_str(&format!(", {number} {words}")),
        }
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_each_change_is_told() {
        let outcomes = [Outcome::Restored, Outcome::Dropped, Outcome::Gone, Outcome::Gone];
        assert_eq!(
            fates(&outcomes.each_ref()),
            "1 of 4 changes put back, 2 on what is no more, 1 gone with a context of ours"
        );
    }
}
