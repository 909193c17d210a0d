//! Figures and facts as people say them. Pure.

use super::{knobs, plain};
use crate::flow::activity::{Action, ActionKind, PlaceShare};
use crate::flow::message::{Contention, Culprit};

/// `1.7 CPUs`
pub(crate) fn cpus(millicores: f64) -> String {
    let cpus = millicores / 1000.0;
    if (0.95..1.05).contains(&cpus) { "1 CPU".to_owned() } else { format!("{cpus:.1} CPUs") }
}

/// `340 ms of each second`
pub(crate) fn wait(ms_per_s: f64) -> String {
    format!("{} of each second", ms(ms_per_s))
}

/// `340 ms`, `4.2 ms`
pub(crate) fn ms(ms: f64) -> String {
    if ms >= 10.0 || ms == 0.0 { format!("{ms:.0} ms") } else { format!("{ms:.1} ms") }
}

/// `01:02:03` (UTC), from milliseconds since the Unix epoch.
pub(crate) fn clock(wall_ms: u64) -> String {
    let seconds = wall_ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `3 h 4 min`, `12 s`
pub(crate) fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// `PID 812 stress-ng held 1.7 CPUs`
pub(crate) fn culprit(culprit: &Culprit) -> String {
    let name = plain(&culprit.name);
    format!("PID {} {name} held {}", culprit.task.pid, cpus(culprit.millicores))
}

/// `redis waited 340 ms of each second while PID 812 stress-ng held 1.7 CPUs and 3 others ...`
pub(crate) fn contention(contention: &Contention) -> String {
    let mut text = format!("{} waited {}", contention.victim, wait(contention.wait_ms_per_s));
    let Some((first, others)) = contention.culprits.split_first() else { return text };
    text.push_str(" while ");
    text.push_str(&culprit(first));
    if !others.is_empty() {
        let sum = others.iter().map(|other| other.millicores).sum();
        text.push_str(&format!(" and {} others held {}", others.len(), cpus(sum)));
    }
    text
}

/// What kind of action, as a verb.
pub(crate) fn kind(kind: ActionKind) -> &'static str {
    match kind {
        ActionKind::Place => "placed",
        ActionKind::Weight => "share turned",
        ActionKind::Cap => "cap turned",
        ActionKind::Priority => "priority turned",
        ActionKind::Restore => "put back",
        ActionKind::Foreign => "left alone, changed by somebody else",
        ActionKind::Refused => "refused",
        ActionKind::InDoubt => "in doubt",
        ActionKind::NoLever => "no lever",
        ActionKind::Tier => "entitled anew, nothing had to be written",
    }
}

/// What a place is worth, level by level.
pub(crate) fn share(share: &PlaceShare) -> String {
    let steps: Vec<String> = share
        .steps
        .iter()
        .map(|step| match step.rivals {
            0.0 => format!("{} has no rivals", step.path),
            rivals => format!("{} weighs {:.0} against {rivals:.0}", step.path, step.weight),
        })
        .collect();
    let percent = share.fraction * 100.0;
    let precision = if percent < 10.0 { 1 } else { 0 };
    format!(
        "In {} it gets {percent:.precision$} % of the CPU while every workload wants it: {}.",
        share.path,
        steps.join(", ")
    )
}

/// One action in one sentence.
pub(crate) fn action(action: &Action) -> String {
    let mut text = String::new();
    if action.dry_run {
        text.push_str("would be done: ");
    }
    if let Some(because) = &action.contention {
        text.push_str(&contention(because));
        text.push_str("; ");
    }
    text.push_str(&format!("{} {}", action.workload, kind(action.kind)));
    match &action.change {
        Some(change) if change.from != change.to => {
            text.push_str(&format!(", tier {} -> {}", change.from, change.to));
        }
        _ => text.push_str(&format!(", tier {}", action.tier)),
    }
    text.push_str(&format!(" by rule {}", action.rule));
    let reasons = action.change.as_ref().map_or(&[][..], |change| &change.reasons);
    if action.contention.is_none() && !reasons.is_empty() {
        text.push_str(&format!(" ({})", reasons.join("; ")));
    }
    if action.kind == ActionKind::NoLever {
        text.push_str(&format!(", because {}", action.lever));
    } else if !action.knobs.is_empty() {
        text.push_str(&format!(": {}", knobs::done(&action.knobs)));
    }
    if let Some(effect) = &action.effect {
        text.push_str(&format!(
            "; {} waited {} before and {} after",
            effect.victim,
            ms(effect.wait_before_ms_per_s),
            wait(effect.wait_after_ms_per_s)
        ));
    }
    text
}

