#![allow(clippy::unwrap_used)]
use super::*;
use crate::policy::Workload;
use outrigger_sdk::{ContextId, TaskId};
use proptest::prelude::*;

fn info(pid: u32, name: &str) -> TaskInfo {
    TaskInfo {
        task: TaskId { pid, tid: 0, start: 1 },
        parent: 1,
        session: 1,
        uid: 0,
        present: Fields::EXE.with(Fields::COMMAND).with(Fields::CONTEXTS),
        name: name.into(),
        exe: format!("/bin/{name}").as_str().into(),
        command: vec![name.into(), "-x".into()].into(),
        contexts: vec![ContextId::new("cpu", "/a/b")].into(),
        kernel: false,
        thread_names: vec!["io-1".into()].into(),
    }
}

fn policy(selectors: Vec<Vec<Selector>>) -> Policy {
    let workloads = selectors.into_iter().enumerate().map(|(n, selectors)| Workload {
        name: format!("w{n}"),
        class: None,
        selectors,
        allow_irreversible: false,
    });
    Policy { workloads: workloads.collect(), ..Policy::default() }
}

fn selects(selector: Selector, info: &TaskInfo, lineage: &[Arc<TaskInfo>]) -> Verdict {
    let mut problems = Vec::new();
    let compiled = Compiled::new(&selector, "test", &mut problems);
    assert_eq!(problems, []);
    compiled.matches(Subject { info, lineage, pins: &Pins::default() })
}

fn list(items: &[&str]) -> Vec<String> {
    items.iter().map(|&item| item.into()).collect()
}

#[test]
fn every_key_present_must_hold() {
    let task = info(5, "redis");
    let all = Selector {
        exe: list(&["/bin/*"]),
        name: list(&["nginx", "redis"]),
        command: list(&["redis -?"]),
        thread: list(&["io-[0-9]"]),
        uid: vec![0],
        cgroup: list(&["/a/*"]),
        parent: list(&["sh"]),
        descendant_of: list(&["7"]),
        pid: vec![5],
        except: Vec::new(),
    };
    let lineage = [Arc::new(info(6, "sh")), Arc::new(info(7, "init"))];
    assert_eq!(selects(all.clone(), &task, &lineage), Verdict::Yes);
    let wrong: [fn(&mut Selector); 9] = [
        |s| s.exe = list(&["/sbin/*"]),
        |s| s.name = list(&["nginx"]),
        |s| s.command = list(&["redis"]),
        |s| s.thread = list(&["io"]),
        |s| s.uid = vec![1],
        |s| s.cgroup = list(&["/b*"]),
        |s| s.parent = list(&["init"]),
        |s| s.descendant_of = list(&["8"]),
        |s| s.pid = vec![6],
    ];
    for (key, change) in wrong.into_iter().enumerate() {
        let mut selector = all.clone();
        change(&mut selector);
        assert_eq!(selects(selector, &task, &lineage), Verdict::No, "key {key}");
    }
}

#[test]
fn unreadable_is_not_no_match_and_nothing_asked_is_nothing_matched() {
    let mut task = info(5, "redis");
    task.present = Fields::NONE;
    let by_exe = Selector { exe: list(&["/bin/redis"]), ..Selector::default() };
    assert_eq!(selects(by_exe.clone(), &task, &[]), Verdict::Unreadable);
    let other_name = Selector { name: list(&["nginx"]), ..by_exe };
    assert_eq!(selects(other_name, &task, &[]), Verdict::No);
    assert_eq!(selects(Selector::default(), &task, &[]), Verdict::No);
}

#[test]
fn a_number_means_the_first_process_that_had_it() {
    let matcher =
        Matcher::new(&policy(vec![vec![Selector { pid: vec![5], ..Selector::default() }]]));
    let (matcher, mut pins) = (matcher.unwrap(), Pins::default());
    assert!(matcher.mentions(5) && !matcher.mentions(6));
    let first = info(5, "a");
    let mut second = info(5, "a");
    second.task.start = 99;
    pins.pin(5, first.task.start);
    pins.pin(5, second.task.start);
    let find = |info| matcher.find(Subject { info, lineage: &[], pins: &pins }).workload;
    assert_eq!((find(&first), find(&second)), (Some(0), None));
}

/// `*` is any text, `?` any one character; nothing else in the alphabet below is special.
fn naive_glob(glob: &[u8], text: &[u8]) -> bool {
    match (glob.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            naive_glob(rest, text) || (!text.is_empty() && naive_glob(glob, &text[1..]))
        }
        (Some((b'?', rest)), Some((_, tail))) => naive_glob(rest, tail),
        (Some((g, rest)), Some((t, tail))) => g == t && naive_glob(rest, tail),
        _ => false,
    }
}

fn naive(selector: &Selector, info: &TaskInfo, lineage: &[Arc<TaskInfo>]) -> bool {
    let any = |globs: &[String], texts: &[&str]| {
        globs.is_empty()
            || globs.iter().any(|g| texts.iter().any(|t| naive_glob(g.as_bytes(), t.as_bytes())))
    };
    let ancestors = |of: &[Arc<TaskInfo>]| -> Vec<String> {
        of.iter().flat_map(|a| [a.name.to_string(), a.exe.to_string()]).collect()
    };
    let (parent, all) = (ancestors(&lineage[..lineage.len().min(1)]), ancestors(lineage));
    let strs = |texts: &[String]| -> Vec<&'static str> {
        texts.iter().map(|t| &*Box::leak(t.clone().into_boxed_str())).collect()
    };
    *selector != Selector::default()
        && any(&selector.name, &[&info.name])
        && any(&selector.exe, &[&info.exe])
        && any(&selector.parent, &strs(&parent))
        && any(&selector.descendant_of, &strs(&all))
        && (selector.uid.is_empty() || selector.uid.contains(&info.uid))
}

prop_compose! {
    fn a_selector()(
        name in proptest::collection::vec("[ab*?]{1,3}", 0..3),
        exe in proptest::collection::vec("[/abin*?]{1,6}", 0..2),
        parent in proptest::collection::vec("[ab*?]{1,2}", 0..2),
        descendant_of in proptest::collection::vec("[ab*?]{1,2}", 0..2),
        uid in proptest::collection::vec(0u32..2, 0..2),
    ) -> Selector {
        Selector { name, exe, parent, descendant_of, uid, ..Selector::default() }
    }
}

proptest! {
    #[test]
    fn the_first_workload_of_a_naive_model_is_found(
        selectors in proptest::collection::vec(proptest::collection::vec(a_selector(), 1..3), 1..6),
        name in "[ab]{1,3}", uid in 0u32..2,
        ancestors in proptest::collection::vec("[ab]{1,2}", 0..4),
    ) {
        let task = TaskInfo { uid, ..info(9, &name) };
        let lineage: Vec<_> =
            ancestors.iter().enumerate().map(|(n, a)| Arc::new(info(n as u32 + 20, a))).collect();
        let matcher = Matcher::new(&policy(selectors.clone())).unwrap();
        let subject = Subject { info: &task, lineage: &lineage, pins: &Pins::default() };
        let expected =
            selectors.iter().position(|any| any.iter().any(|s| naive(s, &task, &lineage)));
        prop_assert_eq!(matcher.find(subject).workload, expected);
    }
}
