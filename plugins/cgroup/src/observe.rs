//! Counters of contexts: CPU time, pressure, throttling, memory.
//!
//! Files are opened once and read in place at each sweep, into one buffer; what is no longer
//! asked for is closed. A file that is missing is an absent field, never 0 and never an error.
//! What is deliberately absent: the root. It holds everybody, so its readings are nobody's.

use crate::group::Group;
use crate::mounts::Space;
use crate::place::Places;
use crate::prepare::space_named;
use crate::version::Version;
use outrigger_sdk::{ContextFields, ContextId, ContextReading};
use std::collections::HashMap;
use std::fs::File;
use std::marker::PhantomData;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// v2: `usage_usec`, `nr_throttled`, `throttled_usec`. v1 cpu: `nr_throttled`, `throttled_time` (ns).
const STAT: &str = "cpu.stat";
/// `some ... total=` us (Documentation/accounting/psi.rst).
const PRESSURE: &str = "cpu.pressure";

/// `populated 0` or `1`.
const EVENTS: &str = "cgroup.events";
const PROCS: &str = "cgroup.procs";

/// The longest of these files that are read whole has about 400 bytes.
const BUFFER: usize = 4096;

/// A file that is kept open while it can be read.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    file: Option<File>,
}

impl Source {
    fn new(path: PathBuf) -> Self {
        Self { file: File::open(&path).ok(), path }
    }

    /// The text now. A cgroup that was removed and made again is opened again.
    fn text<'b>(&mut self, buffer: &'b mut [u8]) -> Option<&'b str> {
        let read = |file: &Option<File>, buffer: &mut [u8]| file.as_ref()?.read_at(buffer, 0).ok();
        let length = match read(&self.file, buffer) {
            Some(length) => length,
            None => {
                self.file = File::open(&self.path).ok();
                read(&self.file, buffer)?
            }
        };
        std::str::from_utf8(&buffer[..length]).ok()
    }
}

/// The files of one context.
#[derive(Debug, Default)]
struct Sources {
    usage: Option<Source>,
    unified_stat: Option<Source>,
    pressure: Option<Source>,
    /// Whether anybody is in the cgroup2 group (`populated`).
    events: Option<Source>,
    /// Who is in the CPU group.
    procs: Option<Source>,
    /// Its own `cpu.stat` first, then those of every group above it but the root.
    throttled: Vec<Source>,
    memory: Option<Source>,
    /// Sweep at which it was last asked for.
    seen: u64,
}

impl Sources {
    fn open<V: Version>(id: &ContextId, places: &Places) -> Option<Self> {
        let paths = Paths::of::<V>(id, places)?;
        let file = |space, name: &str| {
            let group = paths.group(space)?;
            Some(Source::new(group.dir.join(name)))
        };
        let mut throttled = Vec::new();
        let mut group = paths.group(V::CPU);
        while let Some(next) = group {
            throttled.push(Source::new(next.dir.join(STAT)));
            group = next.parent().filter(|parent| !parent.is_root());
        }
        Some(Self {
            usage: V::USAGE.and_then(|(space, name)| file(space, name)),
            unified_stat: file(Space::Unified, STAT),
            pressure: file(Space::Unified, PRESSURE),
            events: file(Space::Unified, EVENTS),
            procs: (V::CPU != Space::Unified).then(|| file(V::CPU, PROCS)).flatten(),
            throttled,
            memory: file(V::MEMORY.0, V::MEMORY.1),
            seen: 0,
        })
    }

    fn read(&mut self, id: &ContextId, buffer: &mut [u8]) -> ContextReading {
        let mut reading = ContextReading {
            context: id.clone(),
            present: ContextFields(0),
            cpu_ns: 0,
            pressure_us: 0,
            throttled: 0,
            throttled_ns: 0,
            memory_bytes: 0,
        };
        let misled = self.unified_is_elsewhere(buffer);
        let mut have = |field: ContextFields| reading.present = reading.present.with(field);
        let usage = number_of(&mut self.usage, buffer, |text| text.trim().parse().ok());
        let usage = usage.or_else(|| {
            if misled {
                return None;
            }
            let microseconds = |text: &str| key(text, "usage_usec");
            number_of(&mut self.unified_stat, buffer, microseconds).map(|us| us * 1000)
        });
        if let Some(ns) = usage {
            have(ContextFields::CPU);
            reading.cpu_ns = ns;
        }
        if !misled && let Some(us) = number_of(&mut self.pressure, buffer, some_total) {
            have(ContextFields::PRESSURE);
            reading.pressure_us = us;
        }
        if let Some(bytes) = number_of(&mut self.memory, buffer, |text| text.trim().parse().ok()) {
            have(ContextFields::MEMORY);
            reading.memory_bytes = bytes;
        }
        for source in &mut self.throttled {
            let Some(text) = source.text(buffer) else { break };
            // A v2 group without the controller has no quota either; those above it may.
            let Some(periods) = key(text, "nr_throttled") else { continue };
            have(ContextFields::THROTTLED);
            reading.throttled += periods;
            let microseconds = || key(text, "throttled_usec").map(|us| us * 1000);
            reading.throttled_ns += key(text, "throttled_time").or_else(microseconds).unwrap_or(0);
        }
        reading
    }

