//! A few routers, the links between them, and virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use ipnet::IpNet;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::identity::MacKey;
use crate::rib::RouteKey;
use crate::router::neighbor::LinkId;
use crate::router::{Announcement, DropReason, Event, Output, Start, Transmit};
use crate::wire::{KeyKind, Ogm, PacketBuilder, Sealed, Sender, Tlv, Update};
use crate::{
    IfIndex, Network, NodeId, OriginatorId, Route, RouteChange, Router, RouterConfig, Table,
    Target, Tunnels,
};

pub(super) const INTERFACE: IfIndex = IfIndex(1);
const DELAY: Duration = Duration::from_millis(1);

pub(super) fn network() -> Network {
    Network::new("village")
}

pub(super) fn key(node: usize) -> SigningKey {
    SigningKey::from_bytes(&[node as u8 + 1; 32])
}

pub(super) fn address(node: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, node as u16 + 1)
}

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[expect(clippy::disallowed_methods, reason = "the start of virtual time")]
fn start_of_time() -> Instant {
    Instant::now()
}

/// A packet on its way.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub(super) due: Instant,
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) bytes: Vec<u8>,
}

/// Decides whether a packet, from and to these nodes, with these parts, is lost.
type Loses = Box<dyn FnMut(usize, usize, &[Tlv]) -> bool>;

/// A radio that loses packets by chance. It repeats unicasts three times, broadcasts never.
struct Radio {
    rng: ChaCha8Rng,
    loss: f64,
}

impl Radio {
    fn loses(&mut self, unicast: bool) -> bool {
        let loss = if unicast {
            self.loss.powi(4)
        } else {
            self.loss
        };
        f64::from(self.rng.next_u32()) < loss * f64::from(u32::MAX)
    }
}

pub(super) struct Net {
    pub(super) now: Instant,
    pub(super) routers: Vec<Router>,
    pub(super) fibs: Vec<BTreeMap<RouteKey, Target>>,
    pub(super) in_flight: Vec<InFlight>,
    /// What each router said happened.
    pub(super) events: Vec<Vec<Event>>,
    /// All changes to each router's routes.
    pub(super) changes: Vec<Vec<RouteChange>>,
    /// Every part that was sent, and by whom.
    pub(super) sent: Vec<(usize, Tlv)>,
    /// Every packet that was received.
    pub(super) tape: Vec<InFlight>,
    /// The tunnels that each router can end from its next start on.
    pub(super) tunnels: Vec<Tunnels>,
    network: Network,
    /// The routers' keys.
    keys: Vec<SigningKey>,
    pair_keys: BTreeMap<(usize, usize), MacKey>,
    /// The routers' own addresses.
    hosts: Vec<IpNet>,
    links: BTreeSet<(usize, usize)>,
    loses: Loses,
    radio: Option<Radio>,
    /// Of the last router that started.
    epoch: u32,
}

impl Net {
    /// `n` routers without a link.
    pub(super) fn new(n: usize) -> Self {
        Self::with_keys((0..n).map(key).collect())
    }

    /// A router for each of these keys, without a link.
    pub(super) fn with_keys(keys: Vec<SigningKey>) -> Self {
        let n = keys.len();
        let mut net = Self {
            now: start_of_time(),
            routers: Vec::new(),
            fibs: vec![BTreeMap::new(); n],
            in_flight: Vec::new(),
            events: vec![Vec::new(); n],
            changes: vec![Vec::new(); n],
            sent: Vec::new(),
            tape: Vec::new(),
            tunnels: vec![Tunnels::VXLAN; n],
            network: network(),
            keys,
            pair_keys: BTreeMap::new(),
            hosts: Vec::new(),
            links: BTreeSet::new(),
            loses: Box::new(|_, _, _| false),
            radio: None,
            epoch: 0,
        };
        for node in 0..n {
            net.epoch += 1;
            let router = net.router(node, Start::Cold, net.epoch);
            net.hosts.push(host(router.id()));
            net.routers.push(router);
            net.drain(node);
        }
        net
    }

    /// `n` routers in a row that have known each other for a while.
    pub(super) fn line(n: usize) -> Self {
        let mut net = Self::new(n);
        (1..n).for_each(|node| net.link(node - 1, node));
        net.run(ms(30_000));
        net
    }

