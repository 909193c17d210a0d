//! Backend for cgroup v2: every controller in one tree.
//!
//! What v2 has and v1 lacks: pressure, freeze and kill everywhere, a soft memory limit, I/O
//! weights; and a rule of its own, that a group whose children have controllers holds no process.
//!
//! What it deliberately does not do: see [`outrigger_cgroup`], which does most of the work. It is
//! not for a hybrid host, where the CPU controller is on v1.
#![cfg(target_os = "linux")]

mod controllers;
mod cpuset;
mod io;
mod memory;
mod probe;
mod quota;

use outrigger_cgroup::draft::Draft;
use outrigger_cgroup::group::Group;
use outrigger_cgroup::mounts::Space;
use outrigger_cgroup::place::Places;
use outrigger_cgroup::share::{self, Scale};
use outrigger_cgroup::version::{Asked, Groups};
use outrigger_cgroup::{Cgroups, Version};
use outrigger_sdk::{Capability, CapabilityReport};

/// CPU, memory, I/O, task and CPU-set limits, pressure, freeze and kill through cgroup v2.
pub type Cgroup2 = Cgroups<V2>;

/// One tree with every controller.
#[derive(Debug)]
pub struct V2;

outrigger_sdk::export_backend!(Cgroup2, c"linux-cgroup2");

impl Version for V2 {
    const NAME: &'static str = "linux-cgroup2";
    const SUMMARY: &'static str = "cgroup v2: weights, limits, pressure, freeze and kill";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    /// As the backend for v1: never both are usable for the same thing.
    const PREFERENCE: i32 = 40;
    const GROUP: &'static str = "v2 cgroup";
    const CPU: Space = Space::Unified;
    const SPACES: &'static [Space] = &[Space::Unified];
    const ALWAYS: &'static [Space] = &[Space::Unified];
    const WEIGHT: Scale = Scale::WEIGHT;
    const USAGE: Option<(Space, &'static str)> = None;
    const MEMORY: (Space, &'static str) = (Space::Unified, memory::USAGE);

    fn at_best() -> Vec<CapabilityReport> {
        probe::at_best()
    }

    fn probe(places: &Places) -> Vec<CapabilityReport> {
        probe::probe(places)
    }

    fn space_of(knob: Capability) -> Option<Space> {
        let known = controllers::of(knob).is_some()
            || matches!(knob, Capability::FREEZE | Capability::KILL);
        known.then_some(Space::Unified)
    }

    fn why_no_knob(_: Capability) -> &'static str {
        "it is no knob of a v2 cgroup"
    }

    fn enable(asked: Asked<'_>, groups: &Groups, ours: bool, draft: &mut Draft) -> Vec<Capability> {
        let group = groups.get(Space::Unified);
        group.map_or_else(Vec::new, |group| controllers::enable(asked, group, ours, draft))
    }

    fn turn(asked: Asked<'_>, groups: &Groups, draft: &mut Draft) {
        let Some(group) = groups.get(Space::Unified) else { return };
        let of = |controller| controllers::seen(group, controller);
        if let Some(setting) = asked.last(Capability::CPUSET) {
            let group = of("cpuset");
            draft.attempt(setting.knob, |draft| cpuset::prepare(&group, &setting.text, draft));
        }
        share::prepare::<Self>(asked, &of("cpu"), draft);
        quota::prepare(asked, &of("cpu"), draft);
        memory::prepare(asked, &of("memory"), draft);
        io::prepare(asked, &of("io"), draft);
    }

    fn limit(group: &Group) -> Option<i64> {
        quota::limit(group)
    }

    fn weighs(group: &Group) -> bool {
        group.dir.join(Self::WEIGHT.file).exists()
    }

    /// In the root they do; elsewhere only threads can be beside groups.
    fn tasks_compete(group: &Group, children: usize, tasks: usize) -> bool {
        group.is_root() || (children > 0 && tasks > 0)
    }
}
