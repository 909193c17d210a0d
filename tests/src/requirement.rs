//! What a test needs of the machine. Where it is missing the test says `SKIPPED:` and why, and
//! continuous integration, where nothing may be missing, fails on that word.
//!
//! ```no_run
//! # fn test() {
//! if !(outrigger_tests::root() && outrigger_tests::cgroups()) {
//!     return;
//! }
//! # }
//! ```

use std::fs::OpenOptions;
use std::path::Path;

use crate::Hierarchy;

pub use outrigger_skip::{noisy, root, skip};

/// Whether CPU weights of cgroups can be written, v1 or v2; prints why the test is skipped if not.
pub fn cgroups() -> bool {
    let Some(Hierarchy { mount, .. }) = Hierarchy::find() else {
        skip("no cgroup hierarchy has the cpu controller");
        return false;
    };
    writable(&mount.join("cgroup.procs"))
}

/// Whether a program is in one of the directories of `PATH`; prints why the test is skipped if not.
pub fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    if !installed {
        skip(&format!("{program} is not installed"));
    }
    installed
}

fn writable(file: &Path) -> bool {
    match OpenOptions::new().write(true).open(file) {
        Ok(_) => true,
        Err(error) => {
            skip(&format!("cannot write {}: {error}", file.display()));
            false
        }
    }
}
