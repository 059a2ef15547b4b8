//! The figures of a run, for people and for programs.

mod control;
mod cost;
mod outages;
mod paths;
mod seeds;
mod text;

use std::time::Duration;

use serde::Serialize;

pub use control::Control;
pub use cost::Cost;
pub use outages::{Kind, Outages};
pub use paths::{PathCost, routed_cost};
pub use seeds::Seeds;

use crate::watch::{Arrival, Cycle, Phase};
use crate::{NodeIndex, Simulation};

/// Version of the report's form; rises when a field changes its meaning or goes.
const SCHEMA: u32 = 2;

/// What a run showed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Version of this form.
    pub schema: u32,
    /// The topology as it was asked for.
    pub topology: String,
    /// The scenario as it was asked for.
    pub scenario: Option<String>,
    /// Nodes.
    pub nodes: usize,
    /// Links at the start.
    pub links: usize,
    /// Flows of traffic.
    pub flows: usize,
    /// The seed; the same seed gives the same run.
    pub seed: u64,
    /// Broadcasts lost on links of which the topology says nothing else, %.
    pub loss_percent: f64,
    /// How long a packet takes over a link, ms.
    pub delay_ms: f64,
    /// Virtual time of the run, s.
    pub duration_s: f64,
    /// Fingerprint of the run.
    pub trace_hash: String,
    /// Loops.
    pub loops: Loops,
    /// Pairs of nodes at the end.
    pub pairs: Pairs,
    /// Virtual time from the start until all pairs were routed, s; `null` if they never were
    /// before the first step.
    pub cold_start_s: Option<f64>,
    /// All outages, by the kind of step before them.
    pub outages: Vec<Kind>,
    /// How the mesh came up and recovered from each step of the scenario.
    pub phases: Vec<PhaseFigures>,
    /// How good the paths are at the end; `null` if no pair is routed.
    pub path_cost: Option<PathCost>,
    /// Control traffic over the whole run.
    pub control: Control,
    /// Control traffic over the last half of the run.
    pub control_steady: Control,
    /// Changes to kernels' routes.
    pub route_changes: u64,
    /// How often a next hop to a node gave way to another over the last half of the run, per
    /// node and hour. Where nothing happened, that is without cause.
    pub switches_per_node_hour: f64,
    /// Neighbors that were given up.
    pub neighbor_drops: u64,
    /// Those of them without a cause: nothing happened to the link or to either node.
    pub neighbor_drops_without_cause: u64,
    /// Removals of routes that a kernel did not have. Must be 0.
    pub refused_changes: u64,
    /// Timers that asked to be called again at once. Must be 0.
    pub busy_timers: u64,
    /// Events the simulator handled.
    pub events: u64,
    /// What the run took of the machine; differs from run to run.
    pub cost: Option<Cost>,
}

/// Loops that were seen. Each change of a route is followed by a check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Loops {
    /// For destinations with one owner. Must be 0.
    pub seen: u64,
    /// For prefixes that several nodes claim, while nodes disagree on whose they are.
    pub contested: u64,
    /// The first of those that must not be.
    pub first: Vec<Loop>,
}

/// A loop.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Loop {
    /// Seed of the run.
    pub seed: u64,
    /// When it came to be, s.
    pub at_s: f64,
    /// The prefix of the routes.
    pub destination: String,
    /// The nodes of the circle, each the next hop of the one before.
    pub cycle: Vec<String>,
}

/// Pairs of nodes, each direction for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pairs {
    /// Those that could have a path, over links that work and nodes that run.
    pub possible: usize,
    /// Those of them that have none.
    pub unrouted: usize,
    /// The first of these.
    pub first: Vec<UnroutedPair>,
}

/// A pair that could have a path but has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnroutedPair {
    /// Who wants to send.
    pub from: String,
    /// To whom.
    pub to: String,
    /// The nodes that packets pass until they get no farther.
    pub path: Vec<String>,
}

/// The time from one step of the scenario to the next.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseFigures {
    /// What began it.
    pub label: String,
    /// What kind of step that was.
    pub kind: String,
    /// When it began, s.
    pub at_s: f64,
    /// How long it took until all pairs were routed, s; `null` if they never were.
    pub routed_after_s: Option<f64>,
    /// How long it took until all nodes had a way to the Internet, s; `null` if they never had,
    /// or if there is no gateway.
    pub online_after_s: Option<f64>,
    /// How often that was lost again.
    pub relapses: u32,
    /// For how long pairs had no path, summed over pairs, s.
    pub unrouted_pair_s: f64,
    /// Changes to kernels' routes.
    pub route_changes: u64,
    /// Outages of pairs that began in this phase.
    pub pairs: Outages,
    /// Those of pairs between which traffic flows.
    pub flows: Outages,
    /// Outages of nodes' ways to the Internet.
    pub uplinks: Outages,
    /// What a check in this phase found.
    pub check: Option<Check>,
}

