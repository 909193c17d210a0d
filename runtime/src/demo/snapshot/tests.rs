#![allow(clippy::unwrap_used)]
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use outrigger_skip::skip;

use super::*;

/// Another process to change things about; killed at the end, also on panic.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").stdout(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A cgroup directory below the v1 cpu hierarchy, removed at the end.
struct Group(PathBuf);

impl Group {
    /// `None`, with the reason printed, where this cannot be tested.
    fn create(name: &str) -> Option<Self> {
        let path = Path::new("/sys/fs/cgroup/cpu")
            .join(format!("outrigger-test-{}-{name}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                skip(&format!("cannot create {}: {error}", path.display()));
                None
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Other tests on this machine create groups too: only those of `name` are looked at.
fn look(pids: &[u32], name: &str) -> Snapshot {
    let own = format!("outrigger-test-{}-{name}", std::process::id());
    let mut snapshot = Snapshot::take(pids);
    snapshot.groups.keep(|path| path.iter().any(|part| part == own.as_str()));
    snapshot
}

fn properties(found: &[Difference]) -> Vec<&str> {
    found.iter().map(|difference| difference.property.as_str()).collect()
}

#[test]
fn nothing_done_is_no_difference() {
    let sleeper = Sleeper::start();
    let before = look(&[sleeper.pid()], "none");

    let found = before.differences(&look(&[sleeper.pid()], "none"));

    assert_eq!(before.tasks().len(), 1);
    assert_eq!(found, []);
}

#[test]
fn each_knob_of_a_process_is_seen() {
    let sleeper = Sleeper::start();
    let pid = sleeper.pid();
    let id = libc::id_t::from(pid);
    let before = look(&[pid], "knobs");

    // SAFETY: all arguments are valid for the whole call; the process is our child.
    unsafe {
        assert_eq!(libc::setpriority(libc::PRIO_PROCESS, id, 5), 0);
        let param = libc::sched_param { sched_priority: 0 };
        assert_eq!(libc::sched_setscheduler(pid.cast_signed(), libc::SCHED_BATCH, &param), 0);
        // Class best-effort (2), level 7.
        assert_eq!(libc::syscall(libc::SYS_ioprio_set, 1, pid, (2 << 13) | 7), 0);
        let limit = libc::rlimit { rlim_cur: 64, rlim_max: 128 };
        let pid = pid.cast_signed();
        assert_eq!(libc::prlimit(pid, libc::RLIMIT_NOFILE, &limit, std::ptr::null_mut()), 0);
    }
    fs::write(format!("/proc/{pid}/oom_score_adj"), "500").unwrap();

    let found = before.differences(&look(&[pid], "knobs"));
    assert_eq!(
        properties(&found),
        ["I/O priority", "limit: Max open files", "nice", "oom_score_adj", "policy"]
    );
    let nice = found.iter().find(|difference| difference.property == "nice").unwrap();
    assert_eq!((nice.before.as_str(), nice.after.as_str()), ("0", "5"));
}

#[test]
fn affinity_is_seen() {
    let sleeper = Sleeper::start();
    let pid = sleeper.pid();
    let before = look(&[pid], "affinity");
    let allowed = before.tasks().process(pid).unwrap().get("affinity").unwrap();
    if allowed.parse::<u32>().is_ok() {
        skip("only one CPU may be used here");
        return;
    }
    let first: usize = allowed.split(['-', ',']).next().unwrap().parse().unwrap();

    // SAFETY: an all-zero set is a valid, empty one; the process is our child.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(first, &mut set);
        assert_eq!(libc::sched_setaffinity(pid.cast_signed(), size_of_val(&set), &set), 0);
    }

    assert_eq!(properties(&before.differences(&look(&[pid], "affinity"))), ["affinity"]);
}

#[test]
fn membership_is_seen_and_so_is_its_return() {
    let Some(group) = Group::create("membership") else { return };
    let sleeper = Sleeper::start();
    let pid = sleeper.pid();
    let before = look(&[pid], "membership");
    let origin = before.tasks().process(pid).unwrap().get("cgroup: cpu").unwrap().to_owned();

    fs::write(group.0.join("cgroup.procs"), pid.to_string()).unwrap();
    assert_eq!(properties(&before.differences(&look(&[pid], "membership"))), ["cgroup: cpu"]);

    let home = Path::new("/sys/fs/cgroup/cpu").join(&origin[1..]).join("cgroup.procs");
    fs::write(home, pid.to_string()).unwrap();
    assert_eq!(before.differences(&look(&[pid], "membership")), []);
}

#[test]
fn a_new_group_of_ours_and_a_changed_file_are_seen() {
    let before_all = look(&[], "group");
    let Some(group) = Group::create("group") else { return };
    let before = look(&[], "group");
    fs::write(group.0.join("cpu.shares"), "512").unwrap();
    let after = look(&[], "group");

    assert_eq!(properties(&before_all.differences(&after)), ["existence"]);
    let found = before.differences(&after);
    assert_eq!(properties(&found), ["cpu.shares"]);
    assert_eq!((found[0].before.as_str(), found[0].after.as_str()), ("1024", "512"));
}

#[test]
fn a_group_concerns_whoever_is_in_or_below_it() {
    let Some(inside) = Group::create("inside") else { return };
    let Some(beside) = Group::create("beside") else { return };
    let sleeper = Sleeper::start();
    fs::write(inside.0.join("cgroup.procs"), sleeper.pid().to_string()).unwrap();
    let snapshot = Snapshot::take(&[sleeper.pid()]);
    let of = |subject: &Path| Difference {
        subject: subject.display().to_string(),
        property: "cpu.shares".to_owned(),
        before: "1024".to_owned(),
        after: "2".to_owned(),
    };

    assert!(snapshot.concerns(&of(&inside.0)));
    assert!(snapshot.concerns(&of(inside.0.parent().unwrap())));
    assert!(!snapshot.concerns(&of(&beside.0)));
    assert!(snapshot.concerns(&of(Path::new("process 1 thread 1"))));
    // An empty group is removed at the end.
    drop(sleeper);
}

#[test]
fn a_child_born_demoted_is_compared_with_its_ancestor() {
    let parent = Command::new("sh")
        .args(["-c", "read go; sleep 600 & echo $!; wait"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut parent = Sleeper(parent);
    let before = look(&[parent.pid()], "born");
    let id = libc::id_t::from(parent.pid());
    // SAFETY: the call touches no memory; the process is our child.
    unsafe { assert_eq!(libc::setpriority(libc::PRIO_PROCESS, id, 7), 0) };
    parent.0.stdin.take().unwrap().write_all(b"\n").unwrap();
    let mut line = String::new();
    BufReader::new(parent.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let child: libc::pid_t = line.trim().parse().unwrap();

    let found = before.differences(&look(&[parent.pid()], "born"));

    // SAFETY: the call touches no memory; the shell waits for the child, so it is not reaped.
    unsafe { libc::kill(child, libc::SIGKILL) };
    let subjects: Vec<_> =
        found.iter().map(|d| (d.subject.as_str(), d.property.as_str())).collect();
    let of = |pid: u32| format!("process {pid} thread {pid}");
    let mut expected = [of(parent.pid()), of(child.cast_unsigned())];
    expected.sort();
    assert_eq!(subjects.len(), 2, "{found:?}");
    assert!(expected.iter().all(|subject| subjects.contains(&(subject, "nice"))), "{found:?}");
}

#[test]
fn forgotten_groups_are_not_compared() {
    let before = Snapshot::take(&[]).without_groups(&["outrigger-test-"]);
    let Some(_group) = Group::create("forgotten") else { return };

    let after = Snapshot::take(&[]).without_groups(&["outrigger-test-"]);

    let found = before.differences(&after);
    assert!(!found.iter().any(|d| d.subject.contains("forgotten")), "{found:?}");
}
