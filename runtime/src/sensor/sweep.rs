//! One sweep: asks every backend concerned at once, waits for each, and joins what they say.

use super::observers::Observers;
use crate::backend::{Call, CallError, Plugin, Registry};
use crate::clock;
use crate::flow::demand::Demand;
use crate::flow::message::{Provenance, Sweep};
use outrigger_sdk::{Capability, Observation, ObserveRequest};
use std::sync::{Arc, mpsc};

/// What is to be seen. Processes come first; the others are about contexts.
const SIGHTS: [Capability; 3] =
    [Capability::OBSERVE_TASKS, Capability::OBSERVE_CONTEXTS, Capability::OBSERVE_PRESSURE];
const TASKS: usize = 0;

/// Takes sweeps. Blocks for at most [`OBSERVE`](crate::backend::deadline::OBSERVE) in each.
pub struct Sweeper {
    registry: Arc<Registry>,
    demand: Arc<Demand>,
    observers: Observers,
    /// Who told of processes at the last sweep: from anybody else, changes alone say nothing.
    observer: Option<Arc<str>>,
    buffers: Vec<Observation>,
    /// Where answers arrive that came after their deadline.
    late: (mpsc::Sender<Late>, mpsc::Receiver<Late>),
}

/// What a backend told of processes after its deadline.
struct Late {
    by: Arc<str>,
    full: bool,
    told: Observation,
}

/// A backend in one sweep.
struct Asked {
    plugin: Arc<Plugin>,
    /// What of [`SIGHTS`].
    of: [bool; SIGHTS.len()],
    result: Option<Result<Observation, CallError>>,
}

// === impl Sweeper ===

impl Sweeper {
    /// One that has asked nobody yet.
    pub fn new(registry: Arc<Registry>, demand: Arc<Demand>) -> Self {
        let (observers, observer, buffers) = Default::default();
        Self { registry, demand, observers, observer, buffers, late: mpsc::channel() }
    }

    /// Asks all at once, then waits for each.
    pub fn sweep(&mut self, tick: u64) -> Sweep {
        let provenance =
            Provenance { tick, at_ns: clock::monotonic_ns(), wall_ms: clock::wall_ms() };
        let full = self.demand.take_full();
        let mut asked = self.choose(provenance.at_ns);
        let calls: Vec<_> = asked.iter().map(|asked| self.ask(asked, tick, full)).collect();
        for (asked, call) in asked.iter_mut().zip(calls) {
            let result = call.wait();
            self.observers.note(&asked.plugin, result.as_ref().err(), clock::monotonic_ns());
            asked.result = Some(result);
        }
        let failures = failures(&asked);
        let tellers: [Option<usize>; SIGHTS.len()] = std::array::from_fn(|sight| {
            asked.iter().position(|a| a.of[sight] && matches!(a.result, Some(Ok(_))))
        });
        let mut observer = tellers[TASKS].map(|index| Arc::clone(asked[index].plugin.name()));
        // Anybody new, or whose last answer was lost, was asked for everything.
        let mut full = observer.is_some() && (full || self.observer != observer);
        self.follow(observer.clone());
        let mut observation = Observation::default();
        for (index, asked) in asked.into_iter().enumerate() {
            let Some(Ok(mut told)) = asked.result else { continue };
            let [tasks, contexts, pressure] = tellers.map(|teller| teller == Some(index));
            if tasks || contexts || pressure {
                merge(&mut observation, &mut told, tasks, contexts || pressure);
            }
            told.clear();
            self.buffers.push(told);
        }
        // Whoever told in time told everything that a late answer says.
        if let (Some(mut late), None) = (self.late.1.try_iter().last(), &observer) {
            merge(&mut observation, &mut late.told, true, false);
            (observer, full) = (Some(late.by), late.full);
        }
        observation.at_ns = provenance.at_ns;
        Sweep { provenance, observation, observer, full, failures }
    }

    /// Who is asked, and for what: in the order in which they are to be believed.
    fn choose(&self, now: u64) -> Vec<Asked> {
        let mut asked: Vec<Asked> = Vec::new();
        for (sight, capability) in SIGHTS.into_iter().enumerate() {
            let Some(route) = self.registry.route(capability) else { continue };
            for plugin in self.observers.to_ask(route, now) {
                let known = asked.iter_mut().find(|asked| Arc::ptr_eq(&asked.plugin, plugin));
                let of = match known {
                    Some(known) => &mut known.of,
                    None => {
                        let plugin = Arc::clone(plugin);
                        asked.push(Asked { plugin, of: Default::default(), result: None });
                        &mut asked.last_mut().expect("one was pushed").of
                    }
                };
                of[sight] = true;
            }
        }
        asked
    }

    fn ask(&mut self, asked: &Asked, tick: u64, full: bool) -> Call<Observation> {
        let [tasks, contexts, pressure] = asked.of;
        let known = self.observer.as_ref() == Some(asked.plugin.name());
        let mut request =
            ObserveRequest { tick, full: full || (tasks && !known), ..Default::default() };
        if tasks {
            request.focus = self.demand.focus().to_vec().into();
        }
        if contexts || pressure {
            request.contexts = self.demand.contexts().to_vec().into();
        }
        let (by, full) = (Arc::clone(asked.plugin.name()), request.full);
        let late = self.late.0.clone();
        let buffer = self.buffers.pop().unwrap_or_default();
        asked.plugin.observe(request, buffer, move |told| {
            // Of contexts nothing is told only once.
            if tasks {
                // A sensor that has stopped needs no more.
                let _ = late.send(Late { by, full, told });
            }
        })
    }

    fn follow(&mut self, observer: Option<Arc<str>>) {
        if let (Some(now), false) = (&observer, self.observer == observer) {
            tracing::info!(plugin = %now, "from this sweep on, this one tells of processes");
        }
        self.observer = observer;
    }
}

/// Why something could not be seen. Who failed beside somebody that answered hid nothing.
fn failures(asked: &[Asked]) -> Vec<String> {
    let missing = std::array::from_fn::<_, { SIGHTS.len() }, _>(|sight| {
        !asked.iter().any(|asked| asked.of[sight] && matches!(asked.result, Some(Ok(_))))
    });
    let concerned =
        |asked: &&Asked| asked.of.iter().zip(missing).any(|(of, missing)| *of && missing);
    asked
        .iter()
        .filter(concerned)
        .filter_map(|asked| Some(asked.result.as_ref()?.as_ref().err()?.to_string()))
        .collect()
}

/// Takes over what `told` is believed about: of each sight only one backend is.
fn merge(into: &mut Observation, told: &mut Observation, tasks: bool, contexts: bool) {
    if tasks {
        into.tasks = std::mem::take(&mut told.tasks);
        into.infos = std::mem::take(&mut told.infos);
        into.gone = std::mem::take(&mut told.gone);
        into.unreadable = told.unreadable;
    }
    if contexts {
        into.contexts.extend(told.contexts.drain(..));
    }
    into.host_pressure_us = into.host_pressure_us.max(told.host_pressure_us);
    into.host_cpu_ns = into.host_cpu_ns.max(told.host_cpu_ns);
    into.cpus = into.cpus.max(told.cpus);
}
