//! Starting and stopping, in order. See the module above for the order and why.

use super::keeper::Keeper;
use super::publish::{self, Views};
use super::{Ended, Order, RESTORE_DEADLINE};
use crate::backend;
use crate::classifier::{Classifier, Guidance};
use crate::enforcer::machine::{Machine, SharedJournal};
use crate::enforcer::{Bench, Enforcer, Settings, Worker};
use crate::flow::demand::Demand;
use crate::flow::edge::Edge;
use crate::flow::message::{Assessments, Decisions, Signals, Sweep};
use crate::flow::stage::{Core, Pulse, Stage};
use crate::monitor::Monitor;
use crate::mutation;
use crate::peers::Lookout;
use crate::policy::Neighbours;
use crate::sensor::{self, Sensor};
use crate::status::Hub;
use crate::steward::{Running, Steward};
use crate::tier::Tier;
use actix::{Actor, Arbiter};
use arc_swap::ArcSwap;
use outrigger_sdk::maker;
use outrigger_undo::{Journal, knob};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;
use tokio::sync::oneshot;

/// Batches that may wait on an edge. Two ticks' worth of freshness; past it, batches merge.
const EDGE: usize = 2;
/// What the steward calls the sensor.
const SENSOR: &str = "sensor";
/// Until the sensor has stopped, and until the edges have drained after that.
const DRAIN: Duration = Duration::from_secs(2);
/// How often the keeper is looked at, and the state of the stages published.
const ROUND: Duration = Duration::from_secs(1);

/// Why a sidecar could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operating system refused something we cannot do without.
    #[error("{0}")]
    System(String),
    /// Something else went wrong.
    #[error("{0}")]
    Failed(String),
    /// The policy does not compile.
    #[error("the policy cannot be used: {0}")]
    Policy(String),
}

/// What the handle needs of a started sidecar.
pub(super) struct Parts {
    pub(super) hub: Arc<Hub>,
    pub(super) bench: Bench,
    pub(super) keeper: Arc<Keeper>,
}

struct Edges {
    sweeps: Arc<Edge<Sweep>>,
    signals: Arc<Edge<Signals>>,
    assessments: Arc<Edge<Arc<Assessments>>>,
    decisions: Arc<Edge<Arc<Decisions>>>,
}

impl Edges {
    fn new() -> Self {
        Self {
            sweeps: Arc::new(Edge::new("sensor-monitor", EDGE)),
            signals: Arc::new(Edge::new("monitor-classifier", EDGE)),
            assessments: Arc::new(Edge::new("classifier-tier", EDGE)),
            decisions: Arc::new(Edge::new("tier-enforcer", EDGE)),
        }
    }

    fn are_empty(&self) -> bool {
        self.sweeps.is_empty()
            && self.signals.is_empty()
            && self.assessments.is_empty()
            && self.decisions.is_empty()
    }
}

/// The thread of the sidecar: starts, tells, runs until asked to stop, restores.
pub(super) fn run(
    order: Order,
    stopped: oneshot::Receiver<()>,
    tell: &mpsc::Sender<Result<Parts, StartError>>,
) -> Ended {
    let system = actix::System::new();
    let ended = system.block_on(async {
        match Assembly::start(order) {
            Ok(assembly) => {
                // Whoever started us waits for this, so it is received.
                let _ = tell.send(Ok(assembly.parts()));
                assembly.run(stopped).await
            }
            Err(error) => {
                let _ = tell.send(Err(error));
                Ended::default()
            }
        }
    });
    if ended.stuck {
        // Dropping it would wait for the thread that does not come to an end.
        std::mem::forget(system);
    }
    ended
}

struct Assembly {
    hub: Arc<Hub>,
    bench: Bench,
    keeper: Arc<Keeper>,
    journal: SharedJournal,
    edges: Edges,
    steward: Steward,
    facts: publish::Facts,
    _lookout: Option<Lookout>,
}

