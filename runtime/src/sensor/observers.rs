//! Whom the sensor asks: for each thing to be seen the best backend that is sound, and whoever
//! would be better and may be again.
//!
//! The host's quarantine is patient, because most calls have nobody else to make them; a sweep
//! has the next tick and perhaps the next backend. So the sensor keeps a second, stricter record
//! of each observer (the same machine of states): one sweep that fails sends it to rest, each
//! time twice as long as the one before, and one that it answers in time ends the rest. That call
//! is made beside the sound one, whose readings are there whatever becomes of it.

use crate::backend::health::{Event, Machine, State};
use crate::backend::{CallError, Plugin, Route};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How a candidate stands at the moment of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Answers, as far as known.
    Sound,
    /// Failed, and is due for the call that decides.
    Due,
    /// Failed lately; asked only if nobody is sound.
    Resting,
    /// Would refuse.
    Out,
}

/// What the sensor remembers of its backends.
#[derive(Debug, Default)]
pub(super) struct Observers(BTreeMap<Arc<str>, Machine>);

// === impl Observers ===

impl Observers {
    /// Who is to be asked at `now` (ns of the monotonic clock), the best first: of those who
    /// answer, the first is the one to believe. Empty only if nobody is known.
    pub(super) fn to_ask<'a>(&self, route: &'a Route, now: u64) -> Vec<&'a Arc<Plugin>> {
        let plugins: Vec<_> = route.candidates().iter().map(|known| &known.plugin).collect();
        let standings: Vec<_> = plugins.iter().map(|plugin| self.standing(plugin, now)).collect();
        chosen(&standings).into_iter().filter_map(|index| plugins.get(index).copied()).collect()
    }

    /// Notes how a sweep went.
    pub(super) fn note(&mut self, plugin: &Plugin, failure: Option<&CallError>, now: u64) {
        let event = match failure {
            None => Event::Answered,
            // Its fault was noted when it was one.
            Some(error) if error.is_not_begun() => return,
            Some(error) => Event::Fault { reason: error.to_string() },
        };
        self.0.entry(Arc::clone(plugin.name())).or_default().event(event, now);
    }

    fn standing(&self, plugin: &Plugin, now: u64) -> Standing {
        if plugin.hanging().is_some() || !plugin.admits_calls() {
            return Standing::Out;
        }
        match self.0.get(plugin.name()).map(Machine::state) {
            Some(State::Quarantined { until_ns, .. }) if now < *until_ns => Standing::Resting,
            Some(State::Quarantined { .. }) => Standing::Due,
            _ if plugin.is_trusted() => Standing::Sound,
            _ => Standing::Due,
        }
    }
}

/// Positions of those to ask: whoever is due, up to the first who is sound.
fn chosen(standings: &[Standing]) -> Vec<usize> {
    let position = |sought| standings.iter().position(|standing| *standing == sought);
    let places = |end: usize, wanted: &[Standing]| -> Vec<usize> {
        (0..end).filter(|&place| wanted.contains(&standings[place])).collect()
    };
    if let Some(sound) = position(Standing::Sound) {
        return places(sound + 1, &[Standing::Due, Standing::Sound]);
    }
    let rest = places(standings.len(), &[Standing::Due, Standing::Resting]);
    // If all would refuse, the first one's refusal says why nothing is seen.
    if rest.is_empty() && !standings.is_empty() { vec![0] } else { rest }
}

#[cfg(test)]
mod tests {
    use super::Standing::{Due, Out, Resting, Sound};
    use super::*;

    #[test]
    fn the_first_sound_one_is_asked_and_beside_it_who_may_be_better_again() {
        assert_eq!(chosen(&[Sound, Sound]), [0]);
        assert_eq!(chosen(&[Resting, Sound, Sound]), [1]);
        assert_eq!(chosen(&[Due, Sound]), [0, 1]);
        assert_eq!(chosen(&[Sound, Due]), [0]);
        assert_eq!(chosen(&[Out, Due, Sound]), [1, 2]);
    }

    #[test]
    fn who_failed_is_asked_all_the_same_if_there_is_nobody_else() {
        assert_eq!(chosen(&[Resting]), [0]);
        assert_eq!(chosen(&[Resting, Due, Out]), [0, 1]);
        assert_eq!(chosen(&[Out, Out]), [0]);
        assert_eq!(chosen(&[]), [0; 0]);
    }
}
