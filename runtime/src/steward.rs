//! Keeps the sensor and the stages alive, and says when that is no longer possible.
//!
//! actix's own Supervisor does not restart an actor that panicked, so the steward owns the
//! factories: it notices a stage that ended (its mailbox is closed) or hangs (no sign of life for
//! [`HANG`]) and starts another from the factory, in a thread of its own, on the same edge.
//! What the old one knew comes back with the next complete sweep. A finite budget of restarts
//! bounds this; once it is used up the sidecar restores what it changed and exits non-zero.
//!
//! A hung thread cannot be killed; it is cut off (its edge answers only to its successor) and
//! left behind.

use crate::flow::edge::Wake;
use crate::flow::stage::Pulse;
use actix::{ArbiterHandle, Recipient};
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the steward looks.
pub const LOOK: Duration = Duration::from_millis(500);
/// Without a sign of life for so long a stage counts as hung. No core works longer than
/// milliseconds, and plugin calls (which may take seconds) run on lanes, not in stages.
pub const HANG: Duration = Duration::from_secs(5);
/// Restarts allowed within [`BUDGET_WINDOW`]: a fault in the data of one moment passes, a fault
/// in the code does not.
pub const BUDGET: usize = 5;
/// See [`BUDGET`].
pub const BUDGET_WINDOW: Duration = Duration::from_secs(60);

/// Something that runs in a thread of its own.
pub trait Life {
    /// Whether it has not ended.
    fn is_alive(&self) -> bool;
    /// Asks for a sign of life; what gives some unasked need not heed it.
    fn nudge(&self) {}
    /// Ends it. If it does not react, nothing it does later counts.
    fn cut(&mut self);
}

/// A stage that runs.
pub struct Running {
    /// Wakes it.
    pub recipient: Recipient<Wake>,
    /// Its thread.
    pub arbiter: ArbiterHandle,
}

impl Life for Running {
    fn is_alive(&self) -> bool {
        self.recipient.connected()
    }

    fn nudge(&self) {
        // A full mailbox has a wake-up in it already.
        let _ = self.recipient.try_send(Wake);
    }

    fn cut(&mut self) {
        self.arbiter.stop();
    }
}

/// How a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It panicked: it has ended, though nobody stopped it.
    Panicked,
    /// It gave no sign of life.
    Hung,
}

/// What the steward knows of a stage.
#[derive(Clone, Debug, Serialize)]
pub struct StageHealth {
    /// Which.
    pub name: &'static str,
    /// Times it was started anew.
    pub restarts: u32,
    /// How it ended last, if it did.
    pub last_ending: Option<Ending>,
    /// Signs of life so far.
    pub beats: u64,
}

struct Slot {
    name: &'static str,
    start: Box<dyn FnMut() -> Box<dyn Life>>,
    running: Box<dyn Life>,
    pulse: Arc<Pulse>,
    beats: u64,
    since: Instant,
    restarts: u32,
    last_ending: Option<Ending>,
}

/// Restarts within a window.
#[derive(Debug, Default)]
struct Budget(VecDeque<Instant>);

impl Budget {
    /// Takes one; `false` if none is left.
    fn take(&mut self, now: Instant) -> bool {
        while self.0.front().is_some_and(|&at| now.duration_since(at) > BUDGET_WINDOW) {
            self.0.pop_front();
        }
        self.0.push_back(now);
        self.0.len() <= BUDGET
    }
}

/// What the steward publishes, for `status`.
pub type Health = Arc<Mutex<Vec<StageHealth>>>;

/// See the module.
pub struct Steward {
    slots: Vec<Slot>,
    budget: Budget,
    on_restart: Box<dyn FnMut(&'static str, Ending)>,
    health: Health,
}

/// The budget of restarts is used up.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "stage {stage} {}, and {BUDGET} restarts within {} s did not help",
    match ending { Ending::Panicked => "panicked", Ending::Hung => "hangs" },
    BUDGET_WINDOW.as_secs()
)]
pub struct GivingUp {
    /// The stage that ended last.
    pub stage: &'static str,
    /// How.
    pub ending: Ending,
}

