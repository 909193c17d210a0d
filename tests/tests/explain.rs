//! `explain` names culprit, cost, knob and effect, also where the culprits were there first; what
//! it says is compared with what the kernel says.
#![allow(clippy::unwrap_used)]

use outrigger_tests::{
    Hierarchy, Hogs, Mutation, Outrigger, Service, cgroups, noisy, root, until, until_some,
};
use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
/// With two CPUs and one service, each CPU has a queue.
const HOGS: usize = 8;
/// What waiting is measured over.
const WHILE: Duration = Duration::from_secs(1);
/// Waiting from which a protected workload is contended by default, ms per second.
const CONTENDED: f64 = 50.0;
/// What others may use: from there on the service waits for them too, whoever is held back.
const OTHERS_CPUS: f64 = 0.3;

/// A name that no other test's processes have.
fn unique(what: &str) -> String {
    format!("{what}-{}", std::process::id())
}

/// Time that threads of the processes have waited in a run queue, ms: the second field of each
/// thread's `schedstat`.
fn queued_ms(pids: &[u32]) -> f64 {
    let threads = |pid: &u32| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    let stats = pids.iter().flat_map(threads).flatten().map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        text.split(' ').nth(1).and_then(|ns| ns.parse::<f64>().ok()).unwrap_or_default()
    });
    stats.sum::<f64>() / 1e6
}

/// How much the service and its client wait just now, ms per second, by the kernel's own account;
/// and how many CPUs others than they and the hogs use.
fn waiting(service: &mut Service, hogs: &Hogs) -> (f64, f64) {
    let pids = service.pids();
    let (begun, before) = (Instant::now(), queued_ms(&pids));
    let usage = service.watch(WHILE, Some(hogs));
    ((queued_ms(&pids) - before) / begun.elapsed().as_secs_f64(), usage.others_cpus)
}

/// The action that `explain` tells of with culprit and effect, when it does.
fn explained(sidecar: &Outrigger, pid: u32) -> Value {
    until_some("culprit, cost and effect are explained", PATIENCE, || {
        let explanation = sidecar.explain(pid)?;
        let actions = explanation["actions"].as_array()?;
        let whole = |action: &&Value| {
            !action["contention"].is_null()
                && !action["effect"].is_null()
                && weight(action).is_some()
        };
        actions.iter().find(whole).cloned()
    })
}

fn weight(action: &Value) -> Option<&Value> {
    action["knobs"].as_array()?.iter().find(|knob| knob["knob"] == "cpu.weight")
}

/// The culprit that is one of `pids`.
fn culprit<'a>(action: &'a Value, pids: &[u32]) -> &'a Value {
    let culprits = action["contention"]["culprits"].as_array().unwrap();
    let one = |culprit: &&Value| pids.iter().any(|pid| culprit["task"]["pid"] == *pid);
    culprits.iter().find(one).unwrap_or_else(|| panic!("none of {pids:?} in {action:#}"))
}

/// The weight that the kernel shows for the group that a process is in.
fn shares_of(pid: u32) -> String {
    let hierarchy = Hierarchy::find().unwrap();
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = cgroups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let mine = match hierarchy.version {
            1 => controllers.split(',').any(|controller| controller == "cpu"),
            _ => controllers.is_empty(),
        };
        mine.then_some(path)
    });
    let group = hierarchy.mount.join(path.unwrap().trim_start_matches('/'));
    fs::read_to_string(group.join(hierarchy.weight_file())).unwrap().trim().to_owned()
}

/// The weight that everybody has.
fn asis() -> &'static str {
    if Hierarchy::find().unwrap().version == 1 { "1024" } else { "100" }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// The number of a process that is gone.
