//! `[plugins]` of the configuration: where plugins are, which may be loaded, and what each may do.

use outrigger_sdk::Capability;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The whole section. Everything has a default; an unknown key is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PluginsConfig {
    /// Directories to search before the usual ones, first match wins.
    pub directories: Vec<PathBuf>,
    /// Names that are never loaded, not even their constructors run.
    pub deny: Vec<String>,
    /// If not empty, only these names are loaded.
    pub allow: Vec<String>,
    /// What plugins that are not ours may change, by name: capability names such as
    /// `cpu.weight`. Reading needs no grant.
    pub grants: BTreeMap<String, Vec<String>>,
    /// Configuration of each plugin, by name; checked against the plugin's own schema.
    pub config: BTreeMap<String, serde_json::Value>,
    /// SHA-256 a plugin's file must have, in hexadecimal, by name.
    pub pins: BTreeMap<String, String>,
}

/// Something wrong in the section, with the key below `plugins`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Dotted path, such as `plugins.grants.gpu[0]`.
    pub key: String,
    /// What was given.
    pub given: String,
    /// What is allowed there.
    pub allowed: String,
}

impl PluginsConfig {
    /// Everything that can be found wrong without looking at the machine.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (plugin, names) in &self.grants {
            for (index, name) in names.iter().enumerate() {
                let known = Capability::from_name(name);
                if !known.is_some_and(Capability::is_knob) {
                    problems.push(Problem {
                        key: format!("plugins.grants.{plugin}[{index}]"),
                        given: name.clone(),
                        allowed: knob_names(),
                    });
                }
            }
        }
        for (plugin, pin) in &self.pins {
            if pin.len() != 64 || !pin.bytes().all(|b| b.is_ascii_hexdigit()) {
                problems.push(Problem {
                    key: format!("plugins.pins.{plugin}"),
                    given: pin.clone(),
                    allowed: "64 hexadecimal digits, as sha256sum prints them".to_owned(),
                });
            }
        }
        for (list, names) in [("allow", &self.allow), ("deny", &self.deny)] {
            for (index, name) in names.iter().enumerate() {
                if !is_plugin_name(name) {
                    problems.push(Problem {
                        key: format!("plugins.{list}[{index}]"),
                        given: name.clone(),
                        allowed: "a plugin's name: lower-case letters, digits and `-`".to_owned(),
                    });
                }
            }
        }
        problems
    }

    /// What it says of plugins that are not there, one sentence each: so it has no effect.
    pub fn unused(&self, found: impl Fn(&str) -> bool) -> Vec<String> {
        let allow = self.allow.iter().enumerate();
        let keyed = [
            ("grants", self.grants.keys().collect::<Vec<_>>()),
            ("config", self.config.keys().collect()),
            ("pins", self.pins.keys().collect()),
        ];
        let keyed = keyed.into_iter().flat_map(|(section, names)| {
            names.into_iter().map(move |name| (format!("{section}.{name}"), name))
        });
        allow
            .map(|(index, name)| (format!("allow[{index}]"), name))
            .chain(keyed)
            .filter(|(_, name)| !found(name))
            .map(|(key, name)| format!("plugins.{key} has no effect: no plugin {name:?} was found"))
            .collect()
    }

    /// Why a plugin of this name is not loaded, if it is not.
    pub(super) fn refuses(&self, name: &str) -> Option<&'static str> {
        let listed = |names: &[String]| names.iter().any(|n| n == name);
        if listed(&self.deny) {
            Some("its name is on the list `plugins.deny`")
        } else if !self.allow.is_empty() && !listed(&self.allow) {
            Some("its name is not on the list `plugins.allow`")
        } else {
            None
        }
    }

    /// Whether a foreign plugin was granted this knob by name.
    pub(super) fn grants(&self, plugin: &str, capability: Capability) -> bool {
        let Some(name) = capability.name() else { return false };
        self.grants.get(plugin).is_some_and(|names| names.iter().any(|n| n == name))
    }
}

/// Whether a name has the form the manifest prescribes.
pub(super) fn is_plugin_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn knob_names() -> String {
    let names: Vec<_> =
        Capability::ALL.iter().filter(|c| c.is_knob()).filter_map(|c| c.name()).collect();
    format!("one of {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_empty_section_is_the_default_and_has_no_problems() {
        let config: PluginsConfig = toml::from_str("").unwrap();
        assert_eq!(config, PluginsConfig::default());
        assert_eq!(config.problems(), []);
        assert_eq!(config.refuses("linux-proc"), None);
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        let error = toml::from_str::<PluginsConfig>("directory = []").unwrap_err();
        assert!(error.message().contains("unknown field `directory`"), "{error}");
    }

    #[test]
    fn every_problem_is_found_at_once_with_its_place() {
        let config: PluginsConfig = toml::from_str(
            r#"
            deny = ["No_Name"]
            grants.gpu = ["cpu.weight", "cpu.wieght", "observe.tasks"]
            pins.gpu = "abc"
            "#,
        )
        .unwrap();
        let keys: Vec<_> = config.problems().into_iter().map(|p| p.key).collect();
        assert_eq!(
            keys,
            [
                "plugins.grants.gpu[1]",
                "plugins.grants.gpu[2]",
                "plugins.pins.gpu",
                "plugins.deny[0]"
            ]
        );
        assert!(config.grants("gpu", Capability::CPU_WEIGHT));
        assert!(!config.grants("gpu", Capability::CPU_LIMIT));
        assert!(!config.grants("other", Capability::CPU_WEIGHT));
    }

    #[test]
    fn what_is_said_of_plugins_that_are_not_there_is_pointed_out() {
        let config: PluginsConfig =
            toml::from_str("allow = [\"linux-proc\", \"gpu\"]\npins.npu = \"\"\n").unwrap();
        let told = config.unused(|name| name == "linux-proc");
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("plugins.allow[1] has no effect: no plugin \"gpu\""));
        assert!(told[1].starts_with("plugins.pins.npu has no effect"));
    }

    #[test]
    fn deny_wins_over_allow_and_an_empty_allow_list_allows_all() {
        let config = PluginsConfig {
            allow: vec!["a".into(), "b".into()],
            deny: vec!["b".into()],
            ..PluginsConfig::default()
        };
        assert_eq!(config.refuses("a"), None);
        assert!(config.refuses("b").unwrap().contains("deny"));
        assert!(config.refuses("c").unwrap().contains("allow"));
    }
}
