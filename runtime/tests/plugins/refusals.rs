//! Everything that is refused, and the sentence that says so.

use crate::support::{Directory, library, probe_with, refusal};
use outrigger::backend::{PluginsConfig, inspect};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn refused(directory: &Directory, expected: &str) {
    let sentence = refusal(directory, &PluginsConfig::default());
    assert!(sentence.contains(expected), "{sentence:?} does not say {expected:?}");
}

/// The C library this test is linked to.
fn libc() -> Vec<u8> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let is_libc = |path: &&str| path.contains("libc.so") || path.contains("libc-");
    let mut paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    fs::read(paths.find(is_libc).unwrap()).unwrap()
}

#[test]
fn a_missing_file() {
    let directory = Directory::new();
    let path = directory.path().join("liboutrigger_gone.so");
    std::os::unix::fs::symlink("/nowhere/at/all.so", path).unwrap();
    refused(&directory, "it does not exist");
}

#[test]
fn a_missing_directory() {
    let config =
        PluginsConfig { directories: vec!["/nowhere/plugins".into()], ..Default::default() };
    let sentence = refusal(&Directory::new(), &config);
    assert!(sentence.contains("cannot be searched"), "{sentence}");
}

#[test]
fn a_text_file() {
    let directory = Directory::new();
    directory.add("text", "#!/bin/sh\nexit 0\n");
    refused(&directory, "it is not a library");
}

#[test]
fn a_library_that_is_no_plugin() {
    let directory = Directory::new();
    directory.add("libc", libc());
    refused(&directory, "it is a library but no plugin: it exports no OUTRIGGER_PLUGIN_MANIFEST");
}

#[test]
fn a_truncated_library() {
    let directory = Directory::new();
    let whole = fs::read(library()).unwrap();
    directory.add("probe", &whole[..whole.len() / 2]);
    refused(&directory, "it is truncated");
}

#[test]
fn another_architecture() {
    let directory = Directory::new();
    let mut image = fs::read(library()).unwrap();
    // `e_machine`, at 18: s390.
    image[18..20].copy_from_slice(&22u16.to_ne_bytes());
    directory.add("probe", image);
    refused(&directory, "it is built for machine 22 and this program is");
}

#[test]
fn a_world_writable_file() {
    let directory = Directory::new();
    let path = directory.add_probe_as("probe");
    fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
    refused(&directory, "it is world-writable; run chmod o-w on it");
}

#[test]
fn a_world_writable_directory() {
    let directory = Directory::with_probe();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
    refused(&directory, "is world-writable");
}

#[test]
fn a_file_called_after_another_plugin() {
    let directory = Directory::new();
    directory.add_probe_as("other");
    refused(&directory, "its manifest calls it probe but its file is called after other");
}

#[test]
fn a_name_that_was_found_before() {
    let (first, second) = (Directory::with_probe(), Directory::with_probe());
    let config =
        PluginsConfig { directories: vec![second.path().to_owned()], ..PluginsConfig::default() };
    let sentence = refusal(&first, &config);
    assert!(sentence.contains("the same plugin as"), "{sentence}");
    assert!(sentence.contains(first.path().to_str().unwrap()), "{sentence}");

    let mut other = fs::read(library()).unwrap();
    other.push(0);
    second.add("probe", other);
    let sentence = refusal(&first, &config);
    assert!(sentence.contains("has the same name and was found first"), "{sentence}");
}

#[test]
fn a_bad_configuration() {
    let sentence = refusal(&Directory::with_probe(), &probe_with("probe = 'lazy'\nhang = 1"));
    for expected in [
        r#"plugins.config.probe.probe is "lazy", allowed is one of"#,
        "plugins.config.probe has unknown keys hang (known: bad_sweeps, commit, create, hang_ms",
    ] {
        assert!(sentence.contains(expected), "{sentence:?} does not say {expected:?}");
    }
}

#[test]
fn lists_and_pins() {
    let directory = Directory::with_probe();
    let denied = PluginsConfig { deny: vec!["probe".into()], ..PluginsConfig::default() };
    assert!(refusal(&directory, &denied).contains("`plugins.deny`"));
    let others = PluginsConfig { allow: vec!["gpu".into()], ..PluginsConfig::default() };
    assert!(refusal(&directory, &others).contains("`plugins.allow`"));

    let digest = inspect::list(&PluginsConfig::default(), &[directory.path().into()], None)[0]
        .digest
        .clone()
        .unwrap();
    let mut pinned = PluginsConfig::default();
    pinned.pins.insert("probe".into(), digest.to_uppercase());
    assert_eq!(directory.start(&pinned).refusals(), []);
    let zeros = "0".repeat(64);
    pinned.pins.insert("probe".into(), zeros.clone());
    let sentence = refusal(&directory, &pinned);
    assert!(sentence.contains(&digest) && sentence.contains(&zeros), "{sentence}");
}

#[test]
fn faults_while_being_made_or_probed() {
    let directory = Directory::with_probe();
    let cases = [
        ("create = 'panic'", "its backend could not be made: create: the plugin panicked: told to"),
        ("create = 'error'", "told to fail (os_refused, code 5)"),
        ("probe = 'panic'", "its probe failed: probe: the plugin panicked: told to panic in probe"),
        ("probe = 'error'", "its probe failed: probe: told to fail"),
        ("probe = 'nonsense'", "its probe reports numa, which it does not describe"),
    ];
    for (config, expected) in cases {
        let sentence = refusal(&directory, &probe_with(config));
        assert!(sentence.contains(expected), "{sentence:?} does not say {expected:?}");
    }
}

#[test]
fn check_tells_what_was_learnt_before_the_refusal() {
    let directory = Directory::with_probe();
    let file = directory.path().join("liboutrigger_probe.so");
    let view = inspect::check(&file, &probe_with("hang_ms = 0"), None);
    assert_eq!((view.state, view.is_usable()), ("checked", false));
    assert!(view.reason.unwrap().contains("hang_ms is 0, allowed is 1 or more"));
    assert!(view.config_schema.unwrap()["properties"]["hang_ms"].is_object());
    assert_eq!(view.name.as_deref(), Some("probe"));

    let strange = inspect::check(Path::new("/etc/passwd"), &PluginsConfig::default(), None);
    assert!(strange.reason.unwrap().contains("not called like a plugin"));
}

#[test]
fn check_follows_a_versioned_link() {
    let directory = Directory::with_probe();
    let file = directory.path().join("liboutrigger_probe.so");
    let versioned = directory.path().join("liboutrigger_probe.so.1.2");
    fs::rename(&file, &versioned).unwrap();
    std::os::unix::fs::symlink(&versioned, &file).unwrap();
    let view = inspect::check(&file, &PluginsConfig::default(), None);
    assert_eq!((view.state, view.reason), ("probed", None));
    assert_eq!(view.path.as_deref(), Some(versioned.as_path()));
    assert_eq!(view.grant_needed, ["priority"]);
}
