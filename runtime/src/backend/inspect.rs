//! What `plugins list`, `plugins probe` and `plugins check FILE` show, as plain data.

use super::config::PluginsConfig;
use super::health::State;
use super::host;
use super::lane::{Lane, OpenError};
use super::locate::{Located, plugin_name};
use super::negotiate::Offer;
use super::plugin::{Plugin, Trust};
use super::registry::Registry;
use super::{deadline, load, schema};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// One plugin, or one file that is none.
#[derive(Clone, Debug, Serialize)]
pub struct PluginView {
    /// Its file; absent for what is built in.
    pub path: Option<PathBuf>,
    /// SHA-256 of the file, hexadecimal.
    pub digest: Option<String>,
    /// Name, as far as known.
    pub name: Option<String>,
    /// Version.
    pub version: Option<String>,
    /// Compiler it was built with.
    pub toolchain: Option<String>,
    /// ABI it was built for, `major.minor`.
    pub abi: Option<String>,
    /// One sentence about it.
    pub summary: Option<String>,
    /// `ours` or `foreign`.
    pub trust: Option<Trust>,
    /// `discovered`, `checked`, `probed`, `active`, `degraded` or `quarantined`.
    pub state: &'static str,
    /// Why it is not used, or why it is degraded or quarantined; one sentence.
    pub reason: Option<String>,
    /// What it can and may do here, once probed.
    pub capabilities: Vec<Offer>,
    /// Knobs it can turn and may not: what to write under `plugins.grants.NAME`.
    pub grant_needed: Vec<String>,
    /// JSON Schema of its configuration.
    pub config_schema: Option<serde_json::Value>,
}

impl PluginView {
    /// A plugin the host holds.
    pub fn of(plugin: &Plugin) -> Self {
        let state = plugin.state();
        let reason = match &state {
            State::Degraded { reason } | State::Quarantined { reason, .. } => Some(reason.clone()),
            _ => None,
        };
        Self {
            trust: Some(plugin.trust()),
            state: state.name(),
            reason,
            grant_needed: grant_needed(plugin.offers()),
            capabilities: plugin.offers().to_vec(),
            ..Self::about(plugin.about())
        }
    }

    fn about(about: &load::About) -> Self {
        let (major, minor) = about.facts.abi;
        Self {
            path: about.path.clone(),
            digest: about.digest.map(|digest| digest.to_string()),
            name: Some(about.facts.name.clone()),
            version: Some(about.facts.version.clone()),
            toolchain: Some(about.facts.toolchain.clone()),
            abi: Some(format!("{major}.{minor}")),
            summary: Some(about.description.summary.to_string()),
            config_schema: serde_json::from_str(&about.description.config_schema).ok(),
            ..Self::nothing("checked")
        }
    }

    fn nothing(state: &'static str) -> Self {
        Self {
            path: None,
            digest: None,
            name: None,
            version: None,
            toolchain: None,
            abi: None,
            summary: None,
            trust: None,
            state,
            reason: None,
            capabilities: Vec::new(),
            grant_needed: Vec::new(),
            config_schema: None,
        }
    }

    /// Its state for people: how far a file got that is not used is for machines.
    pub fn standing(&self) -> &'static str {
        standing(self.state, self.reason.is_some())
    }

    /// What is wrong with its configuration by its own schema; `None` if it has none or nothing is.
    pub fn misconfigured(&self, config: &PluginsConfig) -> Option<String> {
        let name = self.name.as_deref()?;
        let schema = self.config_schema.as_ref()?.to_string();
        schema::check(name, config.config.get(name)?, &schema).err()
    }

    /// Whether it is held and answers.
    pub fn is_usable(&self) -> bool {
        matches!(self.state, "probed" | "active" | "degraded")
    }
}

/// How people call a state; `refused` if there is a reason against it.
pub fn standing(state: &str, refused: bool) -> &str {
    if refused && matches!(state, "discovered" | "checked") { "not used" } else { state }
}

fn grant_needed(offers: &[Offer]) -> Vec<String> {
    let missing =
        |offer: &&Offer| !offer.granted && offer.level > outrigger_sdk::Level::UNAVAILABLE;
    offers.iter().filter(missing).map(|offer| offer.capability.to_string()).collect()
}

