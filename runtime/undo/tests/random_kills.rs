//! The sidecar is killed at random moments while it turns knobs of a workload that forks all the
//! time. Afterwards nothing is different, whoever had to put it back.
//!
//! `OUTRIGGER_KILLS` sets how often; the default is for every day.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use outrigger_undo::{Outcome, Report, knob, restore};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use support::cgroup::{CPU, Cgroup};
use support::child::{FORKING, Process, signal};
use support::look::{self, snapshot};
use support::{await_that, of_group};

const EVERY_DAY: u32 = 12;

#[test]
fn nothing_is_different_after_a_kill_at_any_moment() {
    needs_cgroup_v1!();
    let kills = std::env::var("OUTRIGGER_KILLS").map_or(EVERY_DAY, |text| text.parse().unwrap());
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    for kill in 0..kills {
        // Spread over the first rounds of a sidecar's life, in steps that hit every phase.
        let moment = Duration::from_micros(u64::from(seed.wrapping_add(kill * 7919) % 60_000));
        one_life(kill, moment);
    }
}

fn one_life(kill: u32, moment: Duration) {
    let temp = tempfile::tempdir().unwrap();
    let state = temp.path().join("state");
    let (context, adopted) = (Cgroup::name(CPU), Cgroup::create(CPU));
    adopted.write("cpu.shares", "512");
    let mut workload = Process::shell(FORKING);
    let before = snapshot(&[workload.pid()], &[&adopted.text()]);

    let arguments = [
        state.to_str().unwrap(),
        temp.path().to_str().unwrap(),
        &context.text(),
        &adopted.text(),
        &workload.pid().to_string(),
    ];
    let mut sidecar = Process::in_role("restless", &arguments);
    await_that("the sidecar begins", || temp.path().join("done").exists());
    std::thread::sleep(moment);
    let keeper = std::fs::read_to_string(temp.path().join("keeper")).unwrap().parse().unwrap();
    if kill % 10 == 9 {
        signal(keeper, libc::SIGKILL);
        sidecar.kill();
        let report = restore(&state).unwrap();
        assert!(report.is_clean(), "kill {kill} after {moment:?}: {report:?}");
    } else {
        sidecar.kill();
        await_that("the keeper ended", || knob::identify(keeper).is_none());
    }

    let demoted: Vec<_> = (of_group(workload.pid()).into_iter())
        .map(|pid| {
            (pid, look::of(pid, "nice"), look::of(pid, "policy"), look::cpu_cgroup(pid, pid))
        })
        .filter(|(_, nice, policy, cgroup)| {
            (nice.as_str(), policy.as_str(), cgroup.as_str()) != ("0", "0", "/")
        })
        .filter(|(pid, ..)| knob::identify(*pid).is_some())
        .collect();
    let after = snapshot(&[workload.pid()], &[&adopted.text()]);
    workload.kill_group();
    let report = told(&state.join("restore-report.json"));
    assert_eq!(demoted, [], "kill {kill} after {moment:?}: {report}");
    assert_eq!(after, before, "kill {kill} after {moment:?}: {report}");
    assert!(!context.path.exists(), "kill {kill} after {moment:?}: {report}");
    assert!(!state.join("journal").exists(), "kill {kill} after {moment:?}: {report}");
}

/// What the keeper said about whatever is still there.
fn told(path: &Path) -> String {
    let Ok(text) = std::fs::read(path) else { return "no report".to_owned() };
    let mut report: Report = serde_json::from_slice(&text).unwrap();
    report.items.retain(|item| item.outcome != Outcome::Gone);
    format!("{report:#?}")
}
