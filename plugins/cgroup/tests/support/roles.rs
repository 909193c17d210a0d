//! Parts that this test binary plays as a child of itself.

use crate::support::{Governor, ROLE};
use outrigger_sdk::Backend;
use std::time::Duration;

/// Threads a threaded victim starts.
const THREADS: usize = 4;

/// Plays the role in the environment; without one there is nothing to do.
#[test]
fn stage() {
    match std::env::var(ROLE).as_deref() {
        Ok("threads") => {
            let idle = || std::thread::sleep(Duration::from_secs(600));
            let threads: Vec<_> = (0..THREADS).map(|_| std::thread::spawn(idle)).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
        Ok("probe") => {
            for report in Governor::new().backend.probe().unwrap() {
                println!("report {} {} {}", report.capability, report.level, report.reason);
            }
        }
        _ => {}
    }
}
