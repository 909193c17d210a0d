//! Where to pull: a weight acts only between siblings, so the right node has to be found.
//!
//! For each place where members of the antagonist sit, and each place where a protected process
//! sits, the search looks at their lowest common ancestor. Turning the antagonist's child of
//! that ancestor is what shifts CPU between the two; anything deeper only shifts it among the
//! antagonist's own siblings (measured: a leaf at weight 1 leaves the protected one its half).
//! Where that child holds others too, the protected side may be raised instead; where neither
//! side is of one kind, a quota or per-process knobs are left; and where those do not reach
//! either, the search says why in one sentence.
//!
//! Pure: it writes nothing, and what it picks is only a place. How far it is turned is
//! [`super::want`]'s business.

use super::scene::Scene;
use super::tree::{child_towards, common_ancestor, last, lineage};
use crate::flow::message::{Member, Protected};
use outrigger_sdk::{ContextId, TaskId};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A place to pull at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Lever {
    /// The members are in a context of ours already: its weight is turned.
    Own {
        /// Name of the context.
        name: String,
    },
    /// The members sit in a root where tasks compete one by one, or among what we launched:
    /// they are put into a context of ours once, whose weight is then turned in place.
    Place {
        /// Name of the context.
        name: String,
    },
    /// The antagonist's side: everything in this subtree is best-effort.
    Adopt {
        /// The child of the common ancestor.
        context: ContextId,
    },
    /// The protected side: everything in this subtree is protected.
    Raise {
        /// The child of the common ancestor.
        context: ContextId,
        /// Why the other side cannot be held back.
        because: String,
    },
    /// Weights do not separate the two, but a quota on this subtree holds.
    Quota {
        /// The topmost subtree that is best-effort as a whole.
        context: ContextId,
        /// Why no weight acts.
        because: String,
    },
    /// Members compete task by task with the protected: scheduling class or priority.
    Tasks,
    /// Members compete session by session with the protected: nice value of the autogroup.
    Sessions {
        /// The session.
        session: u32,
    },
    /// Nothing reaches.
    None {
        /// Why, one clause.
        because: String,
    },
}

/// A lever, and who hangs on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Where.
    pub lever: Lever,
    /// Members of the antagonist it acts on.
    pub members: Vec<TaskId>,
    /// The context a cap would go on, if there is one.
    pub cap: Option<ContextId>,
}

// === impl Lever ===

impl Lever {
    /// Whether it only says that there is none.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None { .. })
    }
}

impl fmt::Display for Lever {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own { name } => write!(f, "weight of our context {name}"),
            Self::Place { name } => {
                write!(
                    f,
                    "members compete with the protected task by task: put into our context {name} once, whose weight is turned in place"
                )
            }
            Self::Adopt { context } => {
                write!(f, "weight of {}, the best-effort side of the common ancestor", context.path)
            }
            Self::Raise { context, because } => write!(
                f,
                "weight of {} raised, the protected side of the common ancestor, because of the other side {because}",
                context.path
            ),
            Self::Quota { context, because } => {
                write!(f, "quota on {}, since no weight acts: {because}", context.path)
            }
            Self::Tasks => write!(f, "scheduling class or priority of each process"),
            Self::Sessions { session } => {
                write!(f, "nice value of the autogroup of session {session}")
            }
            Self::None { because } => write!(f, "no lever, because {because}"),
        }
    }
}

/// What our contexts are called.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The one of the workload in question.
    pub own: &'a str,
    /// How the names of all of them begin.
    pub prefix: &'a str,
    /// Full paths of those that exist.
    pub places: &'a BTreeSet<String>,
}

