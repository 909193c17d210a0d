//! What can be refused before a plugin's interface is trusted: reads its manifest.
//!
//! The manifest is a plain C struct found by name, so a library of another ABI or another panic
//! strategy gets one sentence instead of a layout diff. Opening the library runs its
//! constructors; ownership and digest have been checked by then.

use libloading::Library;
use outrigger_abi::manifest::{self, ABI_MAJOR, ABI_MINOR, MAGIC, Manifest};
use std::ffi::{CStr, c_char};
use std::mem::ManuallyDrop;
use std::path::Path;

/// What a plugin says of itself.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Facts {
    /// Name of the backend.
    pub name: String,
    /// Version of the backend.
    pub version: String,
    /// Compiler of the SDK it was built with.
    pub toolchain: String,
    /// ABI version it was built for.
    pub abi: (u32, u32),
}

/// Opens the library for good and reads its manifest.
///
/// # Errors
/// One sentence, without the path.
pub fn open(path: &Path) -> Result<Facts, String> {
    // Libraries are never unloaded, refused ones neither: their constructors have run, and
    // threads, thread-locals and vtables of theirs may live on.
    let library =
        ManuallyDrop::new(open_library(path).map_err(|error| loader_sentence(path, &error))?);
    // SAFETY: the symbol is only used as an address here.
    let symbol = unsafe { library.get::<*const Manifest>(manifest::SYMBOL) }.map_err(|_| {
        format!("it is a library but no plugin: it exports no {}", manifest::SYMBOL)
    })?;
    read(*symbol)
}

#[cfg(unix)]
fn open_library(path: &Path) -> Result<Library, libloading::Error> {
    use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
    // Everything is resolved now, so that a missing symbol refuses the plugin instead of ending
    // the process at the first call; nothing of it is visible to other plugins.
    // SAFETY: runs the constructors of a file whose owner we trust; see `ownership`.
    unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map(Into::into)
}

#[cfg(not(unix))]
fn open_library(path: &Path) -> Result<Library, libloading::Error> {
    // SAFETY: runs the initialisers of a file whose owner we trust; see `ownership`.
    unsafe { Library::new(path) }
}

/// What the loader said, in one sentence; its own words go to the debug log.
fn loader_sentence(path: &Path, error: &libloading::Error) -> String {
    let text =
        std::error::Error::source(error).map_or_else(|| error.to_string(), |s| s.to_string());
    tracing::debug!(plugin = %path.display(), %error, detail = %text, "the loader refused a plugin");
    sentence(&path.display().to_string(), &text)
}

/// `dlerror(3)` says `OBJECT: REASON`; the object is the library itself or one it needs.
fn sentence(path: &str, text: &str) -> String {
    match text.split_once(": ") {
        Some((object, reason)) if object != path && reason.starts_with("cannot open shared") => {
            format!("it needs {object}, which is not installed")
        }
        Some((object, reason)) if object == path => match reason.split_once(": ") {
            Some(("undefined symbol", symbol)) => {
                format!("it needs the symbol {}, which nothing defines", first_word(symbol))
            }
            _ => format!("the loader refuses it: {reason}"),
        },
        _ => format!("the loader refuses it: {text}"),
    }
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or("?")
}

/// Reads a manifest field by field, believing no more than the fields before have proved.
fn read(address: *const Manifest) -> Result<Facts, String> {
    if address.is_null() || !address.is_aligned() {
        return Err("its manifest is not where a manifest can be".to_owned());
    }
    // SAFETY: an exported static of the library, at least as long as its first two fields in
    // every version of the manifest; the magic proves that it is one before more is read.
    let (magic, length) = unsafe { ((*address).magic, (*address).length) };
    if magic != MAGIC {
        return Err("its manifest does not begin with the magic number of a plugin".to_owned());
    }
    if (length as usize) < size_of::<Manifest>() {
        return Err(format!("its manifest has {length} bytes, fewer than ABI 1 prescribes"));
    }
    // SAFETY: the magic and the length say that the whole struct is there.
    let manifest = unsafe { &*address };
    verdict((manifest.abi_major, manifest.abi_minor), (ABI_MAJOR, ABI_MINOR), manifest.panic)?;
    Ok(Facts {
        name: text(manifest.name, "name")?,
        version: text(manifest.version, "version")?,
        toolchain: text(manifest.toolchain, "toolchain")?,
        abi: (manifest.abi_major, manifest.abi_minor),
    })
}

