#![allow(clippy::unwrap_used)]
use super::*;
use crate::flow::message::{ContextSignals, Provenance};
use crate::policy::{Selector, Workload};
use outrigger_sdk::{ContextId, Fields, TaskInfo};
use std::sync::Arc;

const NOBODY: [u32; 0] = [];

const TICK_NS: u64 = 250_000_000;

fn task(pid: u32) -> TaskId {
    TaskId { pid, tid: 0, start: u64::from(pid) }
}

fn info(pid: u32, parent: u32, name: &str) -> TaskInfo {
    TaskInfo {
        task: task(pid),
        parent,
        session: 2,
        uid: 1000,
        present: Fields::EXE.with(Fields::COMMAND).with(Fields::CONTEXTS),
        name: name.into(),
        exe: format!("/bin/{name}").as_str().into(),
        command: vec![name.into()].into(),
        contexts: vec![ContextId::new("unified", &format!("/{name}"))].into(),
        kernel: false,
        thread_names: Vec::new().into(),
    }
}

fn using(pid: u32, millicores: f64) -> TaskSignals {
    TaskSignals { task: task(pid), millicores: Some(millicores), ..TaskSignals::default() }
}

fn workload(name: &str, class: Option<Class>, selector: Selector) -> Workload {
    let name = name.into();
    Workload { name, class, selectors: vec![selector], allow_irreversible: false }
}

fn named(name: &str) -> Selector {
    Selector { name: vec![name.into()], ..Selector::default() }
}

fn descendant_of(name: &str) -> Selector {
    Selector { descendant_of: vec![name.into()], ..Selector::default() }
}

fn policy(workloads: Vec<Workload>) -> Policy {
    Policy { workloads, ..Policy::default() }
}

/// Rules with a clock.
struct Bench {
    rules: Rules,
    tick: u64,
    peers: HashSet<TaskId>,
    contexts: Vec<ContextSignals>,
    host: Option<f64>,
}

impl Bench {
    fn new(policy: &Policy) -> Self {
        let rules = Rules::new(policy, [99]).unwrap();
        Self { rules, tick: 0, peers: HashSet::new(), contexts: Vec::new(), host: None }
    }

    fn step(&mut self, infos: Vec<TaskInfo>, tasks: Vec<TaskSignals>, gone: &[u32]) -> Assessments {
        self.tick += 1;
        let signals = Signals {
            provenance: Provenance { tick: self.tick, at_ns: self.tick * TICK_NS, wall_ms: 0 },
            interval_ns: TICK_NS,
            cpus: 2,
            tasks,
            infos: infos.into_iter().map(Arc::new).collect(),
            gone: gone.iter().map(|&pid| task(pid)).collect(),
            contexts: self.contexts.clone(),
            host_pressure: None,
            host_millicores: self.host,
            unreadable: 0,
        };
        self.rules.step(signals, &self.peers)
    }
}

fn pids(assessments: &Assessments, workload: &str) -> Vec<u32> {
    let found = assessments.workloads.iter().filter(|a| &*a.workload == workload);
    found.flat_map(|a| a.members.iter().map(|member| member.task.pid)).collect()
}

#[test]
fn children_keep_matching_after_their_parent_died() {
    let mut bench = Bench::new(&policy(vec![workload("jobs", None, descendant_of("make"))]));
    // Children before parents, as a scan may tell them.
    let infos = vec![info(12, 11, "cc"), info(11, 10, "sh"), info(10, 1, "make")];
    assert_eq!(pids(&bench.step(infos, vec![], &[]), "jobs"), [11, 12]);
    assert_eq!(pids(&bench.step(vec![], vec![], &[10, 11]), "jobs"), [12]);
    // Told anew with its new parent, and under a new name.
    let orphan = vec![info(12, 1, "ld"), info(13, 12, "as")];
    assert_eq!(pids(&bench.step(orphan, vec![], &[]), "jobs"), [12, 13]);
}