/// Finds the levers for the members of one workload against every protected one.
///
/// The answer has each lever
/// once; it is empty if nobody is protected or nobody is there to be held back.
pub fn search(
    scene: &Scene<'_>,
    names: Names<'_>,
    members: &[Member],
    protected: &[Protected],
) -> Vec<Pull> {
    let victims: Vec<(&Member, Option<&str>)> = protected
        .iter()
        .flat_map(|workload| workload.members.iter())
        .map(|victim| (victim, seat(scene, victim)))
        .collect();
    if victims.is_empty() {
        return Vec::new();
    }
    let mut opponents: Vec<Option<&str>> = victims.iter().map(|(_, seat)| *seat).collect();
    opponents.sort_unstable();
    opponents.dedup();
    let mut pulls = Pulls::default();
    for member in members {
        let Some(seat) = seat(scene, member) else {
            pulls.task_by_task(scene, member, &victims, true);
            continue;
        };
        if scene.leaf_only {
            let context = ContextId::new(scene.tree().map_or("", |tree| tree.space()), seat);
            pulls.add(Lever::Adopt { context: context.clone() }, member, Some(context));
            continue;
        }
        if let Some(path) = held_elsewhere(scene, seat, names) {
            let because = format!("another running outrigger instance holds it, in {path}");
            pulls.add(Lever::None { because }, member, None);
            continue;
        }
        let ours = || (names.own.to_owned(), Some(ContextId::ours(names.own)));
        let can_place = scene.abilities.place && scene.abilities.weight;
        if last(seat) == names.own && names.places.contains(seat) {
            let (name, cap) = ours();
            pulls.add(Lever::Own { name }, member, cap);
            continue;
        }
        // Born inside another context of ours, such as a compaction of what `run` launched.
        let launched =
            last(seat).starts_with(names.prefix) && names.places.contains(seat) && can_place;
        if seat == "/" || launched {
            if launched || (can_place && competes(scene, seat)) {
                let (name, cap) = ours();
                pulls.add(Lever::Place { name }, member, cap);
            } else {
                pulls.task_by_task(scene, member, &victims, true);
            }
            continue;
        }
        for opponent in opponents.iter().flatten() {
            if *opponent == seat {
                pulls.task_by_task(scene, member, &victims, false);
            } else {
                pulls.between(scene, member, seat, opponent);
            }
        }
        if opponents.iter().all(Option::is_none) {
            let because = "the place of the protected processes is unreadable".to_owned();
            pulls.add(Lever::None { because }, member, None);
        }
    }
    pulls.finish()
}

/// Where a process sits in the space of the tree.
fn seat<'a>(scene: &Scene<'a>, member: &'a Member) -> Option<&'a str> {
    let tree = scene.tree()?;
    tree.seat(member.task.pid).or_else(|| {
        let known = member.contexts.iter().find(|context| context.space == tree.space());
        known.map(|context| context.path.as_str())
    })
}

/// The context of another living sidecar a member sits in. Whoever was first has it.
fn held_elsewhere<'a>(scene: &Scene<'_>, seat: &'a str, names: Names<'_>) -> Option<&'a str> {
    let managed = |path: &str| scene.tree()?.node(path).map(|node| node.managed);
    lineage(seat).find(|path| {
        let name = last(path);
        name.starts_with("outrigger-")
            && !name.starts_with(names.prefix)
            && managed(path) == Some(true)
    })
}

fn competes(scene: &Scene<'_>, path: &str) -> bool {
    scene.tree().and_then(|tree| tree.node(path)).is_some_and(|node| node.tasks_compete)
}

/// The topmost subtree on the way from `below` down to `seat` that may be held back as a whole.
fn topmost_holdable<'a>(scene: &Scene<'_>, below: &str, seat: &'a str) -> Option<&'a str> {
    lineage(seat)
        .filter(|path| *path != "/" && *path != below && super::tree::contains(below, path))
        .find(|path| scene.may_hold(path).is_ok())
}

/// Levers found so far, each once.
#[derive(Default)]
struct Pulls(BTreeMap<Lever, Pull>);

impl Pulls {
    fn add(&mut self, lever: Lever, member: &Member, cap: Option<ContextId>) {
        let pull =
            self.0.entry(lever.clone()).or_insert_with(|| Pull { lever, members: Vec::new(), cap });
        if !pull.members.contains(&member.task) {
            pull.members.push(member.task);
        }
    }

