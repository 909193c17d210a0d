//! Why nothing can be done on this host, whatever happens on it. Pure.

use super::CapabilityView;
use outrigger_sdk::{Capability, Level};

/// One sentence and what to do about it; `None` if there is something that can be done. It is known
/// at the start: it depends on plugins and privileges alone. With `irreversible`, what cannot be
/// turned back is turned too.
pub(crate) fn obstacle(capabilities: &[CapabilityView], irreversible: bool) -> Option<String> {
    let find = |capability: Capability| {
        let name = capability.to_string();
        capabilities.iter().find(move |known| known.name == name)
    };
    let level = |capability| find(capability).map_or("", |known| known.level.as_str());
    let (none, full) = (Level::UNAVAILABLE.to_string(), Level::FULL.to_string());
    // Not probed yet.
    let tasks = find(Capability::OBSERVE_TASKS)?;
    if tasks.level == none {
        return Some(
            "no backend can see processes: put the plugins into `plugins/` beside the program or \
             name their directory with --plugin-dir; `outrigger doctor` tells more"
                .to_owned(),
        );
    }
    if level(Capability::CPU_WEIGHT) != none || level(Capability::CPU_LIMIT) != none {
        return None;
    }
    let priorities = [Capability::PRIORITY, Capability::SCHED_CLASS];
    if priorities.iter().all(|&knob| level(knob) == none) {
        return Some("no backend can turn anything; `outrigger doctor` tells why".to_owned());
    }
    // Below "full" a priority goes only one way, or none of other users' processes has one.
    if irreversible || priorities.iter().any(|&knob| level(knob) == full) {
        return None;
    }
    let why = |capability| find(capability).map_or("", |known| known.reason.as_str());
    let hint = find(Capability::CPU_WEIGHT).map_or("", |known| known.hint.as_str());
    Some(format!(
        "CPU weights cannot be turned ({}), and priorities not back again ({}): {hint}",
        why(Capability::CPU_WEIGHT),
        why(Capability::PRIORITY),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an unprivileged user gets, with these levels instead.
    fn host(levels: &[(Capability, &str)]) -> Vec<CapabilityView> {
        let all = [
            (Capability::OBSERVE_TASKS, "full"),
            (Capability::CPU_WEIGHT, "unavailable"),
            (Capability::CPU_LIMIT, "unavailable"),
            (Capability::PRIORITY, "degraded"),
            (Capability::SCHED_CLASS, "degraded"),
        ];
        let level = |capability, level: &'static str| {
            levels.iter().find(|(c, _)| *c == capability).map_or(level, |(_, level)| level).into()
        };
        all.iter()
            .map(|&(capability, usual)| CapabilityView {
                name: capability.to_string(),
                level: level(capability, usual),
                reason: "no permission".into(),
                hint: "run as root".into(),
                ..CapabilityView::default()
            })
            .collect()
    }

    #[test]
    fn without_plugins_it_is_blind_and_says_where_they_belong() {
        let told = obstacle(&host(&[(Capability::OBSERVE_TASKS, "unavailable")]), false);
        assert!(told.as_ref().is_some_and(|t| t.starts_with("no backend can see processes")));
        assert!(told.is_some_and(|told| told.contains("--plugin-dir")));
    }

    #[test]
    fn who_can_turn_nothing_back_is_told_why_and_what_to_do() {
        let told = obstacle(&host(&[]), false).unwrap_or_default();
        assert!(told.contains("no permission") && told.contains("run as root"), "{told}");
        assert_eq!(obstacle(&host(&[]), true), None);
    }

    #[test]
    fn with_one_knob_there_is_no_obstacle() {
        assert_eq!(obstacle(&host(&[(Capability::CPU_WEIGHT, "full")]), false), None);
        assert_eq!(obstacle(&host(&[(Capability::PRIORITY, "full")]), false), None);
        assert_eq!(obstacle(&[], false), None);
    }
}
