//! Virtual time: the event queue and its dispatch.

use std::rc::Rc;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv6Net};
use mesh_proto::router::Transmit;
use mesh_proto::{Network, Output, RouteChange, Router, Table, Target};
use rand_chacha::ChaCha8Rng;

use crate::node::{INTERFACE, Node, NodeIndex};
use crate::queue::{Event, Queue};
use crate::radio::{Cast, Radio};
use crate::random;
use crate::scenario::{Action, Inheritance, Step};
use crate::topology::Topology;
use crate::trace::Trace;
use crate::watch::{Cycle, NextHops, Phase, Phases, Reach};

/// How exactly the time at which pairs are routed is measured.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// Circles that are kept; all are counted.
const CYCLES_KEPT: usize = 20;

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

/// What was sent in one second, by all nodes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Their bytes, UDP payload.
    pub bytes: u64,
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
    radio: Radio,
    luck: ChaCha8Rng,
    next_hops: NextHops,
    reach: Reach,
    phases: Phases,
    looked_at: Duration,
    cycles: Vec<Cycle>,
    cycles_seen: u64,
    contested_cycles_seen: u64,
    busy_timers: u64,
    events: u64,
    traffic: Vec<Traffic>,
    trace: Trace,
}

impl Simulation {
    /// A mesh of `topology` whose nodes are about to be switched on.
    pub fn new(topology: Topology, options: Options) -> Self {
        let network = Network::new("simulated village");
        let indices = (0..topology.nodes.len()).map(NodeIndex);
        let nodes: Vec<_> = indices
            .map(|index| Node::new(index, options.seed))
            .collect();
        let addresses = nodes.iter().map(|node| host(&network, node)).collect();
        let mut simulation = Self {
            options,
            origin: Instant::now(),
            now: Duration::ZERO,
            queue: Queue::default(),
            steps: Vec::new(),
            radio: Radio::new(&topology, options.loss, options.delay),
            luck: random::stream(options.seed, random::LOSS),
            next_hops: NextHops::default(),
            reach: Reach::new(addresses),
            phases: Phases::default(),
            looked_at: Duration::ZERO,
            cycles: Vec::new(),
            cycles_seen: 0,
            contested_cycles_seen: 0,
            busy_timers: 0,
            events: 0,
            traffic: Vec::new(),
            trace: Trace::new(),
            topology,
            network,
            nodes,
        };
        simulation.switch_on();
        simulation
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
            if at >= self.looked_at + LOOK_INTERVAL {
                self.look();
            }
            self.now = at;
            self.events += 1;
            self.handle(event);
        }
        self.look();
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
    pub fn nodes(&self) -> impl Iterator<Item = NodeIndex> {
        (0..self.nodes.len()).map(NodeIndex)
    }

    /// The core of a node, while its daemon runs.
    pub fn router(&self, index: NodeIndex) -> Option<&Router> {
        self.node(index).router.as_ref()
    }

    /// A node's own address, as a route's prefix.
    pub fn address(&self, index: NodeIndex) -> IpNet {
        host(&self.network, self.node(index))
    }

    /// The node to which `node` sends packets for `prefix`.
    pub fn next_hop(&self, prefix: IpNet, node: NodeIndex) -> Option<NodeIndex> {
        self.next_hops.get(prefix, node)
    }

    /// Pairs of nodes that have no path although one is possible, and all that could have one.
    pub fn unrouted_pairs(&self) -> (usize, usize) {
        let mut reach = self.reach.clone();
        let unrouted = reach.update(&self.next_hops, &self.radio);
        (unrouted, reach.pairs())
    }

    /// The circles that were seen, the first ones.
    pub fn cycles(&self) -> &[Cycle] {
        &self.cycles
    }

    /// How many circles were seen: those for prefixes of one owner, which must not be, and those
    /// for prefixes that several nodes claim, on whose owner nodes may disagree for a moment.
    pub const fn cycles_seen(&self) -> (u64, u64) {
        (self.cycles_seen, self.contested_cycles_seen)
    }

    /// How often a node's timer asked to be called again at once: a daemon would spin.
    pub const fn busy_timers(&self) -> u64 {
        self.busy_timers
    }

    /// How the mesh recovered from each step.
    pub fn phases(&self) -> &[Phase] {
        self.phases.all()
    }

