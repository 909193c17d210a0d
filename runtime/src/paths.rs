//! Where things live: configuration, state, sockets. The one place that knows.
//!
//! Creates nothing except through [`StateDir::prepare`] and [`Instance::create`], and refuses a
//! state directory that somebody else could have put there.

use outrigger_undo::knob;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The file name of the main configuration.
const CONFIG_FILE: &str = "outrigger.toml";
/// The file name of a control socket.
const SOCKET: &str = "control.sock";
/// The instance name of the one daemon of a state directory.
pub const DAEMON: &str = "daemon";
/// `sun_path` holds 108 bytes, the final zero included (unix(7)).
const SOCKET_PATH_MAX: usize = 107;

/// A directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// It could not be made or looked at.
    #[error("cannot use {path}: {error}; choose another with --state-dir")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the OS said.
        error: io::Error,
    },
    /// Others could write into it, or it is theirs.
    #[error("cannot use {path}: {why}; choose another with --state-dir")]
    Unsafe {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// What paths depend on. Taken from the process once, so that tests can say what they like.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Effective user number.
    pub uid: u32,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<OsString>,
    /// `$XDG_CONFIG_HOME`.
    pub config_home: Option<OsString>,
    /// `$HOME`.
    pub home: Option<OsString>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            uid: effective_uid(),
            runtime_dir: variable("XDG_RUNTIME_DIR"),
            config_home: variable("XDG_CONFIG_HOME"),
            home: variable("HOME"),
        }
    }

    /// Where the configuration may be when nobody says, the first one that exists counts.
    pub fn config_files(&self) -> Vec<PathBuf> {
        let system = PathBuf::from("/etc/outrigger").join(CONFIG_FILE);
        if self.uid == 0 {
            return vec![system];
        }
        let own = match (&self.config_home, &self.home) {
            (Some(directory), _) => Some(PathBuf::from(directory)),
            (None, Some(home)) => Some(Path::new(home).join(".config")),
            (None, None) => None,
        };
        own.map(|own| own.join("outrigger").join(CONFIG_FILE)).into_iter().chain([system]).collect()
    }

    /// Where state lives when nobody says: on a tmpfs, since what it describes dies with the boot.
    pub fn state_dir(&self) -> PathBuf {
        match (self.uid, &self.runtime_dir) {
            (0, _) => PathBuf::from("/run/outrigger"),
            (_, Some(directory)) => Path::new(directory).join("outrigger"),
            (uid, None) => PathBuf::from(format!("/tmp/outrigger-{uid}")),
        }
    }
}

/// The effective user number of this process.
pub fn effective_uid() -> u32 {
    // SAFETY: geteuid takes nothing, cannot fail and touches no memory of ours.
    unsafe { libc::geteuid() }
}

/// The directory that holds one directory for each instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// Names it, touching nothing.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes it, with access for its owner only, or checks that the one found is like that.
    ///
    /// # Errors
    /// It cannot be made, is a link, belongs to another user, or others may write into it.
    pub fn prepare(&self) -> Result<(), PathError> {
        let path = &self.0;
        let io = |error| PathError::Io { path: path.clone(), error };
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::DirBuilder::new().mode(0o700).recursive(true).create(path).map_err(io)?;
            }
            Err(error) => return Err(io(error)),
        }
        let found = fs::symlink_metadata(path).map_err(io)?;
        let uid = effective_uid();
        let unsafe_because = |why: String| PathError::Unsafe { path: path.clone(), why };
        if !found.is_dir() {
            return Err(unsafe_because("it is not a directory (links are not followed)".into()));
        }
        if found.uid() != uid {
            return Err(unsafe_because(format!("it belongs to user {}, not {uid}", found.uid())));
        }
        if found.mode() & 0o022 != 0 {
            return Err(unsafe_because(format!(
                "others may write into it (mode {:03o}; 700 is wanted)",
                found.mode() & 0o777
            )));
        }
        Ok(())
    }

    /// Every instance that left a directory here, living or not, in the order of their names.
    ///
    /// # Errors
    /// The directory exists and cannot be read.
    pub fn instances(&self) -> Result<Vec<Instance>, PathError> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(PathError::Io { path: self.0.clone(), error }),
        };
        let mut found: Vec<Instance> = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| is_instance_name(name))
            .map(|name| self.instance(&name))
            .collect();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(found)
    }

    /// Names an instance, touching nothing.
    pub fn instance(&self, id: &str) -> Instance {
        let directory = self.0.join(id);
        // The daemon's socket is the one everybody knows; `run` and `attach` keep their own.
        let socket = if id == DAEMON { self.0.join(SOCKET) } else { directory.join(SOCKET) };
        Instance { id: id.to_owned(), directory, socket }
    }
}

/// Instance names are part of the names of cgroups: letters, digits and hyphens only.
fn is_instance_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// One sidecar's place in the state directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its name: `daemon`, or `run-PID`, `attach-PID`.
    pub id: String,
    /// Journal, restore report.
    pub directory: PathBuf,
    /// Control socket.
    pub socket: PathBuf,
}

