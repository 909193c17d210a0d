//! A look at an ELF file's headers and symbol table, without loading it.
//!
//! Just enough to say in one sentence why a file cannot be a plugin for this program. Formats of
//! other systems are left to their loaders. What cannot be seen here (a file without section
//! headers) is not refused here either.

/// Reads numbers out of a file image; every access is checked.
#[derive(Clone, Copy)]
struct Image<'a>(&'a [u8]);

impl Image<'_> {
    fn bytes<const N: usize>(self, at: u64) -> Option<[u8; N]> {
        let at = usize::try_from(at).ok()?;
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }
    fn u16(self, at: u64) -> Option<u16> {
        self.bytes(at).map(u16::from_ne_bytes)
    }
    fn u32(self, at: u64) -> Option<u32> {
        self.bytes(at).map(u32::from_ne_bytes)
    }
    fn u64(self, at: u64) -> Option<u64> {
        self.bytes(at).map(u64::from_ne_bytes)
    }
    fn has(self, at: u64, length: u64) -> bool {
        at.checked_add(length).is_some_and(|end| end <= self.0.len() as u64)
    }
    /// Whether the NUL-terminated text at `at` is `text`.
    fn is_text(self, at: u64, text: &str) -> bool {
        let Ok(at) = usize::try_from(at) else { return false };
        self.0
            .get(at..)
            .and_then(|rest| rest.strip_prefix(text.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    }
}

/// Machines by the numbers of the ELF specification (`e_machine`).
const MACHINES: [(u16, &str); 6] = [
    (3, "x86"),
    (40, "arm"),
    (62, "x86_64"),
    (183, "aarch64"),
    (243, "riscv64"),
    (258, "loongarch64"),
];

const CLASS_64: u8 = 2;
const DATA_NATIVE: u8 = if cfg!(target_endian = "little") { 1 } else { 2 };
const TYPE_SHARED: u16 = 3;
const SEGMENT_LOAD: u32 = 1;
const SECTION_NOBITS: u32 = 8;
const SECTION_DYNSYM: u32 = 11;

/// Whether `contents` can be a plugin of this program that exports `symbol`.
///
/// # Errors
/// One sentence, without the path.
pub fn check(contents: &[u8], symbol: &str) -> Result<(), String> {
    let image = Image(contents);
    if image.bytes(0) != Some(*b"\x7fELF") {
        return Err("it is not a library (no ELF header)".to_owned());
    }
    let truncated = || "it is truncated: its headers point behind its end".to_owned();
    let [class, data] = image.bytes(4).ok_or_else(truncated)?;
    if data != DATA_NATIVE {
        return Err("it is for machines of the other byte order".to_owned());
    }
    if cfg!(target_pointer_width = "64") && class != CLASS_64 {
        return Err(format!("it is a 32-bit library and this program is {}", own_machine()));
    }
    let machine = image.u16(18).ok_or_else(truncated)?;
    let name = MACHINES.iter().find(|(number, _)| *number == machine).map(|(_, name)| *name);
    if own_number().is_some_and(|own| own != machine) {
        let name = name.map_or_else(|| format!("machine {machine}"), str::to_owned);
        return Err(format!("it is built for {name} and this program is {}", own_machine()));
    }
    if !cfg!(target_pointer_width = "64") {
        return Ok(());
    }
    if image.u16(16).ok_or_else(truncated)? != TYPE_SHARED {
        return Err("it is an ELF file but not a shared library".to_owned());
    }
    if !segments_are_inside(image).unwrap_or(false) {
        return Err(truncated());
    }
    match exports(image, symbol) {
        Ok(Some(false)) => Err(format!("it is a library but no plugin: it exports no {symbol}")),
        Ok(_) => Ok(()),
        Err(Truncated) => Err(truncated()),
    }
}

fn own_machine() -> &'static str {
    std::env::consts::ARCH
}

fn own_number() -> Option<u16> {
    MACHINES.iter().find(|(_, name)| *name == own_machine()).map(|(number, _)| *number)
}

struct Truncated;

/// Whether every segment that is to be mapped lies in the file.
fn segments_are_inside(image: Image<'_>) -> Option<bool> {
    let table = image.u64(32)?;
    let size = u64::from(image.u16(54)?);
    let count = u64::from(image.u16(56)?);
    for index in 0..count {
        let header = table.checked_add(index * size)?;
        if image.u32(header)? == SEGMENT_LOAD
            && !image.has(image.u64(header + 8)?, image.u64(header + 32)?)
        {
            return Some(false);
        }
    }
    Some(count > 0)
}

