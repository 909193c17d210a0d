//! The plain C struct every plugin exports, read before anything of it is believed.
//!
//! It is read with the dynamic loader alone, so that a library of another ABI, another panic
//! strategy or no plugin at all is refused in one sentence instead of a layout diff.

use std::ffi::{CStr, c_char};

/// Name of the exported static.
pub const SYMBOL: &str = "OUTRIGGER_PLUGIN_MANIFEST";

/// First eight bytes of every manifest.
pub const MAGIC: [u8; 8] = *b"OUTRIGR\0";

/// ABI major version this crate describes; equal on both sides or the plugin is refused.
pub const ABI_MAJOR: u32 = 1;

/// ABI minor version: a host accepts plugins of its own or a newer minor.
pub const ABI_MINOR: u32 = 0;

/// `panic = "unwind"`: the SDK can catch a panic inside the plugin.
pub const PANIC_UNWIND: u32 = 1;

/// `panic = "abort"`: a panic would take the host down, so the plugin is refused.
pub const PANIC_ABORT: u32 = 2;

/// What a plugin says of itself before it is believed.
#[repr(C)]
#[derive(Debug)]
pub struct Manifest {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// `size_of::<Manifest>()` where the plugin was built; later versions only append fields.
    pub length: u32,
    /// [`ABI_MAJOR`] where the plugin was built.
    pub abi_major: u32,
    /// [`ABI_MINOR`] where the plugin was built.
    pub abi_minor: u32,
    /// [`PANIC_UNWIND`] or [`PANIC_ABORT`].
    pub panic: u32,
    /// Name of the backend, UTF-8, NUL-terminated, static.
    pub name: *const c_char,
    /// Version of the backend, UTF-8, NUL-terminated, static.
    pub version: *const c_char,
    /// `rustc` version the SDK was built with, UTF-8, NUL-terminated, static.
    pub toolchain: *const c_char,
}

// SAFETY: the pointers are to immutable statics of the library, which is never unloaded.
unsafe impl Sync for Manifest {}

impl Manifest {
    /// Makes the manifest of this build. `name` and `version` are static C strings.
    pub const fn new(name: &'static CStr, version: &'static CStr, panic: u32) -> Self {
        Self {
            magic: MAGIC,
            length: size_of::<Self>() as u32,
            abi_major: ABI_MAJOR,
            abi_minor: ABI_MINOR,
            panic,
            name: name.as_ptr(),
            version: version.as_ptr(),
            toolchain: TOOLCHAIN.as_ptr(),
        }
    }
}

/// The compiler this crate was built with.
pub const TOOLCHAIN: &CStr = {
    match CStr::from_bytes_with_nul(concat!(env!("OUTRIGGER_RUSTC"), "\0").as_bytes()) {
        Ok(text) => text,
        Err(_) => c"unknown",
    }
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_package_version_is_the_abi_version() {
        let version = format!("{ABI_MAJOR}.{ABI_MINOR}.");
        assert!(env!("CARGO_PKG_VERSION").starts_with(&version));
    }

    #[test]
    fn the_fields_a_host_reads_first_never_move() {
        assert_eq!(std::mem::offset_of!(Manifest, magic), 0);
        assert_eq!(std::mem::offset_of!(Manifest, length), 8);
        assert_eq!(std::mem::offset_of!(Manifest, abi_major), 12);
        assert_eq!(std::mem::offset_of!(Manifest, abi_minor), 16);
        assert_eq!(std::mem::offset_of!(Manifest, panic), 20);
    }

    #[test]
    fn a_manifest_says_what_it_was_made_with() {
        let manifest = Manifest::new(c"mine", c"1.2.3", PANIC_UNWIND);
        assert_eq!(manifest.magic, MAGIC);
        assert_eq!(manifest.length as usize, size_of::<Manifest>());
        // SAFETY: made from static C strings two lines above.
        assert_eq!(unsafe { CStr::from_ptr(manifest.name) }, c"mine");
        assert!(TOOLCHAIN.to_str().unwrap().starts_with("rustc"));
    }
}