impl Steward {
    /// A steward of nothing yet. `on_restart` hears of every restart.
    pub fn new(on_restart: impl FnMut(&'static str, Ending) + 'static) -> Self {
        Self {
            slots: Vec::new(),
            budget: Budget::default(),
            on_restart: Box::new(on_restart),
            health: Health::default(),
        }
    }

    /// Starts a stage and keeps its factory.
    pub fn add<L: Life + 'static>(
        &mut self,
        name: &'static str,
        pulse: Arc<Pulse>,
        mut start: impl FnMut() -> L + 'static,
    ) {
        let mut start = move || -> Box<dyn Life> { Box::new(start()) };
        let running = start();
        self.slots.push(Slot {
            name,
            start: Box::new(start),
            running,
            beats: pulse.count(),
            pulse,
            since: Instant::now(),
            restarts: 0,
            last_ending: None,
        });
        self.publish();
    }

    /// Where the state of the stages can be read at any time.
    pub fn health(&self) -> Health {
        Arc::clone(&self.health)
    }

    /// Looks at every stage once, at `now`.
    ///
    /// # Errors
    /// The budget of restarts is used up.
    pub fn look(&mut self, now: Instant) -> Result<(), GivingUp> {
        for slot in &mut self.slots {
            let beats = slot.pulse.count();
            let ending = if !slot.running.is_alive() {
                Ending::Panicked
            } else if beats != slot.beats {
                (slot.beats, slot.since) = (beats, now);
                slot.running.nudge();
                continue;
            } else if now.duration_since(slot.since) >= HANG {
                Ending::Hung
            } else {
                slot.running.nudge();
                continue;
            };
            slot.last_ending = Some(ending);
            if !self.budget.take(now) {
                return Err(GivingUp { stage: slot.name, ending });
            }
            slot.running.cut();
            slot.running = (slot.start)();
            slot.restarts += 1;
            (slot.beats, slot.since) = (slot.pulse.count(), now);
            (self.on_restart)(slot.name, ending);
        }
        self.publish();
        Ok(())
    }

    /// Looks until the budget is used up.
    pub async fn watch(&mut self) -> GivingUp {
        let mut interval = tokio::time::interval(LOOK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            if let Err(giving_up) = self.look(Instant::now()) {
                return giving_up;
            }
        }
    }

