//! What a sidecar that was made to forget its undo leaves behind.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::until;

/// Removes cgroup directories of Outrigger's, by the subjects of the differences that name them.
/// Their processes must have ended.
///
/// # Panics
/// When one is not Outrigger's, or is still in use.
pub fn remove_leftovers<'a>(directories: impl IntoIterator<Item = &'a Path>) {
    for path in directories {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        assert!(name.starts_with("outrigger"), "{} is not ours", path.display());
        until("the group is empty", Duration::from_secs(10), || {
            !path.exists() || fs::remove_dir(path).is_ok()
        });
    }
}
