//! The keeper of a running sidecar: there before the first change, replaced when it dies, let go
//! when nothing is left to put back.

use outrigger_undo::keeper::{self, KeeperHandle};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The keeper, replaced when it dies.
pub(super) struct Keeper {
    executable: PathBuf,
    directory: PathBuf,
    handle: Mutex<Option<KeeperHandle>>,
}

impl Keeper {
    pub(super) fn start(executable: PathBuf, directory: PathBuf) -> io::Result<Self> {
        let handle = keeper::spawn(&executable, &directory)?;
        Ok(Self { executable, directory, handle: Mutex::new(Some(handle)) })
    }

    fn handle(&self) -> MutexGuard<'_, Option<KeeperHandle>> {
        self.handle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its process number, while there is one: until it was let go.
    pub(super) fn pid(&self) -> Option<u32> {
        self.handle().as_ref().map(KeeperHandle::pid)
    }

    /// Starts another one if it died.
    pub(super) fn look(&self) {
        let mut handle = self.handle();
        if handle.as_mut().is_some_and(KeeperHandle::is_alive) {
            return;
        }
        tracing::warn!("the keeper has died; another one is started");
        match keeper::spawn(&self.executable, &self.directory) {
            Ok(new) => *handle = Some(new),
            Err(error) => {
                *handle = None;
                tracing::error!(%error, "no keeper: after a crash, run `outrigger restore`");
            }
        }
    }

    /// Lets it go, if nothing is left to be put back. While it stays it has to be known: `run`
    /// ends whatever else it finds among its children.
    pub(super) fn dismiss(&self) {
        let mut handle = self.handle();
        match handle.as_mut().map(KeeperHandle::dismiss) {
            None => {}
            Some(Ok(true)) => *handle = None,
            Some(Ok(false)) => {
                tracing::warn!("the keeper stays: something is left to be put back");
            }
            Some(Err(error)) => tracing::warn!(%error, "the keeper could not be dismissed"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use outrigger_undo::Journal;
    use std::process::Command;

    /// Ends what a failed test leaves behind.
    struct Ending(u32);

    impl Drop for Ending {
        fn drop(&mut self) {
            // SAFETY: kill touches no memory; it is our child and, while it lives, not reaped.
            unsafe { libc::kill(self.0.cast_signed(), libc::SIGKILL) };
        }
    }

    #[test]
    fn a_keeper_that_stays_is_still_known() {
        let place = tempfile::tempdir().unwrap();
        let (program, directory) = (place.path().join("keeper"), place.path().join("state"));
        // Written by another process: while we had it open for writing, a child that another
        // test forks just then would keep it from being executed.
        let write = r#"printf '#!/bin/sh\necho ready\nexec sleep 1000\n' > "$0"; chmod 700 "$0""#;
        assert!(Command::new("sh").args(["-c", write]).arg(&program).status().unwrap().success());
        let keeper = Keeper::start(program, directory.clone()).unwrap();
        let pid = keeper.pid().unwrap();
        let _ending = Ending(pid);
        let mut journal = Journal::create(&directory).unwrap();

        keeper.dismiss();
        assert_eq!(keeper.pid(), Some(pid), "there is a journal, which it has to watch");

        assert!(journal.finish().unwrap());
        keeper.dismiss();
        assert_eq!(keeper.pid(), None);
    }
}