    /// The tasks of the CPU group are not in the cgroup2 group of the same name: its zeros say
    /// nothing about them.
    fn unified_is_elsewhere(&mut self, buffer: &mut [u8]) -> bool {
        let populated = |text: &str| key(text, "populated");
        let empty = number_of(&mut self.events, buffer, populated) == Some(0);
        let length = |text: &str| Some(text.len() as u64);
        empty && number_of(&mut self.procs, buffer, length).is_some_and(|bytes| bytes > 0)
    }
}

/// Where a context is in each hierarchy that has readings.
struct Paths<'a> {
    id: &'a ContextId,
    places: &'a Places,
    space: Space,
}

impl<'a> Paths<'a> {
    fn of<V: Version>(id: &'a ContextId, places: &'a Places) -> Option<Self> {
        Some(Self { id, places, space: space_named::<V>(&id.space).ok()? })
    }

    /// Its directory in a hierarchy. A context of ours has the same name everywhere. One of a
    /// named space is followed into the others by its path: where managers make a group in
    /// several hierarchies it is the same one. Memory is read only where it was asked for.
    fn group(&self, space: Space) -> Option<Group> {
        let place = self.places.get(space)?;
        let path = match self.id.space.as_str() {
            "" => place.path(&self.id.path),
            _ if space == Space::Memory && self.space != Space::Memory => return None,
            _ => self.id.path.to_string(),
        };
        Group::at(&place.hierarchy, &path).ok().filter(|group| !group.is_root())
    }
}

/// Reads contexts, keeping their files open from sweep to sweep.
#[derive(Debug)]
pub struct Reader<V> {
    version: PhantomData<V>,
    open: HashMap<ContextId, Sources>,
    buffer: Vec<u8>,
    sweep: u64,
}

impl<V> Default for Reader<V> {
    fn default() -> Self {
        Self { version: PhantomData, open: HashMap::new(), buffer: vec![0; BUFFER], sweep: 0 }
    }
}

impl<V: Version> Reader<V> {
    /// Reads the contexts asked for; one of which nothing can be read is left out.
    pub fn read<'a>(
        &mut self,
        wanted: impl Iterator<Item = &'a ContextId>,
        places: &Places,
        mut into: impl FnMut(ContextReading),
    ) {
        self.sweep += 1;
        for id in wanted {
            let sources = match self.open.get_mut(id) {
                Some(known) => known,
                None => match Sources::open::<V>(id, places) {
                    Some(sources) => self.open.entry(id.clone()).or_insert(sources),
                    None => continue,
                },
            };
            sources.seen = self.sweep;
            let reading = sources.read(id, &mut self.buffer);
            if reading.present != ContextFields(0) {
                into(reading);
            }
        }
        let sweep = self.sweep;
        self.open.retain(|_, sources| sources.seen == sweep);
    }
}

fn number_of(
    source: &mut Option<Source>,
    buffer: &mut [u8],
    parse: impl Fn(&str) -> Option<u64>,
) -> Option<u64> {
    parse(source.as_mut()?.text(buffer)?)
}

/// The number after a key at the start of a line.
fn key(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Total of the `some` line of a pressure file, us.
fn some_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    line.split(' ').find_map(|part| part.strip_prefix("total=")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_the_total_of_the_some_line() {
        let text = "some avg10=1.00 avg60=0.50 avg300=0.10 total=12345\n\
                    full avg10=0.00 avg60=0.00 avg300=0.00 total=99\n";
        assert_eq!(some_total(text), Some(12345));
        assert_eq!(some_total(""), None);
    }

    #[test]
    fn keys_are_whole_words() {
        let text = "nr_periods 10\nnr_throttled 3\nthrottled_time 4500\n";
        assert_eq!(key(text, "nr_throttled"), Some(3));
        assert_eq!(key(text, "throttled"), None);
        assert_eq!(key(text, "usage_usec"), None);
    }
}
