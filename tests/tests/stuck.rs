//! Putting back does not come to an end, or does not happen: the sidecar ends in time all the same
//! and does not say that all is well, and what can still be put back is by its keeper.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use outrigger_tests::{Backends, Mutation, Scene, cgroups, root, until};

/// How long anything that is expected may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn when_putting_back_is_stuck_the_sidecar_ends_and_its_keeper_does_it() {
    if !(root() && cgroups()) {
        return;
    }
    let scene = Scene::set(false);
    let pid = scene.protected().to_string();
    let stuck = Some(Mutation::StuckUndo);
    let mut sidecar = scene.start("attach", &["--pid", &pid], Backends::All, stuck);
    scene.until_governed();

    sidecar.signal(libc::SIGTERM);
    let status = sidecar.wait(PATIENCE);

    assert_eq!(status.code(), Some(1));
    let log = sidecar.log();
    assert!(log.contains("was not put back within 10000 ms"), "{log}");
    until("the keeper has put everything back", PATIENCE, || scene.left_by(&sidecar).is_empty());
}

#[test]
fn what_was_not_put_back_is_a_failure() {
    if !(root() && cgroups()) {
        return;
    }
    let scene = Scene::set(false);
    let pid = scene.protected().to_string();
    let skipped = Some(Mutation::SkipUndo);
    let mut sidecar = scene.start("attach", &["--pid", &pid], Backends::NoCgroups, skipped);
    scene.until_governed();

    sidecar.signal(libc::SIGTERM);
    let status = sidecar.wait(PATIENCE);

    assert_eq!(status.code(), Some(1));
    let log = sidecar.log();
    assert!(log.contains("not everything could be put back:\n"), "{log}");
}
