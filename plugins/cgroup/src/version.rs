//! What one version of cgroups does its own way.

use crate::draft::Draft;
use crate::group::Group;
pub use crate::knobs::Groups;
use crate::mounts::Space;
use crate::place::Places;
use crate::share::Scale;
use outrigger_sdk::{Capability, CapabilityReport, Setting};

/// Of several settings for one knob the last one counts.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a>(pub &'a [Setting]);

impl<'a> Asked<'a> {
    /// The setting of a knob.
    pub fn last(self, knob: Capability) -> Option<&'a Setting> {
        self.0.iter().rev().find(|setting| setting.knob == knob)
    }

    /// The number a knob is set to.
    pub fn value(self, knob: Capability) -> Option<i64> {
        self.last(knob).map(|setting| setting.value)
    }
}

/// cgroup v1, or v2.
pub trait Version: std::fmt::Debug + Send + 'static {
    /// Name of the backend.
    const NAME: &'static str;
    /// One line about it.
    const SUMMARY: &'static str;
    /// Its version.
    const VERSION: &'static str;
    /// As in [`outrigger_sdk::Description::preference`].
    const PREFERENCE: i32;
    /// What one of its groups is called in messages.
    const GROUP: &'static str;
    /// The space in which CPU weights act, which is also what the empty name means.
    const CPU: Space;
    /// The spaces a context may span, in the order it is made.
    const SPACES: &'static [Space];
    /// Of these, the ones every context spans.
    const ALWAYS: &'static [Space];
    /// How a CPU weight is written.
    const WEIGHT: Scale;
    /// Where CPU time used is read first, if anywhere but in `cpu.stat` of the v2 group.
    const USAGE: Option<(Space, &'static str)>;
    /// Where memory used is read.
    const MEMORY: (Space, &'static str);

    /// Everything the backend may be able to do, at its best.
    fn at_best() -> Vec<CapabilityReport>;

    /// One report for each capability of [`Version::at_best`].
    fn probe(places: &Places) -> Vec<CapabilityReport>;

    /// The hierarchy a knob acts in; `None` if it is no knob of a context.
    fn space_of(knob: Capability) -> Option<Space>;

    /// Why a knob without a space is none.
    fn why_no_knob(knob: Capability) -> &'static str;

    /// Prepares the controllers that settings need, and answers the knobs that it had to refuse.
    /// `ours`: the groups are a context of ours.
    fn enable(asked: Asked<'_>, groups: &Groups, ours: bool, draft: &mut Draft) -> Vec<Capability>;

    /// Prepares the knobs of resources, in the order that makes them possible.
    fn turn(asked: Asked<'_>, groups: &Groups, draft: &mut Draft);

    /// CPU limit of a group that exists, millicores; -1 if none.
    fn limit(group: &Group) -> Option<i64>;

    /// Whether the weight of a group that exists acts at all.
    fn weighs(group: &Group) -> bool;

    /// Whether tasks directly in a group compete with its children.
    fn tasks_compete(group: &Group, children: usize, tasks: usize) -> bool;
}
