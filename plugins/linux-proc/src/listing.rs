//! Lists the numbers in a directory of `/proc`: processes, or threads of one.
//!
//! The standard library's `read_dir` allocates once for each entry; a sweep lists thousands. So
//! this reads whole buffers of entries and keeps the buffer and, if asked, the directory.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::AsRawFd;

/// Bytes asked for at a time; about a thousand entries.
const BUFFER: usize = 32 * 1024;

/// `struct linux_dirent64`: inode and offset (8 bytes each), length of the record (2), type (1),
/// then the name with its NUL (`getdents64(2)`).
const LENGTH_AT: usize = 16;
const NAME_AT: usize = 19;

/// A reusable buffer for listings.
#[derive(Debug)]
pub(crate) struct Lister {
    buffer: Vec<u8>,
}

impl Lister {
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; BUFFER] }
    }

    /// Puts the names that are numbers into `into`, in ascending order. The directory may be
    /// listed again and again.
    ///
    /// # Errors
    /// What the OS says; `ENOENT` if the directory's process has ended.
    pub(crate) fn numbers(&mut self, directory: &mut File, into: &mut Vec<u32>) -> io::Result<()> {
        into.clear();
        directory.rewind()?;
        loop {
            // SAFETY: the pointer and the length are those of one live, writable buffer.
            let bytes = unsafe {
                libc::syscall(
                    libc::SYS_getdents64,
                    directory.as_raw_fd(),
                    self.buffer.as_mut_ptr(),
                    self.buffer.len(),
                )
            };
            match usize::try_from(bytes) {
                Err(_) => return Err(io::Error::last_os_error()),
                Ok(0) => break,
                Ok(bytes) => names(&self.buffer[..bytes], into),
            }
        }
        into.sort_unstable();
        into.dedup();
        Ok(())
    }
}

fn names(mut records: &[u8], into: &mut Vec<u32>) {
    while let Some(length) = records.get(LENGTH_AT..LENGTH_AT + 2) {
        let length = usize::from(u16::from_ne_bytes([length[0], length[1]]));
        let Some(name) = records.get(NAME_AT..length) else { return };
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        if let Some(number) = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok()) {
            into.push(number);
        }
        records = &records[length..];
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lists_numbers_only_and_again() {
        let place = tempfile::tempdir().unwrap();
        for name in ["12", "3", "self", "4x", ".7"] {
            std::fs::write(place.path().join(name), "").unwrap();
        }
        let mut directory = File::open(place.path()).unwrap();
        let (mut lister, mut found) = (Lister::new(), Vec::new());
        lister.numbers(&mut directory, &mut found).unwrap();
        assert_eq!(found, [3, 12]);
        std::fs::write(place.path().join("5"), "").unwrap();
        lister.numbers(&mut directory, &mut found).unwrap();
        assert_eq!(found, [3, 5, 12]);
    }

    #[test]
    fn lists_more_than_one_buffer() {
        let place = tempfile::tempdir().unwrap();
        for number in 0..3000 {
            std::fs::write(place.path().join(number.to_string()), "").unwrap();
        }
        let mut directory = File::open(place.path()).unwrap();
        let mut found = Vec::new();
        Lister::new().numbers(&mut directory, &mut found).unwrap();
        assert_eq!(found, (0..3000).collect::<Vec<_>>());
    }
}
