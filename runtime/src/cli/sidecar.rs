//! What the commands need of a sidecar. How one is made of plugins, stages and a journal is not
//! their business.

use crate::config::Config;
use crate::launch::Hooks;
use crate::paths::Instance;
use crate::status::{Hub, Identity};
use outrigger_undo::{Report, Task};
use std::path::PathBuf;
use std::sync::Arc;

/// Everything a sidecar needs to know to start.
#[derive(Debug)]
pub struct Order {
    /// The configuration, with the targets of the command line among its workloads.
    pub config: Config,
    /// Plugin directories of the command line.
    pub plugin_dirs: Vec<PathBuf>,
    /// Its name and its directory, which exists.
    pub instance: Instance,
    /// What it tells about itself.
    pub identity: Identity,
    /// The process that was launched and waits, if one was.
    pub launched: Option<Task>,
}

/// Why there is no sidecar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// This host cannot do what is needed.
    #[error("{0}")]
    Host(String),
    /// Something went wrong.
    #[error("{0}")]
    Failed(String),
}

/// A sidecar at work.
pub trait Sidecar {
    /// Where its stages publish.
    fn hub(&self) -> Arc<Hub>;

    /// Puts the launched process into its context, before it runs. One sentence if that is not
    /// possible: it then runs where it is, protected only by what is done to others.
    ///
    /// # Errors
    /// Why not.
    fn place(&mut self, task: Task) -> Result<(), StartError>;

    /// What the launcher needs to know at the end.
    fn hooks(&self) -> Hooks;

    /// Why it has given up, if it has: then it is to be shut down.
    fn failure(&self) -> Option<String>;

    /// Stops the stages in order and puts everything back.
    ///
    /// # Errors
    /// One sentence; what is left behind is the keeper's, and then `outrigger restore`'s.
    fn shutdown(self: Box<Self>) -> Result<Report, String>;
}

/// Makes a sidecar. Blocks until it observes.
pub type Start = fn(Order) -> Result<Box<dyn Sidecar>, StartError>;

/// A program without a sidecar: says so.
///
/// # Errors
/// Always.
pub fn absent(_: Order) -> Result<Box<dyn Sidecar>, StartError> {
    Err(StartError::Failed("this build contains no sidecar".to_owned()))
}