    /// `n` routers in a circle that have known each other for a while.
    pub(super) fn ring(n: usize) -> Self {
        let mut net = Self::new(n);
        (0..n).for_each(|node| net.link(node, (node + 1) % n));
        net.run(ms(30_000));
        net
    }

    fn router(&mut self, node: usize, start: Start, epoch: u32) -> Router {
        // Different in every life, also in one that does not know how many there were.
        let seed = u64::from(self.epoch) << 32 | u64::from(epoch);
        let config = RouterConfig {
            tunnels: self.tunnels[node],
            ..RouterConfig::new(self.network.clone(), start, epoch, seed)
        };
        let key = self.keys[node].clone();
        let mut router = Router::new(config, key, Announcement::default(), self.now);
        router.handle_interface_up(self.now, INTERFACE, address(node), 1500);
        router
    }

    /// Ends a router and starts another in its place.
    pub(super) fn restart(&mut self, node: usize, warm: bool) {
        self.restart_in_epoch(node, warm, None);
    }

    /// The same with an epoch that may have been before; by default a new one.
    pub(super) fn restart_in_epoch(&mut self, node: usize, warm: bool, epoch: Option<u32>) {
        let start = if warm {
            Start::Warm(self.routers[node].routes().collect())
        } else {
            self.fibs[node].clear();
            Start::Cold
        };
        self.epoch += 1;
        // Lives that had forgotten theirs may have gone on in an epoch of their own.
        self.epoch = self.epoch.max(self.routers[node].epoch() + 1);
        self.routers[node] = self.router(node, start, epoch.unwrap_or(self.epoch));
        self.drain(node);
    }

    pub(super) fn link(&mut self, a: usize, b: usize) {
        self.links.extend([(a, b), (b, a)]);
    }

    pub(super) fn link_one_way(&mut self, from: usize, to: usize) {
        self.links.insert((from, to));
    }

    pub(super) fn cut(&mut self, a: usize, b: usize) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    /// Makes or cuts a link.
    pub(super) fn toggle(&mut self, a: usize, b: usize) {
        match self.links.contains(&(a, b)) {
            true => self.cut(a, b),
            false => self.link(a, b),
        }
    }

    pub(super) fn cut_one_way(&mut self, from: usize, to: usize) {
        self.links.remove(&(from, to));
    }

    /// Every packet is lost with this chance, unicasts with its fourth power.
    pub(super) fn set_radio(&mut self, seed: u64, loss: f64) {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        self.radio = Some(Radio { rng, loss });
    }