/// Everything that was found: held plugins first, then refused files.
pub fn views(registry: &Registry) -> Vec<PluginView> {
    let held = registry.plugins().iter().map(|plugin| PluginView::of(plugin));
    let refused = registry.refusals().iter().map(|refusal| PluginView {
        path: Some(refusal.path.clone()),
        name: refusal.name.clone(),
        reason: Some(refusal.sentence.clone()),
        ..PluginView::nothing(refusal.state)
    });
    held.chain(refused).collect()
}

/// Everything that was found, without running any of its code: `plugins list`. What would be
/// refused later (another ABI, a bad configuration) is not known yet.
pub fn list(
    config: &PluginsConfig,
    given: &[PathBuf],
    executable: Option<&Path>,
) -> Vec<PluginView> {
    let (located, failed) = host::search(config, given, executable).run();
    let missing = failed.into_iter().map(|failed| PluginView {
        path: Some(failed.directory),
        reason: Some(failed.sentence),
        ..PluginView::nothing("discovered")
    });
    let found = located.into_iter().map(|file| match host::checked(&file, config) {
        Ok(checked) => PluginView {
            digest: Some(checked.digest.to_string()),
            ..PluginView::file(&file, "discovered")
        },
        Err(sentence) => PluginView {
            reason: Some(format!("plugin {} is not used: {sentence}", file.path.display())),
            ..PluginView::file(&file, "discovered")
        },
    });
    found.chain(missing).collect()
}

impl PluginView {
    fn file(file: &Located, state: &'static str) -> Self {
        Self {
            path: Some(file.path.clone()),
            name: Some(file.name.clone()),
            trust: Some(Trust::of(&file.name, file.place)),
            ..Self::nothing(state)
        }
    }
}

/// Everything about one file, found anywhere: `plugins check FILE`. Loads, configures and probes
/// it. A refusal is data: `reason`, with what was learnt before it.
pub fn check(file: &Path, config: &PluginsConfig, executable: Option<&Path>) -> PluginView {
    let path = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    // A link's own name counts: `liboutrigger_gpu.so` may lead to `liboutrigger_gpu.so.1.2`.
    let Some(name) = plugin_name(file) else {
        let sentence = if path.exists() {
            "it is not called like a plugin (liboutrigger_NAME.so)"
        } else {
            "it does not exist"
        };
        return PluginView {
            path: Some(path.clone()),
            reason: Some(format!("plugin {} is not used: {sentence}", path.display())),
            ..PluginView::nothing("discovered")
        };
    };
    let place = host::search(config, &[], executable).place_of(&path);
    let located = Located { path, name, place };
    let mut view = PluginView::file(&located, "discovered");
    if let Err(sentence) = look(&located, config, &mut view) {
        view.reason = Some(format!("plugin {} is not used: {sentence}", located.path.display()));
    }
    view
}

/// Fills the view as far as the file gets.
fn look(file: &Located, config: &PluginsConfig, view: &mut PluginView) -> Result<(), String> {
    let checked = host::checked(file, config)?;
    view.digest = Some(checked.digest.to_string());
    let (tell, told) = std::sync::mpsc::channel();
    let (name, settings) = (file.name.clone(), config.config.get(&file.name).cloned());
    let opened = Lane::open(&file.name, deadline::CREATE, move || {
        let (about, module) = load::describe(&checked, &name)?;
        // Told before the configuration is looked at: a bad one is when the schema is wanted.
        let _ = tell.send(about.clone());
        let backend = module.create(&about, settings)?;
        Ok((backend, about))
    });
    if let Ok(about) = told.try_recv() {
        let trust = view.trust;
        *view = PluginView { trust, ..PluginView::about(&about) };
    }
    let (lane, about) = opened.map_err(|error| match error {
        OpenError::Refused(sentence) => sentence,
        OpenError::Lane(error) => error.to_string(),
    })?;
    let trust = view.trust.unwrap_or(Trust::Foreign);
    let offers = host::offers(&lane, &about, trust, config)?;
    view.state = "probed";
    view.grant_needed = grant_needed(&offers);
    view.capabilities = offers;
    Ok(())
}
