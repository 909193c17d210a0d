//! What this host can do, why not more, and what a person can do about it.
//!
//! Looks and asks; changes nothing. What the mechanisms can do is the plugins' own answer.

mod host;
mod rivals;

pub use host::{CgroupLayout, Hierarchy, Host};
pub use rivals::{Rival, rivals};

use crate::backend::inspect::{self, PluginView};
use crate::backend::{PluginsConfig, Registry};
use crate::status::CapabilityView;
use outrigger_sdk::{Capability, Level};
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// Everything that was found out.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// The machine and this process's place on it.
    pub host: Host,
    /// For each capability who does it best, and why not better.
    pub capabilities: Vec<CapabilityView>,
    /// Every plugin found.
    pub plugins: Vec<PluginView>,
    /// Other programs that turn the same knobs.
    pub rivals: Vec<Rival>,
    /// What it comes to, one sentence each.
    pub summary: Vec<String>,
}

/// Loads and probes the plugins, and looks round.
pub fn diagnose(
    config: &PluginsConfig,
    plugin_dirs: &[PathBuf],
    executable: Option<&Path>,
) -> Diagnosis {
    let registry = crate::backend::start(config, plugin_dirs, executable);
    let capabilities = capabilities(&registry);
    let host = Host::read();
    let rivals = rivals();
    let summary = summary(&host, &capabilities, &rivals);
    Diagnosis { host, plugins: inspect::views(&registry), capabilities, rivals, summary }
}

/// What can be done here, capability by capability: also what `status` shows.
pub fn capabilities(registry: &Registry) -> Vec<CapabilityView> {
    Capability::ALL
        .iter()
        .map(|&capability| {
            let level = registry.level(capability);
            let route = registry.route(capability).and_then(|route| route.best());
            let offer = registry.offer(capability);
            let text = |pick: fn(&crate::backend::negotiate::Offer) -> &str| {
                offer.map_or(String::new(), |(_, offer)| pick(offer).to_owned())
            };
            let mut reason = text(|offer| &offer.reason);
            if level == Level::UNAVAILABLE {
                match offer {
                    None => reason = "no plugin offers it".to_owned(),
                    Some((plugin, offer)) if !offer.granted && offer.level > level => {
                        reason = format!("the plugin {} was not granted it", plugin.name());
                    }
                    _ => {}
                }
            }
            let does_it = route.filter(|_| level > Level::UNAVAILABLE);
            CapabilityView {
                name: capability.to_string(),
                level: level.to_string(),
                backend: does_it.map_or(String::new(), |plugin| plugin.name().to_string()),
                reason: if level == Level::FULL { String::new() } else { reason },
                hint: if level == Level::FULL { String::new() } else { text(|offer| &offer.hint) },
            }
        })
        .collect()
}

fn summary(host: &Host, capabilities: &[CapabilityView], rivals: &[Rival]) -> Vec<String> {
    let can = |capability: Capability| {
        let name = capability.to_string();
        capabilities.iter().any(|c| c.name == name && c.level != "unavailable")
    };
    let mut summary = Vec::new();
    summary.push(
        match (
            can(Capability::CPU_WEIGHT),
            can(Capability::SCHED_CLASS) || can(Capability::PRIORITY),
        ) {
            (true, _) => "The main job can be done with CPU weights.",
            (false, true) if host.autogroup => {
                "CPU weights cannot be turned: priorities are left, which act only within one \
                 session while autogroup is on."
            }
            (false, true) => "CPU weights cannot be turned: priorities are left.",
            (false, false) => "Nothing can be turned here: processes can only be watched.",
        }
        .to_owned(),
    );
    if !can(Capability::OBSERVE_TASKS) {
        summary.push("Processes cannot be watched: nothing can be decided.".to_owned());
    } else if !can(Capability::OBSERVE_DELAY) && !can(Capability::OBSERVE_PRESSURE) {
        summary.push("Nothing tells who waits: contention cannot be seen.".to_owned());
    }
    for rival in rivals {
        summary.push(format!("{} (process {}) {}.", rival.name, rival.pid, rival.effect));
    }
    summary
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for sentence in &self.summary {
            writeln!(f, "{sentence}")?;
        }
        write!(f, "\n{}", self.host)?;
        writeln!(f, "\n{:<18} {:<12} {:<15} WHY NOT FULL", "CAPABILITY", "LEVEL", "BACKEND")?;
        for capability in &self.capabilities {
            let CapabilityView { name, level, backend, reason, hint } = capability;
            let line = format!("{name:<18} {level:<12} {backend:<15} {reason}");
            writeln!(f, "{}", line.trim_end())?;
            if !hint.is_empty() {
                writeln!(f, "{:<47} {hint}", "")?;
            }
        }
        writeln!(f, "\nPLUGINS")?;
        for plugin in &self.plugins {
            let name = plugin.name.as_deref().unwrap_or("(no name)");
            let path = plugin.path.as_ref().map(|path| path.display().to_string());
            let about = plugin.reason.clone().or(path).unwrap_or_else(|| "built in".to_owned());
            writeln!(f, "{name:<18} {:<12} {about}", plugin.standing())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capability(name: Capability, level: &str) -> CapabilityView {
        CapabilityView { name: name.to_string(), level: level.into(), ..CapabilityView::default() }
    }

    #[test]
    fn without_any_plugin_the_reason_is_told_and_nothing_can_be_turned() {
        let nowhere = tempfile::tempdir().unwrap();
        let config = PluginsConfig {
            deny: ["linux-proc", "linux-cgroup1", "linux-cgroup2"].map(String::from).to_vec(),
            ..PluginsConfig::default()
        };
        let executable = nowhere.path().join("outrigger");
        let diagnosis = diagnose(&config, &[], Some(&executable));
        assert_eq!(diagnosis.capabilities.len(), Capability::ALL.len());
        for capability in &diagnosis.capabilities {
            assert!(capability.level == "full" || !capability.reason.is_empty(), "{capability:?}");
        }
        let text = diagnosis.to_string();
        assert!(text.starts_with("Nothing can be turned here"), "{text}");
    }

    #[test]
    fn the_summary_names_the_best_that_is_left() {
        let mut host = Host::read();
        let weights = [
            capability(Capability::CPU_WEIGHT, "full"),
            capability(Capability::OBSERVE_TASKS, "full"),
            capability(Capability::OBSERVE_DELAY, "full"),
        ];
        assert_eq!(summary(&host, &weights, &[]), ["The main job can be done with CPU weights."]);
        host.autogroup = true;
        let nice = [
            capability(Capability::PRIORITY, "degraded"),
            capability(Capability::OBSERVE_TASKS, "full"),
        ];
        let told = summary(&host, &nice, &[]).join(" ");
        assert!(told.contains("only within one session"), "{told}");
        assert!(told.contains("contention cannot be seen"), "{told}");
    }
}