#[test]
fn sidecars_and_keepers_are_never_governed_whenever_they_were_started() {
    let mut bench = Bench::new(&policy(vec![workload("all", None, named("outrigger"))]));
    let one = |pid, command: &[&str]| {
        let mut info = info(pid, 99, "outrigger");
        info.command = command.iter().map(|part| (*part).into()).collect::<Vec<_>>().into();
        info
    };
    let infos = vec![
        one(10, &["outrigger", "keeper", "/run/x"]),
        one(11, &["outrigger", "--config", "f", "attach", "--pid", "4"]),
        one(12, &["outrigger", "run", "--", "server"]),
        one(13, &["outrigger", "demo-hog"]),
        one(14, &["outrigger", "launch", "3", "--", "run"]),
    ];
    assert_eq!(pids(&bench.step(infos, vec![], &[]), "all"), [13, 14]);
    let mut named_alike = one(15, &["hog", "keeper"]);
    named_alike.exe = "/bin/hog".into();
    assert_eq!(pids(&bench.step(vec![named_alike], vec![], &[]), "all"), [13, 14, 15]);
}

#[test]
fn an_ancestor_at_the_root_of_a_long_line_is_not_forgotten() {
    let mut bench = Bench::new(&policy(vec![workload("jobs", None, descendant_of("make"))]));
    let mut infos = vec![info(10, 1, "make")];
    infos.extend((11..500).map(|pid| info(pid, pid - 1, "fork")));
    infos.reverse();
    // All but make itself, and number 99, who is exempt.
    assert_eq!(pids(&bench.step(infos, vec![], &[]), "jobs").len(), 488);
}

#[test]
fn a_number_given_to_a_younger_process_is_no_parent() {
    let mut bench = Bench::new(&policy(vec![workload("jobs", None, descendant_of("make"))]));
    let younger = TaskInfo { task: TaskId { start: 9000, ..task(10) }, ..info(10, 1, "make") };
    let assessments = bench.step(vec![younger, info(11, 10, "cc")], vec![], &[]);
    assert_eq!(pids(&assessments, "jobs"), NOBODY);
}

#[test]
fn the_first_workload_wins_and_some_processes_are_nobodys() {
    let any = Selector { name: vec!["*".into()], ..Selector::default() };
    let workloads =
        vec![workload("db", None, named("redis")), workload("rest", Some(Class::Batch), any)];
    let mut bench = Bench::new(&policy(workloads));
    let kernel = TaskInfo { kernel: true, ..info(3, 2, "kworker") };
    let all = vec![
        info(1, 0, "init"),
        kernel,
        info(99, 1, "outrigger"),
        info(5, 1, "redis"),
        info(6, 1, "sh"),
    ];
    let assessments = bench.step(all, vec![], &[]);
    assert_eq!(pids(&assessments, "db"), [5]);
    assert_eq!(pids(&assessments, "rest"), [6]);
    let renamed = bench.step(vec![info(5, 1, "cat")], vec![], &[]);
    assert_eq!((pids(&renamed, "db"), pids(&renamed, "rest")), (vec![], vec![5, 6]));
    assert_eq!(assessments.workloads[1].rule, "workload.rest");
}

#[test]
fn an_attached_number_is_not_inherited_by_who_gets_it_next() {
    let attached = Selector { pid: vec![5], descendant_of: vec![], ..Selector::default() };
    let mut bench = Bench::new(&policy(vec![workload("db", None, attached)]));
    assert_eq!(pids(&bench.step(vec![info(5, 1, "redis")], vec![], &[]), "db"), [5]);
    let other = TaskInfo { task: TaskId { start: 77, ..task(5) }, ..info(5, 1, "cat") };
    assert_eq!(pids(&bench.step(vec![other], vec![], &[5]), "db"), NOBODY);
}

