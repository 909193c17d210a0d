//! What is taken for contention, and what is not, on the real kernel: the plugins' readings of
//! real processes through the Monitor's and the Classifier's cores. Unlike the other tests here
//! this one looks inside, because a wrong suspicion that leads to nothing shows nowhere else.
#![allow(clippy::unwrap_used)]

use outrigger::classifier::Rules;
use outrigger::flow::message::{Assessments, Provenance, Sweep};
use outrigger::monitor::Window;
use outrigger::policy::{Class, Policy, Selector, Workload};
use outrigger_sdk::{Backend as _, ContextId, Host, Loaded, Observation, ObserveRequest, TaskId};
use outrigger_tests::{Group, Hierarchy, Hogs, Mutation, cgroups, program, root, until};
use std::collections::HashSet;
use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(250);
const VICTIM: &str = "test-victim";

/// Sweeps at the pace of the sidecar, and says who waits because of whom.
struct Eyes {
    tasks: Loaded,
    contexts: Loaded,
    window: Window,
    rules: Rules,
    focus: Vec<TaskId>,
    begun: Instant,
    tick: u64,
}

impl Eyes {
    fn new() -> Self {
        let selector = Selector { name: vec![VICTIM.into()], ..Selector::default() };
        let workload = Workload {
            name: "victim".into(),
            class: Some(Class::LatencyCritical),
            selectors: vec![selector],
            allow_irreversible: false,
        };
        let policy = Policy { workloads: vec![workload], ..Policy::default() };
        Self {
            tasks: plugin("linux_proc"),
            contexts: plugin(&format!("linux_cgroup{}", Hierarchy::find().unwrap().version)),
            window: Window::default(),
            rules: Rules::new(&policy, [std::process::id()]).unwrap(),
            focus: Vec::new(),
            begun: Instant::now(),
            tick: 0,
        }
    }

    /// The next sweep, when it is due.
    fn sweep(&mut self, group: Option<&Group>) -> Assessments {
        self.tick += 1;
        let due = TICK * u32::try_from(self.tick).unwrap();
        std::thread::sleep(due.saturating_sub(self.begun.elapsed()));
        let request =
            ObserveRequest { focus: self.focus.clone().into(), ..ObserveRequest::default() };
        let mut observation = Observation::default();
        self.tasks.observe(&request, &mut observation).unwrap();
        if let Some(group) = group {
            let context = ContextId::new(group.space(), &group.name());
            let request =
                ObserveRequest { contexts: vec![context].into(), ..ObserveRequest::default() };
            let mut read = Observation::default();
            self.contexts.observe(&request, &mut read).unwrap();
            observation.contexts = read.contexts;
        }
        let at_ns = u64::try_from(self.begun.elapsed().as_nanos()).unwrap();
        let provenance = Provenance { tick: self.tick, at_ns, wall_ms: 0 };
        let sweep = Sweep { provenance, observation, ..Sweep::default() };
        let assessments = self.rules.step(self.window.step(sweep), &HashSet::new());
        self.focus = Rules::focus(&assessments);
        assessments
    }
}

/// A plugin that was built beside the program.
fn plugin(name: &str) -> Loaded {
    let directory = program().parent().unwrap().to_owned();
    let file = directory.join(format!("liboutrigger_{name}.so"));
    let module = outrigger_abi::load::v1(&file).unwrap();
    Loaded::create_from(module, Host::silent(), "{}").unwrap()
}

/// How often the group's quota acted, as the kernel counts it.
fn throttled(group: &Group) -> u64 {
    let stat = group.read("cpu.stat");
    let count = stat.lines().find_map(|line| line.strip_prefix("nr_throttled "));
    count.unwrap().parse().unwrap()
}

