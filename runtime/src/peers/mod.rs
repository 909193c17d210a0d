//! Who talks to the protected: the other ends of their sockets on this host.
//!
//! A client of a protected server is often as busy as its neighbours, and holding it back would
//! hold back the very work that is to be protected. So with [`Neighbours::SameSession`] the
//! socket peers of protected processes are no neighbours. They are looked for in a thread beside
//! the flow, since that reads many small files, and published in the classifier's [`Guidance`].
//!
//! Seen are established TCP connections within the network namespaces of the protected, and unix
//! sockets of our own. Only processes in the sessions of the protected are looked at: nobody else
//! can be a neighbour. A connection that comes and goes between two looks is missed.

mod unix;

use crate::classifier::Guidance;
use crate::flow::demand::Demand;
use crate::policy::Neighbours;
use outrigger_sdk::{TaskId, TaskIdExt as _};
use outrigger_undo::knob;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How often it is looked whether the protected are others than before. Quicker than a process
/// can be found to be CPU-heavy.
const GLANCE: Duration = Duration::from_millis(100);
/// How often the peers of the same protected are looked for.
const LOOK: Duration = Duration::from_secs(3);
/// `TCP_ESTABLISHED` as `/proc/net/tcp` writes it.
const ESTABLISHED: &str = "01";

/// The thread that looks; it ends when this is dropped.
#[derive(Debug)]
pub struct Lookout {
    _alive: Sender<()>,
}

impl Lookout {
    /// Starts it.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(guidance: Arc<Guidance>, demand: Arc<Demand>) -> io::Result<Self> {
        let (alive, ended) = channel();
        let look = move || {
            let (mut seen, mut at) = (Arc::default(), Instant::now());
            while ended.recv_timeout(GLANCE) == Err(RecvTimeoutError::Timeout) {
                if guidance.policy.load().neighbours != Neighbours::SameSession {
                    continue;
                }
                let protected = demand.focus();
                if protected == seen && at.elapsed() < LOOK {
                    continue;
                }
                guidance.peers.store(Arc::new(of(&protected)));
                (seen, at) = (protected, Instant::now());
            }
        };
        std::thread::Builder::new().name("peers".to_owned()).spawn(look)?;
        Ok(Self { _alive: alive })
    }
}

/// The processes at the other ends of the sockets of `protected`, in the same sessions. What
/// cannot be read has no peers.
pub fn of(protected: &[TaskId]) -> HashSet<TaskId> {
    let (mut sockets, mut sessions, mut tables) = (HashSet::new(), BTreeSet::new(), HashMap::new());
    for task in protected.iter().filter(|task| knob::is_alive(task.to_task())) {
        sockets.extend(sockets_of(task.pid));
        sessions.extend(session(task.pid));
        let space = fs::read_link(format!("/proc/{}/ns/net", task.pid)).ok();
        tables.entry(space.unwrap_or_default()).or_insert(task.pid);
    }
    if sockets.is_empty() {
        return HashSet::new();
    }
    let mut ends = tcp_ends(&tables, &sockets);
    match unix::pairs() {
        Ok(pairs) => ends.extend(
            pairs.into_iter().filter_map(|(one, other)| sockets.contains(&one).then_some(other)),
        ),
        Err(error) => tracing::debug!(%error, "unix sockets cannot be listed"),
    }
    if ends.is_empty() {
        return HashSet::new();
    }
    let known: HashSet<u32> = protected.iter().map(|task| task.pid).collect();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| !known.contains(pid))
        .filter(|pid| session(*pid).is_some_and(|session| sessions.contains(&session)))
        .filter(|pid| sockets_of(*pid).any(|socket| ends.contains(&socket)))
        .filter_map(|pid| knob::identify(pid).map(TaskId::from_task))
        .collect()
}

/// Numbers of the sockets a process has open.
fn sockets_of(pid: u32) -> impl Iterator<Item = u64> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    })
}

fn session(pid: u32) -> Option<u32> {
    knob::stat(pid, 0).map(|stat| stat.session)
}

