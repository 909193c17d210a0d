//! Readings of the machine as a whole.

use crate::files;
use crate::reader::Reader;
use outrigger_sdk::undo::knob::cpu_list;
use std::fs::File;

/// Kept files about the host.
#[derive(Debug)]
pub(crate) struct HostFiles {
    pressure: Option<File>,
    stat: Option<File>,
    online: Option<File>,
    /// CPUs without a regular tick.
    pub tickless: Vec<u32>,
}

impl HostFiles {
    pub(crate) fn open() -> Self {
        let tickless = std::fs::read_to_string("/sys/devices/system/cpu/nohz_full")
            .ok()
            // `(null)` if there are none.
            .and_then(|text| cpu_list::parse(&text).ok());
        Self {
            pressure: File::open("/proc/pressure/cpu").ok(),
            stat: File::open("/proc/stat").ok(),
            online: File::open("/sys/devices/system/cpu/online").ok(),
            tickless: tickless.unwrap_or_default(),
        }
    }

    /// Time in which some task waited for a CPU, us; 0 on a kernel without PSI.
    pub(crate) fn pressure_us(&self, reader: &mut Reader) -> u64 {
        let text = self.pressure.as_ref().and_then(|file| reader.kept(file).ok());
        text.and_then(files::pressure_total).unwrap_or(0)
    }

    /// Time all CPUs together have worked since boot, ns; 0 if it cannot be read.
    pub(crate) fn cpu_ns(&self, reader: &mut Reader) -> u64 {
        let text = self.stat.as_ref().and_then(|file| reader.kept(file).ok());
        // SAFETY: takes a number, answers a number.
        let hz = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(0).max(1);
        text.and_then(files::busy_ticks).map_or(0, |ticks| ticks * (1_000_000_000 / hz))
    }

    /// CPUs online, at least 1.
    pub(crate) fn cpus(&self, reader: &mut Reader) -> u32 {
        let listed = self
            .online
            .as_ref()
            .and_then(|file| reader.kept(file).ok())
            .and_then(|text| cpu_list::parse(std::str::from_utf8(text).ok()?).ok())
            .map(|cpus| cpus.len() as u32);
        listed.filter(|&cpus| cpus > 0).unwrap_or_else(|| {
            // SAFETY: takes a number, answers a number.
            u32::try_from(unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }).unwrap_or(1).max(1)
        })
    }
}