impl Instance {
    /// Makes the directory of a new instance called `kind-PID`. What a dead one of the same
    /// number left behind is not touched: its journal may still be needed.
    ///
    /// # Errors
    /// The state directory is unusable, or the path is too long for a socket.
    pub fn create(state: &StateDir, kind: &str, pid: u32) -> Result<Self, PathError> {
        state.prepare()?;
        let mut id = format!("{kind}-{pid}");
        for attempt in 2.. {
            let instance = state.instance(&id);
            match fs::DirBuilder::new().mode(0o700).create(&instance.directory) {
                Ok(()) => return instance.checked(),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 100 => {
                    id = format!("{kind}-{pid}-{attempt}");
                }
                Err(error) => return Err(PathError::Io { path: instance.directory, error }),
            }
        }
        unreachable!("the loop over attempts has no end of its own")
    }

    /// Makes the directory of the daemon, or takes over the one the last daemon left.
    ///
    /// # Errors
    /// See [`Instance::create`].
    pub fn daemon(state: &StateDir) -> Result<Self, PathError> {
        state.prepare()?;
        let instance = state.instance(DAEMON);
        match fs::DirBuilder::new().mode(0o700).create(&instance.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(PathError::Io { path: instance.directory, error })
            }
            _ => instance.checked(),
        }
    }

    fn checked(self) -> Result<Self, PathError> {
        let length = self.socket.as_os_str().len();
        if length > SOCKET_PATH_MAX {
            let why = format!(
                "the path of its control socket would have {length} bytes, at most {SOCKET_PATH_MAX} are possible"
            );
            return Err(PathError::Unsafe { path: self.socket, why });
        }
        Ok(self)
    }

    /// Whether the process that the name tells of is alive: it may be just about to begin its
    /// journal. The daemon's name tells of none.
    pub fn may_be_starting(&self) -> bool {
        let pid = self.id.split('-').nth(1).and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid| knob::identify(pid).is_some())
    }

    /// Removes the directory, unless there is a journal in it (or what could not be read of one):
    /// that is still needed. A socket that is not in it, such as the daemon's, is its server's.
    pub fn remove(&self) {
        if let Err(error) = outrigger_undo::discard(&self.directory) {
            tracing::debug!(instance = %self.id, %error, "not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn root_uses_the_system_places() {
        let root = Surroundings { runtime_dir: Some("/run/user/0".into()), ..Default::default() };
        assert_eq!(root.state_dir(), Path::new("/run/outrigger"));
        assert_eq!(root.config_files(), [Path::new("/etc/outrigger/outrigger.toml")]);
    }

    #[test]
    fn users_have_places_of_their_own() {
        let mut user = Surroundings { uid: 7, home: Some("/home/u".into()), ..Default::default() };
        assert_eq!(user.state_dir(), Path::new("/tmp/outrigger-7"));
        user.runtime_dir = Some("/run/user/7".into());
        assert_eq!(user.state_dir(), Path::new("/run/user/7/outrigger"));
        let expected =
            ["/home/u/.config/outrigger/outrigger.toml", "/etc/outrigger/outrigger.toml"];
        assert_eq!(user.config_files(), expected.map(PathBuf::from));
        user.config_home = Some("/xdg".into());
        assert_eq!(user.config_files()[0], Path::new("/xdg/outrigger/outrigger.toml"));
    }

    #[test]
    fn a_directory_others_can_write_into_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("state");
        let state = StateDir::new(&path);
        state.prepare().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(state.prepare(), Err(PathError::Unsafe { .. })));
    }

    #[test]
    fn a_link_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let link = temporary.path().join("link");
        std::os::unix::fs::symlink(temporary.path(), &link).unwrap();
        assert!(matches!(StateDir::new(&link).prepare(), Err(PathError::Unsafe { .. })));
    }

    #[test]
    fn instances_do_not_share_a_directory() {
        let temporary = tempfile::tempdir().unwrap();
        let state = StateDir::new(temporary.path().join("s"));
        let first = Instance::create(&state, "run", 12).unwrap();
        let second = Instance::create(&state, "run", 12).unwrap();
        assert_eq!((first.id.as_str(), second.id.as_str()), ("run-12", "run-12-2"));
        let ids: Vec<String> = state.instances().unwrap().into_iter().map(|i| i.id).collect();
        assert_eq!(ids, ["run-12", "run-12-2"]);
        fs::write(first.directory.join("journal"), "").unwrap();
        fs::write(second.directory.join("writers.lock"), "").unwrap();
        first.remove();
        second.remove();
        assert_eq!(state.instances().unwrap().len(), 1);
    }

    #[test]
    fn a_socket_path_that_cannot_be_bound_is_refused_early() {
        let temporary = tempfile::tempdir().unwrap();
        let state = StateDir::new(temporary.path().join("x".repeat(100)));
        assert!(matches!(Instance::create(&state, "run", 1), Err(PathError::Unsafe { .. })));
    }
}
