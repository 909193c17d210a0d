//! Finds the files that may be plugins. Opens none of them.
//!
//! A plugin's name follows from its file's name (`liboutrigger_linux_proc.so` is `linux-proc`),
//! so that lists and pins apply before any of its code runs; the manifest must agree later.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where packages install plugins.
pub const SYSTEM_DIRECTORY: &str = "/usr/lib/outrigger/plugins";

/// What kind of place a file was found in. Only the last two can hold plugins of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A directory that was asked for.
    Given,
    /// Beside the executable, or in `plugins` beside it.
    Beside,
    /// [`SYSTEM_DIRECTORY`].
    System,
}

/// A file that may be a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Canonical path.
    pub path: PathBuf,
    /// Name, after the file's.
    pub name: String,
    /// Kind of place.
    pub place: Place,
}

/// A directory that was asked for and cannot be searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsearchable {
    /// The directory.
    pub directory: PathBuf,
    /// One sentence.
    pub sentence: String,
}

/// The directories to search, in order; the first file of a name wins.
#[derive(Clone, Debug)]
pub struct Search {
    places: Vec<(PathBuf, Place)>,
}

impl Search {
    /// `given` first, then `plugins` beside `executable`, then its own directory (where a cargo
    /// build puts libraries), then [`SYSTEM_DIRECTORY`].
    pub fn new(given: impl IntoIterator<Item = PathBuf>, executable: Option<&Path>) -> Self {
        let mut places: Vec<_> = given.into_iter().map(|d| (d, Place::Given)).collect();
        if let Some(own) = executable.and_then(Path::parent) {
            places.push((own.join("plugins"), Place::Beside));
            places.push((own.to_owned(), Place::Beside));
        }
        places.push((PathBuf::from(SYSTEM_DIRECTORY), Place::System));
        Self { places }
    }

    /// Kind of place of a file that was named instead of found.
    pub fn place_of(&self, file: &Path) -> Place {
        let Some(parent) = file.parent() else { return Place::Given };
        self.kind(parent)
    }

    /// Every candidate, by order of search and then by name; a directory reached twice is
    /// searched once. Not recursive: a build's `deps/` holds second copies.
    pub fn run(&self) -> (Vec<Located>, Vec<Unsearchable>) {
        let mut found = Vec::new();
        let mut failed = Vec::new();
        let mut seen = BTreeSet::new();
        for (directory, place) in &self.places {
            let entries = directory.canonicalize().and_then(|real| {
                let entries = std::fs::read_dir(&real)?;
                Ok((real, entries))
            });
            match entries {
                Ok((real, _)) if !seen.insert(real.clone()) => {}
                Ok((real, entries)) => {
                    let mut here: Vec<_> = entries
                        .filter_map(|entry| located(&entry.ok()?.path(), self.kind(&real)))
                        .collect();
                    here.sort_by(|a, b| a.path.cmp(&b.path));
                    found.extend(here);
                }
                // The usual places need not exist.
                Err(_) if *place != Place::Given => {}
                Err(error) => failed.push(Unsearchable {
                    directory: directory.clone(),
                    sentence: format!(
                        "plugin directory {} cannot be searched: {error}",
                        directory.display()
                    ),
                }),
            }
        }
        (found, failed)
    }

    /// A usual place stays one when it is also asked for.
    fn kind(&self, directory: &Path) -> Place {
        let same = |place: &Path| place.canonicalize().is_ok_and(|real| real == directory);
        self.places
            .iter()
            .filter(|(_, kind)| *kind != Place::Given)
            .find(|(place, _)| same(place))
            .map_or(Place::Given, |(_, kind)| *kind)
    }
}

fn located(path: &Path, place: Place) -> Option<Located> {
    let name = plugin_name(path)?;
    // A link may point anywhere; ownership is checked where it leads. A dangling one is listed
    // and refused as missing.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    Some(Located { path, name, place })
}

/// The plugin name that follows from a file's name; `None` if it is not called like a plugin.
pub fn plugin_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let stem = if cfg!(windows) {
        file.strip_prefix("outrigger_")?.strip_suffix(".dll")?
    } else if cfg!(target_os = "macos") {
        file.strip_prefix("liboutrigger_")?.strip_suffix(".dylib")?
    } else {
        file.strip_prefix("liboutrigger_")?.strip_suffix(".so")?
    };
    let name = stem.replace('_', "-");
    super::config::is_plugin_name(&name).then_some(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    fn touch(directory: &Path, file: &str) {
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join(file), "").unwrap();
    }

    fn names(found: &[Located]) -> Vec<(&str, Place)> {
        found.iter().map(|l| (l.name.as_str(), l.place)).collect()
    }

    #[test]
    fn the_file_name_gives_the_plugin_name() {
        let name = |file: &str| plugin_name(Path::new(file));
        assert_eq!(name("/x/liboutrigger_linux_proc.so").as_deref(), Some("linux-proc"));
        assert_eq!(name("/x/liboutrigger_gpu2.so").as_deref(), Some("gpu2"));
        for other in ["libc.so.6", "liboutrigger.so", "liboutrigger_.so", "liboutrigger_X.so"] {
            assert_eq!(name(other), None, "{other}");
        }
        assert_eq!(name("liboutrigger_gpu.so.bak"), None);
    }

    #[test]
    fn given_directories_come_first_and_nothing_is_recursive() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("bin");
        touch(&own, "liboutrigger_b.so");
        touch(&own.join("deps"), "liboutrigger_b.so");
        touch(&own.join("plugins"), "liboutrigger_a.so");
        touch(&own.join("plugins"), "README");
        let given = root.path().join("given");
        touch(&given, "liboutrigger_z.so");
        let search = Search::new([given], Some(&own.join("outrigger")));
        let (found, failed) = search.run();
        assert_eq!(failed, []);
        assert_eq!(
            names(&found),
            [("z", Place::Given), ("a", Place::Beside), ("b", Place::Beside)]
        );
    }

    #[test]
    fn a_usual_place_that_is_given_too_is_searched_once_and_stays_usual() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path(), "liboutrigger_a.so");
        let search = Search::new([root.path().to_owned()], Some(&root.path().join("outrigger")));
        let (found, _) = search.run();
        assert_eq!(names(&found), [("a", Place::Beside)]);
    }

    #[test]
    fn a_missing_given_directory_is_said_and_the_rest_is_searched() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path(), "liboutrigger_a.so");
        let missing = root.path().join("missing");
        let (found, failed) = Search::new([missing.clone(), root.path().to_owned()], None).run();
        assert_eq!(names(&found), [("a", Place::Given)]);
        assert_eq!(failed.len(), 1);
        assert!(failed[0].sentence.contains(missing.to_str().unwrap()));
    }
}
