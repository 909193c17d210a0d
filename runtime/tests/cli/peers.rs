//! With neighbours, whoever talks to the protected is not held back, and whoever does not is.

use super::governed::{installed, obstacle};
use super::until;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A session of its own: its leader, a server, a busy client of that, and a busy bystander.
const SESSION: &str = r#"
import ctypes, os, socket, sys
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
def child(play):
    pid = os.fork()
    if pid == 0:
        ctypes.CDLL(None).prctl(1, 9)
        play()
        os._exit(0)
    return pid
def server():
    c, _ = s.accept()
    while c.recv(65536): c.send(b"ok")
def client():
    c = socket.create_connection(s.getsockname())
    while True:
        c.send(b"x"); c.recv(10)
        for _ in range(20000): pass
def bystander():
    while True: pass
print(*[child(play) for play in (server, client, bystander)], flush=True)
sys.stdin.read()
"#;

/// Killed and reaped at the end; children die with it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_placed(pid: u32) -> bool {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    groups.contains("/outrigger-attach-")
}

#[test]
fn a_client_of_the_protected_is_no_neighbour() {
    if let Some(obstacle) = obstacle() {
        return outrigger_skip::skip(obstacle);
    }
    let mut command = Command::new("setsid");
    command.args(["python3", "-c", SESSION]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(session) = command.spawn() else {
        return outrigger_skip::skip("no setsid, or no python3");
    };
    let mut session = Process(session);
    let mut line = String::new();
    BufReader::new(session.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let pids: Vec<u32> = line.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    let [server, client, bystander] = pids[..] else { panic!("{line}") };
    let program = installed();
    let state = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut command = Command::new(program.path().join("outrigger"));
    command.args(["attach", "--pid", &server.to_string(), "--neighbours", "same-session"]);
    command.arg("--state-dir").arg(state.path().join("s")).stderr(Stdio::null());
    let mut attach = Process(command.spawn().unwrap());
    let mut client_was_placed = false;
    until("the bystander is held back", || {
        client_was_placed |= is_placed(client);
        is_placed(bystander)
    });
    client_was_placed |= is_placed(client);
    // SAFETY: kill touches no memory; the process is our child and not reaped.
    unsafe { libc::kill(attach.0.id().cast_signed(), libc::SIGTERM) };
    attach.0.wait().unwrap();
    assert!(!client_was_placed, "the client was taken for a neighbour");
    assert!(!is_placed(bystander), "nothing is left");
}
