//! A process's names: read when it is new and when something says that they have changed.

use crate::files::{self, Stat};
use crate::listing::Lister;
use crate::reader::Reader;
use outrigger_sdk::{Fields, TaskId, TaskInfo};
use std::collections::BTreeSet;
use std::fs::File;

/// Most threads whose names are read; beyond that, selectors by thread name see only the first.
const THREADS: usize = 256;

/// Reads all names. What cannot be read is absent. `cgroup` is the content of that file, if it
/// could be read.
pub(crate) fn read(
    reader: &mut Reader,
    task: TaskId,
    stat: &Stat,
    cgroup: Option<&[u8]>,
    thread_names: Vec<String>,
) -> TaskInfo {
    let mut present = Fields::NONE;
    let mut exe = String::new();
    let mut command = Vec::new();
    let mut contexts = Vec::new();
    if let Ok(path) = reader.link(task.pid, "exe") {
        let path = path.to_string_lossy();
        // An upgraded program is still the program a selector names.
        exe = path.strip_suffix(" (deleted)").unwrap_or(&path).to_string();
        present = present.with(Fields::EXE);
    }
    if let Ok(text) = reader.open_and_read(task.pid, "cmdline") {
        command.extend(files::arguments(text));
        // In the middle of an exec the name is the new one and the arguments are not there yet.
        if !command.is_empty() || stat.kernel() {
            present = present.with(Fields::COMMAND);
        }
    }
    if let Some(text) = cgroup {
        contexts = files::contexts(text);
        present = present.with(Fields::CONTEXTS);
    }
    let users = reader.open_and_read(task.pid, "status").ok().and_then(files::users);
    TaskInfo {
        task,
        parent: stat.parent,
        session: stat.session,
        // Nobody (the overflow user) if it vanished in between; it is about to be told as gone.
        uid: users.map_or(65534, |(_, effective)| effective),
        present,
        name: stat.name.to_text().into(),
        exe: exe.into(),
        command: command.into_iter().map(Into::into).collect(),
        contexts: contexts.into(),
        kernel: stat.kernel(),
        thread_names: thread_names.into_iter().map(Into::into).collect(),
    }
}

/// Names of threads other than the process's own name, each once, in order.
pub(crate) fn thread_names(
    reader: &mut Reader,
    lister: &mut Lister,
    numbers: &mut Vec<u32>,
    pid: u32,
    stat: &Stat,
) -> Vec<String> {
    if stat.threads < 2 {
        return Vec::new();
    }
    let listed = File::open(reader.path_of(pid, "task"))
        .and_then(|mut directory| lister.numbers(&mut directory, numbers));
    if listed.is_err() {
        return Vec::new();
    }
    let mut names = BTreeSet::new();
    for &tid in numbers.iter().take(THREADS) {
        let Ok(file) = File::open(reader.path_of_thread(pid, tid, "comm")) else { continue };
        let Ok(text) = reader.kept(&file) else { continue };
        let name = text.strip_suffix(b"\n").unwrap_or(text);
        if name != stat.name.as_bytes() {
            names.insert(String::from_utf8_lossy(name).into_owned());
        }
    }
    names.into_iter().collect()
}
