//! All that restoring needs to know of a system and to do to it.
//!
//! There is one real world, [`super::Kernel`]. The trait exists so that the decisions can be
//! tested against a model in which tasks fork, writes fail and others interfere on command.

use crate::Task;
use crate::knob::KnobError;
use crate::operation::Kind;

/// A living thread and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Person {
    /// The thread; its number is never 0, a leader's is that of the process.
    pub task: Task,
    /// Start of its process.
    pub process_start: u64,
    /// Parent process.
    pub parent: u32,
    /// Session.
    pub session: u32,
    /// Process group.
    pub group: u32,
}

impl Person {
    /// Whether it is the leader of its process.
    pub const fn is_leader(&self) -> bool {
        self.task.tid == self.task.pid
    }
    /// Its process as a task.
    pub const fn process(&self) -> Task {
        Task { pid: self.task.pid, tid: 0, start: self.process_start }
    }
}

/// The hierarchy a context is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Mount point of the hierarchy.
    pub mount: String,
    /// Path within it.
    pub path: String,
}

/// A system on which knobs are turned back.
pub trait World {
    /// Reads a knob, as [`crate::knob::read`].
    ///
    /// # Errors
    /// As there.
    fn read(&self, kind: Kind, task: Option<Task>, locator: &str) -> Result<String, KnobError>;
    /// Writes a knob and reads it back, as [`crate::knob::write`].
    ///
    /// # Errors
    /// As there.
    fn write(
        &self,
        kind: Kind,
        task: Option<Task>,
        locator: &str,
        value: &str,
    ) -> Result<String, KnobError>;
    /// Every living thread that is not the kernel's.
    fn census(&self) -> Vec<Person>;
    /// A thread, or the leader of a process, and the leaders of its parent, grandparent and so on;
    /// empty if it is gone.
    fn line(&self, task: Task) -> Vec<Person>;
    /// The living threads of a process.
    fn threads(&self, process: Task) -> Vec<Task>;
    /// Whether threads of one process can be in different cgroups of this hierarchy (v1).
    fn splits_threads(&self, mount: &str) -> bool;
    /// Where in which hierarchy a context is.
    fn place(&self, context: &str) -> Option<Place>;
    /// Whether a cgroup exists.
    fn has_cgroup(&self, mount: &str, path: &str) -> bool;
    /// Tasks in a context: threads where they can be apart, otherwise processes.
    ///
    /// # Errors
    /// The context is gone or cannot be read.
    fn members(&self, context: &str) -> Result<Vec<Task>, KnobError>;
    /// Names of the contexts within a context.
    fn children(&self, context: &str) -> Vec<String>;
    /// Any living process of an autogroup.
    fn autogroup_member(&self, name: &str) -> Option<Task>;
    /// Milliseconds of a monotonic clock.
    fn now_ms(&self) -> u64;
    /// Lets others get on for a moment.
    fn rest(&self);
}
