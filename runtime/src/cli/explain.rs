//! `outrigger explain`

use super::common::Common;
use super::instances::{Which, living};
use super::output::{Failure, print, print_json};
use super::{DONE, FAILED};
use crate::control::{ClientError, Method, request};
use crate::status::Explanation;
use serde_json::Value;

/// Tell why a process or workload runs as it does: what was done, by which rule, from which
/// readings, what it changed, and what would undo it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  outrigger explain 4712
  outrigger explain hogs --json")]
pub(super) struct Args {
    /// Process number, or name of a workload.
    #[arg(value_name = "PID|WORKLOAD")]
    subject: String,
    #[command(flatten)]
    which: Which,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    // It is sent as part of a path: names of workloads and numbers have nothing else in them.
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if args.subject.is_empty() || !args.subject.chars().all(plain) {
        let subject = &args.subject;
        return Err(Failure::usage(format!(
            "{subject:?} is neither a process number nor the name of a workload (letters, digits, hyphens)"
        )));
    }
    let mut answer = None;
    let mut refusal = None;
    for sidecar in living(&args.which, common)? {
        match request(&sidecar.socket, Method::Get, &format!("/v1/explain/{}", args.subject)) {
            Ok(found) => {
                // One that has it in a workload knows more than one that only knows of it.
                let knows = |value: &Value| !value["workload"].is_null();
                if answer.is_none() || knows(&found) {
                    answer = Some(found);
                }
            }
            Err(error @ ClientError::Refused { .. }) => refusal = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    let Some(answer) = answer else {
        return Err(refusal.map_or_else(|| Failure::failed("nobody knows"), Failure::from));
    };
    let gone = |pid| outrigger_undo::knob::identify(pid).is_none();
    let unknown = answer["workload"].is_null()
        && answer["actions"].as_array().is_none_or(Vec::is_empty)
        && args.subject.parse().is_ok_and(gone);
    // The answer says that there is none; a script needs to know it too.
    let code = if unknown { FAILED } else { DONE };
    if args.json {
        return print_json(&answer).map(|_| code);
    }
    let explanation: Explanation = serde_json::from_value(answer)
        .map_err(|error| Failure::failed(format!("the sidecar is of another version: {error}")))?;
    print(&explanation.to_string()).map(|_| code)
}