    pub(super) fn lose(&mut self, loses: impl FnMut(usize, usize, &[Tlv]) -> bool + 'static) {
        self.loses = Box::new(loses);
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Lets time pass until `done`. Returns how long it took; fails after `limit`.
    pub(super) fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Duration {
        let start = self.now;
        while !done(self) {
            assert!(self.now < start + limit, "not within {limit:?}");
            self.run(ms(1));
        }
        self.now - start
    }

    /// Lets time pass while traffic flows between each two of these.
    pub(super) fn run_with_traffic(&mut self, time: Duration, flows: &[(usize, usize)]) {
        let end = self.now + time;
        while self.now < end {
            for (a, b) in flows {
                self.carry(*a, *b);
                self.carry(*b, *a);
            }
            self.run(ms(500).min(end - self.now));
        }
    }

    /// A packet goes from `start` as far towards `destination` as the kernels take it.
    pub(super) fn carry(&mut self, start: usize, destination: usize) {
        let mut here = start;
        while let Some(next) = self.next_hop(here, destination) {
            let now = self.now;
            self.routers[here].handle_carrying(now, INTERFACE, address(next));
            self.drain(here);
            self.routers[next].handle_carrying(now, INTERFACE, address(here));
            self.drain(next);
            here = next;
        }
    }

    /// Handles what comes next until `end`, if anything does.
    fn step(&mut self, end: Instant) -> bool {
        let timers = self.routers.iter().map(Router::poll_timeout);
        let timer = timers.enumerate().min_by_key(|(_, at)| *at).unwrap();
        let packet = self.in_flight.iter().enumerate().min_by_key(|(_, p)| p.due);
        let packet = packet.map(|(i, p)| (i, p.due));
        match packet.filter(|(_, due)| *due <= timer.1) {
            Some((i, due)) if due <= end => {
                self.now = self.now.max(due);
                let packet = self.in_flight.remove(i);
                self.deliver(packet);
                true
            }
            None if timer.1 <= end => {
                self.now = self.now.max(timer.1);
                self.run_timer(timer.0);
                true
            }
            _ => false,
        }
    }

    pub(super) fn run_timer(&mut self, node: usize) {
        self.routers[node].handle_timeout(self.now);
        assert!(self.routers[node].poll_timeout() > self.now, "spins");
        self.drain(node);
    }

    pub(super) fn deliver(&mut self, packet: InFlight) {
        self.receive(packet.to, address(packet.from), &packet.bytes);
        self.tape.push(packet);
    }

    pub(super) fn receive(&mut self, to: usize, from: Ipv6Addr, bytes: &[u8]) {
        self.routers[to].handle_packet(self.now, INTERFACE, from, bytes);
        self.drain(to);
    }

    /// Packets of `tlvs` arrive as if `from` had sent them, with the key of the pair or the
    /// network's.
    pub(super) fn inject(&mut self, to: usize, from: usize, key: KeyKind, tlvs: &[Tlv]) {
        let pair = match key {
            KeyKind::Network => None,
            KeyKind::Pair => self.pair_key(from, to),
        };
        let (sender, sent) = (self.routers[from].sender, self.routers[from].sent);
        let source = address(from);
        let mut builder =
            PacketBuilder::new(&self.network, pair.as_ref(), sender, source, 1400, sent);
        tlvs.iter().for_each(|tlv| builder.push(tlv));
        let (packets, sent) = builder.finish();
        self.routers[from].sent = sent;
        for bytes in packets {
            self.receive(to, source, &bytes);
        }
    }

    /// `from` says these, as changes that follow on what `to` has heard of it.
    pub(super) fn say(&mut self, to: usize, from: usize, ogms: &[Ogm]) {
        let link = self.link_id(from);
        for ogms in ogms.chunks(30) {
            let since = self.routers[to].neighbors[&link].feed.since();
            let update = Update {
                from: since,
                to: since + 1,
                ogms: ogms.to_vec(),
            };
            self.inject(to, from, KeyKind::Network, &[Tlv::Update(update)]);
        }
    }

    /// Carries out what a router wants done. No change of routes may close a circle.
    pub(super) fn drain(&mut self, node: usize) {
        let changes = self.changes[node].len();
        while let Some(output) = self.routers[node].poll_output() {
            match output {
                Output::Transmit(transmit) => self.transmit(node, &transmit),
                Output::Route(change) => self.change(node, change),
                Output::Event(event) => self.events[node].push(event),
            }
        }
        if self.changes[node].len() != changes {
            self.assert_no_loop();
        }
    }

    fn transmit(&mut self, from: usize, transmit: &Transmit) {
        let tlvs = self.open(from, transmit);
        self.sent.extend(tlvs.iter().map(|tlv| (from, tlv.clone())));
        for to in 0..self.fibs.len() {
            let addressed = transmit.to.is_none_or(|only| only == address(to));
            let heard = addressed && self.links.contains(&(from, to));
            let unicast = transmit.to.is_some();
            let fades = |radio: &mut Radio| radio.loses(unicast);
            if heard && !(self.loses)(from, to, &tlvs) && !self.radio.as_mut().is_some_and(fades) {
                self.in_flight.push(InFlight {
                    due: self.now + DELAY,
                    from,
                    to,
                    bytes: transmit.bytes.clone(),
                });
            }
        }
    }

    /// What a packet says.
    fn open(&mut self, from: usize, transmit: &Transmit) -> Vec<Tlv> {
        let sealed = Sealed::parse(&self.network, &transmit.bytes).unwrap();
        let to = transmit.to.map(|to| usize::from(to.segments()[7]) - 1);
        let to = to.filter(|to| *to < self.keys.len());
        let pair = to.and_then(|to| self.pair_key(from, to));
        let key = match sealed.header().key {
            KeyKind::Network => self.network.key(),
            KeyKind::Pair => pair.as_ref().unwrap(),
        };
        sealed.open(key, address(from)).unwrap()
    }

    fn change(&mut self, node: usize, change: RouteChange) {
        self.changes[node].push(change);
        match change {
            RouteChange::Set(route) => {
                self.fibs[node].insert(route.key(), route.target);
            }
            RouteChange::Remove { table, prefix } => {
                let removed = self.fibs[node].remove(&(table, prefix));
                assert!(removed.is_some(), "{prefix} is not in the kernel");
            }
        }
    }

    /// The key that two routers share.
    fn pair_key(&mut self, a: usize, b: usize) -> Option<MacKey> {
        if !self.pair_keys.contains_key(&(a, b)) {
            let theirs = NodeId::from_bytes(self.keys[b].verifying_key().to_bytes());
            let key = self.network.pair_key(&self.keys[a], theirs)?;
            self.pair_keys.insert((a, b), key);
        }
        self.pair_keys.get(&(a, b)).cloned()
    }

    /// What every router calls its link to this one.
    pub(super) fn link_id(&self, to: usize) -> LinkId {
        LinkId {
            ifindex: INTERFACE,
            neighbor: self.id(to),
        }
    }

    /// The link between two routers falls silent, and both give it up at this moment.
    pub(super) fn give_up(&mut self, a: usize, b: usize) {
        self.cut(a, b);
        for (here, there) in [(a, b), (b, a)] {
            let link = self.link_id(there);
            self.routers[here].lose_neighbor(self.now, link);
            self.routers[here].announce_moved_traffic(self.now);
            self.drain(here);
        }
    }

    /// How often a router dropped something for this reason.
    pub(super) fn drops(&self, node: usize, reason: DropReason) -> u64 {
        let counters = self.routers[node].counters();
        counters.drops.get(&reason).copied().unwrap_or_default()
    }

    /// How many parts like this were sent by `node`.
    pub(super) fn count_sent(&self, node: usize, is_like: impl Fn(&Tlv) -> bool) -> usize {
        let by_node = self.sent.iter().filter(|(from, _)| *from == node);
        by_node.filter(|(_, tlv)| is_like(tlv)).count()
    }

    /// Whether every router has a route to every other.
    pub(super) fn is_whole(&self) -> bool {
        let nodes = 0..self.routers.len();
        nodes.clone().all(|here| {
            let mut others = nodes.clone().filter(|there| *there != here);
            others.all(|there| self.next_hop(here, there).is_some())
        })
    }

    pub(super) fn id(&self, node: usize) -> OriginatorId {
        self.routers[node].id()
    }

    /// The neighbor through which the kernel of `node` reaches `destination`.
    pub(super) fn next_hop(&self, node: usize, destination: usize) -> Option<usize> {
        let prefix = self.hosts[destination];
        match self.fibs[node].get(&(Table::Mesh, prefix))? {
            Target::NextHop { via, .. } => Some(usize::from(via.segments()[7]) - 1),
            Target::Tunnel { .. } => panic!("a tunnel in the mesh table"),
        }
    }

    /// Follows the kernels' routes; fails if they lead in a circle.
    fn assert_no_loop(&self) {
        for destination in 0..self.routers.len() {
            for start in 0..self.routers.len() {
                let mut path = vec![start];
                let mut here = start;
                while let Some(next) = self.next_hop(here, destination) {
                    assert!(!path.contains(&next), "to {destination}: {path:?} → {next}");
                    path.push(next);
                    here = next;
                }
            }
        }
    }

    /// The two of these nodes in order of their ids.
    pub(super) fn by_id(&self, a: usize, b: usize) -> (usize, usize) {
        if self.id(a) < self.id(b) {
            (a, b)
        } else {
            (b, a)
        }
    }
}

pub(super) fn host(id: OriginatorId) -> IpNet {
    IpNet::from(std::net::IpAddr::V6(network().mesh_ipv6(id)))
}

/// A packet to everybody.
pub(super) fn packet(network: &Network, sender: Sender, source: Ipv6Addr, tlvs: &[Tlv]) -> Vec<u8> {
    let mut builder = PacketBuilder::new(network, None, sender, source, 1400, 1);
    tlvs.iter().for_each(|tlv| builder.push(tlv));
    builder.finish().0.remove(0)
}

pub(super) fn route(prefix: IpNet, via: usize) -> Route {
    Route {
        table: Table::Mesh,
        prefix,
        target: Target::NextHop {
            via: address(via),
            ifindex: INTERFACE,
        },
        backup: None,
    }
}