/// Whether a plugin of this ABI and panic strategy can be held by a host of ABI `ours`.
fn verdict((major, minor): (u32, u32), ours: (u32, u32), panic: u32) -> Result<(), String> {
    if major != ours.0 {
        return Err(format!(
            "it was built for ABI {major} and this host speaks ABI {}; get a build of it for that",
            ours.0
        ));
    }
    if minor < ours.1 {
        return Err(format!(
            "it was built for ABI {major}.{minor} and this host needs at least {}.{}; rebuild it",
            ours.0, ours.1
        ));
    }
    match panic {
        manifest::PANIC_UNWIND => Ok(()),
        manifest::PANIC_ABORT => {
            Err("it was built with panic = \"abort\", so a panic of it would \
                                      end this process; rebuild it with panic = \"unwind\""
                .to_owned())
        }
        other => Err(format!("its manifest names an unknown panic strategy ({other})")),
    }
}

/// No text of a manifest is longer.
const MAX_TEXT: usize = 256;

fn text(address: *const c_char, what: &str) -> Result<String, String> {
    if address.is_null() {
        return Err(format!("its manifest has no {what}"));
    }
    // SAFETY: the manifest promises a NUL-terminated static.
    let text = unsafe { CStr::from_ptr(address) };
    match text.to_str() {
        Ok(text) if (1..=MAX_TEXT).contains(&text.len()) => Ok(text.to_owned()),
        _ => Err(format!("its manifest's {what} is not a short UTF-8 text")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_library_that_is_refused_is_not_unloaded() {
        // A copy, so that nothing else has loaded it; any library that needs no others will do.
        let maps = || std::fs::read_to_string("/proc/self/maps").unwrap();
        let library = maps().lines().find_map(|line| {
            let (_, path) = line.split_once('/')?;
            let found = ["/libgcc_s.so", "/libm.so"].iter().any(|name| path.contains(name));
            found.then(|| format!("/{path}"))
        });
        let library = library.expect("unwinding needs one of them");
        let place = tempfile::tempdir().unwrap();
        let copy = place.path().join("liboutrigger_refused.so");
        std::fs::copy(library, &copy).unwrap();
        assert!(open(&copy).unwrap_err().contains("no plugin"));
        assert!(maps().contains("liboutrigger_refused.so"), "it was unloaded");
    }

    #[test]
    fn a_good_manifest_is_read() {
        let good = Manifest::new(c"gpu", c"1.2.3", manifest::PANIC_UNWIND);
        let facts = read(&good).unwrap();
        assert_eq!((facts.name.as_str(), facts.version.as_str()), ("gpu", "1.2.3"));
        assert_eq!(facts.abi, (ABI_MAJOR, ABI_MINOR));
    }

    #[test]
    fn each_wrong_field_has_its_sentence() {
        let good = || Manifest::new(c"gpu", c"1", manifest::PANIC_UNWIND);
        let refusal = |manifest: Manifest| read(&manifest).unwrap_err();
        assert!(refusal(Manifest { magic: *b"NOTAPLUG", ..good() }).contains("magic"));
        assert!(refusal(Manifest { length: 16, ..good() }).contains("16 bytes"));
        assert!(refusal(Manifest { abi_major: 2, ..good() }).contains("ABI 2"));
        assert!(refusal(Manifest { panic: manifest::PANIC_ABORT, ..good() }).contains("abort"));
        assert!(refusal(Manifest { panic: 9, ..good() }).contains("unknown panic"));
        assert!(refusal(Manifest { name: std::ptr::null(), ..good() }).contains("no name"));
        assert!(refusal(Manifest::new(c"", c"1", 1)).contains("name is not"));
        assert!(refusal(Manifest::new(c"\xff", c"1", 1)).contains("name is not"));
    }

    #[test]
    fn a_newer_minor_and_a_longer_manifest_are_accepted() {
        let newer = Manifest {
            abi_minor: ABI_MINOR + 1,
            length: size_of::<Manifest>() as u32 + 64,
            ..Manifest::new(c"gpu", c"1", manifest::PANIC_UNWIND)
        };
        read(&newer).unwrap();
        let older = verdict((1, 2), (1, 3), manifest::PANIC_UNWIND).unwrap_err();
        assert!(older.contains("ABI 1.2") && older.contains("at least 1.3"), "{older}");
    }

    #[test]
    fn loader_messages_become_sentences() {
        let path = "/p/liboutrigger_gpu.so";
        let cases = [
            (
                "libnvml.so.1: cannot open shared object file: No such file or directory",
                "it needs libnvml.so.1, which is not installed",
            ),
            (
                "/p/liboutrigger_gpu.so: undefined symbol: nvmlInit (fatal)",
                "it needs the symbol nvmlInit, which nothing defines",
            ),
            ("/p/liboutrigger_gpu.so: file too short", "the loader refuses it: file too short"),
            ("out of memory", "the loader refuses it: out of memory"),
        ];
        for (text, expected) in cases {
            assert_eq!(sentence(path, text), expected);
        }
    }
}
