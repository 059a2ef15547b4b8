//! The figures of a run, for people and for programs.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::watch::{Cycle, Phase};
use crate::{NodeIndex, Simulation, oracle};

/// Version of the report's form; rises when a field changes its meaning or goes.
const SCHEMA: u32 = 1;
/// The steady state is measured over this many seconds at the end.
const STEADY_SECONDS: usize = 10;

/// What a run showed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Version of this form.
    pub schema: u32,
    /// The topology as it was asked for.
    pub topology: String,
    /// Nodes.
    pub nodes: usize,
    /// Links.
    pub links: usize,
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
    /// How the mesh came up and recovered from each step of the scenario.
    pub phases: Vec<PhaseFigures>,
    /// How good the paths are at the end; `null` if no pair is routed.
    pub path_cost: Option<PathCost>,
    /// Control traffic over the whole run.
    pub control: Control,
    /// Control traffic over the last ten seconds.
    pub control_steady: Control,
    /// Changes to kernels' routes.
    pub route_changes: u64,
    /// Removals of routes that a kernel did not have. Must be 0.
    pub refused_changes: u64,
    /// Timers that asked to be called again at once. Must be 0.
    pub busy_timers: u64,
    /// Events the simulator handled.
    pub events: u64,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pairs {
    /// Those that could have a path, over links that work and nodes that run.
    pub possible: usize,
    /// Those of them that have none.
    pub unrouted: usize,
}

/// The time from one step of the scenario to the next.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseFigures {
    /// What began it.
    pub label: String,
    /// When it began, s.
    pub at_s: f64,
    /// How long it took until all pairs were routed, s; `null` if they never were.
    pub routed_after_s: Option<f64>,
    /// How often that was lost again.
    pub relapses: u32,
    /// For how long pairs had no path, summed over pairs, s.
    pub unrouted_pair_s: f64,
    /// Changes to kernels' routes.
    pub route_changes: u64,
}

/// The cost of paths in use, over the cost of the shortest possible.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PathCost {
    /// The sum of all over the sum of the shortest.
    pub mean_ratio: f64,
    /// That of the worst pair.
    pub worst_ratio: f64,
}

/// Routing's own traffic, UDP payload.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Control {
    /// Packets that a node sends in a second.
    pub packets_per_node_s: f64,
    /// Bytes that a node sends in a second.
    pub bytes_per_node_s: f64,
}

impl Report {
    /// The figures of `simulation` so far; `topology` is what it is called.
    pub fn new(simulation: &Simulation, topology: &str) -> Self {
        let options = simulation.options();
        let (unrouted, possible) = simulation.unrouted_pairs();
        let (seen, contested) = simulation.cycles_seen();
        let cycles = simulation.cycles().iter();
        let fibs = || simulation.nodes().map(|node| simulation.node(node).fib());
        Self {
            schema: SCHEMA,
            topology: topology.to_owned(),
            nodes: simulation.topology().nodes.len(),
            links: simulation.topology().links.len(),
            seed: options.seed,
            loss_percent: options.loss * 100.0,
            delay_ms: options.delay.as_secs_f64() * 1000.0,
            duration_s: simulation.now().as_secs_f64(),
            trace_hash: format!("{:016x}", simulation.trace_hash()),
            loops: Loops {
                seen,
                contested,
                first: cycles.map(|cycle| Loop::new(simulation, cycle)).collect(),
            },
            pairs: Pairs { possible, unrouted },
            phases: simulation.phases().iter().map(PhaseFigures::new).collect(),
            path_cost: path_cost(simulation),
            control: control(simulation, usize::MAX),
            control_steady: control(simulation, STEADY_SECONDS),
            route_changes: simulation.phases().iter().map(|p| p.route_changes).sum(),
            refused_changes: fibs().map(crate::node::Fib::refused).sum(),
            busy_timers: simulation.busy_timers(),
            events: simulation.events(),
        }
    }

    /// Whether there was no loop, and all pairs that could have a path have one.
    pub const fn is_good(&self) -> bool {
        self.loops.seen == 0 && self.pairs.unrouted == 0
    }
}

impl Loop {
    fn new(simulation: &Simulation, cycle: &Cycle) -> Self {
        let name = |node: &NodeIndex| {
            let names = &simulation.topology().nodes;
            names.get(node.0).cloned().unwrap_or_default()
        };
        Self {
            seed: simulation.options().seed,
            at_s: cycle.at.as_secs_f64(),
            destination: cycle.destination.to_string(),
            cycle: cycle.nodes.iter().map(name).collect(),
        }
    }
}

impl fmt::Display for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            at_s,
            destination,
            cycle,
        } = self;
        let first = cycle.first().map_or("", String::as_str);
        let path = cycle.join(" → ");
        write!(
            f,
            "seed {seed}, {at_s:.3} s, to {destination}: {path} → {first}"
        )
    }
}

