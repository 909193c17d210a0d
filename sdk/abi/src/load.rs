//! Opening a library's root module, for hosts.
//!
//! `RootModule::load_from_*` is not used: it caches one library per *type*, so a second plugin
//! would be answered with the first one.

use crate::v1::BackendModRef;
use abi_stable::library::lib_header_from_path;
use std::path::Path;

/// Why a root module was refused: one sentence, and the loader's full text for a debug log.
#[derive(Debug)]
pub struct LoadError {
    /// One sentence.
    pub sentence: String,
    /// What the loader said, which may be a thousand lines.
    pub detail: String,
}

/// Loads the `v1` root module of the library at `path`. The library stays loaded for ever.
///
/// Loading runs the library's constructors: check ownership and digest before.
///
/// # Errors
/// The file is not a library, exports no root module, or its layout differs from this crate's.
pub fn v1(path: &Path) -> Result<BackendModRef, LoadError> {
    let header = lib_header_from_path(path).map_err(|error| LoadError {
        sentence: "it exports no root module of this ABI".to_owned(),
        detail: error.to_string(),
    })?;
    header.init_root_module::<BackendModRef>().map_err(|error| {
        use abi_stable::library::LibraryError as E;
        let sentence = match &error {
            E::IncompatibleVersionNumber { expected_version, actual_version, .. } => format!(
                "it was built for ABI {actual_version} and this host speaks {expected_version}"
            ),
            E::AbiInstability(_) => {
                "the layout of its interface types differs from this host's; rebuild it against \
                 the SDK of this release"
                    .to_owned()
            }
            _ => "its root module did not start".to_owned(),
        };
        LoadError { sentence, detail: error.to_string() }
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn export_macro_uses_the_name_the_loader_looks_for() {
        assert_eq!(
            abi_stable::library::ROOT_MODULE_LOADER_NAME,
            "_1as_0lib_1header_0root_bmodule_bloader"
        );
    }
}
