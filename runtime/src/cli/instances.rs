//! Which sidecar is meant.

use super::common::{Common, Whereabouts};
use super::output::Failure;
use crate::paths::{DAEMON, Instance};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// For commands that talk to a running sidecar.
#[derive(clap::Args)]
pub(super) struct Which {
    /// Which sidecar, if several run: daemon, run-PID, attach-PID.
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
}

/// A living sidecar.
#[derive(Clone, Debug)]
pub(super) struct Living {
    pub id: String,
    pub socket: PathBuf,
}

/// Every living sidecar of the state directory, or the one that was named.
pub(super) fn living(which: &Which, common: &Common) -> Result<Vec<Living>, Failure> {
    let Whereabouts { state, socket } = common.whereabouts();
    let instances = state.instances()?;
    let left = abandoned(&instances);
    let mut candidates: Vec<Living> =
        instances.into_iter().map(|Instance { id, socket, .. }| Living { id, socket }).collect();
    if let Some(socket) = socket {
        candidates.retain(|candidate| candidate.id != DAEMON);
        candidates.push(Living { id: DAEMON.to_owned(), socket });
    }
    candidates.retain(|candidate| UnixStream::connect(&candidate.socket).is_ok());
    if let Some(name) = &which.instance {
        candidates.retain(|candidate| candidate.id == *name);
    }
    if candidates.is_empty() {
        let which = which.instance.as_ref().map_or_else(String::new, |name| format!(" {name:?}"));
        let place = state.path().display();
        let left = if left.is_empty() {
            String::new()
        } else {
            let names = left.join(", ");
            format!("\nchanges of {names} are still in place: `outrigger restore` puts them back")
        };
        return Err(Failure::failed(format!(
            "no sidecar{which} is running (looked in {place}){left}"
        )));
    }
    Ok(candidates)
}

/// Dead sidecars whose changes nobody has put back, although a keeper does so at once.
fn abandoned(instances: &[Instance]) -> Vec<String> {
    let has_left = |instance: &&Instance| {
        let left = outrigger_undo::outstanding(&instance.directory);
        // What cannot be read is for `restore` to say.
        matches!(left, Ok(Some(left)) if !left.is_owner_alive && !left.entries.is_empty())
    };
    instances.iter().filter(has_left).map(|instance| instance.id.clone()).collect()
}

/// The one sidecar that is meant.
pub(super) fn one(which: &Which, common: &Common) -> Result<Living, Failure> {
    let mut living = living(which, common)?;
    match (living.len(), living.pop()) {
        (1, Some(one)) => Ok(one),
        (_, last) => {
            let names: Vec<String> = living.into_iter().chain(last).map(|l| l.id).collect();
            Err(Failure::usage(format!(
                "several sidecars are running: {}; say which with --instance",
                names.join(", ")
            )))
        }
    }
}
