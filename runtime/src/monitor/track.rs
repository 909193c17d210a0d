//! What is remembered of one process or context between two sweeps.

use crate::flow::message::{ContextSignals, TaskSignals};
use outrigger_sdk::{ContextFields, ContextReading, Fields, TaskReading};

/// The sweeps a rate is taken over, ns of the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// The last sweep in which "absent" meant "unchanged"; `None` before the first.
    pub(super) before: Option<u64>,
    /// This sweep.
    pub(super) now: u64,
}

/// A counter as last known, and when.
#[derive(Clone, Copy, Debug)]
struct Counter {
    value: u64,
    at: u64,
}

/// A counter went backwards: it is another one now.
#[derive(Debug)]
struct Reset;

impl Counter {
    /// Growth per ns since `self`, which is known to have stood still until `idle_until`.
    fn rate(before: Option<Self>, idle_until: u64, now: Self) -> Result<Option<f64>, Reset> {
        let Some(before) = before else { return Ok(None) };
        let grown = now.value.checked_sub(before.value).ok_or(Reset)?;
        let interval = now.at.saturating_sub(before.at.max(idle_until));
        Ok((interval > 0).then(|| grown as f64 / interval as f64))
    }
}

/// A process.
#[derive(Debug)]
pub(super) struct TaskTrack {
    pub(super) start: u64,
    read_at: u64,
    cpu: Option<Counter>,
    delay: Option<Counter>,
}

impl TaskTrack {
    pub(super) const fn new(start: u64) -> Self {
        Self { start, read_at: 0, cpu: None, delay: None }
    }

    /// A process born since `at`: it had used nothing by then.
    pub(super) const fn born(start: u64, at: u64) -> Self {
        Self { start, read_at: at, cpu: Some(Counter { value: 0, at }), delay: None }
    }

    /// The next reading compares with nothing before it.
    pub(super) const fn restart(&mut self) {
        (self.cpu, self.delay) = (None, None);
    }

    /// Takes a reading in and says what happened since the one before. A counter that went
    /// backwards starts the whole process anew.
    pub(super) fn advance(&mut self, reading: &TaskReading, span: Span) -> TaskSignals {
        let at = span.now;
        let present = |field, value| reading.present.has(field).then_some(Counter { value, at });
        let cpu = present(Fields::CPU, reading.cpu_ns);
        let delay = present(Fields::DELAY, reading.run_delay_ns);
        // Absent from the sweeps between means that nothing moved until the last of them.
        let idle_until = span.before.filter(|&before| before > self.read_at);
        let rate = |before: Option<Counter>, now: Option<Counter>| match now {
            // A field that was left out of the last reading moved at an unknown time since.
            Some(now) => {
                let still = before.filter(|b| b.at == self.read_at).and(idle_until).unwrap_or(0);
                Counter::rate(before, still, now)
            }
            None => Ok(None),
        };
        let rates = rate(self.cpu, cpu).and_then(|c| Ok((c, rate(self.delay, delay)?)));
        let (millicores, wait) = match rates {
            Ok((cpu, wait)) => (cpu.map(|rate| rate * 1000.0), wait),
            Err(Reset) => {
                self.restart();
                (None, None)
            }
        };
        self.cpu = cpu.or(self.cpu);
        self.delay = delay.or(self.delay);
        self.read_at = at;
        let looked = reading.present.has(Fields::DELAY);
        TaskSignals {
            task: reading.task,
            millicores,
            wait,
            runnable: if looked { reading.runnable } else { 0 },
            starved: if looked { reading.starved } else { 0 },
            rss_bytes: reading.present.has(Fields::MEMORY).then_some(reading.rss_bytes),
        }
    }
}

/// A context. Contexts are read because they were asked for, so absence says nothing.
#[derive(Debug)]
pub(super) struct ContextTrack {
    cpu: Option<Counter>,
    pressure: Option<Counter>,
    throttled: u64,
    /// Whether its quota acted in the interval before; at the first reading nobody knows.
    throttled_before: bool,
}

impl ContextTrack {
    /// First sight: no rates, and what its quota did a moment ago can only be excluded if it
    /// never did anything.
    pub(super) fn first(reading: &ContextReading, at: u64) -> (Self, ContextSignals) {
        let throttled = reading.present.has(ContextFields::THROTTLED) && reading.throttled > 0;
        let mut track = Self { cpu: None, pressure: None, throttled: 0, throttled_before: false };
        track.keep(reading, at, throttled);
        (track, signals(reading, None, None, throttled))
    }

    /// Takes a reading in and says what happened since the one before.
    pub(super) fn advance(&mut self, reading: &ContextReading, at: u64) -> ContextSignals {
        let (cpu, pressure) = counters(reading, at);
        let rate = |before: Option<Counter>, now: Option<Counter>| match now {
            Some(now) => Counter::rate(before, 0, now),
            None => Ok(None),
        };
        let rates = rate(self.cpu, cpu).and_then(|c| Ok((c, rate(self.pressure, pressure)?)));
        let counted = reading.present.has(ContextFields::THROTTLED);
        let (Ok((cpu, pressure)), false) = (rates, counted && reading.throttled < self.throttled)
        else {
            // Removed and made again under the same name.
            let (track, signals) = Self::first(reading, at);
            *self = track;
            return signals;
        };
        let rose = counted && reading.throttled > self.throttled;
        let throttled = rose || self.throttled_before;
        self.keep(reading, at, rose);
        // Counted in us per ns.
        let share = pressure.map(|rate| (rate * 1000.0).clamp(0.0, 1.0));
        signals(reading, cpu.map(|rate| rate * 1000.0), share, throttled)
    }

    fn keep(&mut self, reading: &ContextReading, at: u64, rose: bool) {
        let (cpu, pressure) = counters(reading, at);
        self.cpu = cpu.or(self.cpu);
        self.pressure = pressure.or(self.pressure);
        if reading.present.has(ContextFields::THROTTLED) {
            self.throttled = reading.throttled;
        }
        self.throttled_before = rose;
    }
}

fn counters(reading: &ContextReading, at: u64) -> (Option<Counter>, Option<Counter>) {
    let present = |field, value| reading.present.has(field).then_some(Counter { value, at });
    (
        present(ContextFields::CPU, reading.cpu_ns),
        present(ContextFields::PRESSURE, reading.pressure_us),
    )
}

fn signals(
    reading: &ContextReading,
    millicores: Option<f64>,
    pressure: Option<f64>,
    throttled: bool,
) -> ContextSignals {
    ContextSignals {
        context: reading.context.clone(),
        millicores,
        pressure,
        throttled,
        memory_bytes: reading.present.has(ContextFields::MEMORY).then_some(reading.memory_bytes),
    }
}
