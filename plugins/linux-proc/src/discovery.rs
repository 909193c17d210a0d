//! How processes are found: by events where they work, else by listing `/proc` at each sweep.
//!
//! Even with events `/proc` is listed at the first sweep, after a loss, and once in a while. The
//! result is only a set of numbers to look at; looking is the sensor's.

use crate::config::Finding;
use crate::connector::{Connector, Drained, Event};
use crate::listing::Lister;
use std::fs::File;
use std::io;

/// How often `/proc` is listed although events work, ns: insurance against a kernel that loses
/// one without saying so.
const INSURANCE_NS: u64 = 30_000_000_000;

/// Where events come from, or why they do not.
#[derive(Debug)]
enum Source {
    Events(Connector),
    Scan { reason: String },
}

/// What a search brought.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// What happened, in order. Empty without events.
    pub events: Vec<Event>,
    /// All processes in ascending order, if `/proc` was listed.
    pub listed: Vec<u32>,
    /// Whether the kernel dropped events since the last search.
    pub lost: bool,
}

/// Finds processes.
#[derive(Debug)]
pub(crate) struct Discovery {
    source: Source,
    proc: File,
    lister: Lister,
    listed_at_ns: Option<u64>,
}

impl Discovery {
    /// Tries what is wanted.
    ///
    /// # Errors
    /// `/proc` cannot be opened, or events are insisted on and do not work.
    pub(crate) fn open(wanted: Finding) -> io::Result<Self> {
        let source = match wanted {
            Finding::Scan => Source::Scan { reason: "the configuration asks for scans".into() },
            Finding::Events => Source::Events(Connector::open()?),
            Finding::Auto => match Connector::open() {
                Ok(connector) => Source::Events(connector),
                Err(error) => Source::Scan { reason: format!("no process events: {error}") },
            },
        };
        let proc = File::open("/proc")?;
        Ok(Self { source, proc, lister: Lister::new(), listed_at_ns: None })
    }

    /// Why there are no events, if there are none.
    pub(crate) fn reason_for_scans(&self) -> Option<&str> {
        match &self.source {
            Source::Events(_) => None,
            Source::Scan { reason } => Some(reason),
        }
    }

    /// Finds what is new. Events are drained before `/proc` is listed, so that nothing born
    /// between the two is missed.
    ///
    /// # Errors
    /// `/proc` cannot be listed.
    pub(crate) fn search(&mut self, now_ns: u64, found: &mut Found) -> io::Result<()> {
        found.events.clear();
        found.listed.clear();
        found.lost = false;
        let mut list = true;
        if let Source::Events(connector) = &mut self.source {
            match connector.drain(&mut found.events) {
                Ok(drained) => found.lost = drained == Drained::Lost,
                Err(error) => {
                    self.source =
                        Source::Scan { reason: format!("process events broke off: {error}") };
                    found.lost = true;
                }
            }
            list = found.lost
                || self.listed_at_ns.is_none_or(|at| now_ns.saturating_sub(at) >= INSURANCE_NS);
        }
        if list {
            self.lister.numbers(&mut self.proc, &mut found.listed)?;
            self.listed_at_ns = Some(now_ns);
        }
        Ok(())
    }
}
