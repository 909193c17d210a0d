//! Where contexts of ours are made: one base cgroup per hierarchy.
//!
//! The base is what the configuration says; else the root of the mount, if we may make
//! directories there; else our own cgroup, if it was delegated to us. What lies elsewhere is
//! somebody else's.

use crate::access;
use crate::mounts::{Hierarchies, Hierarchy, Space};
use outrigger_sdk::{Error, ErrorCode};
use std::path::PathBuf;

/// Names a context of ours may have, at most so long: the kernel's limit is 255 bytes.
const NAME_MAX: usize = 128;

/// Contexts left behind by an earlier run are recognised by this prefix; a directory of any
/// other name that we did not make is somebody else's.
pub const OUR_PREFIX: &str = "outrigger";

/// The base in one hierarchy.
#[derive(Clone, Debug)]
pub struct Place {
    /// Which hierarchy.
    pub hierarchy: Hierarchy,
    /// The cgroup below which our contexts are made.
    pub base: String,
    /// Why nothing can be made there, if so.
    pub closed: Option<Error>,
}

impl Place {
    /// Chooses the base. `own` is the text of our own `/proc/self/cgroup`.
    pub fn choose(hierarchy: &Hierarchy, configured: Option<&str>, own: &str) -> Self {
        let check = |base: &str| -> Result<(), Error> {
            let dir = hierarchy.dir(base).ok_or_else(|| {
                Error::new(
                    ErrorCode::NOT_DELEGATED,
                    "open",
                    format!(
                        "{} shows {} of the {} hierarchy and not {base}",
                        hierarchy.mount.display(),
                        hierarchy.root,
                        hierarchy.space.name()
                    ),
                )
            })?;
            access::delegated(&dir).map_err(|error| why_closed(hierarchy, &dir, &error))
        };
        let place = |base: &str, closed| Self {
            hierarchy: hierarchy.clone(),
            base: base.to_owned(),
            closed,
        };
        if let Some(base) = configured {
            return place(base, check(base).err());
        }
        let root = check(&hierarchy.root);
        if root.is_ok() {
            return place(&hierarchy.root, None);
        }
        match hierarchy.space.path_in(own) {
            Some(own) if own != hierarchy.root && check(own).is_ok() => place(own, None),
            _ => place(&hierarchy.root, root.err()),
        }
    }

    /// Path of a context of ours.
    pub fn path(&self, name: &str) -> String {
        match self.base.as_str() {
            "/" => format!("/{name}"),
            base => format!("{base}/{name}"),
        }
    }

    /// Directory of a context of ours; `None` if the mount does not show the base.
    pub fn dir(&self, name: &str) -> Option<PathBuf> {
        self.hierarchy.dir(&self.path(name))
    }

    /// Whether a cgroup lies in the part of the tree that was delegated to us. The root of a
    /// hierarchy is nobody's, so a base there says nothing about what lies below.
    pub fn delegated(&self, path: &str) -> bool {
        self.base != "/" && (path == self.base || path.starts_with(&format!("{}/", self.base)))
    }
}

fn why_closed(hierarchy: &Hierarchy, dir: &std::path::Path, error: &std::io::Error) -> Error {
    let os_code = error.raw_os_error().unwrap_or(0);
    let message = if hierarchy.read_only || os_code == libc::EROFS {
        format!(
            "the {} hierarchy is mounted read-only at {}; a container needs it writable",
            hierarchy.space.name(),
            hierarchy.mount.display()
        )
    } else {
        format!(
            "no permission to make contexts in {}: {error}; run as root or have a subtree \
             delegated (owned by this user)",
            dir.display()
        )
    };
    let code =
        if os_code == libc::ENOENT { ErrorCode::NOT_DELEGATED } else { ErrorCode::PRIVILEGE };
    Error { os_code: os_code.into(), ..Error::new(code, "open", message) }
}

/// The bases of every hierarchy that is mounted.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// What is mounted.
    pub hierarchies: Hierarchies,
    places: Vec<Place>,
}

impl Places {
    /// Looks at the machine.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn find(configured: Option<&str>) -> Result<Self, Error> {
        let hierarchies = Hierarchies::read()?;
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let places = Space::ALL
            .into_iter()
            .filter_map(|space| hierarchies.get(space))
            .map(|hierarchy| Place::choose(hierarchy, configured, &own))
            .collect();
        Ok(Self { hierarchies, places })
    }

    /// The base in a space, whether or not anything can be made there.
    pub fn get(&self, space: Space) -> Option<&Place> {
        self.places.iter().find(|place| place.hierarchy.space == space)
    }

    /// The base in a space, or why there is none that can be used.
    ///
    /// # Errors
    /// Not mounted, read-only, no permission.
    pub fn open(&self, space: Space) -> Result<&Place, Error> {
        let place = self.get(space).ok_or_else(|| not_mounted(space))?;
        match &place.closed {
            None => Ok(place),
            Some(error) => Err(error.clone()),
        }
    }
}

/// The controller is nowhere to be found.
pub fn not_mounted(space: Space) -> Error {
    let message = match space {
        Space::Unified => "no cgroup2 tree is mounted beside the v1 hierarchies".to_owned(),
        other => format!("the v1 {} controller is not mounted", other.name()),
    };
    Error::not_supported("open", message)
}

/// Whether a name may be given to a context of ours: `[a-z0-9-]+`.
///
/// # Errors
/// It may not; the message says what is allowed.
pub fn check_name(name: &str) -> Result<(), Error> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.is_empty() && name.len() <= NAME_MAX && name.chars().all(fits) {
        return Ok(());
    }
    Err(crate::error::range(
        "create",
        format!(
            "`{name}` cannot be the name of a context; allowed are 1 to {NAME_MAX} of a-z, 0-9 and -"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(base: &str) -> Place {
        let hierarchy = Hierarchy {
            space: Space::Cpu,
            mount: "/nowhere/cpu".into(),
            root: "/".into(),
            read_only: false,
        };
        Place { hierarchy, base: base.into(), closed: None }
    }

    #[test]
    fn contexts_are_made_below_the_base() {
        assert_eq!(place("/").path("a"), "/a");
        assert_eq!(place("/x/y").path("a"), "/x/y/a");
        assert_eq!(place("/x").dir("a"), Some("/nowhere/cpu/x/a".into()));
    }

    #[test]
    fn a_base_at_the_root_delegates_nothing() {
        assert!(!place("/").delegated("/anything"));
        assert!(place("/x").delegated("/x/y"));
        assert!(place("/x").delegated("/x"));
        assert!(!place("/x").delegated("/xy"));
    }

    #[test]
    fn names_that_could_leave_the_base_are_refused() {
        for bad in ["", "..", "a/b", "A", "a.slice", &"a".repeat(NAME_MAX + 1)] {
            assert!(check_name(bad).is_err(), "{bad} was taken");
        }
        assert!(check_name("outrigger-12-batch").is_ok());
    }

    #[test]
    fn a_place_that_does_not_exist_is_closed_with_a_reason() {
        let place = Place::choose(&place("/").hierarchy, None, "1:cpu:/\n");
        assert!(place.closed.is_some_and(|error| error.message.contains("/nowhere/cpu")));
    }
}