impl PhaseFigures {
    fn new(phase: &Phase) -> Self {
        Self {
            label: phase.label.clone(),
            at_s: phase.at.as_secs_f64(),
            routed_after_s: phase.routed_after.map(|d: Duration| d.as_secs_f64()),
            relapses: phase.relapses,
            unrouted_pair_s: phase.unrouted_pair_seconds,
            route_changes: phase.route_changes,
        }
    }
}

/// Compares every path in use with the oracle's.
fn path_cost(simulation: &Simulation) -> Option<PathCost> {
    let (mut routed_sum, mut shortest_sum, mut worst_ratio) = (0.0, 0.0, 0.0_f64);
    for destination in simulation.nodes() {
        let runs = |node| simulation.router(node).is_some();
        let count = simulation.topology().nodes.len();
        let shortest = oracle::distances(simulation.radio(), count, destination, runs);
        for (node, shortest) in simulation.nodes().zip(shortest) {
            let (Some(shortest), true) = (shortest, node != destination) else {
                continue;
            };
            if let Some(routed) = routed_cost(simulation, node, destination) {
                routed_sum += routed;
                shortest_sum += shortest;
                worst_ratio = worst_ratio.max(routed / shortest);
            }
        }
    }
    (shortest_sum > 0.0).then(|| PathCost {
        mean_ratio: routed_sum / shortest_sum,
        worst_ratio,
    })
}

/// What the path in use costs by the oracle's reckoning; `None` if it leads nowhere.
pub fn routed_cost(
    simulation: &Simulation,
    from: NodeIndex,
    destination: NodeIndex,
) -> Option<f64> {
    let prefix = simulation.address(destination);
    let (mut here, mut cost) = (from, 0.0);
    for _ in simulation.nodes() {
        if here == destination {
            return Some(cost);
        }
        let next = simulation.next_hop(prefix, here)?;
        cost += oracle::link_cost(simulation.radio(), here, next)?;
        here = next;
    }
    None
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2⁵²")]
fn control(simulation: &Simulation, last: usize) -> Control {
    let traffic = simulation.traffic();
    let whole = usize::try_from(simulation.now().as_secs()).unwrap_or(usize::MAX);
    let whole = whole.min(traffic.len());
    let seconds = traffic.get(whole.saturating_sub(last)..whole);
    let seconds = seconds.unwrap_or_default();
    let node_seconds = (seconds.len() * simulation.topology().nodes.len()).max(1) as f64;
    let sum = |of: fn(&crate::simulation::Traffic) -> u64| seconds.iter().map(of).sum::<u64>();
    Control {
        packets_per_node_s: sum(|t| t.packets) as f64 / node_seconds,
        bytes_per_node_s: sum(|t| t.bytes) as f64 / node_seconds,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: String| writeln!(f, "{name:<20} {value}");
        row(
            "topology",
            format!(
                "{}, {} nodes, {} links",
                self.topology, self.nodes, self.links
            ),
        )?;
        row(
            "links",
            format!("loss {} %, delay {} ms", self.loss_percent, self.delay_ms),
        )?;
        row("virtual time", format!("{} s", self.duration_s))?;
        row("seed", self.seed.to_string())?;
        row("trace hash", self.trace_hash.clone())?;
        let Pairs { possible, unrouted } = self.pairs;
        row(
            "pairs",
            format!("{possible} possible, {unrouted} unrouted at the end"),
        )?;
        if let Some(PathCost {
            mean_ratio,
            worst_ratio,
        }) = self.path_cost
        {
            row(
                "path cost / shortest",
                format!("mean {mean_ratio:.3}, worst {worst_ratio:.3}"),
            )?;
        }
        row("control", self.control.to_string())?;
        row("control, last 10 s", self.control_steady.to_string())?;
        row("route changes", self.route_changes.to_string())?;
        row(
            "loops",
            format!(
                "{}, for contested prefixes {}",
                self.loops.seen, self.loops.contested
            ),
        )?;
        for one in &self.loops.first {
            row("", one.to_string())?;
        }
        if self.refused_changes + self.busy_timers > 0 {
            row("refused changes", self.refused_changes.to_string())?;
            row("busy timers", self.busy_timers.to_string())?;
        }
        self.fmt_phases(f)
    }
}

impl Report {
    fn fmt_phases(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        writeln!(
            f,
            "{:>8}  {:<28} {:>12} {:>9} {:>16} {:>14}",
            "at s", "phase", "routed in s", "relapses", "unrouted pair-s", "route changes"
        )?;
        for phase in &self.phases {
            let routed = phase.routed_after_s;
            let routed = routed.map_or("never".to_owned(), |s| format!("{s:.2}"));
            writeln!(
                f,
                "{:>8.2}  {:<28} {:>12} {:>9} {:>16.1} {:>14}",
                phase.at_s,
                phase.label,
                routed,
                phase.relapses,
                phase.unrouted_pair_s,
                phase.route_changes
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} B/s and {:.1} packets/s per node",
            self.bytes_per_node_s, self.packets_per_node_s
        )
    }
}