impl Assembly {
    fn start(order: Order) -> Result<Self, StartError> {
        let executable = std::env::current_exe().map_err(|error| {
            StartError::System(format!("cannot find the path of this program: {error}"))
        })?;
        let directory = order.instance.directory.clone();
        let journal = Journal::create_after_restoring(&directory)
            .map_err(|error| StartError::System(error.to_string()))?;
        let mut degraded = Vec::new();
        if !journal.is_on_tmpfs() {
            degraded.push(format!(
                "the journal in {} is not on a tmpfs: each change may wait for a disk",
                directory.display()
            ));
        }
        let journal: SharedJournal = Arc::new(Mutex::new(journal));
        let keeper = Keeper::start(executable.clone(), directory)
            .map_err(|error| StartError::System(format!("no keeper: {error}")))?;
        let registry =
            Arc::new(backend::start(&order.config.plugins, &order.plugin_dirs, Some(&executable)));
        let hub = Arc::new(Hub::new(order.identity.clone()));
        degraded.extend(registry.unused(&order.config.plugins));
        let mut facts = publish::Facts::new(Arc::clone(&registry), degraded);
        facts.refresh(&hub);
        let bench = Bench::new(Worker::new(
            Box::new(Machine::new(Arc::clone(&registry), Arc::clone(&journal))),
            Settings {
                instance: marked(&order.instance.id)?,
                dry_run: order.identity.dry_run,
                ..Settings::default()
            },
        ));
        let keeper = Arc::new(keeper);
        let edges = Edges::new();
        let views = Views::default();
        let demand = Arc::new(Demand::default());
        let (mut steward, lookout) =
            stages(&order, &hub, &bench, &edges, &views, &demand, &keeper)?;
        let plan = sensor::Plan {
            registry,
            tick: order.config.policy.timing.tick,
            demand,
            next: Arc::clone(&edges.sweeps),
            pulse: Arc::default(),
            sweeps: Arc::default(),
        };
        steward.add(SENSOR, Arc::clone(&plan.pulse), move || Sensor::start(plan.clone()));
        Ok(Self { hub, bench, keeper, journal, edges, steward, facts, _lookout: lookout })
    }

    fn parts(&self) -> Parts {
        Parts {
            hub: Arc::clone(&self.hub),
            bench: self.bench.clone(),
            keeper: Arc::clone(&self.keeper),
        }
    }

    async fn run(mut self, mut stopped: oneshot::Receiver<()>) -> Ended {
        let mut round = tokio::time::interval(ROUND);
        let gave_up = loop {
            tokio::select! {
                // Whether it was sent or the handle was dropped: we are to stop.
                _ = &mut stopped => break None,
                giving_up = self.steward.watch() => break Some(giving_up.to_string()),
                _ = round.tick() => {
                    self.keeper.look();
                    self.facts.refresh(&self.hub);
                    self.hub.set_stages(publish::stages(&self.steward.health()));
                }
            }
        };
        if let Some(reason) = &gave_up {
            tracing::error!(%reason, "giving up: what was changed is put back now");
        }
        self.end(gave_up).await
    }

