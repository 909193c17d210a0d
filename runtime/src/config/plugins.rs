//! `[plugins]`: which plugins are loaded, and what they may do.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `[plugins]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PluginsConfig {
    /// Searched before the places that are always searched.
    pub directories: Vec<PathBuf>,
    /// Only these are loaded, by name; empty: all.
    pub allow: Vec<String>,
    /// These are not loaded.
    pub deny: Vec<String>,
    /// What plugins that are not ours may do besides observing, by capability name.
    pub grants: BTreeMap<String, Vec<String>>,
    /// A plugin's own configuration.
    pub config: BTreeMap<String, serde_json::Value>,
    /// SHA-256 of the only file that may be loaded under a name.
    pub pins: BTreeMap<String, String>,
}