#[test]
fn the_unreadable_is_reported_and_not_matched() {
    let by_exe = Selector { exe: vec!["/bin/redis".into()], ..Selector::default() };
    let mut bench = Bench::new(&policy(vec![workload("db", None, by_exe)]));
    let hidden = TaskInfo { present: Fields::NONE, ..info(5, 1, "redis") };
    assert_eq!(bench.step(vec![hidden], vec![], &[]).workloads.len(), 0);
    assert_eq!(bench.rules.state().undecided, [("db".into(), 1)]);
    let _ = bench.step(vec![], vec![], &[5]);
    assert_eq!(bench.rules.state().undecided, []);
}

fn protected_and_hogs() -> Policy {
    policy(vec![
        workload("db", Some(Class::LatencyCritical), named("redis")),
        workload("web", Some(Class::Interactive), named("nginx")),
        workload("hogs", Some(Class::Batch), named("stress")),
    ])
}

#[test]
fn culprits_are_the_largest_users_outside_the_victim() {
    let mut bench = Bench::new(&protected_and_hogs());
    let mut infos = vec![info(5, 1, "redis"), info(6, 1, "nginx"), info(7, 1, "cat")];
    infos.extend((10..20).map(|pid| info(pid, 1, "stress")));
    let mut tasks = vec![
        TaskSignals { starved: 1, wait: Some(0.0), ..using(5, 10.0) },
        using(6, 300.0),
        using(7, 200.0),
    ];
    tasks.extend((10..20).map(|pid| using(pid, 150.0)));
    let assessments = bench.step(infos, tasks, &[]);
    let [contention] = &assessments.contention[..] else { panic!("{assessments:?}") };
    assert_eq!((&*contention.victim, contention.wait_ms_per_s), ("db", 1000.0));
    let blamed: Vec<_> =
        contention.culprits.iter().map(|c| (c.task.pid, c.workload.as_deref())).collect();
    assert_eq!(blamed[..3], [(6, Some("web")), (7, None), (10, Some("hogs"))]);
    assert_eq!(blamed.len(), CULPRITS);
    assert_eq!(assessments.used_millicores, Some(2010.0));
    assert_eq!(assessments.workloads[0].wait_ms_per_s, Some(1000.0));
    assert_eq!(assessments.workloads[1].wait_ms_per_s, None, "nobody looked");
    assert_eq!(Rules::focus(&assessments), [task(5), task(6)]);
    assert_eq!(bench.rules.state().contended, ["db".into()]);
}

fn pressure(path: &str, share: f64) -> ContextSignals {
    ContextSignals {
        context: ContextId::new("unified", path),
        millicores: None,
        pressure: Some(share),
        throttled: false,
        memory_bytes: None,
    }
}

#[test]
fn pressure_counts_only_where_the_victim_lives_alone() {
    let mut bench = Bench::new(&protected_and_hogs());
    bench.contexts = vec![pressure("/redis", 0.5)];
    let tasks = || vec![using(5, 10.0), using(10, 1980.0)];
    let alone = bench.step(vec![info(5, 1, "redis"), info(10, 1, "stress")], tasks(), &[]);
    assert_eq!(alone.workloads[0].wait_ms_per_s, Some(500.0));
    assert_eq!(alone.contention.len(), 1);
    let intruder = TaskInfo { contexts: info(5, 1, "redis").contexts, ..info(11, 1, "stress") };
    let shared = bench.step(vec![intruder], tasks(), &[]);
    assert_eq!((shared.workloads[0].wait_ms_per_s, shared.contention.len()), (None, 0));
    let again = bench.step(vec![], tasks(), &[11]);
    assert_eq!(again.contention.len(), 1);
}

#[test]
fn delay_is_asked_only_of_members_that_no_pressure_covers() {
    let mut bench = Bench::new(&protected_and_hogs());
    bench.contexts = vec![pressure("/redis", 0.001)];
    let elsewhere = TaskInfo { contexts: Vec::new().into(), ..info(6, 1, "redis") };
    let late = |pid, wait| TaskSignals { wait: Some(wait), ..using(pid, 5.0) };
    let tasks = vec![late(5, 3.0), late(6, 0.004), using(10, 1980.0)];
    let infos = vec![info(5, 1, "redis"), elsewhere, info(10, 1, "stress")];
    let assessments = bench.step(infos, tasks, &[]);
    assert_eq!(assessments.workloads[0].wait_ms_per_s, Some(4.0));
    assert_eq!(assessments.contention, []);
}

