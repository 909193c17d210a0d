//! Options that every command takes, and the configuration they lead to.

use super::output::tell;
use crate::config::{ConfigError, Examined, FORMATS, Given, Loaded, Sources, examine, load};
use crate::paths::{StateDir, Surroundings};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Common {
    /// Configuration file, instead of /etc/outrigger/outrigger.toml or the user's own.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Common options")]
    pub config: Option<PathBuf>,
    /// Directory to search for plugins first; may be repeated.
    #[arg(long = "plugin-dir", global = true, value_name = "DIR", help_heading = "Common options")]
    pub plugin_dirs: Vec<PathBuf>,
    /// Where journals and sockets live; /run/outrigger for root.
    #[arg(long, global = true, value_name = "DIR", help_heading = "Common options")]
    pub state_dir: Option<PathBuf>,
    /// off, error, warn, info, debug, trace, or a filter.
    #[arg(long, global = true, value_name = "LEVEL", help_heading = "Common options")]
    log: Option<String>,
    /// How log lines look.
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        value_parser = FORMATS.to_vec(),
        help_heading = "Common options"
    )]
    log_format: Option<String>,
}

impl Common {
    /// Reads the configuration, with these options and the given ones as its last layer.
    pub fn load(&self, options: Vec<Given>) -> Result<Loaded, ConfigError> {
        load(&self.sources(self.config.clone(), options)?)
    }

    /// Reads it from the named file, and whatever is wrong with it.
    pub fn examine(&self, file: Option<PathBuf>) -> Result<Examined, ConfigError> {
        examine(&self.sources(file, Vec::new())?)
    }

    fn sources(
        &self,
        file: Option<PathBuf>,
        mut options: Vec<Given>,
    ) -> Result<Sources, ConfigError> {
        if let Some(path) = &self.state_dir {
            let text = path.to_str().ok_or_else(|| {
                ConfigError::one("command line --state-dir", "state.dir", "is not valid UTF-8")
            })?;
            options.push(Given::option("--state-dir", "state.dir", text));
        }
        if let Some(level) = &self.log {
            options.push(Given::option("--log", "log.level", level));
        }
        if let Some(format) = &self.log_format {
            options.push(Given::option("--log-format", "log.format", format));
        }
        // Variables that are not text cannot be ours: our names and values are.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let candidates = Surroundings::of_process().config_files();
        Ok(Sources { file, candidates, environment, options })
    }
}

/// Where running and dead sidecars are found.
pub(super) struct Whereabouts {
    pub state: StateDir,
    /// The daemon's socket, if it is not where it is usually.
    pub socket: Option<PathBuf>,
}

impl Common {
    /// Where to look for sidecars. Whoever asks or restores in the night must not be kept from it
    /// by a configuration that somebody broke meanwhile: then the usual places count.
    pub fn whereabouts(&self) -> Whereabouts {
        match self.load(Vec::new()) {
            Ok(loaded) => Whereabouts {
                state: state_dir(&loaded),
                socket: loaded.config.control.socket.clone(),
            },
            Err(error) => {
                let usual = || Surroundings::of_process().state_dir();
                let state = self.state_dir.clone().unwrap_or_else(usual);
                tell(&format!("{error}\nlooking in {} all the same", state.display()));
                Whereabouts { state: StateDir::new(state), socket: None }
            }
        }
    }
}

/// The state directory that a configuration leads to.
pub(super) fn state_dir(loaded: &Loaded) -> StateDir {
    let configured = loaded.config.state.dir.clone();
    StateDir::new(configured.unwrap_or_else(|| Surroundings::of_process().state_dir()))
}
