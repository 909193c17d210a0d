//! A status for people: fits a terminal, most important first. Pure.

use super::view::{StatusView, WorkloadView};
use super::{knobs, plain, words};
use crate::backend::inspect::standing;
use std::fmt::Write as _;

/// Actions shown; `--json` has more.
const SHOWN: usize = 6;

/// The status in lines of at most `width` characters.
pub fn status(view: &StatusView, width: usize) -> String {
    let mut out = String::new();
    head(&mut out, view);
    workloads(&mut out, view);
    for contention in &view.contention {
        let _ = writeln!(out, "\ncontention: {}", words::contention(contention));
    }
    actions(&mut out, view);
    troubles(&mut out, view);
    out.lines().map(|line| fit(line, width) + "\n").collect()
}

fn head(out: &mut String, view: &StatusView) {
    let swept = view.tick_wall_ms.saturating_sub(view.started_wall_ms);
    let age = swept.saturating_add(view.silent_ms);
    let _ = writeln!(
        out,
        "{} (process {}), up {}, {} sweeps, own use {} of CPU time and {} MiB",
        view.instance,
        view.pid,
        words::span(age),
        view.tick,
        words::ms(view.own.cpu_ms as f64),
        view.own.rss_bytes / (1 << 20)
    );
    if let Some(why) = &view.why_idle {
        let _ = writeln!(out, "nothing is done: {why}");
    }
    for sentence in &view.degraded {
        let _ = writeln!(out, "degraded: {sentence}");
    }
}

fn workloads(out: &mut String, view: &StatusView) {
    if view.workloads.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\n{:<16} {:<16} {:>4} {:>6} {:>9} {:>6} {:>11}  MEMBERS",
        "WORKLOAD", "CLASS", "TIER", "WEIGHT", "CAP", "CPUS", "WAIT"
    );
    for workload in &view.workloads {
        let _ = writeln!(
            out,
            "{:<16} {:<16} {:>4} {:>6} {:>9} {:>6.2} {:>11}  {}",
            fit(&workload.name, 16),
            workload.class.name(),
            workload.tier,
            if workload.idle { "idle".to_owned() } else { workload.weight.to_string() },
            workload
                .cap_millicores
                .map_or_else(|| "none".to_owned(), |cap| words::cpus(f64::from(cap))),
            workload.millicores / 1000.0,
            wait(workload),
            members(workload)
        );
    }
}

fn wait(workload: &WorkloadView) -> String {
    match (workload.wait_ms_per_s, workload.protected) {
        (Some(wait), _) => {
            format!("{}/s{}", words::ms(wait), if workload.contended { " !" } else { "" })
        }
        (None, true) => "unknown".to_owned(),
        (None, false) => "-".to_owned(),
    }
}

fn members(workload: &WorkloadView) -> String {
    let mut text = format!("{}:", workload.members.len());
    for member in workload.members.iter().take(4) {
        let _ = write!(text, " {} {}", plain(&member.name), member.pid);
    }
    if workload.members.len() > 4 {
        text.push_str(" ...");
    }
    text
}

fn actions(out: &mut String, view: &StatusView) {
    if view.actions.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nlatest actions (`outrigger explain PID|WORKLOAD` tells more):");
    let from = view.actions.len().saturating_sub(SHOWN);
    for activity in &view.actions[from..] {
        let _ =
            writeln!(out, "{} {}", words::clock(activity.wall_ms), words::brief(&activity.action));
    }
}

fn troubles(out: &mut String, view: &StatusView) {
    let groups =
        [("refused", &view.refused), ("left alone", &view.foreign), ("in doubt", &view.in_doubt)];
    for (title, outcomes) in groups.into_iter().filter(|(_, outcomes)| !outcomes.is_empty()) {
        let _ = writeln!(out, "\n{title}: {}", knobs::done(outcomes));
    }
    let asleep: Vec<String> = view
        .backends
        .iter()
        .filter(|backend| !backend.reason.is_empty())
        .map(|backend| {
            let state = standing(&backend.state, true);
            format!("{} {state}: {}", backend.name, backend.reason)
        })
        .collect();
    for line in asleep {
        let _ = writeln!(out, "backend {line}");
    }
    for stage in view.stages.iter().filter(|stage| stage.restarts > 0) {
        let ending = stage.last_ending.as_deref().unwrap_or("ended");
        let _ =
            writeln!(out, "stage {} was restarted {} times: {ending}", stage.name, stage.restarts);
    }
}

/// Cuts a line that is too long, and shows that it was cut.
fn fit(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let mut cut: String = line.chars().take(width.saturating_sub(3)).collect();
    cut.push_str("...");
    cut
}

/// Width of the terminal on standard output; `None` if it is none.
pub fn width() -> Option<usize> {
    let mut size = std::mem::MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: the request fills a structure of that type; all zero is a valid value of it.
    let (result, size) = unsafe {
        let result = libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, size.as_mut_ptr());
        (result, size.assume_init())
    };
    (result == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

#[cfg(test)]
mod tests {
    use super::super::view::Activity;
    use super::super::view::tests::{Scene, action};
    use super::*;
    use crate::flow::activity::ActionKind;
    use crate::flow::message::Member;

    #[test]
    fn a_status_fits_the_terminal() {
        let mut scene = Scene::governed();
        scene.facts.degraded = vec!["x".repeat(200)];
        for line in status(&scene.view(), 80).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn names_of_processes_do_nothing_to_the_terminal() {
        let mut scene = Scene::governed();
        let members = scene.assessments.workloads[1].members.iter().cloned();
        let named = members.map(|member| Member { name: "\u{1b}[2J\nx".into(), ..member });
        scene.assessments.workloads[1].members = named.collect();
        let text = status(&scene.view(), 200);
        assert!(text.contains(r"1: \x1b[2J\x0ax 812"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn workloads_actions_and_idleness_are_shown() {
        let mut view = Scene::governed().view();
        view.actions = (1..10).map(|seq| Activity::of(&action(seq, ActionKind::Weight))).collect();
        view.why_idle = Some("it is paused".into());
        let text = status(&view, 200);
        assert!(text.contains("nothing is done: it is paused"), "{text}");
        assert!(
            text.lines().any(|l| l.starts_with("hogs             batch               3      1")),
            "{text}"
        );
        assert!(text.contains("4.0 ms/s"), "{text}");
        assert_eq!(text.matches("01:02:03 ").count(), SHOWN);
    }
}
