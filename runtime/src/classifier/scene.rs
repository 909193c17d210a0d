//! What there is to see of one protected workload in one interval.

use super::census::Entry;
use super::contention::Scene;
use super::occupancy::{Standing, within};
use crate::flow::message::{ContextSignals, Signals};
use outrigger_sdk::ContextId;

/// Contexts a workload lives in.
pub(super) type Places<'a> = Vec<(Standing, &'a ContextSignals)>;

/// CPU used by everybody, millicores. The host as a whole, and a root context if somebody asked
/// for it, know also of those who did not live long enough to be read.
pub(super) fn used(signals: &Signals) -> Option<f64> {
    let summed = read(signals);
    let roots = signals.contexts.iter().filter(|context| context.context.path == "/");
    let most = roots.filter_map(|context| context.millicores).fold(summed, f64::max);
    let most = most.max(signals.host_millicores.unwrap_or(0.0));
    (signals.interval_ns > 0).then_some(most)
}

/// CPU used by the processes that were read, millicores.
fn read(signals: &Signals) -> f64 {
    signals.tasks.iter().filter_map(|task| task.millicores).sum()
}

/// Gathers what the eyes look at.
pub(super) fn gather<'a, 'e, I: Iterator<Item = &'e Entry>>(
    members: impl Fn() -> I,
    signals: &Signals,
    contexts: Places<'a>,
    used: f64,
    summed: f64,
) -> Scene<'a> {
    let sole = || contexts.iter().filter(|(s, _)| *s == Standing::Sole).map(|(_, c)| *c);
    let pressed: Vec<&ContextId> =
        sole().filter(|context| context.pressure.is_some()).map(|c| &c.context).collect();
    let covered = |entry: &Entry| {
        let places = &entry.info.contexts;
        places.iter().any(|place| pressed.iter().any(|context| within(place, context)))
    };
    let tick = signals.provenance.tick;
    let (mut delay, mut starved) = (None, 0);
    for entry in members() {
        let Some(seen) = entry.at(tick) else { continue };
        starved += seen.starved;
        if let Some(wait) = seen.wait
            && !covered(entry)
        {
            *delay.get_or_insert(0.0) += wait;
        }
    }
    let own = sole().filter_map(|context| context.millicores).fold(summed, f64::max);
    let (at_ns, cpus) = (signals.provenance.at_ns, signals.cpus);
    let unseen = used - read(signals);
    Scene { at_ns, cpus, used, unseen, own, contexts, delay, starved }
}
