//! Can, may, and who is asked: from what plugins report to a table of routes.
//!
//! Pure. A plugin *can* what it described and its probe found; it *may* what is only reading, what
//! it was granted, or everything if it is ours. The routes of a capability name everybody who can
//! and may, best level first, then preference, then name; the fallback is always the last.

use super::config::PluginsConfig;
use super::load::duplicate;
use super::plugin::Trust;
use outrigger_sdk::{Capability, CapabilityReport, Description, Level};
use serde::Serialize;

/// What a plugin can and may do about one capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// What.
    #[serde(serialize_with = "by_name")]
    pub capability: Capability,
    /// How well it can.
    #[serde(serialize_with = "by_name")]
    pub level: Level,
    /// Why not better, one sentence; empty at level full.
    pub reason: String,
    /// What a person can do about it; may be empty.
    pub hint: String,
    /// Whether it may.
    pub granted: bool,
}

fn by_name<T: std::fmt::Display, S: serde::Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Joins what a plugin described, what its probe found and what it was granted. One offer for
/// each capability it described, in that order.
///
/// # Errors
/// One sentence: the probe's answer is nonsense.
pub fn offers(
    description: &Description,
    probed: &[CapabilityReport],
    trust: Trust,
    config: &PluginsConfig,
) -> Result<Vec<Offer>, String> {
    if let Some(twice) = duplicate(probed) {
        return Err(format!("its probe reports the capability {twice} twice"));
    }
    if let Some(stray) = probed
        .iter()
        .find(|report| !description.capabilities.iter().any(|d| d.capability == report.capability))
    {
        return Err(format!("its probe reports {}, which it does not describe", stray.capability));
    }
    Ok(description
        .capabilities
        .iter()
        // A newer plugin may know capabilities that this host does not: not an error.
        .filter(|described| described.capability.name().is_some())
        .map(|described| {
            let capability = described.capability;
            let report = probed.iter().find(|report| report.capability == capability);
            let (level, reason, hint) = match report {
                Some(report) => (known(report.level), report.reason.to_string(), &report.hint),
                None => {
                    (Level::UNAVAILABLE, "its probe says nothing about it".into(), &described.hint)
                }
            };
            Offer {
                capability,
                level,
                reason,
                hint: hint.to_string(),
                granted: trust == Trust::Ours
                    || !capability.is_knob()
                    || config.grants(&description.name, capability),
            }
        })
        .collect())
}

/// A level this host does not know counts as none.
fn known(level: Level) -> Level {
    if level.name().is_some() { level } else { Level::UNAVAILABLE }
}

/// One plugin's bid for a capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bid<'a> {
    /// Which plugin, as the caller numbers them.
    pub plugin: usize,
    /// Its name.
    pub name: &'a str,
    /// How well it can.
    pub level: Level,
    /// Its preference, as described.
    pub preference: i32,
}

/// The name of the backend that is always asked last.
pub const FALLBACK: &str = "fallback";

/// Who is asked, in order. Bids at level unavailable are left out.
pub fn order(mut bids: Vec<Bid<'_>>) -> Vec<Bid<'_>> {
    use std::cmp::Reverse;
    bids.retain(|bid| bid.level > Level::UNAVAILABLE);
    bids.sort_by_key(|bid| {
        (bid.name == FALLBACK, Reverse(bid.level), Reverse(bid.preference), bid.name)
    });
    bids
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KNOB: Capability = Capability::CPU_WEIGHT;
    const SIGHT: Capability = Capability::OBSERVE_TASKS;

    fn description(capabilities: &[Capability]) -> Description {
        Description {
            name: "gpu".into(),
            version: "1".into(),
            summary: "".into(),
            platforms: Vec::new().into(),
            capabilities: capabilities.iter().map(|c| CapabilityReport::full(*c)).collect(),
            config_schema: "{}".into(),
            preference: 0,
        }
    }

    fn granted(trust: Trust, config: &PluginsConfig) -> Vec<bool> {
        let probed = [CapabilityReport::full(KNOB), CapabilityReport::full(SIGHT)];
        let offers = offers(&description(&[KNOB, SIGHT]), &probed, trust, config).unwrap();
        offers.iter().map(|offer| offer.granted).collect()
    }

    #[test]
    fn a_foreign_plugin_may_read_and_what_it_was_granted() {
        let mut config = PluginsConfig::default();
        assert_eq!(granted(Trust::Ours, &config), [true, true]);
        assert_eq!(granted(Trust::Foreign, &config), [false, true]);
        config.grants.insert("gpu".into(), vec!["cpu.weight".into()]);
        assert_eq!(granted(Trust::Foreign, &config), [true, true]);
    }

    #[test]
    fn what_the_probe_leaves_out_is_unavailable_and_what_it_adds_is_nonsense() {
        let config = PluginsConfig::default();
        let described = description(&[KNOB, SIGHT]);
        let answer = |probed: &[CapabilityReport]| offers(&described, probed, Trust::Ours, &config);
        let only = answer(&[CapabilityReport::degraded(KNOB, "slow", "buy a faster one")]).unwrap();
        assert_eq!((only[0].level, only[0].hint.as_str()), (Level::DEGRADED, "buy a faster one"));
        assert_eq!(only[1].level, Level::UNAVAILABLE);
        let stray = [CapabilityReport::full(Capability::NUMA)];
        assert!(answer(&stray).unwrap_err().contains("numa, which it does not describe"));
        let twice = [CapabilityReport::full(KNOB), CapabilityReport::full(KNOB)];
        assert!(answer(&twice).unwrap_err().contains("cpu.weight twice"));
        let strange = CapabilityReport { level: Level(77), ..CapabilityReport::full(KNOB) };
        assert_eq!(answer(&[strange]).unwrap()[0].level, Level::UNAVAILABLE);
    }

    #[test]
    fn the_best_level_wins_then_preference_then_name_and_the_fallback_is_last() {
        let bid = |plugin, name, level, preference| Bid { plugin, name, level, preference };
        let ordered = order(vec![
            bid(0, FALLBACK, Level::FULL, 100),
            bid(1, "degraded", Level::DEGRADED, 50),
            bid(2, "zeta", Level::FULL, 5),
            bid(3, "alpha", Level::FULL, 5),
            bid(4, "modest", Level::FULL, -5),
            bid(5, "unable", Level::UNAVAILABLE, 99),
        ]);
        let plugins: Vec<_> = ordered.iter().map(|bid| bid.plugin).collect();
        assert_eq!(plugins, [3, 2, 4, 1, 0]);
    }
}
