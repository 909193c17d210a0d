//! The lever search on random trees, against the rule in its plain form.

use super::super::lever::{Lever, Names, search};
use super::super::model::{node, task};
use super::super::scene::{Abilities, Role, Roles, Scene};
use super::super::tree::{Tree, child_towards, common_ancestor, contains, parent};
use crate::flow::message::{Member, Protected};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const ALL: Abilities = Abilities {
    weight: true,
    place: true,
    quota: true,
    tasks: true,
    autogroup: true,
    sessions_apart: true,
    managed: false,
};

fn member(pid: u32) -> Member {
    Member {
        task: task(pid),
        name: String::new(),
        session: pid,
        contexts: Vec::new(),
        millicores: 0.0,
    }
}

/// Where each process sits and what it is: process 1 is protected, 2 is best-effort, the others
/// are what the dice say.
fn scenes() -> impl Strategy<Value = Vec<(String, Role)>> {
    let path =
        prop::collection::vec("[abc]", 0..4).prop_map(|parts| format!("/{}", parts.join("/")));
    let role = prop_oneof![
        Just(Role::Protected),
        Just(Role::BestEffort),
        Just(Role::Unknown),
        Just(Role::Passing),
    ];
    (path.clone(), path.clone(), prop::collection::vec((path, role), 0..6)).prop_map(
        |(victim, hog, rest)| {
            [(victim, Role::Protected), (hog, Role::BestEffort)].into_iter().chain(rest).collect()
        },
    )
}

fn tree(seats: &[(String, Role)]) -> Tree {
    let mut paths: BTreeSet<&str> = BTreeSet::from(["/"]);
    for (path, _) in seats {
        paths.extend(super::super::tree::lineage(path));
    }
    let pids = |path: &str| {
        let here = seats.iter().zip(1u32..).filter(|((seat, _), _)| seat == path);
        here.map(|(_, pid)| pid).collect::<Vec<u32>>()
    };
    Tree::new(paths.into_iter().map(|path| node(path, &pids(path))).collect(), 10_000)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the tree: what is held back holds nobody but best-effort processes, what is
    /// raised holds nobody but protected ones, both are children of the common ancestor of some
    /// pair, and a weight is found whenever one of the two sides would do.
    #[test]
    fn the_right_node_and_only_then(seats in scenes()) {
        let tree = tree(&seats);
        let mut roles = Roles::default();
        for ((_, role), pid) in seats.iter().zip(1u32..) {
            roles.set(pid, *role);
        }
        let (sessions, tolerated) = (BTreeMap::new(), BTreeSet::new());
        let scene = Scene::new(Some(&tree), &roles, &sessions, &tolerated, ALL);
        let of = |role: Role| seats.iter().zip(1u32..).filter(move |((_, other), _)| *other == role);
        let hogs: Vec<Member> = of(Role::BestEffort).map(|(_, pid)| member(pid)).collect();
        let protected = [Protected {
            workload: "app".into(),
            members: of(Role::Protected).map(|(_, pid)| member(pid)).collect(),
            wait_ms_per_s: None,
            contended: true,
        }];
        let places = BTreeSet::from(["/outrigger-t-batch".to_owned()]);
        let names = Names { own: "outrigger-t-batch", prefix: "outrigger-t-", places: &places };
        let pulls = search(&scene, names, &hogs, &protected);

        let inside = |path: &str, role: Role| of(role).any(|((seat, _), _)| contains(path, seat));
        let may_hold = |path: &str| !inside(path, Role::Protected) && !inside(path, Role::Unknown);
        let may_raise = |path: &str| !inside(path, Role::BestEffort) && !inside(path, Role::Unknown);
        let seat = |pid: u32| seats[pid as usize - 1].0.as_str();

        for pull in &pulls {
            match &pull.lever {
                Lever::Adopt { context } => {
                    prop_assert!(may_hold(&context.path), "{context:?}");
                    let fits = of(Role::Protected).any(|((victim, _), _)| pull.members.iter().all(|hog| {
                        let ancestor = common_ancestor(seat(hog.pid), victim);
                        parent(&context.path) == Some(ancestor)
                            && child_towards(ancestor, seat(hog.pid)) == Some(&*context.path)
                    }));
                    prop_assert!(fits, "{context:?} is no child of a common ancestor");
                }
                Lever::Raise { context, .. } => {
                    prop_assert!(may_raise(&context.path), "{context:?}");
                    prop_assert!(inside(&context.path, Role::Protected));
                }
                Lever::Quota { context, .. } => prop_assert!(may_hold(&context.path)),
                Lever::Place { .. } => {
                    prop_assert!(pull.members.iter().all(|hog| seat(hog.pid) == "/"));
                }
                _ => {}
            }
        }
        // Completeness, pair by pair.
        for hog in &hogs {
            let here = seat(hog.task.pid);
            if here == "/" {
                let placed = pulls.iter().any(|pull| {
                    matches!(pull.lever, Lever::Place { .. }) && pull.members.contains(&hog.task)
                });
                prop_assert!(placed, "a root member is placed");
                continue;
            }
            for ((victim, _), _) in of(Role::Protected) {
                let ancestor = common_ancestor(here, victim);
                let expected = child_towards(ancestor, here).filter(|side| may_hold(side));
                if let Some(side) = expected {
                    let found = pulls.iter().any(|pull| {
                        matches!(&pull.lever, Lever::Adopt { context } if context.path == side)
                            && pull.members.contains(&hog.task)
                    });
                    prop_assert!(found, "{side} would do for {here} against {victim}: {pulls:?}");
                } else if let Some(side) = child_towards(ancestor, victim).filter(|side| may_raise(side)) {
                    let found = pulls.iter().any(|pull| {
                        matches!(&pull.lever, Lever::Raise { context, .. } if context.path == side)
                            && pull.members.contains(&hog.task)
                    });
                    prop_assert!(found, "{side} could be raised for {victim} against {here}: {pulls:?}");
                }
            }
        }
        // Everybody hangs on something, or is told why not.
        for hog in &hogs {
            prop_assert!(pulls.iter().any(|pull| pull.members.contains(&hog.task)));
        }
    }
}
