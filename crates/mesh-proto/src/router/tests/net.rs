//! A few routers, the links between them, and virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use ipnet::IpNet;

use crate::identity::MacKey;
use crate::rib::RouteKey;
use crate::router::{Announcement, Event, Output, Start, Transmit};
use crate::wire::{KeyKind, PacketBuilder, Sealed, Sender, Tlv};
use crate::{
    IfIndex, Network, NodeId, OriginatorId, Route, RouteChange, Router, RouterConfig, Table, Target,
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
    network: Network,
    /// The routers' own addresses.
    hosts: Vec<IpNet>,
    links: BTreeSet<(usize, usize)>,
    loses: Loses,
    /// Of the next router that starts.
    epoch: u32,
    /// How many packets were injected.
    injected: u64,
}

impl Net {
    /// `n` routers without a link.
    pub(super) fn new(n: usize) -> Self {
        let mut net = Self {
            now: start_of_time(),
            routers: Vec::new(),
            fibs: vec![BTreeMap::new(); n],
            in_flight: Vec::new(),
            events: vec![Vec::new(); n],
            changes: vec![Vec::new(); n],
            sent: Vec::new(),
            network: network(),
            hosts: Vec::new(),
            links: BTreeSet::new(),
            loses: Box::new(|_, _, _| false),
            epoch: 0,
            injected: 0,
        };
        for node in 0..n {
            let router = net.router(node, Start::Cold);
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

    fn router(&mut self, node: usize, start: Start) -> Router {
        self.epoch += 1;
        let seed = self.epoch.into();
        let config = RouterConfig::new(self.network.clone(), start, self.epoch, seed);
        let mut router = Router::new(config, key(node), Announcement::default(), self.now);
        router.handle_interface_up(self.now, INTERFACE, address(node), 1500);
        router
    }

    /// Ends a router and starts another in its place.
    pub(super) fn restart(&mut self, node: usize, warm: bool) {
        let start = if warm {
            Start::Warm(self.routers[node].routes().collect())
        } else {
            self.fibs[node].clear();
            Start::Cold
        };
        self.routers[node] = self.router(node, start);
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

    pub(super) fn cut_one_way(&mut self, from: usize, to: usize) {
        self.links.remove(&(from, to));
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
    }

    pub(super) fn receive(&mut self, to: usize, from: Ipv6Addr, bytes: &[u8]) {
        self.routers[to].handle_packet(self.now, INTERFACE, from, bytes);
        self.drain(to);
    }

    /// A packet of `tlvs` arrives as if `from` had sent it, with the key of the pair or the
    /// network's.
    pub(super) fn inject(&mut self, to: usize, from: usize, key: KeyKind, tlvs: &[Tlv]) {
        self.injected += 1;
        let sender = self.routers[from].sender;
        let pair = pair_key(&self.network, from, to).filter(|_| key == KeyKind::Pair);
        let counter = 1_000_000 + self.injected;
        let source = address(from);
        let mut builder =
            PacketBuilder::new(&self.network, pair.as_ref(), sender, source, 1400, counter);
        tlvs.iter().for_each(|tlv| builder.push(tlv));
        let bytes = builder.finish().0.remove(0);
        self.receive(to, source, &bytes);
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
            if heard && !(self.loses)(from, to, &tlvs) {
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
    fn open(&self, from: usize, transmit: &Transmit) -> Vec<Tlv> {
        let sealed = Sealed::parse(&self.network, &transmit.bytes).unwrap();
        let to = transmit.to.map(|to| usize::from(to.segments()[7]) - 1);
        let pair = to.and_then(|to| pair_key(&self.network, from, to));
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

fn pair_key(network: &Network, a: usize, b: usize) -> Option<MacKey> {
    let theirs = NodeId::from_bytes(key(b).verifying_key().to_bytes());
    network.pair_key(&key(a), theirs)
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
