//! Start-up of the plugin host: locate, check, preflight, load, configure, probe, negotiate.
//!
//! One file's failure never hides the others: what cannot be held becomes a [`Refusal`] with one
//! sentence. Libraries are never unloaded, so a refused one whose code ran stays mapped, unasked.

use super::config::PluginsConfig;
use super::health::{Event, Health};
use super::lane::{Lane, OpenError};
use super::load::{self, About};
use super::locate::{Located, Search};
use super::negotiate::{self, FALLBACK, Offer};
use super::ownership::{self, Checked};
use super::plugin::{Plugin, Trust};
use super::preflight::Facts;
use super::registry::{Refusal, Registry};
use super::{callbacks, deadline, elf, vet};
use crate::clock::monotonic_ns;
use outrigger_abi::manifest;
use outrigger_fallback::Fallback;
use outrigger_sdk::{Backend, CapabilityReport};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Finds and starts every plugin, and works out who is asked for what. Blocks: at worst for the
/// deadlines of creation and probe, per plugin.
///
/// `given` are the directories of the command line; they are searched before those of the
/// configuration, and both before the usual ones beside `executable` and in the system.
pub fn start(config: &PluginsConfig, given: &[PathBuf], executable: Option<&Path>) -> Registry {
    let search = search(config, given, executable);
    let (located, failed) = search.run();
    let mut refusals: Vec<_> = failed
        .into_iter()
        .map(|f| Refusal {
            path: f.directory,
            name: None,
            state: "discovered",
            sentence: f.sentence,
        })
        .collect();
    let mounts: Arc<[PathBuf]> = vet::cgroup_mounts().into();
    let mut plugins: Vec<Plugin> = Vec::new();
    for file in located {
        let before = plugins.iter().find(|plugin| **plugin.name() == *file.name);
        let result = match before {
            Some(first) => Err((State::Discovered, taken(first, &file.path))),
            None => hold(&file, config, &mounts),
        };
        match result {
            Ok(plugin) => plugins.push(plugin),
            Err((state, sentence)) => refusals.push(refusal(&file, state, &sentence)),
        }
    }
    if !plugins.iter().any(|plugin| &**plugin.name() == FALLBACK) {
        match built_in(config, &mounts) {
            Ok(plugin) => plugins.push(plugin),
            Err(sentence) => tracing::error!(%sentence, "the built-in fallback did not start"),
        }
    }
    // The sort is stable: the others stay in the order of the search.
    plugins.sort_by_key(|plugin| &**plugin.name() == FALLBACK);
    for refusal in &refusals {
        tracing::warn!("{}", refusal.sentence);
    }
    let registry = Registry::new(plugins, refusals);
    for sentence in registry.unused(config) {
        tracing::warn!("{sentence}");
    }
    registry
}

/// Where plugins are looked for.
pub fn search(config: &PluginsConfig, given: &[PathBuf], executable: Option<&Path>) -> Search {
    Search::new(given.iter().chain(&config.directories).cloned(), executable)
}

/// How far a refused file got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Discovered,
    Checked,
}

fn refusal(file: &Located, state: State, sentence: &str) -> Refusal {
    Refusal {
        path: file.path.clone(),
        name: Some(file.name.clone()),
        state: match state {
            State::Discovered => "discovered",
            State::Checked => "checked",
        },
        sentence: format!("plugin {} is not used: {sentence}", file.path.display()),
    }
}

fn taken(first: &Plugin, path: &Path) -> String {
    let place = first.about.path.as_deref().unwrap_or(Path::new("this program")).display();
    let same = ownership::check(path).is_ok_and(|file| Some(file.digest) == first.about.digest);
    if same {
        format!("it is the same plugin as {place}, which was found first")
    } else {
        format!("{place} has the same name and was found first")
    }
}

/// A file whose owner, digest and headers are good, and whose name may be loaded. Nothing of it
/// has run.
pub(super) fn checked(file: &Located, config: &PluginsConfig) -> Result<Checked, String> {
    if let Some(reason) = config.refuses(&file.name) {
        return Err(reason.to_owned());
    }
    let checked = ownership::check(&file.path)?;
    if let Some(pin) = config.pins.get(&file.name)
        && !pin.eq_ignore_ascii_case(&checked.digest.to_string())
    {
        return Err(format!(
            "its SHA-256 is {} but plugins.pins.{} says {pin}",
            checked.digest, file.name
        ));
    }
    if cfg!(target_os = "linux") {
        elf::check(&checked.contents, manifest::SYMBOL)?;
    }
    Ok(checked)
}

fn hold(
    file: &Located,
    config: &PluginsConfig,
    mounts: &Arc<[PathBuf]>,
) -> Result<Plugin, (State, String)> {
    let checked = checked(file, config).map_err(|sentence| (State::Discovered, sentence))?;
    let (name, settings) = (file.name.clone(), config.config.get(&file.name).cloned());
    let opened = Lane::open(&file.name, deadline::CREATE, move || {
        let (about, module) = load::describe(&checked, &name)?;
        let backend = module.create(&about, settings)?;
        Ok((backend, about))
    });
    probe(opened, Trust::of(&file.name, file.place), config, mounts)
}

fn built_in(config: &PluginsConfig, mounts: &Arc<[PathBuf]>) -> Result<Plugin, String> {
    let opened = Lane::open(FALLBACK, deadline::CREATE, || {
        let description = Fallback::describe();
        let facts = Facts {
            name: description.name.to_string(),
            version: description.version.to_string(),
            toolchain: manifest::TOOLCHAIN.to_string_lossy().into_owned(),
            abi: (manifest::ABI_MAJOR, manifest::ABI_MINOR),
        };
        let backend = Fallback::create(callbacks::host_for(FALLBACK), "{}")
            .map_err(|error| error.to_string())?;
        let backend: Box<dyn Backend> = Box::new(backend);
        Ok((backend, About { path: None, digest: None, facts, description }))
    });
    probe(opened, Trust::Ours, config, mounts).map_err(|(_, sentence)| sentence)
}

/// The backend is made, or not; asks what it can do here.
fn probe(
    opened: Result<(Lane, About), OpenError<String>>,
    trust: Trust,
    config: &PluginsConfig,
    mounts: &Arc<[PathBuf]>,
) -> Result<Plugin, (State, String)> {
    let (lane, about) = opened.map_err(|error| {
        let sentence = match error {
            OpenError::Refused(sentence) => sentence,
            OpenError::Lane(error) => error.to_string(),
        };
        (State::Discovered, sentence)
    })?;
    let health = Health::new(lane.name().clone());
    health.event(Event::Created, monotonic_ns());
    let offers =
        offers(&lane, &about, trust, config).map_err(|sentence| (State::Checked, sentence))?;
    health.event(Event::Probed, monotonic_ns());
    Ok(Plugin { about, trust, lane, health: Arc::new(health), offers, mounts: mounts.clone() })
}

/// Probes, and joins the answer with what was described and granted.
pub(super) fn offers(
    lane: &Lane,
    about: &About,
    trust: Trust,
    config: &PluginsConfig,
) -> Result<Vec<Offer>, String> {
    let probed: Vec<CapabilityReport> = lane
        .submit("probe", deadline::PROBE, |backend| backend.probe(), None)
        .and_then(super::lane::Pending::wait)
        .map_err(|error| error.to_string())?
        .map_err(|error| format!("its probe failed: {error}"))?;
    negotiate::offers(&about.description, &probed, trust, config)
}
