//! Who sits where: the surveyed tree together with what is known of the processes in it.
//!
//! Pure. A scene answers whether a subtree may be held back as a whole, or raised as a whole;
//! which lever follows from that is [`super::lever`]'s business.

use super::tree::{Tree, contains, lineage};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What a process is to the enforcer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Others are held back for it.
    Protected,
    /// May be held back.
    BestEffort,
    /// Born after the sweep or already gone again: counts neither way. A fork of a member is
    /// one for the time until the next sweep knows it.
    Passing,
    /// The policy does not name it: it must not be touched.
    Unknown,
}

/// The role of every process that has one.
#[derive(Clone, Debug, Default)]
pub struct Roles(HashMap<u32, Role>);

/// What the levers can be made of on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Weights of contexts can be turned.
    pub weight: bool,
    /// Contexts can be made and tasks put into them.
    pub place: bool,
    /// Quotas of contexts can be set.
    pub quota: bool,
    /// Scheduling class or priority of a process can be turned.
    pub tasks: bool,
    /// Autogroups are on and their nice value can be turned.
    pub autogroup: bool,
    /// Autogroups are on: nice and class act only within one session in the root context.
    pub sessions_apart: bool,
    /// Managed contexts can be turned through their manager.
    pub managed: bool,
}

/// How many processes of each kind a subtree holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Protected ones.
    pub protected: usize,
    /// Best-effort ones.
    pub best_effort: usize,
    /// Ones the policy does not name.
    pub unknown: usize,
}

/// The whole scene at one sweep.
#[derive(Debug)]
pub struct Scene<'a> {
    tree: Option<&'a Tree>,
    roles: &'a Roles,
    tallies: BTreeMap<&'a str, Tally>,
    /// Processes by session, as far as known.
    pub sessions: &'a BTreeMap<u32, Vec<u32>>,
    /// What this host can do.
    pub abilities: Abilities,
    /// Paths in use as levers, in which an unknown process is not yet a reason to let go.
    pub tolerated: &'a BTreeSet<String>,
    /// Test mutation: every lever is the antagonist's own leaf, as a naive enforcer would have it.
    pub leaf_only: bool,
}

// === impl Roles ===

impl Roles {
    /// Gives a process its role. A protected one stays protected.
    pub fn set(&mut self, pid: u32, role: Role) {
        let entry = self.0.entry(pid).or_insert(role);
        if *entry != Role::Protected {
            *entry = role;
        }
    }

    /// The role of a process; unknown if it was given none.
    pub fn of(&self, pid: u32) -> Role {
        self.0.get(&pid).copied().unwrap_or(Role::Unknown)
    }
}

// === impl Tally ===

impl Tally {
    fn count(&mut self, role: Role) {
        match role {
            Role::Protected => self.protected += 1,
            Role::BestEffort => self.best_effort += 1,
            Role::Unknown => self.unknown += 1,
            Role::Passing => {}
        }
    }

    /// Why this subtree cannot be held back as a whole.
    pub fn obstacle(self) -> Option<String> {
        match self {
            Self { protected: 0, unknown: 0, .. } => None,
            Self { protected: 0, unknown, .. } => {
                Some(format!("it also holds {unknown} processes the policy does not name"))
            }
            Self { protected, .. } => {
                Some(format!("it also holds {protected} protected processes"))
            }
        }
    }
}

// === impl Scene ===

impl<'a> Scene<'a> {
    /// A scene; `tree` is absent where no backend has contexts.
    pub fn new(
        tree: Option<&'a Tree>,
        roles: &'a Roles,
        sessions: &'a BTreeMap<u32, Vec<u32>>,
        tolerated: &'a BTreeSet<String>,
        abilities: Abilities,
    ) -> Self {
        let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
        for (path, node) in tree.into_iter().flat_map(Tree::nodes) {
            for pid in &node.pids {
                for step in lineage(path) {
                    tallies.entry(step).or_default().count(roles.of(*pid));
                }
            }
        }
        Self { tree, roles, tallies, sessions, abilities, tolerated, leaf_only: false }
    }

    /// The tree, if there is one.
    pub fn tree(&self) -> Option<&'a Tree> {
        self.tree
    }

    /// The role of a process.
    pub fn role(&self, pid: u32) -> Role {
        self.roles.of(pid)
    }

    /// What a subtree holds.
    pub fn tally(&self, path: &str) -> Tally {
        self.tallies.get(path).copied().unwrap_or_default()
    }

    /// Whether everything in the subtree may be held back; else why not.
    ///
    /// # Errors
    /// One clause that follows "because".
    pub fn may_hold(&self, path: &str) -> Result<(), String> {
        let mut tally = self.tally(path);
        if self.tolerated.contains(path) {
            tally.unknown = 0;
        }
        self.reachable(path)?;
        tally.obstacle().map_or(Ok(()), Err)
    }

    /// Whether everything in the subtree is protected and may be raised; else why not.
    ///
    /// # Errors
    /// One clause that follows "because".
    pub fn may_raise(&self, path: &str) -> Result<(), String> {
        self.reachable(path)?;
        let Tally { protected, best_effort, mut unknown } = self.tally(path);
        if self.tolerated.contains(path) {
            unknown = 0;
        }
        match (protected, best_effort + unknown) {
            (0, _) => Err("it holds no protected process".to_owned()),
            (_, 0) => Ok(()),
            (_, others) => Err(format!("it also holds {others} processes that are not protected")),
        }
    }

    fn reachable(&self, path: &str) -> Result<(), String> {
        let Some(tree) = self.tree else { return Err("there is no tree of contexts".to_owned()) };
        if !tree.complete(path) {
            return Err("not everything below it could be surveyed".to_owned());
        }
        if tree.managed(path) && !self.abilities.managed {
            return Err(
                "it is managed by systemd and the linux-systemd backend is not loaded".to_owned()
            );
        }
        Ok(())
    }

    /// Why the autogroup of a session cannot be turned for the sake of what runs in it.
    pub fn session_obstacle(&self, session: u32) -> Option<String> {
        let Some(pids) = self.sessions.get(&session) else {
            return Some("who else is in it is not known".to_owned());
        };
        let mut tally = Tally::default();
        pids.iter().for_each(|pid| tally.count(self.role(*pid)));
        tally.obstacle()
    }

    /// Whether a protected process is directly in the context, or anywhere below it.
    pub fn protects(&self, path: &str) -> bool {
        self.tallies.iter().any(|(other, tally)| contains(path, other) && tally.protected > 0)
    }
}