    async fn end(mut self, gave_up: Option<String>) -> Ended {
        self.steward.end(SENSOR, DRAIN).await;
        let drained = async {
            while !self.edges.are_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // A stage that is stuck keeps its edge full; what was decided is undone all the same.
        let _ = tokio::time::timeout(DRAIN, drained).await;
        let undone = match self.bench.stop(RESTORE_DEADLINE).await {
            Ok(undone) => undone,
            // Whoever is still at it may hold the journal, and may write: nothing more is touched.
            Err(busy) => return Ended { gave_up, left: vec![busy.to_string()], stuck: true },
        };
        let left = {
            let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
            let left = publish::left(&undone, journal.outstanding());
            if let Err(error) = journal.finish() {
                tracing::warn!(%error, "the journal could not be ended");
            }
            left
        };
        self.keeper.dismiss();
        self.steward.stop();
        Ended { gave_up, left, stuck: false }
    }
}

/// An instance as the names of its contexts have it: no other sidecar, whatever its state
/// directory, has the same, and everybody can tell whether it still lives.
fn marked(id: &str) -> Result<String, StartError> {
    let own = knob::identify(std::process::id())
        .ok_or_else(|| StartError::System("cannot read /proc of this process".to_owned()))?;
    let kind = id.strip_suffix(&format!("-{}", own.pid)).unwrap_or(id);
    Ok(format!("{kind}-{}", maker::tag(own)))
}

/// Starts a stage in a thread of its own, from a factory that the steward keeps.
fn stage<C: Core + Unpin + Send>(
    steward: &mut Steward,
    name: &'static str,
    inbox: &Arc<Edge<C::In>>,
    core: impl Fn() -> C + Clone + Send + 'static,
    next: impl Fn(C::Out) + Clone + Send + 'static,
) {
    let (inbox, pulse) = (Arc::clone(inbox), Arc::new(Pulse::default()));
    let beats = Arc::clone(&pulse);
    steward.add(name, pulse, move || {
        let arbiter = Arbiter::new();
        let (inbox, beats, core, next) =
            (Arc::clone(&inbox), Arc::clone(&beats), core.clone(), next.clone());
        let address = Stage::start_in_arbiter(&arbiter.handle(), move |_| {
            Stage::new(core(), inbox, beats, next)
        });
        Running { recipient: address.recipient(), arbiter: arbiter.handle() }
    });
}

fn stages(
    order: &Order,
    hub: &Arc<Hub>,
    bench: &Bench,
    edges: &Edges,
    views: &Views,
    demand: &Arc<Demand>,
    keeper: &Arc<Keeper>,
) -> Result<(Steward, Option<Lookout>), StartError> {
    let policy = Arc::new(ArcSwap::from_pointee(order.config.policy.clone()));
    let guidance = Arc::new(Guidance { policy: Arc::clone(&policy), ..Guidance::default() });
    let lookout = (policy.load().neighbours == Neighbours::SameSession)
        .then(|| Lookout::start(Arc::clone(&guidance), Arc::clone(demand)))
        .transpose()
        .map_err(|error| StartError::System(format!("no thread to look for peers: {error}")))?;
    let mut steward = {
        let demand = Arc::clone(demand);
        Steward::new(move |name, ending| {
            tracing::error!(stage = name, ?ending, "a stage was started anew");
            demand.request_full();
        })
    };
    {
        let (view, next) = (Arc::clone(&views.window), Arc::clone(&edges.signals));
        stage(
            &mut steward,
            "monitor",
            &edges.sweeps,
            move || Monitor::new(Arc::clone(&view)),
            move |signals| {
                mutation::panic_in("monitor");
                next.send(signals);
            },
        );
    }
    {
        let exempt: Vec<u32> =
            [Some(std::process::id()), keeper.pid()].into_iter().flatten().collect();
        let make = {
            let (guidance, demand, view) =
                (Arc::clone(&guidance), Arc::clone(demand), Arc::clone(&views.rules));
            move || {
                Classifier::new(
                    Arc::clone(&guidance),
                    exempt.clone(),
                    Arc::clone(&demand),
                    Arc::clone(&view),
                )
            }
        };
        // Compiled once here, so that a stage that is rebuilt cannot fail.
        make().map_err(|problems| StartError::Policy(format!("{problems:?}")))?;
        let (hub, next) = (Arc::clone(hub), Arc::clone(&edges.assessments));
        stage(
            &mut steward,
            "classifier",
            &edges.signals,
            move || make().expect("the same policy has compiled before"),
            move |assessments: Arc<Assessments>| {
                mutation::panic_in("classifier");
                hub.set_assessments(Arc::clone(&assessments));
                next.send(assessments);
            },
        );
    }
    {
        let (paused, view) = (hub.paused(), Arc::clone(&views.ladder));
        let (hub, next) = (Arc::clone(hub), Arc::clone(&edges.decisions));
        stage(
            &mut steward,
            "tier",
            &edges.assessments,
            move || Tier::new(Arc::clone(&policy), Arc::clone(&paused), Arc::clone(&view)),
            move |decisions: Arc<Decisions>| {
                mutation::panic_in("tier");
                hub.set_decisions(Arc::clone(&decisions));
                next.send(decisions);
            },
        );
    }
    {
        let (bench, inbox, hub) = (bench.clone(), Arc::clone(&edges.decisions), Arc::clone(hub));
        let (pulse, demand) = (Arc::new(Pulse::default()), Arc::clone(demand));
        let beats = Arc::clone(&pulse);
        steward.add("enforcer", pulse, move || {
            let arbiter = Arbiter::new();
            let (bench, inbox, beats) = (bench.clone(), Arc::clone(&inbox), Arc::clone(&beats));
            let (hub, demand) = (Arc::clone(&hub), Arc::clone(&demand));
            let address = Enforcer::start_in_arbiter(&arbiter.handle(), move |_| {
                Enforcer::new(bench, inbox, beats, move |outcome| {
                    mutation::panic_in("enforcer");
                    demand.set_contexts(outcome.contexts);
                    hub.set_enforcement(outcome.state);
                    outcome.actions.into_iter().for_each(|action| hub.add_action(action));
                })
            });
            Running { recipient: address.recipient(), arbiter: arbiter.handle() }
        });
    }
    Ok((steward, lookout))
}