    /// What was sent in each second.
    pub fn traffic(&self) -> &[Traffic] {
        &self.traffic
    }

    /// How many events were handled.
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// A fingerprint of every packet, timer and route change so far.
    pub const fn trace_hash(&self) -> u64 {
        self.trace.value()
    }

    fn switch_on(&mut self) {
        let mut rng = random::stream(self.options.seed, random::STARTS);
        for index in (0..self.nodes.len()).map(NodeIndex) {
            let at = self.options.spread.mul_f64(random::unit(&mut rng));
            self.queue.push(at, Event::PowerOn(index));
        }
        self.phases.begin(Duration::ZERO, "start".to_owned());
        // None is reachable, and that counts from the beginning.
        self.reach.note_topology(&self.radio, |_| true);
        self.look();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deliver { to, from, bytes } => self.deliver(to, from, &bytes),
            Event::Timer(node) => self.run_timer(node),
            Event::PowerOn(node) => {
                if self.router(node).is_none() {
                    self.start(node, Inheritance::Cold);
                }
            }
            Event::Step(index) => {
                if let Some(step) = self.steps.get(index).cloned() {
                    self.take(step);
                }
            }
        }
    }

    fn deliver(&mut self, to: NodeIndex, from: NodeIndex, bytes: &[u8]) {
        self.trace.add(self.now, to.0, bytes);
        let now = self.instant();
        if let Some(router) = &mut self.node_mut(to).router {
            router.handle_packet(now, INTERFACE, from.address(), bytes);
        }
        self.drain(to);
    }

    fn run_timer(&mut self, index: NodeIndex) {
        let (now, at) = (self.instant(), self.now);
        let node = self.node_mut(index);
        if node.timer != Some(at) {
            return;
        }
        node.timer = None;
        if let Some(router) = &mut node.router {
            router.handle_timeout(now);
            if router.poll_timeout() <= now {
                self.busy_timers += 1;
            }
        }
        self.drain(index);
    }

    fn take(&mut self, step: Step) {
        self.look();
        self.phases.begin(self.now, step.label(&self.topology));
        match step.action {
            Action::Cut(a, b) => self.radio.set_cut(a, b, true),
            Action::Heal(a, b) => self.radio.set_cut(a, b, false),
            Action::Stop(node, how) => self.stop(node, how),
            Action::Start(node, how) => self.start(node, how),
            Action::Restart(node, how) => {
                self.stop(node, how);
                self.start(node, how);
            }
            Action::Announce(node, announcement) => self.announce(node, announcement),
        }
        let nodes = &self.nodes;
        self.reach.note_topology(&self.radio, |node| {
            nodes.get(node.0).is_some_and(|n| n.router.is_some())
        });
        self.look();
    }

    fn stop(&mut self, index: NodeIndex, how: Inheritance) {
        self.node_mut(index).router = None;
        if how == Inheritance::Cold {
            self.flush(index);
        }
    }

    fn flush(&mut self, index: NodeIndex) {
        for (table, prefix) in self.node_mut(index).fib.flush() {
            self.note_route(index, table, prefix);
        }
    }

    fn start(&mut self, index: NodeIndex, how: Inheritance) {
        let (now, network) = (self.instant(), self.network.clone());
        if how == Inheritance::Cold {
            self.flush(index);
        }
        self.node_mut(index)
            .start(&network, how == Inheritance::Warm, now);
        self.drain(index);
    }

    fn announce(&mut self, index: NodeIndex, announcement: mesh_proto::router::Announcement) {
        let now = self.instant();
        let node = self.node_mut(index);
        node.announcement = announcement.clone();
        if let Some(router) = &mut node.router {
            router.announce(now, announcement);
        }
        self.drain(index);
    }

    /// Does what the core of a node wants done, then checks the routes that changed, and sets
    /// the node's timer.
    fn drain(&mut self, index: NodeIndex) {
        let mut changed = Vec::new();
        while let Some(output) = self.poll_output(index) {
            match output {
                Output::Transmit(transmit) => self.transmit(index, &transmit),
                Output::Route(change) => changed.push(self.change_route(index, change)),
                Output::Event(_) => {}
            }
        }
        for (table, prefix) in changed {
            if table == Table::Mesh {
                self.check_for_cycle(index, prefix);
            }
        }
        self.set_timer(index);
    }

    fn poll_output(&mut self, index: NodeIndex) -> Option<Output> {
        self.node_mut(index).router.as_mut()?.poll_output()
    }

    fn transmit(&mut self, from: NodeIndex, transmit: &Transmit) {
        self.count(transmit.bytes.len());
        let bytes: Rc<[u8]> = transmit.bytes.as_slice().into();
        let only = transmit.to.map(NodeIndex::of_address);
        let cast = match only {
            Some(_) => Cast::Unicast,
            None => Cast::Broadcast,
        };
        for (to, direction) in self.radio.neighbors(from) {
            if only.is_some_and(|only| only != Some(to)) {
                continue;
            }
            if let Some(delay) = direction.deliver(cast, &mut self.luck) {
                let bytes = Rc::clone(&bytes);
                self.queue
                    .push(self.now + delay, Event::Deliver { to, from, bytes });
            }
        }
    }

    fn count(&mut self, bytes: usize) {
        let second = usize::try_from(self.now.as_secs()).unwrap_or(usize::MAX - 1);
        if self.traffic.len() <= second {
            self.traffic.resize(second + 1, Traffic::default());
        }
        if let Some(traffic) = self.traffic.get_mut(second) {
            traffic.packets += 1;
            traffic.bytes += bytes as u64;
        }
    }

    fn change_route(&mut self, index: NodeIndex, change: RouteChange) -> (Table, IpNet) {
        let (table, prefix) = match change {
            RouteChange::Set(route) => route.key(),
            RouteChange::Remove { table, prefix } => (table, prefix),
        };
        self.node_mut(index).fib.change(change);
        self.phases.count_route_change();
        self.note_route(index, table, prefix);
        (table, prefix)
    }

    /// Takes note of what a node's kernel now has for `prefix`.
    fn note_route(&mut self, index: NodeIndex, table: Table, prefix: IpNet) {
        if table != Table::Mesh {
            return;
        }
        let next = match self.node(index).fib.get(table, prefix) {
            Some(Target::NextHop { via, .. }) => NodeIndex::of_address(via),
            Some(Target::Tunnel { .. }) | None => None,
        };
        let told = next.map_or(u64::MAX, |next| next.0 as u64).to_le_bytes();
        self.trace.add(self.now, index.0, &told);
        self.next_hops.set(prefix, index, next);
        self.reach.note_route(prefix);
    }

    fn check_for_cycle(&mut self, index: NodeIndex, prefix: IpNet) {
        let owns = |node| self.node(node).owns(&self.network, prefix);
        let Some(nodes) = self.next_hops.cycle_through(prefix, index, owns) else {
            return;
        };
        if self.nodes().filter(|node| owns(*node)).count() > 1 {
            self.contested_cycles_seen += 1;
            return;
        }
        self.cycles_seen += 1;
        if self.cycles.len() < CYCLES_KEPT {
            self.cycles.push(Cycle {
                at: self.now,
                destination: prefix,
                nodes,
            });
        }
    }

    fn set_timer(&mut self, index: NodeIndex) {
        /// Of timers that are set to the past, so that virtual time goes on all the same.
        const LEAST: Duration = Duration::from_micros(1);
        let Some(router) = self.router(index) else {
            return;
        };
        let due = router.poll_timeout().saturating_duration_since(self.origin);
        let at = if due > self.now {
            due
        } else {
            self.now + LEAST
        };
        let node = self.node_mut(index);
        if node.timer != Some(at) {
            node.timer = Some(at);
            self.queue.push(at, Event::Timer(index));
        }
    }

    /// Looks which pairs are routed, as of now.
    fn look(&mut self) {
        self.looked_at = self.now;
        if self.reach.is_outdated() {
            let unrouted = self.reach.update(&self.next_hops, &self.radio);
            self.phases.look(self.now, unrouted);
        }
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "node indices come from the topology the nodes were made from"
    )]
    fn node_mut(&mut self, index: NodeIndex) -> &mut Node {
        &mut self.nodes[index.0]
    }
}

fn host(network: &Network, node: &Node) -> IpNet {
    IpNet::V6(Ipv6Net::from(network.mesh_ipv6(node.id())))
}