fn nobody() -> u32 {
    let mut child = Command::new("true").stdin(Stdio::null()).spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

#[test]
fn hogs_that_were_there_first_are_explained_with_culprit_cost_and_effect() {
    if !(root() && cgroups()) {
        return;
    }
    let name = unique("early");
    let mut service = Service::start(None);
    let hogs = Hogs::plan(&name).count(HOGS).start();
    let (kernel_before, _) = waiting(&mut service, &hogs);
    let [server, client] = service.pids().map(|pid| pid.to_string());
    let selector = format!("name={name}");
    let arguments = ["--pid", &server, "--pid", &client, "--best-effort", &selector];
    let sidecar = Outrigger::command("attach", arguments).start();

    let pid = hogs.pids()[0];
    let action = explained(&sidecar, pid);

    let (kernel_after, others) = waiting(&mut service, &hogs);
    let culprit = culprit(&action, &hogs.pids());
    assert_eq!(culprit["name"], name.as_str());
    assert_eq!(culprit["workload"], "best-effort");
    assert!(number(&culprit["millicores"]) > 0.0, "{culprit}");
    let effect = &action["effect"];
    let (before, after) =
        (number(&effect["wait_before_ms_per_s"]), number(&effect["wait_after_ms_per_s"]));
    eprintln!(
        "explain: {before:.0} -> {after:.0} ms/s; the kernel: {kernel_before:.0} -> {kernel_after:.0}"
    );
    assert_eq!(effect["victim"], "app");
    assert_eq!(effect["contended"], true);
    assert_eq!(effect["wait_before_ms_per_s"], action["contention"]["wait_ms_per_s"]);
    assert!(before > CONTENDED && kernel_before > CONTENDED, "{before}, {kernel_before}");
    if others < OTHERS_CPUS {
        assert!(
            after < before / 2.0 && kernel_after < kernel_before / 2.0,
            "{after}, {kernel_after}"
        );
    } else {
        noisy(&format!("how much it helps; others use {others:.2} CPUs of this machine"));
    }
    let knob = weight(&action).unwrap();
    let asis = asis();
    assert_eq!(knob["before"], asis);
    assert_eq!(knob["read_back"], shares_of(pid).as_str());

    let words = sidecar.explain_in_words(pid);
    eprintln!("{words}");
    for expected in [
        format!("PID {pid} {name} belongs to best-effort"),
        format!("app waited {before:.0} ms of each second while PID "),
        "best-effort placed, tier 0 -> 3 by rule workload.best-effort: ".to_owned(),
        format!(" {asis} -> {}", shares_of(pid)),
        format!("; app waited {before:.0} ms before and "),
        "app waits ".to_owned(),
    ] {
        assert!(words.contains(&expected), "{expected:?} is missing in:\n{words}");
    }
    let words = sidecar.explain_in_words(&server);
    eprintln!("{words}");
    for expected in [
        format!("PID {server} "),
        "For it best-effort (PID ".to_owned(),
        ") is held back since ".to_owned(),
        format!("; before, it waited {before:.0} ms."),
    ] {
        assert!(words.contains(&expected), "{expected:?} is missing in:\n{words}");
    }
    let innocent = std::process::id();
    let words = sidecar.explain_in_words(innocent);
    assert!(words.starts_with(&format!("PID {innocent} belongs to no workload")), "{words}");
    let gone = nobody();
    let words = sidecar.explain_in_words(gone);
    assert!(words.starts_with(&format!("There is no process {gone}")), "{words}");
}

#[test]
fn a_service_that_comes_last_is_protected_and_what_it_waited_is_explained() {
    if !(root() && cgroups()) {
        return;
    }
    let (hog, victim) = (unique("first"), unique("last"));
    let hogs = Hogs::plan(&hog).count(HOGS).start();
    let mut sidecar = Outrigger::daemon(&format!(
        r#"
        [[workload]]
        name = "service"
        class = "latency-critical"
        match = [{{ name = "{victim}" }}]

        [[workload]]
        name = "nightly"
        class = "batch"
        match = [{{ name = "{hog}" }}]
        "#
    ))
    .start();
    sidecar.wait_until("it knows the hogs", PATIENCE, |status| {
        status["workloads"].as_array().is_some_and(|workloads| !workloads.is_empty())
    });
    let pid = hogs.pids()[0];
    let words = sidecar.explain_in_words(pid);
    assert!(words.contains("It is in tier 0, unrestricted: no process of a protected"), "{words}");

    let service = Hogs::plan(&victim).start();
    let action = explained(&sidecar, pid);

    assert_ne!(shares_of(pid), asis(), "nobody is held back");
    assert_eq!(culprit(&action, &hogs.pids())["workload"], "nightly");
    assert_eq!(action["contention"]["victim"], "service");
    assert!(number(&action["effect"]["wait_before_ms_per_s"]) > CONTENDED);
    drop(service);
    until("nobody is held back for nobody", PATIENCE, || shares_of(pid) == asis());
}

#[test]
fn an_enforcer_that_does_nothing_is_noticed() {
    if !(root() && cgroups()) {
        return;
    }
    for test in [
        "hogs_that_were_there_first_are_explained_with_culprit_cost_and_effect",
        "a_service_that_comes_last_is_protected_and_what_it_waited_is_explained",
    ] {
        Mutation::EnforcerNoop.reddens(test);
    }
}
