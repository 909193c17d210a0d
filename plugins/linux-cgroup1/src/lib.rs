//! Backend for cgroup v1 and hybrid hosts.
//!
//! It exists because on many machines the CPU, memory and I/O controllers are on v1 while a
//! cgroup2 tree without controllers is mounted beside them, which has what v1 lacks: pressure,
//! freeze and kill. One context of ours is a directory of the same name in each hierarchy that
//! is needed.
//!
//! What it deliberately does not do: see [`outrigger_cgroup`], which does most of the work.
#![cfg(target_os = "linux")]

mod blkio;
mod cpuset;
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

/// CPU, memory, task, CPU-set and block-device limits through cgroup v1; pressure, freeze and
/// kill through the cgroup2 tree beside it.
pub type Cgroup1 = Cgroups<V1>;

/// Each controller in a hierarchy of its own.
#[derive(Debug)]
pub struct V1;

outrigger_sdk::export_backend!(Cgroup1, c"linux-cgroup1");

impl Version for V1 {
    const NAME: &'static str = "linux-cgroup1";
    const SUMMARY: &'static str = "cgroup v1 controllers, with pressure, freeze and kill through \
                                   the cgroup2 tree of a hybrid host";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    /// Above the fallback; a backend that asks the owner of a unit may say more.
    const PREFERENCE: i32 = 40;
    const GROUP: &'static str = "v1 cgroup";
    const CPU: Space = Space::Cpu;
    const SPACES: &'static [Space] =
        &[Space::Cpu, Space::Unified, Space::Cpuset, Space::Memory, Space::Pids, Space::Blkio];
    const ALWAYS: &'static [Space] = &[Space::Cpu, Space::Unified];
    const WEIGHT: Scale = Scale::SHARES;
    const USAGE: Option<(Space, &'static str)> = Some((Space::Cpuacct, "cpuacct.usage"));
    const MEMORY: (Space, &'static str) = (Space::Memory, memory::USAGE);

    fn at_best() -> Vec<CapabilityReport> {
        probe::at_best()
    }

    fn probe(places: &Places) -> Vec<CapabilityReport> {
        probe::probe(places)
    }

    fn space_of(knob: Capability) -> Option<Space> {
        space_of(knob)
    }

    fn why_no_knob(knob: Capability) -> &'static str {
        match knob {
            Capability::MEMORY_HIGH | Capability::MEMORY_LOW => {
                "cgroup v1 has neither memory.high nor memory.low; memory.limit is there"
            }
            _ => "it is no knob of a v1 cgroup",
        }
    }

    /// A v1 hierarchy has its controller everywhere.
    fn enable(_: Asked<'_>, _: &Groups, _: bool, _: &mut Draft) -> Vec<Capability> {
        Vec::new()
    }

    fn turn(asked: Asked<'_>, groups: &Groups, draft: &mut Draft) {
        if let (Some(setting), Some(group)) =
            (asked.last(Capability::CPUSET), groups.get(Space::Cpuset))
        {
            draft.attempt(setting.knob, |draft| cpuset::prepare(group, &setting.text, draft));
        }
        if let Some(group) = groups.get(Space::Cpu) {
            share::prepare::<Self>(asked, group, draft);
            quota::prepare(asked, group, draft);
        }
        if let (Some(bytes), Some(group)) =
            (asked.value(Capability::MEMORY_LIMIT), groups.get(Space::Memory))
        {
            draft.attempt(Capability::MEMORY_LIMIT, |draft| memory::prepare(group, bytes, draft));
        }
        if let Some(group) = groups.get(Space::Blkio) {
            blkio::prepare(asked, group, draft);
        }
    }

    fn limit(group: &Group) -> Option<i64> {
        quota::limit(group)
    }

    fn weighs(_: &Group) -> bool {
        true
    }

    fn tasks_compete(group: &Group, children: usize, tasks: usize) -> bool {
        group.is_root() || (children > 0 && tasks > 0)
    }
}

fn space_of(knob: Capability) -> Option<Space> {
    Some(match knob {
        Capability::CPU_WEIGHT
        | Capability::CPU_IDLE
        | Capability::CPU_LIMIT
        | Capability::CPU_BURST => Space::Cpu,
        Capability::MEMORY_LIMIT => Space::Memory,
        Capability::PIDS_LIMIT => Space::Pids,
        Capability::CPUSET => Space::Cpuset,
        Capability::IO_READ_LIMIT | Capability::IO_WRITE_LIMIT => Space::Blkio,
        Capability::FREEZE | Capability::KILL => Space::Unified,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use outrigger_sdk::{Backend, ErrorCode, Host};

    #[test]
    fn configuration_is_checked() {
        assert!(Cgroup1::create(Host::silent(), "").is_ok());
        assert!(Cgroup1::create(Host::silent(), r#"{"base":"/a/"}"#).is_ok());
        for bad in [r#"{"base":"a"}"#, r#"{"nonsense":1}"#, "[", r#"{"base":7}"#] {
            let error = Cgroup1::create(Host::silent(), bad).unwrap_err();
            assert_eq!(error.code, ErrorCode::CONFIG, "{bad}");
        }
    }
}
