//! Directories with copies of the fixture library, and hosts started on them.

use outrigger::backend::{Plugin, PluginsConfig, Registry};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The fixture library: built before this test, as a dependency, into the directory of the test's
/// own executable.
pub fn library() -> PathBuf {
    let executable = std::env::current_exe().unwrap();
    let library = executable.with_file_name("libplugin_probe.so");
    assert!(library.exists(), "{} was not built", library.display());
    library
}

/// A directory for plugins, removed at the end.
pub struct Directory(tempfile::TempDir);

impl Directory {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// With the fixture as the plugin `probe`.
    pub fn with_probe() -> Self {
        let directory = Self::new();
        directory.add_probe_as("probe");
        directory
    }

    /// A copy of the fixture, called after another plugin.
    pub fn add_probe_as(&self, name: &str) -> PathBuf {
        let path = self.file(name);
        fs::copy(library(), &path).unwrap();
        path
    }

    /// A file with these contents, called like a plugin.
    pub fn add(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name);
        fs::write(&path, contents).unwrap();
        path
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(format!("liboutrigger_{}.so", name.replace('-', "_")))
    }

    pub fn start(&self, config: &PluginsConfig) -> Registry {
        outrigger::backend::start(config, &[self.path().to_owned()], None)
    }
}

/// Configuration of the fixture, in TOML.
pub fn probe_with(toml: &str) -> PluginsConfig {
    toml::from_str(&format!("[config.probe]\n{toml}")).unwrap()
}

/// The host with the fixture, which must be held.
pub fn held(config: &PluginsConfig) -> (Directory, Registry, Arc<Plugin>) {
    let directory = Directory::with_probe();
    let registry = directory.start(config);
    assert_eq!(registry.refusals(), []);
    let plugin = registry.plugin("probe").unwrap().clone();
    (directory, registry, plugin)
}

/// The one sentence about the one file that was refused.
pub fn refusal(directory: &Directory, config: &PluginsConfig) -> String {
    let registry = directory.start(config);
    let [refusal] = registry.refusals() else {
        panic!("one refusal was expected, not {:?}", registry.refusals());
    };
    let sentence = refusal.sentence.clone();
    assert!(sentence.contains(refusal.path.to_str().unwrap()), "no path in {sentence:?}");
    assert!(!sentence.contains('\n'), "more than a sentence: {sentence:?}");
    sentence
}
