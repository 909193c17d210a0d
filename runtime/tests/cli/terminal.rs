//! Under a real shell on a real (pseudo) terminal: Ctrl-Z, fg, bg, Ctrl-C.

use super::NOWHERE;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROMPT: &str = "your-turn";

/// An interactive bash with job control.
struct Shell {
    child: Child,
    terminal: File,
    said: String,
}

impl Shell {
    fn start() -> Self {
        let (mut outer, mut inner) = (-1, -1);
        let null = std::ptr::null_mut();
        // SAFETY: two places for numbers; name, settings and size are not asked for.
        let result =
            unsafe { libc::openpty(&mut outer, &mut inner, null, null as *mut _, null as *mut _) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        // SAFETY: both were just opened and belong to nobody else.
        let (outer, inner) = unsafe { (File::from_raw_fd(outer), OwnedFd::from_raw_fd(inner)) };
        let stdio = || Stdio::from(inner.try_clone().unwrap());
        let mut shell = Command::new("bash");
        shell.args(["--norc", "--noprofile", "-i"]).env("PS1", PROMPT).env("TERM", "dumb");
        shell.env("OUT", env!("CARGO_BIN_EXE_outrigger")).env("NOWHERE", NOWHERE);
        shell.stdin(stdio()).stdout(stdio()).stderr(stdio());
        // SAFETY: setsid and ioctl are async-signal-safe; descriptor 0 is the terminal by then.
        unsafe {
            shell.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) != 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = shell.spawn().unwrap();
        let mut shell = Self { child, terminal: outer, said: String::new() };
        // No echo, or every expectation would find the command that asks for it.
        shell.tell("stty -echo; echo be''gin");
        shell.expect("begin");
        shell
    }

    fn tell(&mut self, line: &str) {
        self.terminal.write_all(line.as_bytes()).unwrap();
        self.terminal.write_all(b"\n").unwrap();
    }

    fn press(&mut self, key: u8) {
        self.terminal.write_all(&[key]).unwrap();
    }

    /// Reads until `text` has been said since the last expectation.
    fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(at) = self.said.find(text) {
                self.said.drain(..at + text.len());
                return;
            }
            assert!(Instant::now() < deadline, "{text:?} was not said, but {:?}", self.said);
            let descriptor = self.terminal.as_raw_fd();
            let mut waiting = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
            // SAFETY: one entry, which lives through the call.
            if unsafe { libc::poll(&mut waiting, 1, 100) } > 0 {
                let mut buffer = [0; 4096];
                let read = self.terminal.read(&mut buffer).unwrap_or_default();
                assert!(read > 0, "the shell has gone; it said {:?}", self.said);
                self.said.push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The shell passes the hang-up on to its jobs, stopped ones too.
        // SAFETY: kill touches no memory; the child is ours and not reaped.
        unsafe { libc::kill(self.child.id().cast_signed(), libc::SIGHUP) };
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const CTRL_C: u8 = 3;
const CTRL_Z: u8 = 26;

// What is typed before its reader is ready may be lost or read by somebody else: the shell says
// PROMPT when it listens, and `fg` prints the command it brings forward.

#[test]
fn a_job_stops_continues_and_ends_like_any_other() {
    let mut shell = Shell::start();
    shell.tell("$OUT run --state-dir $NOWHERE -- sh -c 'echo re''ady; exec sed -u s/^/got-/'");
    shell.expect("ready");
    shell.tell("first");
    shell.expect("got-first");

    shell.press(CTRL_Z);
    shell.expect("Stopped");
    shell.expect(PROMPT);
    shell.tell("echo shell''-answers");
    shell.expect("shell-answers");
    shell.expect(PROMPT);

    shell.tell("fg");
    shell.expect("sed -u");
    shell.tell("second");
    shell.expect("got-second");

    shell.press(CTRL_C);
    shell.expect(PROMPT);
    shell.tell("echo code=$?");
    shell.expect("code=130");
}

#[test]
fn a_job_in_the_background_runs_and_stops_when_it_wants_the_keyboard() {
    let mut shell = Shell::start();
    let script = "echo in-''background; read line; echo got-$line";
    shell.tell(&format!("$OUT run --state-dir $NOWHERE -- sh -c '{script}' &"));
    shell.expect("in-background");
    shell.tell("wait %1; echo sta''te; jobs");
    shell.expect("state");
    shell.expect("Stopped");
    shell.expect(PROMPT);

    shell.tell("fg");
    shell.expect("read line");
    shell.tell("this");
    shell.expect("got-this");
}

#[test]
fn in_a_pipeline_the_reader_may_have_the_keyboard() {
    let mut shell = Shell::start();
    // The second part reads from the terminal itself, as a pager does, while the first still runs.
    let pager = "read first; echo reader-re''ady; read line </dev/tty; echo key-$line";
    let command = "echo data; exec sleep 1000";
    shell.tell(&format!("$OUT run --state-dir $NOWHERE -- sh -c '{command}' | sh -c '{pager}'"));
    shell.expect("reader-ready");
    shell.tell("pressed");
    shell.expect("key-pressed");
    // And Ctrl-C is for all of it.
    shell.press(CTRL_C);
    shell.expect(PROMPT);
}

#[test]
fn ctrl_c_reaches_a_command_whose_input_is_no_terminal() {
    let mut shell = Shell::start();
    shell.tell("$OUT run --state-dir $NOWHERE -- sh -c 'echo re''ady; exec sleep 1000' </dev/null");
    shell.expect("ready");
    shell.press(CTRL_C);
    shell.expect(PROMPT);
    shell.tell("echo code=$?");
    shell.expect("code=130");
}