    /// Ends one for good, so that it is not started anew, and waits for it as long as `patience`.
    pub async fn end(&mut self, name: &'static str, patience: Duration) {
        let Some(at) = self.slots.iter().position(|slot| slot.name == name) else { return };
        let mut slot = self.slots.remove(at);
        slot.running.cut();
        let ended = async {
            while slot.running.is_alive() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(patience, ended).await.is_err() {
            tracing::warn!(stage = name, "it does not end and is left behind");
        }
    }

    /// Stops the threads of all stages, in the order they were added.
    pub fn stop(&mut self) {
        for slot in &mut self.slots {
            slot.running.cut();
        }
    }

    fn publish(&self) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        *health = self
            .slots
            .iter()
            .map(|slot| StageHealth {
                name: slot.name,
                restarts: slot.restarts,
                last_ending: slot.last_ending,
                beats: slot.pulse.count(),
            })
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::edge::{Coalesce, Edge};
    use crate::flow::stage::{Core, Stage};
    use actix::{Actor, Arbiter};
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::sync::mpsc;

    enum Order {
        Say(u32),
        Panic,
        Hang(Arc<Mutex<()>>),
    }
    impl Coalesce for Order {
        fn coalesce(&mut self, newer: Self) {
            *self = newer;
        }
    }
    struct Obedient;
    impl Core for Obedient {
        type In = Order;
        type Out = u32;
        fn step(&mut self, order: Order) -> u32 {
            match order {
                Order::Say(n) => n,
                Order::Panic => panic!("as ordered"),
                Order::Hang(until) => {
                    drop(until.lock());
                    0
                }
            }
        }
    }

    struct Bench {
        edge: Arc<Edge<Order>>,
        said: mpsc::Receiver<u32>,
        steward: Steward,
        restarts: Rc<RefCell<Vec<Ending>>>,
    }

    fn bench() -> Bench {
        let edge = Arc::new(Edge::new("orders", 4));
        let pulse = Arc::new(Pulse::default());
        let (tell, said) = mpsc::channel();
        let restarts = Rc::new(RefCell::new(Vec::new()));
        let heard = Rc::clone(&restarts);
        let mut steward = Steward::new(move |_, ending| heard.borrow_mut().push(ending));
        let (inbox, beats) = (Arc::clone(&edge), Arc::clone(&pulse));
        steward.add("obedient", pulse, move || {
            let arbiter = Arbiter::new();
            let (inbox, beats, tell) = (Arc::clone(&inbox), Arc::clone(&beats), tell.clone());
            let address = Stage::start_in_arbiter(&arbiter.handle(), move |_| {
                Stage::new(Obedient, inbox, beats, move |n| {
                    let _ = tell.send(n);
                })
            });
            Running { recipient: address.recipient(), arbiter: arbiter.handle() }
        });
        Bench { edge, said, steward, restarts }
    }

    const SOON: Duration = Duration::from_secs(20);

    fn look_until_restarted(bench: &mut Bench, hung_for: Duration) {
        let deadline = Instant::now() + SOON;
        let mut now = Instant::now();
        while bench.restarts.borrow().is_empty() {
            assert!(Instant::now() < deadline, "the steward never noticed");
            now += hung_for;
            bench.steward.look(now).expect("the budget is fresh");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_stage_that_panics_is_started_anew_and_works_on() {
        actix::System::new().block_on(async {
            let mut bench = bench();
            bench.edge.send(Order::Panic);
            look_until_restarted(&mut bench, Duration::ZERO);
            bench.edge.send(Order::Say(7));
            assert_eq!(bench.said.recv_timeout(SOON), Ok(7));
            assert_eq!(*bench.restarts.borrow(), [Ending::Panicked]);
        });
    }

    #[test]
    fn a_stage_that_hangs_is_cut_off_and_replaced() {
        actix::System::new().block_on(async {
            let mut bench = bench();
            let gate = Arc::new(Mutex::new(()));
            let closed = gate.lock().expect("a fresh lock");
            bench.edge.send(Order::Hang(Arc::clone(&gate)));
            while bench.edge.stats().processed == 0 {
                std::thread::yield_now();
            }
            look_until_restarted(&mut bench, HANG);
            bench.edge.send(Order::Say(8));
            assert_eq!(bench.said.recv_timeout(SOON), Ok(8));
            assert_eq!(*bench.restarts.borrow(), [Ending::Hung]);
            drop(closed);
        });
    }

    /// Gives no sign of life, and says when it is cut off.
    struct Mute(mpsc::Sender<()>);
    impl Life for Mute {
        fn is_alive(&self) -> bool {
            true
        }
        fn cut(&mut self) {
            let _ = self.0.send(());
        }
    }

    #[test]
    fn what_gives_no_sign_of_life_is_cut_off_and_what_was_ended_is_not_started_anew() {
        actix::System::new().block_on(async {
            let (tell, cut) = mpsc::channel();
            let starts = Rc::new(RefCell::new(0));
            let counted = Rc::clone(&starts);
            let mut steward = Steward::new(|_, _| {});
            steward.add("mute", Arc::default(), move || {
                *counted.borrow_mut() += 1;
                Mute(tell.clone())
            });
            let now = Instant::now();
            steward.look(now + HANG + LOOK).expect("the budget is fresh");
            assert_eq!((*starts.borrow(), cut.try_iter().count()), (2, 1));

            steward.end("mute", Duration::from_millis(1)).await;
            steward.look(now + HANG * 9).expect("there is nothing to look at");
            assert_eq!((*starts.borrow(), cut.try_iter().count()), (2, 1));
        });
    }

    #[test]
    fn the_budget_is_finite_and_refills() {
        let mut budget = Budget::default();
        let start = Instant::now();
        assert!((0..BUDGET).all(|_| budget.take(start)));
        assert!(!budget.take(start));
        assert!(budget.take(start + BUDGET_WINDOW + Duration::from_secs(1)));
    }
}