/// The other ends of TCP sockets, out of the tables of each network namespace.
fn tcp_ends(tables: &HashMap<PathBuf, u32>, sockets: &HashSet<u64>) -> HashSet<u64> {
    let mut ends = HashSet::new();
    for pid in tables.values() {
        let table =
            |name| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
        let text = table("tcp") + &table("tcp6");
        let rows: HashMap<(&str, &str), u64> = text.lines().filter_map(established).collect();
        for ((local, remote), socket) in &rows {
            if sockets.contains(socket) {
                ends.extend(rows.get(&(*remote, *local)));
            }
        }
    }
    ends
}

/// Local and remote address of an established connection, and the number of its socket
/// (`/proc/net/tcp`, `Documentation/networking/proc_net_tcp.rst`).
fn established(line: &str) -> Option<((&str, &str), u64)> {
    let mut fields = line.split_ascii_whitespace();
    let (local, remote, state) = (fields.nth(1)?, fields.next()?, fields.next()?);
    let socket = fields.nth(5)?.parse().ok()?;
    (state == ESTABLISHED).then_some(((plain(local), plain(remote)), socket))
}

/// An IPv4 address without the clothes it wears among IPv6 ones.
fn plain(address: &str) -> &str {
    address.strip_prefix("0000000000000000FFFF0000").unwrap_or(address)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;
    use std::process::{Child, Command, Stdio};

    /// A process in our session that has a connection, killed at the end.
    struct Client(Child);

    impl Client {
        fn new(script: &str) -> Self {
            let mut command = Command::new("python3");
            command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
            Self(command.spawn().unwrap())
        }
        fn task(&self) -> TaskId {
            TaskId::from_task(knob::identify(self.0.id()).unwrap())
        }
        fn connected(&mut self) {
            let mut line = String::new();
            BufReader::new(self.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "connected\n");
        }
    }

    impl Drop for Client {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    const THEN: &str = "print('connected', flush=True); sys.stdin.read()";

    #[test]
    fn the_other_ends_of_tcp_and_unix_sockets_are_peers_and_others_are_not() {
        if Command::new("python3").arg("--version").output().is_err() {
            eprintln!("skipped: no python3");
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("socket");
        let (tcp, unix) = (TcpListener::bind("127.0.0.1:0"), UnixListener::bind(&path));
        let (tcp, unix) = (tcp.unwrap(), unix.unwrap());
        // Over IPv6 sockets too, as a server on all addresses would have it.
        let port = tcp.local_addr().unwrap().port();
        let mut over_tcp = Client::new(&format!(
            "import socket,sys; c=socket.socket(socket.AF_INET6); c.connect(('::ffff:127.0.0.1',{port})); {THEN}"
        ));
        let mut over_unix = Client::new(&format!(
            "import socket,sys; c=socket.socket(socket.AF_UNIX); c.connect({path:?}); {THEN}"
        ));
        let mut apart = Client::new(&format!("import sys; {THEN}"));
        let _accepted = (tcp.accept().unwrap(), unix.accept().unwrap());
        [&mut over_tcp, &mut over_unix, &mut apart].into_iter().for_each(Client::connected);

        let own = TaskId::from_task(knob::identify(std::process::id()).unwrap());
        let peers = of(&[own]);

        assert!(peers.contains(&over_tcp.task()), "{peers:?}");
        assert!(peers.contains(&over_unix.task()), "{peers:?}");
        assert!(!peers.contains(&apart.task()), "{peers:?}");
        assert!(!peers.contains(&own));
    }

    #[test]
    fn rows_of_the_kernel() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 12 1
   2: 0000000000000000FFFF00000100007F:C350 0000000000000000FFFF00000100007F:1F90 01 00000000:00000000 00:00000000 00000000 0 0 13 1
";
        let rows: Vec<_> = text.lines().filter_map(established).collect();
        let (server, client) = ("0100007F:1F90", "0100007F:C350");
        assert_eq!(rows, [((server, client), 12), ((client, server), 13)]);
    }
}
