//! Virtual time: the event queue and its dispatch.
//!
//! | file | concern |
//! |---|---|
//! | `accounts` | who carried how much for whom, if books are kept |
//! | `drive` | nodes: packets and timers in, what the core wants done out |
//! | `steps` | steps of the scenario, and on whom those fall that leave it open |
//! | `traffic` | flows: who carries them, and their outages |

mod accounts;
mod drive;
mod steps;
mod traffic;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use mesh_proto::{Network, OriginatorId, Route, Router, Table, Target, Tunnel};
use rand_chacha::ChaCha8Rng;

use crate::flows::Flows;
use crate::node::{INTERFACE, Node, NodeIndex};
use crate::queue::{Event, Queue};
use crate::radio::Radio;
use crate::random;
use crate::scenario::{Plan, Step};
use crate::topology::Topology;
use crate::trace::Trace;
use crate::watch::{Cycle, NextHops, Phase, Phases, Reach, Sent, Traffic, Uplinks};
pub use accounts::Accounting;

/// What a run is made of besides its topology and scenario.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Of all randomness: loss, jitter, keys.
    pub seed: u64,
    /// The share of broadcasts that links lose, 0 to 1, unless the topology says otherwise.
    pub loss: f64,
    /// How long a packet takes over a link.
    pub delay: Duration,
    /// Nodes are switched on at random within this time.
    pub spread: Duration,
}

impl Options {
    /// Links of 1 ms without loss; all nodes switched on at once.
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            loss: 0.0,
            delay: Duration::from_millis(1),
            spread: Duration::ZERO,
        }
    }
}

/// Counts of what should be 0, or nearly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Circles for prefixes of one owner, which must not be.
    pub cycles: u64,
    /// Circles for prefixes that several nodes claim, on whose owner nodes may disagree for a
    /// moment.
    pub contested_cycles: u64,
    /// How often a node's timer asked to be called again at once: a daemon would spin.
    pub busy_timers: u64,
    /// Changes that a kernel would have refused: removals of routes it does not have.
    pub refused_changes: u64,
    /// Neighbors given up.
    pub drops: u64,
    /// Those of them whose link was not touched for long before, and who ran all the time.
    pub drops_without_cause: u64,
}

/// A mesh in virtual time.
#[derive(Debug)]
pub struct Simulation {
    topology: Topology,
    options: Options,
    network: Network,
    /// What the core's clock said at the start. Only differences to it ever matter.
    origin: Instant,
    now: Duration,
    queue: Queue,
    steps: Vec<Step>,
    nodes: Vec<Node>,
    by_id: BTreeMap<OriginatorId, NodeIndex>,
    radio: Radio,
    luck: ChaCha8Rng,
    choices: ChaCha8Rng,
    flows: Flows,
    accounting: Option<Accounting>,
    /// How much flows carry.
    bytes: ChaCha8Rng,
    /// By how many bytes anybody owed more than its window and what was carried since counters were
    /// last read.
    overdrawn: u128,
    next_hops: NextHops,
    reach: Reach,
    uplinks: Uplinks,
    /// [`Reach::flips`] when the uplinks were last looked at.
    uplinks_flips: u64,
    phases: Phases,
    cycles: Vec<Cycle>,
    faults: Faults,
    events: u64,
    traffic: Traffic,
    /// Next hops for nodes' own addresses that gave way to another, by seconds.
    switches: Vec<u64>,
    trace: Trace,
}

impl Simulation {
    /// A mesh of `topology` whose nodes are about to be switched on.
    pub fn new(topology: Topology, options: Options) -> Self {
        let network = Network::new("simulated village");
        let count = topology.nodes.len();
        let nodes: Vec<_> = (0..count)
            .map(|index| Node::new(NodeIndex(index), options.seed, &network))
            .collect();
        let by_id = nodes.iter().map(Node::id).zip((0..).map(NodeIndex));
        let mut simulation = Self {
            options,
            origin: Instant::now(),
            now: Duration::ZERO,
            queue: Queue::default(),
            steps: Vec::new(),
            radio: Radio::new(&topology, options.loss),
            luck: random::stream(options.seed, random::LOSS),
            choices: random::stream(options.seed, random::TARGETS),
            flows: Flows::default(),
            accounting: None,
            bytes: random::stream(options.seed, random::BYTES),
            overdrawn: 0,
            next_hops: NextHops::new(nodes.iter().map(Node::host).collect()),
            reach: Reach::new(count),
            uplinks: Uplinks::new(count),
            uplinks_flips: 0,
            phases: Phases::default(),
            cycles: Vec::new(),
            faults: Faults::default(),
            events: 0,
            traffic: Traffic::new(count),
            switches: Vec::new(),
            trace: Trace::new(),
            by_id: by_id.collect(),
            topology,
            network,
            nodes,
        };
        simulation.switch_on();
        simulation
    }

    /// Adds what a scenario plans. To be called before time passes.
    pub fn follow(&mut self, plan: Plan) {
        for node in plan.late {
            self.node_mut(node).is_late = true;
        }
        let nodes = &self.nodes;
        let is_late = |node: NodeIndex| nodes.get(node.0).is_some_and(|n| n.is_late);
        self.reach
            .set_parts(self.now, self.radio.parts(|node| !is_late(node)));
        plan.flows.into_iter().for_each(|flow| self.add_flow(flow));
        plan.steps.into_iter().for_each(|step| self.schedule(step));
    }

    /// Adds a step to the scenario. One whose time has passed is taken at once.
    pub fn schedule(&mut self, step: Step) {
        let at = step.at.max(self.now);
        self.queue.push(at, Event::Step(self.steps.len()));
        self.steps.push(step);
    }

