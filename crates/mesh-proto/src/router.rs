//! The router: a state machine without I/O.
//!
//! Feed it with `handle_*`, then take everything from [`Router::poll_output`], and call
//! [`Router::handle_timeout`] at [`Router::poll_timeout`]. The files below this one each hold one
//! concern of the same state:
//!
//! | file | concern |
//! |---|---|
//! | `receive` | packets in: one function for each kind of part |
//! | `transmit` | packets out: hellos, reports, OGMs, what is said when |
//! | `routes` | selection for each originator, and what follows for the RIB |
//! | `gateways` | which gateway is used; what a gateway needs itself |
//! | `records` | our own record and those of others |
//! | `caution` | what a start must respect of the life before it |
//! | `neighbor`, `link_quality`, `originator` | the tables' entries |
//! | `view` | the state as operators see it |

mod caution;
mod counters;
mod gateways;
mod link_quality;
mod neighbor;
mod originator;
mod receive;
mod records;
mod routes;
mod transmit;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use ipnet::IpNet;
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use crate::{GatewayOffer, IfIndex, Network, OriginatorId, Route, RouteChange, SeqNo, rib::Rib};
use caution::Caution;
pub use counters::{Counters, DropReason};
use gateways::ChosenGateway;
pub use neighbor::LinkId;
use neighbor::Neighbor;
use originator::Originator;
use records::Records;
pub use view::{GatewayView, NeighborView, OriginatorView};

/// Neighbors beyond this number are not taken up: a bound on memory that no radio reaches.
const MAX_NEIGHBORS: usize = 512;
/// Originators beyond this number are not taken up.
const MAX_ORIGINATORS: usize = 8192;
/// How often stale entries are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);
/// How long adopted routes wait to be confirmed: by then every node of a mesh in reach has sent
/// several OGMs.
const ADOPTION_TIME: Duration = Duration::from_secs(10);

/// What the router finds in the kernel when it starts.
#[derive(Clone, Debug)]
pub enum Start {
    /// Nothing of an earlier run: neighbors must forget what led through us.
    Cold,
    /// The routes of an earlier run, which go on carrying traffic: they are kept until they are
    /// confirmed or replaced, and neighbors keep theirs through us.
    Warm(Vec<Route>),
}

/// What does not change while the router runs.
#[derive(Clone, Debug)]
pub struct RouterConfig {
    /// The mesh it belongs to.
    pub network: Network,
    /// Where it starts from.
    pub start: Start,
    /// Differs from start to start.
    pub boot: u32,
    /// Seed of all jitter.
    pub seed: u64,
    /// Time between hellos.
    pub hello_interval: Duration,
    /// Time between our own OGMs.
    pub ogm_interval: Duration,
}

impl RouterConfig {
    /// The usual intervals: a silent neighbor is given up after 1.75 s on a clean link.
    pub fn new(network: Network, start: Start, boot: u32, seed: u64) -> Self {
        Self {
            network,
            start,
            boot,
            seed,
            hello_interval: Duration::from_millis(500),
            ogm_interval: Duration::from_secs(1),
        }
    }
}

/// What a node tells the mesh about itself; may change at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcement {
    /// Its name.
    pub name: String,
    /// Prefixes behind it that the mesh may reach.
    pub prefixes: Vec<IpNet>,
    /// Its uplink, while that works.
    pub gateway: Option<GatewayOffer>,
}

/// A packet to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Over which interface.
    pub ifindex: IfIndex,
    /// To which link-local address; `None` is all nodes on the link.
    pub to: Option<Ipv6Addr>,
    /// The UDP payload.
    pub bytes: Vec<u8>,
}

/// Something the driver or an operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A link works in both directions.
    NeighborUp(LinkId),
    /// A link was given up.
    NeighborDown(LinkId),
    /// An originator can be reached, where before it could not.
    OriginatorUp(OriginatorId),
    /// An originator can no longer be reached.
    OriginatorDown(OriginatorId),
    /// Traffic to the Internet goes through another gateway from now on.
    GatewayChanged {
        /// The one used before.
        from: Option<OriginatorId>,
        /// The one used now.
        to: Option<OriginatorId>,
    },
    /// The set of nodes that offer an uplink changed: it is what [`Router::gateway_addresses`]
    /// gives now.
    GatewaysChanged,
    /// A node with a lower id has our IPv4 mesh address; this is our new one.
    Ipv4Moved(Ipv4Addr),
    /// A neighbor's application has something to say.
    Payload {
        /// The neighbor.
        from: OriginatorId,
        /// The application.
        channel: u8,
        /// What it says.
        bytes: Vec<u8>,
    },
}

/// What the router wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a packet.
    Transmit(Transmit),
    /// Change the kernel's routes.
    Route(RouteChange),
    /// Take note.
    Event(Event),
}

#[derive(Debug)]
struct Interface {
    address: Ipv6Addr,
    max_packet_len: usize,
    hello_seqno: u16,
    next_hello: Instant,
    last_hello: Option<Instant>,
    /// Somebody new listens: the next hello takes everything we know along.
    greets: bool,
}