#[test]
fn the_root_knows_of_those_who_did_not_live_to_be_read() {
    let mut bench = Bench::new(&protected_and_hogs());
    let root = ContextSignals { millicores: Some(2000.0), pressure: None, ..pressure("/", 0.0) };
    let starved = || vec![TaskSignals { starved: 1, ..using(5, 10.0) }];
    let blind = bench.step(vec![info(5, 1, "redis"), info(6, 1, "sh")], starved(), &[]);
    assert_eq!(blind.contention, []);
    bench.contexts = vec![root];
    let seen = bench.step(vec![], starved(), &[]);
    assert_eq!((seen.contention.len(), seen.used_millicores), (1, Some(2000.0)));
    assert_eq!(seen.contention[0].culprits, []);
    let last = seen.contention[0].evidence.last().unwrap();
    assert_eq!(last, "2.0 CPUs went to processes too short-lived to be read");
    bench.contexts.clear();
    bench.host = Some(1990.0);
    let seen = bench.step(vec![], starved(), &[]);
    assert_eq!((seen.contention.len(), seen.used_millicores), (1, Some(1990.0)));
}

#[test]
fn a_first_sweep_without_rates_says_nothing() {
    let mut bench = Bench::new(&protected_and_hogs());
    let infos = [info(5, 1, "redis"), info(10, 1, "stress")];
    let signals = Signals {
        infos: infos.into_iter().map(Arc::new).collect(),
        tasks: vec![TaskSignals { starved: 2, ..using(5, 0.0) }, using(10, 2000.0)],
        cpus: 2,
        ..Signals::default()
    };
    let assessments = bench.rules.step(signals, &HashSet::new());
    assert_eq!((assessments.used_millicores, assessments.contention.len()), (None, 0));
    assert_eq!(assessments.workloads[0].wait_ms_per_s, None);
}

#[test]
fn members_of_an_idle_workload_are_not_built_anew() {
    let mut bench = Bench::new(&protected_and_hogs());
    let infos = vec![info(10, 1, "stress"), info(11, 1, "stress")];
    let first = bench.step(infos, vec![using(10, 400.0)], &[]);
    assert_eq!(first.workloads[0].millicores, 400.0);
    let idle = bench.step(vec![], vec![], &[]);
    assert_eq!((idle.workloads[0].millicores, idle.workloads[0].members[0].millicores), (0.0, 0.0));
    let still = bench.step(vec![], vec![], &[]);
    assert!(Arc::ptr_eq(&idle.workloads[0].members, &still.workloads[0].members));
    let less = bench.step(vec![], vec![], &[10]);
    assert_eq!(pids(&less, "hogs"), [11]);
}

#[test]
fn until_everybody_is_known_the_assessment_is_partial() {
    let mut bench = Bench::new(&protected_and_hogs());
    let early = bench.step(vec![], vec![using(10, 400.0)], &[]);
    assert!(early.partial);
    let told = bench.step(vec![info(10, 1, "stress")], vec![using(10, 400.0)], &[]);
    assert!(!told.partial);
    let stranger = bench.step(vec![], vec![using(77, 400.0)], &[]);
    assert!(!stranger.partial, "one who is never told must not hold everything up");
}