/// Time a single-threaded process has run, ns: the first field of `schedstat`.
fn ran(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

fn ready() -> bool {
    root() && cgroups()
}

#[test]
fn a_starved_thread_is_contention_within_two_ticks() {
    if !ready() {
        return;
    }
    let (low, high) = (Group::create("low"), Group::create("high"));
    let victim = Hogs::plan(VICTIM).in_group(low.path()).start();
    let pid = victim.pids()[0];
    let cpus = std::thread::available_parallelism().unwrap().get();
    let _hogs = Hogs::plan("test-hog").count(2 * cpus).in_group(high.path()).start();
    let mut eyes = Eyes::new();
    // Known, and looked at closely.
    for _ in 0..3 {
        eyes.sweep(None);
    }
    low.write("cpu.idle", "1");
    let mut before = ran(pid);
    let starved = (0..240).find(|_| {
        let contended = !eyes.sweep(None).contention.is_empty();
        let now = ran(pid);
        // It never sleeps, so it waited all the time between two sweeps.
        let starved = std::mem::replace(&mut before, now) == now;
        if starved {
            // It is told at this sweep, or at the next at the latest.
            assert!(contended || !eyes.sweep(None).contention.is_empty(), "starved, and not seen");
        }
        starved
    });
    assert!(starved.is_some(), "an idle group beside {} hogs starves nobody", 2 * cpus);
}

#[test]
fn a_group_throttled_by_its_own_quota_is_not_contended_though_it_waits() {
    if !ready() {
        return;
    }
    let (own, other) = (Group::create("own"), Group::create("other"));
    own.set_quota(Duration::from_millis(20));
    let _victim = Hogs::plan(VICTIM).in_group(own.path()).start();
    let cpus = std::thread::available_parallelism().unwrap().get();
    let _hogs = Hogs::plan("test-hog").count(cpus).in_group(other.path()).start();
    until("its quota acts", Duration::from_secs(30), || throttled(&own) > 0);
    let (mut eyes, mut blind) = (Eyes::new(), Eyes::new());
    let mut suspected = 0;
    for n in 0..40 {
        let seen = eyes.sweep(Some(&own));
        assert!(seen.contention.is_empty(), "sweep {n}: {:?}", seen.contention);
        suspected += blind.sweep(None).contention.len();
    }
    // Whoever does not look at the quota is taken in: it is the quota that makes the difference.
    assert!(suspected > 0);
}

#[test]
fn a_busy_workload_alone_is_not_contended_though_it_waits() {
    if !ready() {
        return;
    }
    let own = Group::create("own");
    let cpus = std::thread::available_parallelism().unwrap().get();
    let _victim = Hogs::plan(VICTIM).count(4 * cpus).in_group(own.path()).start();
    let mut eyes = Eyes::new();
    let (mut alone, mut waited) = (0, 0.0_f64);
    for n in 0..24 {
        let seen = eyes.sweep(None);
        let (Some(used), [victim]) = (seen.used_millicores, &seen.workloads[..]) else { continue };
        // On a machine that others use too, only the sweeps count in which they hardly did.
        if used - victim.millicores > 50.0 * cpus as f64 {
            continue;
        }
        alone += 1;
        waited = waited.max(victim.wait_ms_per_s.unwrap_or(0.0));
        assert!(seen.contention.is_empty(), "sweep {n}: {:?}", seen.contention);
    }
    if alone < 4 {
        eprintln!("NOISY: not judged, needs a machine that nobody else uses");
        return;
    }
    assert!(waited > 500.0, "four loops for each CPU must wait for one another: {waited}");
}

/// Killed and reaped when dropped.
struct Sleeper(Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_idle_workload_is_not_contended_whoever_is_busy() {
    if !ready() {
        return;
    }
    let directory = tempfile::TempDir::new().unwrap();
    let link = directory.path().join(VICTIM);
    std::os::unix::fs::symlink("/bin/sleep", &link).unwrap();
    let _sleeper = Sleeper(Command::new(&link).arg("600").spawn().unwrap());
    let group = Group::create("other");
    let _hogs = Hogs::plan("test-hog").count(4).in_group(group.path()).start();
    let mut eyes = Eyes::new();
    let mut known = 0;
    for n in 0..16 {
        let seen = eyes.sweep(None);
        known += seen.workloads.len();
        assert!(seen.contention.is_empty(), "sweep {n}: {:?}", seen.contention);
    }
    assert!(known > 10, "the sleeper was not found");
}

#[test]
fn eyes_that_see_nothing_or_everything_are_noticed() {
    if !ready() {
        return;
    }
    Mutation::Blind.reddens("a_starved_thread_is_contention_within_two_ticks");
    for test in [
        "a_group_throttled_by_its_own_quota_is_not_contended_though_it_waits",
        "a_busy_workload_alone_is_not_contended_though_it_waits",
        "an_idle_workload_is_not_contended_whoever_is_busy",
    ] {
        Mutation::Jumpy.reddens(test);
    }
}