    /// Antagonist at `seat` against a protected process at `opponent`, two different contexts.
    fn between(&mut self, scene: &Scene<'_>, member: &Member, seat: &str, opponent: &str) {
        let space = scene.tree().map_or("", |tree| tree.space());
        let context = |path: &str| ContextId::new(space, path);
        let ancestor = common_ancestor(seat, opponent);
        let quota = || topmost_holdable(scene, ancestor, seat).filter(|_| scene.abilities.quota);
        let obstacle = match child_towards(ancestor, seat) {
            Some(side) if !scene.abilities.weight => {
                format!("no backend can turn the weight of {side}")
            }
            Some(side) => match scene.may_hold(side) {
                Ok(()) => {
                    let context = context(side);
                    let lever = Lever::Adopt { context: context.clone() };
                    return self.add(lever, member, Some(context));
                }
                Err(why) => format!("{side} cannot be held back: {why}"),
            },
            None => format!("it sits directly in {ancestor}, above the protected"),
        };
        let raised = child_towards(ancestor, opponent)
            .filter(|_| scene.abilities.weight)
            .map(|side| (side, scene.may_raise(side)));
        let obstacle = match raised {
            Some((side, Ok(()))) => {
                let lever = Lever::Raise { context: context(side), because: obstacle };
                return self.add(lever, member, quota().map(context));
            }
            Some((side, Err(why))) => format!("{obstacle}; {side} cannot be raised: {why}"),
            None => obstacle,
        };
        match quota() {
            Some(path) => {
                let lever = Lever::Quota { context: context(path), because: obstacle };
                self.add(lever, member, Some(context(path)));
            }
            None => self.add(Lever::None { because: obstacle }, member, None),
        }
    }

    /// Member and protected compete as tasks. `in_root`: autogroups are between them there.
    fn task_by_task(
        &mut self,
        scene: &Scene<'_>,
        member: &Member,
        victims: &[(&Member, Option<&str>)],
        in_root: bool,
    ) {
        let together = victims.iter().any(|(victim, _)| victim.session == member.session);
        let lever = match (in_root && scene.abilities.sessions_apart && !together, scene.abilities)
        {
            (false, abilities) if abilities.tasks => Lever::Tasks,
            (false, _) => none("no backend can turn priorities of processes"),
            (true, abilities) if !abilities.autogroup => none(
                "it runs in another session than the protected and no backend can turn the nice value of autogroups",
            ),
            (true, _) => match scene.session_obstacle(member.session) {
                None => Lever::Sessions { session: member.session },
                Some(why) => none(&format!(
                    "the autogroup of session {} cannot be held back: {why}",
                    member.session
                )),
            },
        };
        self.add(lever, member, None);
    }

    /// A lever that acts makes "none" for the same member irrelevant only if it acts against
    /// every opponent; so both stay, the acting ones first.
    fn finish(self) -> Vec<Pull> {
        let (acting, none): (Vec<_>, Vec<_>) =
            self.0.into_values().partition(|pull| !pull.lever.is_none());
        acting.into_iter().chain(none).collect()
    }
}

fn none(because: &str) -> Lever {
    Lever::None { because: because.to_owned() }
}

/// Where the protected sit, for whoever wants to look at the pressure there. The root is left
/// out: it holds everybody, so its pressure is nobody's.
pub fn places(scene: &Scene<'_>, protected: &[Protected]) -> Vec<ContextId> {
    let space = scene.tree().map_or("", |tree| tree.space());
    let members = protected.iter().flat_map(|workload| workload.members.iter());
    let seats: BTreeSet<&str> = members.filter_map(|member| seat(scene, member)).collect();
    let inner = seats.into_iter().filter(|path| *path != "/");
    inner.map(|path| ContextId::new(space, path)).collect()
}
