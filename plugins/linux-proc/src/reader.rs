//! Reads the files of `/proc` into one reused buffer, from kept descriptors where there are some.
//!
//! A kept descriptor saves the path walk (two thirds of the price of a small file) and is bound
//! to the process itself: once that is gone it answers `ESRCH`, also when the number is used
//! again.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

/// First size of the buffer: all small files fit, so that one read gets them.
const BUFFER: usize = 4096;

/// Most bytes ever read of one file; a command line may be megabytes.
const MOST: usize = 64 * 1024;

/// Files of a process worth keeping open while it is in focus.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which {
    Stat,
    Statm,
    Io,
    Cgroup,
}

impl Which {
    const fn name(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::Statm => "statm",
            Self::Io => "io",
            Self::Cgroup => "cgroup",
        }
    }
}

/// The descriptors kept of one process.
#[derive(Debug, Default)]
pub(crate) struct KeptFiles([Option<File>; 4]);

/// A path and a content buffer, both reused.
#[derive(Debug)]
pub(crate) struct Reader {
    path: String,
    buffer: Vec<u8>,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self { path: String::with_capacity(64), buffer: vec![0; BUFFER] }
    }

    /// Reads one of the small files of a process, and keeps it open if there is a place for it.
    ///
    /// # Errors
    /// `ENOENT` or `ESRCH`: no such process; `EACCES` or `EPERM`: not ours to see.
    pub(crate) fn process(
        &mut self,
        pid: u32,
        which: Which,
        kept: Option<&mut KeptFiles>,
    ) -> io::Result<&[u8]> {
        let Some(kept) = kept else { return self.open_and_read(pid, which.name()) };
        let slot = &mut kept.0[which as usize];
        let file = match slot {
            Some(file) => file,
            None => slot.insert(File::open(self.path_of(pid, which.name()))?),
        };
        self.kept(file)
    }

    /// Opens, reads and closes `/proc/PID/NAME`.
    ///
    /// # Errors
    /// As [`Self::process`].
    pub(crate) fn open_and_read(&mut self, pid: u32, name: &str) -> io::Result<&[u8]> {
        let file = File::open(self.path_of(pid, name))?;
        self.kept(&file)
    }

    /// Reads an open file from its start.
    ///
    /// # Errors
    /// What the OS says.
    pub(crate) fn kept(&mut self, file: &File) -> io::Result<&[u8]> {
        let mut filled = 0;
        loop {
            if filled == self.buffer.len() {
                if filled >= MOST {
                    break;
                }
                self.buffer.resize(filled * 2, 0);
            }
            let read = file.read_at(&mut self.buffer[filled..], filled as u64)?;
            filled += read;
            // These files answer with all they have, so a short read that ends a line is the end.
            let line_ended = filled < self.buffer.len() && self.buffer[..filled].ends_with(b"\n");
            if read == 0 || line_ended {
                break;
            }
        }
        Ok(&self.buffer[..filled])
    }

    /// Where a symbolic link such as `exe` points to.
    ///
    /// # Errors
    /// As [`Self::process`].
    pub(crate) fn link(&mut self, pid: u32, name: &str) -> io::Result<std::path::PathBuf> {
        std::fs::read_link(self.path_of(pid, name))
    }

    /// Effective user of a process; the directory shows it also of those that may not be dumped.
    pub(crate) fn user(&mut self, pid: u32) -> Option<u32> {
        std::fs::metadata(self.path_of(pid, "")).ok().map(|facts| facts.uid())
    }

    /// `/proc/PID/NAME`.
    pub(crate) fn path_of(&mut self, pid: u32, name: &str) -> &str {
        self.path.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.path, "/proc/{pid}/{name}");
        &self.path
    }

    /// `/proc/PID/task/TID/NAME`.
    pub(crate) fn path_of_thread(&mut self, pid: u32, tid: u32, name: &str) -> &str {
        self.path.clear();
        let _ = write!(self.path, "/proc/{pid}/task/{tid}/{name}");
        &self.path
    }
}

/// Whether an error says that the task has ended.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

/// Whether an error says that the task is not ours to see.
pub(crate) fn is_denied(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_long_file_is_read_in_full_and_a_short_one_after_it_too() {
        let place = tempfile::tempdir().unwrap();
        let (long, short) = (place.path().join("long"), place.path().join("short"));
        std::fs::write(&long, "x".repeat(3 * BUFFER)).unwrap();
        std::fs::write(&short, "y\n").unwrap();
        let mut reader = Reader::new();
        assert_eq!(reader.kept(&File::open(long).unwrap()).unwrap().len(), 3 * BUFFER);
        assert_eq!(reader.kept(&File::open(short).unwrap()).unwrap(), b"y\n");
    }

    #[test]
    fn a_kept_file_shows_the_present_and_outlives_nobody() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut reader = Reader::new();
        let mut kept = KeptFiles::default();
        assert!(!reader.process(child.id(), Which::Stat, Some(&mut kept)).unwrap().is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
        let error = reader.process(child.id(), Which::Stat, Some(&mut kept)).unwrap_err();
        assert!(is_gone(&error), "{error}");
    }
}