#[test]
fn another_policy_matches_everybody_anew() {
    let mut bench = Bench::new(&protected_and_hogs());
    let starved = || vec![TaskSignals { starved: 1, ..using(5, 10.0) }, using(10, 1900.0)];
    let _ = bench.step(vec![info(5, 1, "redis"), info(10, 1, "stress")], starved(), &[]);
    let mut next = protected_and_hogs();
    next.workloads.remove(2);
    next.workloads.push(workload("jobs", Some(Class::Background), named("stress")));
    bench.rules.set_policy(&next).unwrap();
    let assessments = bench.step(vec![], starved(), &[]);
    assert_eq!((pids(&assessments, "db"), pids(&assessments, "jobs")), (vec![5], vec![10]));
    assert_eq!(assessments.contention.len(), 1);
    next.workloads[0].selectors[0].name = vec!["[".into()];
    assert_eq!(bench.rules.set_policy(&next).unwrap_err().len(), 1);
    assert_eq!(pids(&bench.step(vec![], vec![], &[]), "jobs"), [10], "the old one stays");
}

#[test]
fn behaviour_decides_where_the_policy_does_not() {
    let mut bench = Bench::new(&policy(vec![workload("jobs", None, named("stress"))]));
    let mut step = |infos| bench.step(infos, vec![using(10, 990.0)], &[]).workloads.remove(0);
    assert_eq!(step(vec![info(10, 1, "stress")]).class, Class::Unknown);
    let last = (0..40).map(|_| step(vec![])).last().unwrap();
    assert_eq!((last.class, &*last.rule), (Class::Batch, "behaviour.keeps-a-cpu-busy"));
    assert_eq!(last.reasons, ["used 0.99 of 2 CPUs over 10 s"]);
}

/// 2 is the session's shell, 5 the protected, 4 its parent, 10 a hog.
fn neighbourhood() -> (Bench, Vec<TaskInfo>) {
    let mut policy = protected_and_hogs();
    policy.workloads.truncate(1);
    policy.neighbours = Neighbours::SameSession;
    let infos = vec![
        info(2, 1, "bash"),
        info(4, 2, "wrapper"),
        info(5, 4, "redis"),
        info(10, 2, "hog"),
        info(11, 2, "peer"),
        TaskInfo { session: 3, ..info(12, 2, "other-session") },
        TaskInfo { uid: 0, ..info(13, 2, "other-user") },
        info(14, 2, "light"),
        info(99, 2, "outrigger"),
    ];
    let mut bench = Bench::new(&policy);
    bench.peers.insert(task(11));
    (bench, infos)
}

fn everybody_heavy() -> Vec<TaskSignals> {
    let mut tasks: Vec<_> = [2, 4, 5, 10, 11, 12, 13, 99].map(|pid| using(pid, 210.0)).into();
    tasks.push(using(14, 190.0));
    tasks
}

#[test]
fn neighbours_are_heavy_strangers_of_the_same_user_and_session() {
    let (mut bench, infos) = neighbourhood();
    assert_eq!(pids(&bench.step(infos, everybody_heavy(), &[]), NEIGHBOURS), NOBODY);
    let second = bench.step(vec![], everybody_heavy(), &[]);
    assert_eq!(pids(&second, NEIGHBOURS), [10]);
    assert_eq!(bench.rules.state().neighbours, 1);
}

#[test]
fn a_neighbour_is_let_go_when_it_stays_light_by_choice() {
    let (mut bench, infos) = neighbourhood();
    let _ = bench.step(infos, everybody_heavy(), &[]);
    let _ = bench.step(vec![], everybody_heavy(), &[]);
    for _ in 0..100 {
        let squeezed = bench.step(vec![], vec![using(5, 1990.0), using(10, 5.0)], &[]);
        assert_eq!(pids(&squeezed, NEIGHBOURS), [10], "it may want more than it gets");
    }
    let quiet = (0..40).map(|_| bench.step(vec![], vec![using(10, 5.0)], &[])).last().unwrap();
    assert_eq!(pids(&quiet, NEIGHBOURS), NOBODY);
}

#[test]
fn without_anybody_protected_there_are_no_neighbours() {
    let (mut bench, infos) = neighbourhood();
    let _ = bench.step(infos, everybody_heavy(), &[]);
    let _ = bench.step(vec![], everybody_heavy(), &[]);
    assert_eq!(pids(&bench.step(vec![], everybody_heavy(), &[5]), NEIGHBOURS), NOBODY);
}