/// What of all pairs got through at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Check {
    /// How long after the step, s.
    pub after_s: f64,
    /// Pairs that were routed, of those that could be, %.
    pub routed_percent: f64,
    /// Packets that would arrive, were one sent for each pair that could be routed, %.
    pub delivered_percent: f64,
}

impl Report {
    /// The figures of `simulation` so far; `topology` and `scenario` are what these are called.
    pub fn new(simulation: &Simulation, topology: &str, scenario: Option<&str>) -> Self {
        let options = simulation.options();
        let faults = simulation.faults();
        let phases = simulation.phases();
        let seconds = usize::try_from(simulation.now().as_secs()).unwrap_or(usize::MAX);
        Self {
            schema: SCHEMA,
            topology: topology.to_owned(),
            scenario: scenario.map(str::to_owned),
            nodes: simulation.topology().nodes.len(),
            links: simulation.topology().links.len(),
            flows: simulation.flows(),
            seed: options.seed,
            loss_percent: options.loss * 100.0,
            delay_ms: options.delay.as_secs_f64() * 1000.0,
            duration_s: simulation.now().as_secs_f64(),
            trace_hash: format!("{:016x}", simulation.trace_hash()),
            loops: Loops::new(simulation),
            pairs: Pairs::new(simulation),
            cold_start_s: phases
                .first()
                .and_then(|start| seconds_of(start.routed_after)),
            outages: Kind::all(&phases),
            path_cost: PathCost::measure(simulation),
            control: Control::measure(simulation, 0..seconds),
            control_steady: Control::measure(simulation, seconds / 2..seconds),
            route_changes: phases.iter().map(|p| p.route_changes).sum(),
            switches_per_node_hour: switches(simulation, seconds / 2..seconds),
            neighbor_drops: faults.drops,
            neighbor_drops_without_cause: faults.drops_without_cause,
            refused_changes: faults.refused_changes,
            busy_timers: faults.busy_timers,
            events: simulation.events(),
            phases: phases.iter().map(PhaseFigures::new).collect(),
            cost: None,
        }
    }

    /// Whether there was no loop, and all pairs that could have a path have one.
    pub const fn is_good(&self) -> bool {
        self.loops.seen == 0 && self.pairs.unrouted == 0
    }
}

impl Pairs {
    fn new(simulation: &Simulation) -> Self {
        /// Pairs that are named.
        const NAMED: usize = 5;
        let (unrouted, possible) = simulation.unrouted_pairs();
        let named = simulation.unrouted().take(NAMED);
        let pair = |(from, to)| UnroutedPair {
            from: name(simulation, from),
            to: name(simulation, to),
            path: names(simulation, &simulation.path(from, to)),
        };
        Self {
            possible,
            unrouted,
            first: named.map(pair).collect(),
        }
    }
}

fn name(simulation: &Simulation, node: NodeIndex) -> String {
    let names = &simulation.topology().nodes;
    names.get(node.0).cloned().unwrap_or_default()
}

fn names(simulation: &Simulation, nodes: &[NodeIndex]) -> Vec<String> {
    nodes.iter().map(|node| name(simulation, *node)).collect()
}

impl Loops {
    fn new(simulation: &Simulation) -> Self {
        let faults = simulation.faults();
        let cycles = simulation.cycles().iter();
        Self {
            seen: faults.cycles,
            contested: faults.contested_cycles,
            first: cycles.map(|cycle| Loop::new(simulation, cycle)).collect(),
        }
    }
}

impl Loop {
    fn new(simulation: &Simulation, cycle: &Cycle) -> Self {
        Self {
            seed: simulation.options().seed,
            at_s: cycle.at.as_secs_f64(),
            destination: cycle.destination.to_string(),
            cycle: names(simulation, &cycle.nodes),
        }
    }
}

impl PhaseFigures {
    fn new(phase: &Phase) -> Self {
        Self {
            label: phase.label.clone(),
            kind: phase.kind.to_owned(),
            at_s: phase.at.as_secs_f64(),
            routed_after_s: seconds_of(phase.routed_after),
            online_after_s: seconds_of(phase.online_after),
            relapses: phase.relapses,
            unrouted_pair_s: phase.unrouted_pair_seconds,
            route_changes: phase.route_changes,
            pairs: Outages::new(&phase.pairs),
            flows: Outages::new(&phase.flows),
            uplinks: Outages::new(&phase.uplinks),
            check: phase.arrival.map(Check::new),
        }
    }
}

impl Check {
    fn new(arrival: Arrival) -> Self {
        Self {
            after_s: arrival.after.as_secs_f64(),
            routed_percent: arrival.routed * 100.0,
            delivered_percent: arrival.delivered * 100.0,
        }
    }
}

fn seconds_of(duration: Option<Duration>) -> Option<f64> {
    duration.map(|duration| duration.as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2⁵²")]
fn switches(simulation: &Simulation, seconds: std::ops::Range<usize>) -> f64 {
    let nodes = simulation.topology().nodes.len().max(1) as f64;
    let hours = seconds.len().max(1) as f64 / 3600.0;
    simulation.switches(seconds) as f64 / nodes / hours
}
