//! The parts, put together: what `run`, `attach` and `daemon` start and stop.
//!
//! ```text
//! start: journal → keeper → plugins → stages → sensor
//! stop:  sensor off → edges drain → restore, with a deadline → keeper → stages
//! ```
//!
//! The keeper is there before anything can be changed, and goes only when nothing is left to put
//! back. The stages live in threads of their own under a [`Steward`](crate::steward::Steward), all
//! of it in one thread of ours, so that whoever starts a sidecar can go on being a plain program.

mod assemble;
mod keeper;
mod publish;

pub use assemble::StartError;

use crate::config::Config;
use crate::enforcer::Bench;
use crate::flow::message::Name;
use crate::launch::Hooks;
use crate::paths::Instance;
use crate::status::{Hub, Identity};
use outrigger_sdk::{ContextId, TaskId};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long restoring may take before it is left to the keeper. Bounded by the deadlines of the
/// calls that may still be out, and by forks that have to be swept up.
pub const RESTORE_DEADLINE: Duration = Duration::from_secs(10);

/// Everything a sidecar needs to know to start.
#[derive(Clone, Debug)]
pub struct Order {
    /// The configuration, with the targets of the command line among its workloads and its policy
    /// without problems.
    pub config: Config,
    /// Plugin directories of the command line.
    pub plugin_dirs: Vec<PathBuf>,
    /// Its name and its directory, which exists.
    pub instance: Instance,
    /// What it tells about itself.
    pub identity: Identity,
}

/// A running sidecar. Dropping it stops it like [`Sidecar::stop`].
pub struct Sidecar {
    hub: Arc<Hub>,
    bench: Bench,
    keeper: Arc<keeper::Keeper>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Ended>>,
}

/// How a sidecar ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// Why it ended by itself; absent if it was asked to.
    pub gave_up: Option<String>,
    /// What could not be put back, one sentence each. The keeper tries again.
    pub left: Vec<String>,
    /// Putting back did not come to an end within [`RESTORE_DEADLINE`], and is not waited for: this
    /// process has to end, by `_exit(2)`, for the keeper to act.
    pub stuck: bool,
}

impl Sidecar {
    /// Starts everything; on return the first sweep is under way.
    ///
    /// # Errors
    /// What could not be started, and why. Nothing was changed then.
    pub fn start(order: Order) -> Result<Self, StartError> {
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("sidecar".to_owned())
            .spawn(move || assemble::run(order, stopped, &tell))
            .map_err(|error| StartError::System(format!("no thread could be started: {error}")))?;
        let ready = told.recv().unwrap_or_else(|_| {
            Err(StartError::System("it panicked while it was starting".to_owned()))
        });
        match ready {
            Ok(assemble::Parts { hub, bench, keeper }) => {
                Ok(Self { hub, bench, keeper, stop: Some(stop), thread: Some(thread) })
            }
            Err(error) => {
                // It has said why; a panic after that adds nothing.
                let _ = thread.join();
                Err(error)
            }
        }
    }

    /// Where its state can be read at any time.
    pub fn hub(&self) -> Arc<Hub> {
        Arc::clone(&self.hub)
    }

    /// Puts a process we launched into a context of its own, before it runs. Blocks.
    ///
    /// # Errors
    /// Why not, one sentence.
    pub fn launch(&self, workload: &Name, task: TaskId) -> Result<ContextId, String> {
        self.bench.launch(workload, task)
    }

    /// What the launcher needs to know at the end; may be kept and asked after the sidecar has
    /// ended.
    pub fn hooks(&self, launched: Name) -> Hooks {
        let (bench, keeper) = (self.bench.clone(), Arc::clone(&self.keeper));
        Hooks {
            stragglers: Box::new(move || bench.inside(&launched)),
            spared: Box::new(move || keeper.pid().into_iter().collect()),
        }
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Puts everything back and ends it; waits at most [`RESTORE_DEADLINE`] for plugins, after
    /// which the keeper does it when this process has ended.
    pub fn stop(mut self) -> Ended {
        self.end()
    }

    fn end(&mut self) -> Ended {
        drop(self.stop.take());
        let Some(thread) = self.thread.take() else {
            return Ended::default();
        };
        thread.join().unwrap_or_else(|_| Ended {
            gave_up: Some("it panicked".to_owned()),
            left: vec!["what was changed is put back by the keeper".to_owned()],
            stuck: false,
        })
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.end();
    }
}