    /// Lets virtual time pass up to `until`, that moment included.
    pub fn run_until(&mut self, until: Duration) {
        while let Some((at, event)) = self.queue.pop(until) {
            self.now = at;
            self.handle(event);
            self.look();
        }
        self.now = self.now.max(until);
        self.phases.add_up(self.now);
    }

    /// The virtual time, since the start.
    pub const fn now(&self) -> Duration {
        self.now
    }

    /// What the core takes for the time.
    pub fn instant(&self) -> Instant {
        self.origin + self.now
    }

    /// The topology.
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The options.
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The mesh's network.
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// The links as they are now.
    pub const fn radio(&self) -> &Radio {
        &self.radio
    }

    /// A node.
    #[expect(
        clippy::indexing_slicing,
        reason = "node indices come from the topology the nodes were made from"
    )]
    pub fn node(&self, index: NodeIndex) -> &Node {
        &self.nodes[index.0]
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = NodeIndex> + use<> {
        (0..self.nodes.len()).map(NodeIndex)
    }

    /// The core of a node, while its daemon runs.
    pub fn router(&self, index: NodeIndex) -> Option<&Router> {
        self.node(index).router.as_ref()
    }

    /// A node's own address, as a route's prefix.
    pub fn address(&self, index: NodeIndex) -> IpNet {
        self.node(index).host()
    }

    /// The node to which `node` sends packets for `prefix`.
    pub fn next_hop(&self, prefix: IpNet, node: NodeIndex) -> Option<NodeIndex> {
        self.next_hops.for_prefix(prefix, node)
    }

    /// The node to which `node` sends packets for the address of `destination`.
    pub fn next_hop_to(&self, destination: NodeIndex, node: NodeIndex) -> Option<NodeIndex> {
        self.next_hops.get(destination.0, node)
    }

    /// The routes in a node's kernel, in order.
    pub fn routes(&self, index: NodeIndex) -> Vec<Route> {
        let mesh = self.next_hops.of(index).filter_map(|(row, next)| {
            let target = Target::NextHop {
                via: next.address(),
                ifindex: INTERFACE,
            };
            let key = (Table::Mesh, self.next_hops.prefix(row)?);
            Some(Route::new(key, target.into()))
        });
        let tunnels = self.node(index).tunnels.iter();
        let tunnels = tunnels.map(|(key, peer)| {
            let target = Target::Tunnel {
                peer: *peer,
                tunnel: Tunnel::Vxlan,
            };
            Route::new(*key, target.into())
        });
        let mut routes: Vec<_> = mesh.chain(tunnels).collect();
        routes.sort_by_key(Route::key);
        routes
    }

    /// Pairs of nodes that have no path although one is possible, and all that could have one.
    pub fn unrouted_pairs(&self) -> (usize, usize) {
        (self.reach.unrouted(), self.reach.pairs())
    }

    /// Those that have no path although one is possible: from whom, to whom.
    pub fn unrouted(&self) -> impl Iterator<Item = (NodeIndex, NodeIndex)> {
        let open = self.reach.open(self.now);
        open.filter_map(|outage| Some((outage.from, outage.to?)))
    }

    /// The circles that were seen, the first ones.
    pub fn cycles(&self) -> &[Cycle] {
        &self.cycles
    }

    /// What should not have happened.
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// How the mesh recovered from each step so far.
    pub fn phases(&self) -> Vec<Phase> {
        let pairs = self.reach.open(self.now);
        let uplinks = self.uplinks.open(self.now);
        self.phases
            .with_open(pairs, uplinks, |outage| self.flows.suffer(outage))
    }

    /// What each node sent in those seconds.
    pub fn sent(&self, seconds: std::ops::Range<usize>) -> impl Iterator<Item = Sent> {
        self.traffic.by_node(seconds)
    }

    /// How often in those seconds, in all nodes, the next hop to a node gave way to another.
    pub fn switches(&self, seconds: std::ops::Range<usize>) -> u64 {
        self.switches.get(seconds).into_iter().flatten().sum()
    }

    /// How many flows of traffic there are.
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    /// How many events were handled: packets that arrived, timers that ran out, steps.
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// A fingerprint of every packet, timer and route change so far.
    pub const fn trace_hash(&self) -> u64 {
        self.trace.value()
    }

    fn switch_on(&mut self) {
        let mut rng = random::stream(self.options.seed, random::STARTS);
        for index in self.nodes() {
            let at = self.options.spread.mul_f64(random::unit(&mut rng));
            self.queue.push(at, Event::PowerOn(index));
        }
        self.phases.begin(Duration::ZERO, "power on", "power on");
        // None is reachable, and that counts from the beginning.
        self.reach.set_parts(self.now, self.radio.parts(|_| true));
        self.phases.look(self.now, self.reach.unrouted());
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deliver(delivery) => self.deliver(&delivery),
            Event::Timer(node) => self.run_timer(node),
            Event::PowerOn(node) => self.power_on(node),
            Event::Step(index) => {
                if let Some(step) = self.steps.get(index).cloned() {
                    self.events += 1;
                    self.take(step.action);
                }
            }
            Event::Carry => self.carry(),
        }
    }

    /// Takes note of what the last event changed for pairs and uplinks.
    fn look(&mut self) {
        self.look_at_uplinks();
        for outage in self.reach.take_ended() {
            let flows = self.flows.suffer(&outage);
            if let Some(phase) = self.phases.at(outage.since) {
                phase.count(&outage, flows);
            }
        }
        self.phases.look(self.now, self.reach.unrouted());
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "node indices come from the topology the nodes were made from"
    )]
    fn node_mut(&mut self, index: NodeIndex) -> &mut Node {
        &mut self.nodes[index.0]
    }
}
