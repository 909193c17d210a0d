//! Being held back costs nothing while nobody else wants the CPU.
#![allow(clippy::unwrap_used)]

use std::process::{Child, Command, Stdio};
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

use outrigger::demo::busy_time;
use outrigger_tests::{Group, Hogs, Mutation, Outrigger, cgroups, noisy, root};

/// Pairs of intervals, with the sidecar and without in turn.
const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);
/// What governed hogs are to get at least, of what they get ungoverned.
const KEPT: f64 = 0.95;
/// What others than the hogs may use: beyond, there is contention.
const OTHERS_CPUS: f64 = 0.3;
const NAME: &str = "lonelyhog";
/// What a group has that nobody turned.
const ASIS: f64 = 100.0;

/// The service to be protected: it wants nothing. Killed and reaped when dropped.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        let mut command = Command::new("sleep");
        // Ends by itself, should the test be killed.
        command.arg("300").stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Background work rests in tier 3 also while nobody waits; what that means is `tier`.
fn configuration(protected: u32, tier: &str) -> String {
    format!(
        r#"
[[workload]]
name = "service"
class = "latency-critical"
match = [{{ pid = {protected} }}]

[[workload]]
name = "hogs"
class = "background"
match = [{{ name = "{NAME}" }}]

[tiers.3]
{tier}
"#
    )
}

/// CPUs that the hogs use, and that all others use.
fn speed(hogs: &Hogs) -> [f64; 2] {
    let (begun, all, used) = (Instant::now(), busy_time().unwrap(), hogs.cpu_time());
    // No waiting: the length of the measurement.
    sleep(TIME);
    let (elapsed, used) = (begun.elapsed(), hogs.cpu_time().saturating_sub(used));
    let others = busy_time().unwrap().saturating_sub(all).saturating_sub(used);
    [used, others].map(|time| time.as_secs_f64() / elapsed.as_secs_f64())
}

/// The hogs with the sidecar over them without, the median of some rounds; `None`, and the reason
/// on standard error, if others contended for the CPUs.
fn kept(tier: &str) -> Option<f64> {
    let sleeper = Sleeper::start();
    let group = Group::create("lonely");
    let cpus = available_parallelism().map_or(1, usize::from);
    let hogs = Hogs::plan(NAME).count(cpus).in_group(group.path()).start();
    let weight = || group.weight();
    let mut contenders = 0.0;
    let mut ratios: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let [alone, others] = speed(&hogs);
            contenders += others / ROUNDS as f64;
            let mut sidecar = Outrigger::daemon(&configuration(sleeper.0.id(), tier)).start();
            sidecar.wait_until("the hogs' weight is turned", PATIENCE, |_| weight() < ASIS);
            let [governed, _] = speed(&hogs);
            assert!(weight() < ASIS, "they were not governed to the end");
            sidecar.signal(libc::SIGTERM);
            let status = sidecar.wait(PATIENCE);
            assert!(status.success(), "the sidecar ended with {status}");
            assert_eq!(weight(), ASIS);
            eprintln!("ungoverned {alone:.2} CPUs, governed {governed:.2}");
            governed / alone
        })
        .collect();
    assert_eq!(group.quota(), None);
    if contenders > OTHERS_CPUS {
        noisy(&format!("there is contention on this machine: others use {contenders:.2} CPUs"));
        return None;
    }
    ratios.sort_by(f64::total_cmp);
    Some(ratios[ROUNDS / 2])
}

#[test]
fn without_contention_a_governed_hog_is_as_fast_as_an_ungoverned_one() {
    if !(root() && cgroups()) {
        return;
    }

    let kept = kept(r#"when = "contended""#);

    assert!(kept.is_none_or(|kept| kept >= KEPT), "{kept:.3?}");
}

#[test]
fn a_cap_that_is_always_on_would_be_noticed() {
    if !(root() && cgroups()) {
        return;
    }

    let kept = kept("cap = 25.0\nwhen = \"always\"");

    assert!(kept.is_none_or(|kept| kept < KEPT), "{kept:.3?}");
}

#[test]
fn an_enforcer_that_does_nothing_is_noticed() {
    if root() && cgroups() {
        Mutation::EnforcerNoop
            .reddens("without_contention_a_governed_hog_is_as_fast_as_an_ungoverned_one");
    }
}
