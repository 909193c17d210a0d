//! From a checked file to a living backend. Runs on the plugin's own lane.
//!
//! Manifest, root module, description, configuration, creation: in this order, and each step only
//! when the one before found nothing wrong. The plugin's code sees its configuration only after
//! the host has checked it against the plugin's own schema.

use super::ownership::{Checked, Digest};
use super::preflight::{self, Facts};
use super::{callbacks, config, schema};
use outrigger_sdk::{Backend, Capability, CapabilityReport, Description, Loaded};
use serde_json::Value;
use std::path::PathBuf;

/// What is known of a backend whose code runs.
#[derive(Clone, Debug)]
pub struct About {
    /// Its file; `None` for the built-in fallback.
    pub path: Option<PathBuf>,
    /// SHA-256 of the file.
    pub digest: Option<Digest>,
    /// What its manifest says.
    pub facts: Facts,
    /// What it says of itself.
    pub description: Description,
}

/// No description has more entries; a longer one is garbage.
const MAX_CAPABILITIES: usize = 1024;

/// Opens the library of `file`, which is called after the plugin `name`, and asks it what it is.
///
/// # Errors
/// One sentence, without the path.
pub fn describe(file: &Checked, name: &str) -> Result<(About, Module), String> {
    let facts = preflight::open(&file.path)?;
    if !file.unchanged() {
        return Err("it was exchanged while it was being loaded; try again".to_owned());
    }
    if facts.name != name {
        return Err(format!(
            "its manifest calls it {} but its file is called after {name}; rename the file",
            facts.name
        ));
    }
    let module = outrigger_abi::load::v1(&file.path).map_err(|error| {
        tracing::debug!(plugin = %file.path.display(), detail = %error.detail, "a root module was refused");
        error.sentence
    })?;
    let description = Loaded::describe_module(module).map_err(|error| error.to_string())?;
    sound(&description, name)?;
    let about =
        About { path: Some(file.path.clone()), digest: Some(file.digest), facts, description };
    Ok((about, Module(module)))
}

/// The root module of an opened library, whose backend is not made yet.
pub struct Module(outrigger_abi::v1::BackendModRef);

impl Module {
    /// Makes the backend, after checking its configuration; `None` is an empty one.
    ///
    /// # Errors
    /// One sentence, without the path.
    pub fn create(self, about: &About, config: Option<Value>) -> Result<Box<dyn Backend>, String> {
        let name = about.facts.name.as_str();
        let config = config.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        schema::check(name, &config, &about.description.config_schema)?;
        let host = callbacks::host_for(name);
        let backend = Loaded::create_from(self.0, host, &config.to_string())
            .map_err(|error| format!("its backend could not be made: {error}"))?;
        Ok(Box::new(backend))
    }
}

/// Whether a description can be true of a plugin that was loaded here.
fn sound(description: &Description, name: &str) -> Result<(), String> {
    if description.name != name || !config::is_plugin_name(name) {
        return Err(format!(
            "it describes itself as {:?} but its manifest says {name:?}",
            description.name
        ));
    }
    let here = std::env::consts::OS;
    if !description.platforms.iter().any(|platform| platform == here) {
        let platforms: Vec<_> = description.platforms.iter().map(|p| p.as_str()).collect();
        return Err(format!("it is for {} and this is {here}", platforms.join(", ")));
    }
    if description.capabilities.len() > MAX_CAPABILITIES {
        let count = description.capabilities.len();
        return Err(format!("it describes {count} capabilities, more than there are"));
    }
    if let Some(twice) = duplicate(&description.capabilities) {
        return Err(format!("it describes the capability {twice} twice"));
    }
    Ok(())
}

/// The first capability that is reported more than once.
pub fn duplicate(reports: &[CapabilityReport]) -> Option<Capability> {
    let mut seen = std::collections::BTreeSet::new();
    reports.iter().map(|report| report.capability).find(|capability| !seen.insert(*capability))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn description() -> Description {
        Description {
            name: "gpu".into(),
            version: "1".into(),
            summary: "".into(),
            platforms: vec![std::env::consts::OS.into()].into(),
            capabilities: vec![CapabilityReport::full(Capability::CPU_WEIGHT)].into(),
            config_schema: "{}".into(),
            preference: 0,
        }
    }

    #[test]
    fn a_description_must_fit_the_manifest_and_the_machine() {
        assert_eq!(sound(&description(), "gpu"), Ok(()));
        assert!(sound(&description(), "cpu").unwrap_err().contains("its manifest says"));
        let elsewhere = Description { platforms: vec!["plan9".into()].into(), ..description() };
        assert!(sound(&elsewhere, "gpu").unwrap_err().starts_with("it is for plan9 and this is"));
        let twice = CapabilityReport::full(Capability::CPU_WEIGHT);
        let twice =
            Description { capabilities: vec![twice.clone(), twice].into(), ..description() };
        assert!(sound(&twice, "gpu").unwrap_err().contains("cpu.weight twice"));
    }
}
