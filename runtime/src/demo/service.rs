//! The latency-sensitive service: one thread, one connection at a time, real work per request.
//!
//! It is a process of its own so that it can be governed, measured and harmed like any service.
//! It deliberately has no thread pool, no batching and no cache: nothing in it could hide that it
//! had to wait for a CPU.

use std::fs;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// Bytes of a request and of its response: the request's number, little endian.
pub const FRAME: usize = 8;

/// Bytes hashed in one step; small, so that the work can be set to a few microseconds.
const BLOCK: usize = 1024;

/// Steps timed to find out what one costs. The fastest of several runs counts, because noise only
/// ever adds.
const TRIAL_STEPS: u32 = 64;
const TRIALS: u32 = 20;

/// Arguments of the hidden subcommand `demo-service`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Unix socket to listen on; must not exist yet.
    #[arg(long)]
    pub socket: PathBuf,
    /// CPU time of one request, in microseconds.
    #[arg(long, default_value_t = super::WORK_US)]
    pub work_us: u64,
}

/// Listens, says `ready` on standard output, and serves until it is killed.
///
/// # Errors
/// When the socket cannot be bound or accepting fails; a broken connection is not an error.
pub fn run(args: &Args) -> io::Result<()> {
    // The name is what `ps` shows and what a policy can select; a kernel without it is no failure.
    let _ = fs::write("/proc/self/comm", "demo-service");
    let listener = UnixListener::bind(&args.socket)?;
    let work = Work::of(Duration::from_micros(args.work_us));
    println!("ready");
    serve(&listener, &work)
}

fn serve(listener: &UnixListener, work: &Work) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        // The client's end of the conversation is the client's business.
        let _ = answer(stream, work);
    }
}

fn answer(mut stream: UnixStream, work: &Work) -> io::Result<()> {
    let mut frame = [0; FRAME];
    loop {
        stream.read_exact(&mut frame)?;
        work.perform(u64::from_le_bytes(frame));
        stream.write_all(&frame)?;
    }
}

/// A fixed amount of hashing, measured once so that it costs about the time asked for.
///
/// It stays the same from then on: a request must not become cheaper when the machine is busy.
#[derive(Debug)]
pub struct Work {
    steps: u32,
}

impl Work {
    /// Work that takes about `time` of an undisturbed CPU, at least one step.
    pub fn of(time: Duration) -> Self {
        let trial = Self { steps: TRIAL_STEPS };
        let fastest = (0..TRIALS)
            .map(|n| {
                let begun = Instant::now();
                trial.perform(n.into());
                begun.elapsed()
            })
            .min()
            .unwrap_or_default();
        let step = fastest.as_nanos().max(1) / u128::from(TRIAL_STEPS);
        let steps = time.as_nanos() / step.max(1);
        Self { steps: u32::try_from(steps).unwrap_or(u32::MAX).max(1) }
    }

    fn perform(&self, seed: u64) {
        let mut block = [0; BLOCK];
        block[..8].copy_from_slice(&seed.to_le_bytes());
        for _ in 0..self.steps {
            let digest = Sha256::digest(black_box(&block));
            block[..32].copy_from_slice(&digest);
        }
        black_box(block);
    }
}

/// Serves on a thread of the calling process, for tests of the load generator.
#[cfg(test)]
pub(super) fn serve_on_thread(listener: UnixListener, work: Duration) {
    std::thread::spawn(move || serve(&listener, &Work::of(work)));
}