/// The same in few words, for a line of a list.
pub(crate) fn brief(action: &Action) -> String {
    let mut text = if action.dry_run { "would: ".to_owned() } else { String::new() };
    text.push_str(&action.workload);
    match &action.change {
        Some(change) if change.from != change.to => {
            text.push_str(&format!(" tier {} -> {}", change.from, change.to));
        }
        _ => text.push_str(&format!(" {}", kind(action.kind))),
    }
    if let Some(effect) = &action.effect {
        let (before, after) = (effect.wait_before_ms_per_s, effect.wait_after_ms_per_s);
        text.push_str(&format!(", {} waits {} -> {}/s", effect.victim, ms(before), ms(after)));
    }
    if action.kind == ActionKind::NoLever {
        text.push_str(&format!(": {}", action.lever));
    } else if !action.knobs.is_empty() {
        text.push_str(&format!(": {}", knobs::done(&action.knobs)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::view::tests as scene;
    use super::*;
    use crate::flow::activity::{Effect, ShareStep};
    use crate::flow::message::TierChange;
    use outrigger_sdk::TaskId;

    pub(crate) fn contended() -> Contention {
        let culprit = |pid, millicores| Culprit {
            task: TaskId { pid, tid: 0, start: 1 },
            name: "stress-ng".into(),
            workload: Some("hogs".into()),
            millicores,
        };
        Contention {
            victim: "redis".into(),
            wait_ms_per_s: 340.0,
            evidence: vec!["pressure".into()],
            culprits: vec![culprit(812, 1700.0), culprit(813, 150.0), culprit(814, 150.0)],
        }
    }

    #[test]
    fn figures_are_said_as_people_say_them() {
        assert_eq!(cpus(1700.0), "1.7 CPUs");
        assert_eq!(cpus(1000.0), "1 CPU");
        assert_eq!(
            (ms(340.2), ms(4.21), ms(0.0)),
            ("340 ms".into(), "4.2 ms".into(), "0 ms".into())
        );
        assert_eq!(clock(3_723_000), "01:02:03");
        assert_eq!((span(12_000), span(7_500_000)), ("12 s".into(), "2 h 5 min".into()));
    }

    #[test]
    fn a_share_is_told_level_by_level() {
        let step = |path: &str, weight, rivals| ShareStep { path: path.into(), weight, rivals };
        let told = share(&PlaceShare {
            workload: "hogs".into(),
            path: "/user/leaf".into(),
            fraction: 1.0 / 101.0,
            steps: vec![step("/user", 1.0, 100.0), step("/user/leaf", 100.0, 0.0)],
        });
        assert_eq!(
            told,
            "In /user/leaf it gets 1.0 % of the CPU while every workload wants it: \
             /user weighs 1 against 100, /user/leaf has no rivals."
        );
    }

    #[test]
    fn an_action_tells_the_whole_story() {
        let mut told = scene::action(3, ActionKind::Weight);
        told.knobs = vec![scene::knob()];
        told.change = Some(TierChange {
            workload: "hogs".into(),
            from: 1,
            to: 3,
            cap: None,
            rule: "workload.hogs".into(),
            reasons: Vec::new(),
            contention: None,
        });
        told.contention = Some(contended());
        told.effect = Some(Effect {
            victim: "redis".into(),
            wait_before_ms_per_s: 340.0,
            wait_after_ms_per_s: 4.0,
            contended: true,
        });
        assert_eq!(
            action(&told),
            "redis waited 340 ms of each second while PID 812 stress-ng held 1.7 CPUs and 2 others \
             held 0.3 CPUs; hogs share turned, tier 1 -> 3 by rule workload.hogs: cpu.shares of \
             /outrigger-run-1-hogs 1024 -> 10; redis waited 340 ms before and 4.0 ms of each \
             second after"
        );
    }

    #[test]
    fn a_line_of_a_list_says_the_most_important_first() {
        let mut told = scene::action(3, ActionKind::Weight);
        told.knobs = vec![scene::knob()];
        told.effect = Some(Effect {
            victim: "redis".into(),
            wait_before_ms_per_s: 340.0,
            wait_after_ms_per_s: 4.0,
            contended: true,
        });
        assert_eq!(
            brief(&told),
            "hogs share turned, redis waits 340 ms -> 4.0 ms/s: cpu.shares of \
             /outrigger-run-1-hogs 1024 -> 10"
        );
    }

    #[test]
    fn no_lever_says_why() {
        let mut told = scene::action(1, ActionKind::NoLever);
        told.lever = "they share a context with redis".into();
        assert!(action(&told).ends_with("because they share a context with redis"));
    }
}
