//! One cgroup of one hierarchy, as it is or as it will be once it is made.

use crate::error;
use crate::mounts::Hierarchy;
use outrigger_sdk::{Error, ErrorCode};
use std::path::PathBuf;

/// A cgroup that exists, or one of ours that is about to be made.
#[derive(Clone, Debug)]
pub struct Group {
    /// Which hierarchy.
    pub hierarchy: Hierarchy,
    /// Path within it, as `/proc/PID/cgroup` writes it.
    pub path: String,
    /// Its directory.
    pub dir: PathBuf,
    /// Whether it is there already.
    pub exists: bool,
}

impl Group {
    /// The cgroup at a path.
    ///
    /// # Errors
    /// The path is not absolute, or not in the part of the tree that is mounted here.
    pub fn at(hierarchy: &Hierarchy, path: &str) -> Result<Self, Error> {
        let dir = hierarchy.dir(path).ok_or_else(|| {
            Error::new(
                ErrorCode::NOT_DELEGATED,
                "open",
                format!("`{path}` is not a cgroup that {} shows", hierarchy.mount.display()),
            )
        })?;
        let exists = dir.is_dir();
        Ok(Self { hierarchy: hierarchy.clone(), path: path.to_owned(), dir, exists })
    }

    /// The root of what is mounted has no knobs of its own.
    pub fn is_root(&self) -> bool {
        self.path == "/" || self.path == self.hierarchy.root
    }

    /// The enclosing cgroup, if this mount shows one.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let (above, _) = self.path.rsplit_once('/')?;
        Self::at(&self.hierarchy, if above.is_empty() { "/" } else { above }).ok()
    }

    /// Its children, as far as they can be listed.
    pub fn children(&self) -> Vec<Self> {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort_unstable();
        let above = self.path.trim_end_matches('/');
        names
            .iter()
            .filter_map(|name| Self::at(&self.hierarchy, &format!("{above}/{name}")).ok())
            .collect()
    }

    /// The absolute path of one of its control files, as the journal names it.
    ///
    /// # Errors
    /// The mount point is no text.
    pub fn locator(&self, file: &str) -> Result<String, Error> {
        text_of(self.dir.join(file))
    }

    /// Where the hierarchy is mounted, as the journal names it.
    ///
    /// # Errors
    /// The mount point is no text.
    pub fn mount(&self) -> Result<String, Error> {
        text_of(self.hierarchy.mount.clone())
    }

    /// Contents of a control file without surrounding white space. In a cgroup that is not
    /// there yet: `fresh`, which is what the kernel starts a new one with.
    ///
    /// # Errors
    /// This kernel has no such file, the cgroup is gone, or reading is not allowed.
    pub fn value(&self, file: &str, fresh: &str) -> Result<String, Error> {
        if self.exists { self.read(file) } else { Ok(fresh.to_owned()) }
    }

    /// Contents of a control file of a cgroup that exists.
    ///
    /// # Errors
    /// As [`Group::value`].
    pub fn read(&self, file: &str) -> Result<String, Error> {
        let path = self.dir.join(file);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(missing) if missing.raw_os_error() == Some(libc::ENOENT) && self.dir.is_dir() => {
                Err(Error::not_supported(
                    "read",
                    format!("{} does not exist on this kernel", path.display()),
                ))
            }
            Err(error) => Err(error::io("read", "read", &path, &error)),
        }
    }

    /// A number out of a control file; see [`Group::value`].
    ///
    /// # Errors
    /// As [`Group::value`], or what is there is no number.
    pub fn number(&self, file: &str, fresh: i64) -> Result<i64, Error> {
        let text = self.value(file, &fresh.to_string())?;
        text.parse().map_err(|_| {
            Error::new(
                ErrorCode::NONSENSE,
                "read",
                format!("{} reads `{text}`, which is not a number", self.dir.join(file).display()),
            )
        })
    }
}

fn text_of(path: PathBuf) -> Result<String, Error> {
    path.into_os_string().into_string().map_err(|path| {
        Error::not_supported("open", format!("{} is not text", path.to_string_lossy()))
    })
}
