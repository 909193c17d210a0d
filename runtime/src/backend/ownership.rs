//! Who could have written a plugin's file: checked before any of its code runs.
//!
//! The rule is that of ssh's `StrictModes`: the file and every directory above it belong to
//! somebody we already trust, and nobody else can write to them. Since then nobody else can
//! exchange the file between this check and the loader's look at it either; an update that
//! happens in between is found by [`Checked::unchanged`].
//!
//! This is no sandbox, and access control lists are not looked at: with one, the group bits show
//! its mask, so a file others may write by ACL is refused as group-writable.

use sha2::{Digest as _, Sha256};
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

/// SHA-256 of a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// A file that nobody but those we trust could have written.
#[derive(Debug)]
pub struct Checked {
    /// Canonical path.
    pub path: PathBuf,
    /// What it contains.
    pub digest: Digest,
    /// The bytes, for a look at the headers. Plugins are a few hundred kilobytes to some
    /// megabytes; dropped after loading.
    pub contents: Vec<u8>,
    stamp: Stamp,
}

/// No plugin is larger; a limit keeps a wrong file from filling the memory.
const MAX_BYTES: u64 = 512 << 20;

/// Opens, checks and reads the file at `path`.
///
/// # Errors
/// One sentence, without the path.
pub fn check(path: &Path) -> Result<Checked, String> {
    let real = path.canonicalize().map_err(|error| unreadable(&error))?;
    let mut file = File::open(&real).map_err(|error| unreadable(&error))?;
    let metadata = file.metadata().map_err(|error| unreadable(&error))?;
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    platform::trusted(&metadata, "it")?;
    for directory in real.ancestors().skip(1) {
        let metadata = directory.metadata().map_err(|error| unreadable(&error))?;
        platform::trusted(&metadata, &format!("its directory {}", directory.display()))?;
    }
    if metadata.len() > MAX_BYTES {
        return Err(format!("it has {} bytes, more than any plugin", metadata.len()));
    }
    let mut contents = Vec::with_capacity(metadata.len() as usize);
    file.rewind()
        .and_then(|()| file.take(MAX_BYTES).read_to_end(&mut contents))
        .map_err(|error| unreadable(&error))?;
    Ok(Checked {
        digest: Digest(Sha256::digest(&contents).into()),
        contents,
        stamp: Stamp::of(&metadata),
        path: real,
    })
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        _ => format!("it cannot be read: {error}"),
    }
}

impl Checked {
    /// Whether the path still leads to the file that was checked. Asked after the loader has
    /// opened it by name.
    pub fn unchanged(&self) -> bool {
        self.path.metadata().is_ok_and(|metadata| Stamp::of(&metadata) == self.stamp)
    }
}

/// What changes when a file is exchanged or rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<std::time::SystemTime>,
    identity: (u64, u64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            identity: platform::identity(metadata),
        }
    }
}

#[cfg(unix)]
mod platform {
    use std::fs::Metadata;
    use std::os::unix::fs::MetadataExt as _;

    pub fn identity(metadata: &Metadata) -> (u64, u64) {
        (metadata.dev(), metadata.ino())
    }

    /// Whether nobody but those we trust can change the thing.
    pub fn trusted(metadata: &Metadata, what: &str) -> Result<(), String> {
        // SAFETY: these calls have no arguments and cannot fail.
        let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
        // Who can exchange our own executable gains nothing by a plugin: `sudo` on a build of
        // one's own works.
        let executable = std::env::current_exe().and_then(|exe| exe.metadata()).map(|m| m.uid());
        let owner = metadata.uid();
        if owner != 0 && owner != uid && executable.ok() != Some(owner) {
            return Err(format!(
                "{what} belongs to user {owner}; it must belong to root or to the user that runs \
                 outrigger"
            ));
        }
        let mode = metadata.mode();
        // In a sticky directory (/tmp) others cannot touch what is not theirs.
        let sticky = metadata.is_dir() && mode & libc::S_ISVTX != 0;
        if mode & libc::S_IWOTH != 0 && !sticky {
            return Err(format!("{what} is world-writable; run chmod o-w on it"));
        }
        // A user's private group, as Debian makes it, has the user's number and no other member.
        let private = metadata.gid() == gid && gid == uid || metadata.gid() == 0;
        if mode & libc::S_IWGRP != 0 && !sticky && !private {
            return Err(format!(
                "{what} can be written by group {}; run chmod g-w on it",
                metadata.gid()
            ));
        }
        Ok(())
    }
}

#[cfg(not(unix))]
mod platform {
    use std::fs::Metadata;

    pub fn identity(_: &Metadata) -> (u64, u64) {
        (0, 0)
    }

    /// Access rights of other systems are lists that `std` does not read: the installer's
    /// directories are what protects plugins there.
    pub fn trusted(_: &Metadata, _: &str) -> Result<(), String> {
        Ok(())
    }
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use outrigger_skip::root;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, chown};

    fn file(mode: u32) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("liboutrigger_x.so");
        fs::write(&path, "abc").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (directory, path)
    }

    #[test]
    fn a_file_of_ours_is_read_and_its_digest_taken() {
        let (_directory, path) = file(0o644);
        let checked = check(&path).unwrap();
        assert_eq!(checked.contents, b"abc");
        // The standard's own test vector.
        assert_eq!(
            checked.digest.to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(checked.unchanged());
        fs::rename(&path, path.with_extension("old")).unwrap();
        fs::write(&path, "abc").unwrap();
        assert!(!checked.unchanged());
    }

    #[test]
    fn what_others_can_write_is_refused() {
        let (_directory, path) = file(0o646);
        assert!(check(&path).unwrap_err().contains("it is world-writable"));
        let (directory, path) = file(0o644);
        fs::set_permissions(directory.path(), Permissions::from_mode(0o757)).unwrap();
        let refusal = check(&path).unwrap_err();
        assert!(refusal.contains("directory") && refusal.contains("world-writable"), "{refusal}");
        // A sticky one is as good as /tmp.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o1757)).unwrap();
        check(&path).unwrap();
    }

    #[test]
    fn a_stranger_s_file_directory_or_group_is_refused() {
        if !root() {
            return;
        }
        let (_directory, path) = file(0o644);
        chown(&path, Some(65534), None).unwrap();
        assert!(check(&path).unwrap_err().contains("it belongs to user 65534"));
        let (directory, path) = file(0o644);
        chown(directory.path(), Some(65534), None).unwrap();
        assert!(check(&path).unwrap_err().contains("belongs to user 65534"));
        let (_directory, path) = file(0o664);
        chown(&path, None, Some(65534)).unwrap();
        assert!(check(&path).unwrap_err().contains("can be written by group 65534"));
    }

    #[test]
    fn missing_and_not_a_file_are_told_apart() {
        let (directory, path) = file(0o644);
        assert_eq!(check(&path.with_extension("no")).unwrap_err(), "it does not exist");
        assert_eq!(check(directory.path()).unwrap_err(), "it is not a regular file");
    }

    #[test]
    fn a_link_is_followed_and_checked_where_it_leads() {
        let (_directory, target) = file(0o646);
        let (directory, _) = file(0o644);
        let link = directory.path().join("liboutrigger_link.so");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(check(&link).unwrap_err().contains("world-writable"));
    }
}
