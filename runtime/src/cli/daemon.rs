//! `outrigger daemon`

use super::common::{Common, state_dir};
use super::output::{Failure, tell};
use super::serve::{Plan, begin};
use crate::launch::SignalInbox;
use crate::paths::Instance;
use crate::status::Mode;

/// Govern this host by its configuration.
///
/// Stays in the foreground, as service managers want it, until SIGTERM or SIGINT; then puts
/// everything back. SIGHUP is taken note of: there is nothing to reload yet.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  outrigger daemon
  outrigger daemon --config web.toml --log info --log-format json
  outrigger daemon --dry-run            work out what would be done, and change nothing")]
pub(super) struct Args {
    /// Fail if nothing can be done on this host.
    #[arg(long)]
    require: bool,
    /// Work out what would be done, tell it, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let inbox = SignalInbox::for_ending().map_err(Failure::failed)?;
    let loaded = common.load(Vec::new())?;
    crate::telemetry::start(&loaded.config.log);
    let instance = Instance::daemon(&state_dir(&loaded))?;
    let serving = begin(Plan {
        loaded: &loaded,
        config: loaded.config.clone(),
        plugin_dirs: &common.plugin_dirs,
        instance,
        mode: Mode::Daemon,
        dry_run: args.dry_run,
    })?;
    if let Some(why) = serving.obstacle() {
        if args.require {
            serving.end();
            return Err(Failure::host(why));
        }
        tell(&format!("nothing can be done: {why}"));
    }
    if let Some(socket) = serving.socket() {
        tell(&format!("listening on {}", socket.display()));
    }
    serving.stay(&inbox, || false)
}