/// The routing state of one node.
#[derive(Debug)]
pub struct Router {
    config: RouterConfig,
    id: OriginatorId,
    started: Instant,
    interfaces: BTreeMap<IfIndex, Interface>,
    neighbors: BTreeMap<LinkId, Neighbor>,
    originators: BTreeMap<OriginatorId, Originator>,
    records: Records,
    rib: Rib,
    chosen_gateway: Option<ChosenGateway>,
    caution: Caution,
    seqno: SeqNo,
    next_ogm: Instant,
    next_sweep: Instant,
    /// Originators of which something must be said, and by when.
    pending_ogms: BTreeSet<OriginatorId>,
    /// Nodes whose record must be passed on.
    pending_records: BTreeSet<OriginatorId>,
    flush_at: Option<Instant>,
    rng: ChaCha8Rng,
    counters: Counters,
    outputs: VecDeque<Output>,
}

impl Router {
    /// A router for the node that `key` identifies. It says nothing until it is given an
    /// interface.
    pub fn new(
        config: RouterConfig,
        key: SigningKey,
        announcement: Announcement,
        now: Instant,
    ) -> Self {
        let records = Records::new(config.network.clone(), key, announcement);
        let mut rib = Rib::default();
        if let Start::Warm(routes) = &config.start {
            rib.adopt(routes.iter().copied());
        }
        let mut router = Self {
            id: records.own().originator(),
            started: now,
            interfaces: BTreeMap::new(),
            neighbors: BTreeMap::new(),
            originators: BTreeMap::new(),
            records,
            rib,
            chosen_gateway: None,
            caution: Caution::new(&config),
            seqno: SeqNo::new(0),
            next_ogm: now,
            next_sweep: now + SWEEP_INTERVAL,
            pending_ogms: BTreeSet::new(),
            pending_records: BTreeSet::new(),
            flush_at: None,
            rng: ChaCha8Rng::seed_from_u64(config.seed),
            counters: Counters::default(),
            outputs: VecDeque::new(),
            config,
        };
        router.settle_own_claims();
        router
    }

    /// An interface of the mesh is ready: it is up, and packets are sent from `link_local`. `mtu`
    /// is that of the link, in bytes. Said again when either changes.
    pub fn handle_interface_up(
        &mut self,
        now: Instant,
        ifindex: IfIndex,
        link_local: Ipv6Addr,
        mtu: u32,
    ) {
        /// IPv6 and UDP headers.
        const HEADERS: usize = 40 + 8;
        let mtu = usize::try_from(mtu.max(1280)).unwrap_or(1280);
        let max_packet_len = mtu - HEADERS;
        self.interfaces
            .entry(ifindex)
            .and_modify(|interface| {
                interface.address = link_local;
                interface.max_packet_len = max_packet_len;
            })
            .or_insert(Interface {
                address: link_local,
                max_packet_len,
                hello_seqno: 0,
                next_hello: now,
                last_hello: None,
                greets: false,
            });
        self.caution.begin(now);
    }

    /// An interface is gone or unusable: all its links are.
    pub fn handle_interface_down(&mut self, now: Instant, ifindex: IfIndex) {
        if self.interfaces.remove(&ifindex).is_none() {
            return;
        }
        let links: Vec<_> = self
            .neighbors
            .keys()
            .filter(|link| link.ifindex == ifindex)
            .copied()
            .collect();
        for link in links {
            self.drop_neighbor(now, link);
        }
    }

    /// Time has come to [`Router::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        let lost: Vec<_> = self
            .neighbors
            .iter()
            .filter(|(_, n)| n.is_lost(now))
            .map(|(link, _)| *link)
            .collect();
        for link in lost {
            self.drop_neighbor(now, link);
        }
        if self.caution.end_listening(now) {
            self.choose_first_routes(now);
        }
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP_INTERVAL;
            self.sweep(now);
        }
        self.transmit_due(now);
    }

    /// When [`Router::handle_timeout`] wants to be called next.
    pub fn poll_timeout(&self) -> Instant {
        let hellos = self
            .interfaces
            .values()
            .map(|interface| interface.next_hello);
        let neighbors = self.neighbors.values().map(Neighbor::deadline);
        // Without an interface there is nobody to say anything to.
        let can_send = !self.interfaces.is_empty();
        hellos
            .chain(neighbors)
            .chain(self.caution.deadline())
            .chain(Some(self.next_ogm).filter(|_| can_send))
            .chain(self.flush_at.filter(|_| can_send))
            .fold(self.next_sweep, Instant::min)
    }

    /// The next thing to do, in order; `None` when there is nothing until the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        for change in self.rib.take_changes() {
            self.outputs.push_back(Output::Route(change));
        }
        self.outputs.pop_front()
    }

    /// Changes what we tell the mesh about ourselves.
    pub fn announce(&mut self, now: Instant, announcement: Announcement) {
        let was_gateway = self.is_gateway();
        if !self.records.announce(announcement) {
            return;
        }
        if was_gateway != self.is_gateway() {
            self.event(Event::GatewaysChanged);
        }
        self.pending_records.insert(self.id);
        self.flush_by(now);
        self.settle_own_claims();
        self.settle_all_claims();
        self.choose_gateway(now);
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Looks for what became stale without an event of its own.
    fn sweep(&mut self, now: Instant) {
        if now >= self.started + ADOPTION_TIME && self.rib.has_adopted() {
            self.rib.purge_adopted();
        }
        let links: Vec<_> = self.neighbors.keys().copied().collect();
        for link in links {
            self.settle_link(now, link);
        }
        self.expire_originators(now);
        self.request_missing_records(now);
        self.choose_gateway(now);
    }
}

#[cfg(test)]
mod tests;