/// Whether the dynamic symbol table defines `symbol`; `None` if the file has no section headers.
fn exports(image: Image<'_>, symbol: &str) -> Result<Option<bool>, Truncated> {
    let table = image.u64(40).ok_or(Truncated)?;
    let size = u64::from(image.u16(58).ok_or(Truncated)?);
    let count = u64::from(image.u16(60).ok_or(Truncated)?);
    if table == 0 || count == 0 {
        return Ok(None);
    }
    if !image.has(table, count * size) {
        return Err(Truncated);
    }
    let mut answer = None;
    for index in 0..count {
        let section = table.checked_add(index * size).ok_or(Truncated)?;
        let kind = image.u32(section + 4).ok_or(Truncated)?;
        let offset = image.u64(section + 24).ok_or(Truncated)?;
        let length = image.u64(section + 32).ok_or(Truncated)?;
        if kind != SECTION_NOBITS && !image.has(offset, length) {
            return Err(Truncated);
        }
        if kind != SECTION_DYNSYM {
            continue;
        }
        let strings = u64::from(image.u32(section + 40).ok_or(Truncated)?);
        let strings = table.checked_add(strings * size).ok_or(Truncated)?;
        let strings = image.u64(strings + 24).ok_or(Truncated)?;
        // An entry has 24 bytes: name, info, other, section (0 is undefined), value, size.
        let defined = (0..length / 24).any(|entry| {
            let entry = offset + entry * 24;
            let name = image.u32(entry).map(u64::from);
            let home = image.u16(entry + 6);
            home.is_some_and(|home| home != 0)
                && name.is_some_and(|name| {
                    strings.checked_add(name).is_some_and(|at| image.is_text(at, symbol))
                })
        });
        answer = Some(defined);
    }
    Ok(answer)
}

#[cfg(all(test, target_os = "linux", target_pointer_width = "64"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// A library that is on every machine these tests run on: the C library this test is
    /// itself linked to.
    fn libc() -> Vec<u8> {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let path = maps
            .lines()
            .filter_map(|line| line.split_whitespace().nth(5))
            .find(|path| path.contains("libc.so") || path.contains("libc-"))
            .expect("tests are linked to a C library");
        std::fs::read(path).unwrap()
    }

    #[test]
    fn a_symbol_is_found_where_it_is_defined() {
        assert_eq!(check(&libc(), "malloc"), Ok(()));
        let refusal = check(&libc(), "OUTRIGGER_PLUGIN_MANIFEST").unwrap_err();
        assert!(refusal.contains("no plugin"), "{refusal}");
    }

    #[test]
    fn what_is_no_library_is_told_apart() {
        assert!(check(b"#!/bin/sh\n", "x").unwrap_err().contains("not a library"));
        assert!(check(b"", "x").unwrap_err().contains("not a library"));
        assert!(check(b"\x7fELF", "x").unwrap_err().contains("truncated"));
        let program = std::fs::read("/proc/self/exe").unwrap();
        // Position-independent programs have the type of shared libraries; they export nothing.
        assert!(check(&program, "OUTRIGGER_PLUGIN_MANIFEST").is_err());
    }

    #[test]
    fn other_machines_are_named() {
        let mut image = libc();
        let other: u16 = if own_machine() == "x86_64" { 183 } else { 62 };
        image[18..20].copy_from_slice(&other.to_ne_bytes());
        let refusal = check(&image, "malloc").unwrap_err();
        let other = if other == 62 { "x86_64" } else { "aarch64" };
        assert_eq!(
            refusal,
            format!("it is built for {other} and this program is {}", own_machine())
        );
        image[18..20].copy_from_slice(&999u16.to_ne_bytes());
        assert!(check(&image, "malloc").unwrap_err().contains("machine 999"));
        let mut narrow = libc();
        narrow[4] = 1;
        assert!(check(&narrow, "malloc").unwrap_err().contains("32-bit"));
    }

    #[test]
    fn every_truncation_is_refused() {
        let image = libc();
        for length in [5, 17, 19, 40, 63, 64, 100, image.len() / 2, image.len() - 1] {
            assert!(check(&image[..length], "malloc").is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(changes in prop::collection::vec((0usize..4096, any::<u8>()), 1..20)) {
            let mut image = libc();
            for (at, byte) in changes {
                image[at] = byte;
            }
            let _ = check(&image, "malloc");
        }
    }
}
