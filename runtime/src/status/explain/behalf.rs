//! What is done on behalf of a protected workload, told to whoever asks about it.

use super::{out_of_reach, story, unfinished};
use crate::flow::message::Contention;
use crate::status::view::{Activity, StatusView, WorkloadView};
use crate::status::words;

/// The story of a protected workload.
pub(super) fn sentences(
    view: &StatusView,
    actions: &[Activity],
    workload: &WorkloadView,
    told: &[&Activity],
) -> Vec<String> {
    let mut sentences: Vec<String> = story(told).collect();
    let others = || view.workloads.iter().filter(|other| !other.protected && other.tier > 0);
    let (held, free): (Vec<_>, Vec<_>) = others().partition(|other| !other.knobs.is_empty());
    for other in &held {
        sentences.push(hold(actions, other));
    }
    let before = held.iter().filter_map(|other| waited(actions, other, &workload.name));
    let before = before.max_by(f64::total_cmp);
    sentences.extend(now(view, workload, before));
    sentences.extend(workload.shares.iter().map(words::share));
    for other in free.iter().filter(|_| !view.dry_run) {
        sentences.push(format!(
            "Nothing holds {} back, though it is in tier {}: {}.",
            other.name,
            other.tier,
            unfinished(other)
        ));
    }
    if held.is_empty() {
        let why = view.why_idle.as_deref().unwrap_or("it has not waited because of others");
        sentences.push(format!("Nothing is done for it now: {why}."));
    }
    sentences
}

/// Who is held back, since when and how far.
fn hold(actions: &[Activity], other: &WorkloadView) -> String {
    let since = onset(actions, other)
        .map(|begin| format!(" since {} UTC", words::clock(begin.wall_ms)))
        .unwrap_or_default();
    format!(
        "For it {} ({}) is held back{since}: {}, using {} now.",
        other.name,
        super::members(other),
        super::entitled(other),
        words::cpus(other.millicores)
    )
}

/// The action with which a workload left tier 0.
fn onset<'a>(actions: &'a [Activity], other: &WorkloadView) -> Option<&'a Activity> {
    actions.iter().rev().find(|activity| {
        let change = activity.action.change.as_ref();
        *activity.action.workload == *other.name
            && change.is_some_and(|change| change.from == 0 && change.to > 0)
    })
}

/// The most the victim waited while the other was not yet held back as far as it is now, ms per
/// second.
fn waited(actions: &[Activity], other: &WorkloadView, victim: &str) -> Option<f64> {
    let since = onset(actions, other).map_or(0, |begin| begin.action.seq);
    let of_other = actions
        .iter()
        .map(|activity| &activity.action)
        .filter(|action| action.seq >= since && *action.workload == *other.name && !action.dry_run);
    let waits = of_other.filter_map(|action| {
        let effect = action.effect.as_ref().filter(|effect| *effect.victim == *victim);
        let named = action.contention.as_ref().filter(|named| *named.victim == *victim);
        let effect = effect.map(|effect| effect.wait_before_ms_per_s);
        effect.or(named.map(|named| named.wait_ms_per_s))
    });
    waits.max_by(f64::total_cmp)
}

/// How it fares, and before anybody was held back.
fn now(view: &StatusView, workload: &WorkloadView, before: Option<f64>) -> Vec<String> {
    let before = before.map(|before| format!("; before, it waited {}", words::ms(before)));
    let before = before.unwrap_or_default();
    let Some(contention) = view.contention.iter().find(|c| *c.victim == *workload.name) else {
        return vec![match workload.wait_ms_per_s {
            Some(wait) => format!("It waits {} now{before}.", words::wait(wait)),
            None => "How long it waits now is not known: its own quota stopped it, or nobody \
                     could look."
                .to_owned(),
        }];
    };
    let mut sentences = vec![format!("Now: {}{before}.", words::contention(contention))];
    sentences.extend(seen(contention));
    sentences.extend(out_of_reach(view, contention));
    sentences
}

fn seen(contention: &Contention) -> Option<String> {
    let evidence = &contention.evidence;
    (!evidence.is_empty()).then(|| format!("Seen by: {}.", evidence.join("; ")))
}
