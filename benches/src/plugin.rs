//! The plugin under measurement, loaded at run time as in production.

use std::fs;
use std::path::{Path, PathBuf};

use outrigger::backend::{Plugin, PluginsConfig, Registry, load, ownership, start};
use outrigger_sdk::Backend;
use std::sync::Arc;
use tempfile::TempDir;

const NAME: &str = "linux-proc";
const FILE: &str = "liboutrigger_linux_proc.so";

/// A host that holds `linux-proc`, from a directory with nothing else in it.
#[derive(Debug)]
pub struct Plugins {
    registry: Registry,
    _directory: TempDir,
}

// === impl Plugins ===

impl Plugins {
    /// Starts the host.
    ///
    /// # Panics
    /// When the library was not built, or is refused.
    pub fn start() -> Self {
        let directory = TempDir::new().expect("the temporary directory can be written");
        copy(directory.path());
        let registry = start(&PluginsConfig::default(), &[directory.path().to_owned()], None);
        assert_eq!(registry.refusals(), []);
        Self { registry, _directory: directory }
    }

    /// Who can do what.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The plugin, called through its lane.
    ///
    /// # Panics
    /// Never: [`Plugins::start`] has looked.
    pub fn linux_proc(&self) -> &Arc<Plugin> {
        self.registry.plugin(NAME).expect("nothing was refused")
    }
}

/// The plugin's backend without a lane: calls run in the calling thread, across the boundary.
///
/// # Panics
/// When the library was not built, or is refused.
pub fn loaded() -> Box<dyn Backend> {
    let directory = TempDir::new().expect("the temporary directory can be written");
    let file = ownership::check(&copy(directory.path())).expect("we have just written it");
    let (about, module) = load::describe(&file, NAME).expect("it is ours");
    module.create(&about, None).expect("it needs nothing that a bench has not")
}

/// Beside the executable of a bench, cargo keeps the libraries it depends on.
fn copy(into: &Path) -> PathBuf {
    let bench = std::env::current_exe().expect("the kernel knows what it runs");
    let library = bench.with_file_name(FILE);
    let copy = into.join(FILE);
    fs::copy(&library, &copy).unwrap_or_else(|error| {
        panic!("cannot copy {} to {}: {error}", library.display(), copy.display())
    });
    copy
}
