//! Every plugin the host holds, and for each capability who is asked and who next.

use super::config::PluginsConfig;
use super::negotiate::{self, Bid, Offer};
use super::plugin::Plugin;
use outrigger_sdk::{Capability, Level};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

/// A file that was found and is not held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The file, or the directory that could not be searched.
    pub path: PathBuf,
    /// The plugin's name, as far as known.
    pub name: Option<String>,
    /// How far it got: `discovered` or `checked`.
    pub state: &'static str,
    /// Why, one sentence with the path.
    pub sentence: String,
}

/// Who can and may do something, the best first.
#[derive(Clone, Debug, Default)]
pub struct Route {
    candidates: Vec<Candidate>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Who.
    pub plugin: Arc<Plugin>,
    /// How well.
    pub level: Level,
}

impl Route {
    /// Everybody, the best first, whether quarantined or not.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Who may be asked now, the best first: the first is the one to ask, the others are the next
    /// known.
    pub fn askable(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter().filter(|candidate| candidate.plugin.admits_calls())
    }

    /// The one to ask now.
    pub fn best(&self) -> Option<&Arc<Plugin>> {
        self.askable().next().map(|candidate| &candidate.plugin)
    }
}

/// Codes of capabilities are below this; a table lookup is an index.
const SLOTS: usize = 128;

/// The plugins and the routes. Fixed once made; quarantine is looked up at each use.
#[derive(Debug)]
pub struct Registry {
    plugins: Vec<Arc<Plugin>>,
    refusals: Vec<Refusal>,
    routes: Box<[Route; SLOTS]>,
}

impl Registry {
    /// Works out the routes.
    pub(super) fn new(plugins: Vec<Plugin>, refusals: Vec<Refusal>) -> Self {
        let plugins: Vec<_> = plugins.into_iter().map(Arc::new).collect();
        let mut routes = Box::new(std::array::from_fn::<_, SLOTS, _>(|_| Route::default()));
        for capability in Capability::ALL {
            let Some(slot) = routes.get_mut(capability.0 as usize) else {
                continue;
            };
            let bids = plugins.iter().enumerate().filter_map(|(index, plugin)| {
                let offer = plugin.offer(*capability).filter(|offer| offer.granted)?;
                Some(Bid {
                    plugin: index,
                    name: plugin.name(),
                    level: offer.level,
                    preference: plugin.about().description.preference,
                })
            });
            slot.candidates = negotiate::order(bids.collect())
                .into_iter()
                .map(|bid| Candidate { plugin: plugins[bid.plugin].clone(), level: bid.level })
                .collect();
        }
        Self { plugins, refusals, routes }
    }

    /// Who can and may do `capability`; `None` if nobody.
    pub fn route(&self, capability: Capability) -> Option<&Route> {
        self.routes.get(capability.0 as usize).filter(|route| !route.candidates.is_empty())
    }

    /// How well `capability` works here now: the level of the best plugin that is not quarantined.
    /// One index and one atomic load where nothing is wrong.
    pub fn level(&self, capability: Capability) -> Level {
        self.routes
            .get(capability.0 as usize)
            .and_then(|route| route.candidates.iter().find(|c| c.plugin.is_trusted()))
            .map_or(Level::UNAVAILABLE, |candidate| candidate.level)
    }

    /// Why `capability` does not work better here, and what to do about it: the best offer
    /// anybody makes, granted or not.
    pub fn offer(&self, capability: Capability) -> Option<(&Arc<Plugin>, &Offer)> {
        let offers = self.plugins.iter().filter_map(|p| Some((p, p.offer(capability)?)));
        offers.max_by_key(|(plugin, offer)| {
            (&**plugin.name() != negotiate::FALLBACK, offer.granted, offer.level)
        })
    }

    /// The plugin of that name.
    pub fn plugin(&self, name: &str) -> Option<&Arc<Plugin>> {
        self.plugins.iter().find(|plugin| &**plugin.name() == name)
    }

    /// Every plugin held, in order of discovery, the fallback last.
    pub fn plugins(&self) -> &[Arc<Plugin>] {
        &self.plugins
    }

    /// What was found and is not held.
    pub fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }

    /// Faults of the configuration that only show now: what it says of plugins that were not found.
    pub fn unused(&self, config: &PluginsConfig) -> Vec<String> {
        let found = |name: &str| {
            self.plugin(name).is_some()
                || self.refusals.iter().any(|refusal| refusal.name.as_deref() == Some(name))
        };
        config.unused(found)
    }
}
