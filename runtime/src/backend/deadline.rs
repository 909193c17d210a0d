//! How long each kind of call into a plugin may take: the one table of these numbers.
//!
//! A deadline covers the wait behind earlier calls of the same lane. The calls themselves cost
//! micro- to milliseconds; the rest is room for a machine on which we are the starved ones.

use std::time::Duration;

/// `dlopen` with its constructors, description and creation. Self-tests of a backend (the
/// proc connector's takes up to 100 ms) run here.
pub const CREATE: Duration = Duration::from_secs(5);

/// One probe: may try things out, and happens only at start and on demand.
pub const PROBE: Duration = Duration::from_secs(5);

/// One sweep. A sweep later than a second is worth nothing to a decision made every tick.
pub const OBSERVE: Duration = Duration::from_secs(1);

/// Reading a part of the tree of contexts: as a sweep.
pub const SURVEY: Duration = Duration::from_secs(1);

/// Reading what is there before a change: as a sweep.
pub const PREPARE: Duration = Duration::from_secs(1);

/// One write. Measured: 15 us for a quota, 5 to 16 ms for a move between cgroups; a
/// static-branch switch or a frozen cgroup can take longer, and giving up puts the knob in doubt.
pub const COMMIT: Duration = Duration::from_secs(2);

/// Reading a clock.
pub const TIMER: Duration = Duration::from_secs(1);
