//! The router: a state machine without I/O.
//!
//! Feed it with `handle_*`, then take everything from [`Router::poll_output`], and call
//! [`Router::handle_timeout`] at [`Router::poll_timeout`]. The files below this one each hold one
//! concern of the same state:
//!
//! | file | concern |
//! |---|---|
//! | `receive` | packets in: from whom, how fresh, one function for each kind of part |
//! | `transmit` | packets out: hellos and news, what is said when |
//! | `sync` | OGMs: keeping neighbors up to date, and being kept |
//! | `routes` | selection for each originator, and what follows for the RIB |
//! | `afar` | questions of nodes that need not be neighbors, and answers to them |
//! | `requests` | newer sequence numbers asked for, links watched, traffic announced |
//! | `gateways` | which gateways are used |
//! | `prices` | what it costs to be carried to the Internet, and what we take for it |
//! | `marks` | which flows belong to which gateway |
//! | `records` | our own record and those of others |
//! | `map` | our own entry in the map of the mesh, and those of others |
//! | `caution` | what a start must respect of the life before it |
//! | `neighbor`, `originator` | the tables' entries |
//! | `link_quality`, `liveness`, `station`, `feed`, `replay` | of a neighbor: how well it is heard, whether it lives, what its radio's driver knows, how much of what it says arrived, what is a recording |
//! | `book` | everything we said, by version |
//! | `budget` | how much news may be sent |
//! | `versions` | nodes near us that speak another version of the protocol |
//! | `view` | the state as operators see it |

mod afar;
mod book;
mod budget;
mod caution;
mod counters;
mod feed;
mod gateways;
mod link_quality;
mod liveness;
mod map;
mod marks;
mod neighbor;
mod originator;
mod prices;
mod receive;
mod records;
mod replay;
mod requests;
mod routes;
mod station;
mod sync;
mod transmit;
mod versions;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use ipnet::IpNet;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::gateway_policy::Policy;
use crate::record::MIN_MTU;
use crate::rib::Rib;
use crate::route_selection::FeasibilityDistance;
use crate::wire::{EchoReply, OgmIndex, Sender, ThroughputAnswer, ThroughputRequest, Tlv};
use crate::{
    GatewayOffer, IfIndex, Network, OriginatorId, Price, Route, RouteChange, SeqNo, Tunnels,
};
use afar::Courtesy;
use book::{Book, Said};
use budget::Budget;
use caution::Caution;
pub use counters::{Counters, DropReason};
use gateways::SelectedGateways;
use map::Map;
use marks::Marks;
pub use neighbor::LinkId;
use neighbor::Neighbor;
use originator::Originator;
use records::Records;
use replay::Replays;
pub use station::StationReport;
use sync::Waiting;
pub use versions::OtherVersion;
use versions::OtherVersions;
pub use view::{GatewayView, NeighborView, OriginatorView};

/// How long the radio of a neighbor is not heard when one of its beacons is missed: 802.11s sends
/// one every 1.024 s, an ad hoc cell ten times as many.
const BEACON_MISSED: Duration = Duration::from_millis(1200);
/// Neighbors beyond this number are not taken up: a bound on memory that no radio reaches.
const MAX_NEIGHBORS: usize = 512;
/// Originators beyond this number are not taken up: each has an index, and so have we.
const MAX_ORIGINATORS: usize = OgmIndex::LIMIT as usize - 1;
/// How often stale entries are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// By how much that may be late, if nothing else happens sooner and nothing waits for it: each wake
/// of an idle router costs more than what it does.
const SWEEP_SLACK: Duration = Duration::from_secs(2);
/// How often the whole table of originators is looked through.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(5);
/// How long adopted routes wait to be confirmed: by then every neighbor in reach has said what
/// it knows.
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
    /// How often the node was started: higher than at any start before, kept on disk. If it is
    /// not, neighbors tell, and it is raised ([`Event::EpochBegun`]).
    pub epoch: u32,
    /// Seed of all jitter, and what tells this start from others.
    pub seed: u64,
    /// The tunnels it can end.
    pub tunnels: Tunnels,
}

impl RouterConfig {
    /// A router of `network` with tunnels of VXLAN.
    pub const fn new(network: Network, start: Start, epoch: u32, seed: u64) -> Self {
        Self {
            network,
            start,
            epoch,
            seed,
            tunnels: Tunnels::VXLAN,
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
    /// What it takes for carrying to and from the Internet. Neighbors learn it from the prices of
    /// routes.
    pub fee: Price,
}

/// A packet to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Over which interface.
    pub ifindex: IfIndex,
    /// To which link-local address, or mesh address of a node that need not be on the link: then from our own
    /// mesh address. `None` is all nodes on the link.
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
    /// A neighbor that was asked does not answer. What its radio's driver knows of it
    /// ([`Router::handle_station`]) is worth more now than otherwise.
    NeighborSilent(LinkId),
    /// An originator can be reached, where before it could not.
    OriginatorUp(OriginatorId),
    /// An originator can no longer be reached.
    OriginatorDown(OriginatorId),
    /// Another node says something else about itself: [`Router::record`] has it.
    NodeChanged(OriginatorId),
    /// Traffic to the Internet goes through another gateway from now on: that of IPv4, or of IPv6
    /// if nobody carries IPv4.
    GatewayChanged {
        /// The one used before.
        from: Option<OriginatorId>,
        /// The one used now.
        to: Option<OriginatorId>,
    },
    /// The set of nodes that offer an uplink changed: it is what [`Router::gateway_addresses`]
    /// gives now.
    GatewaysChanged,
    /// The node is in this epoch now, because others remember a later one than it was started
    /// with, or because it has used up the numbers of the one before. It is to be kept on disk.
    EpochBegun(u32),
    /// Another node has our key: whichever it is, one of them has to get a key of its own.
    DuplicateIdentity,
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
    /// A node replies to an echo ([`Router::send_echo`]), or another one does in its place.
    EchoReply {
        /// The node that replies.
        from: OriginatorId,
        /// What it says.
        reply: EchoReply,
    },
    /// A node asks to measure what there is between us. [`Router::answer_throughput`] is for the answer.
    ThroughputRequest {
        /// The node that asks.
        from: OriginatorId,
        /// What it asks for.
        request: ThroughputRequest,
    },
    /// A node answers [`Router::request_throughput`], or another one does in its place.
    ThroughputAnswer {
        /// The node that answers.
        from: OriginatorId,
        /// What it says.
        answer: ThroughputAnswer,
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
    mtu: u16,
    /// What the medium promises to everybody on it, bit/s.
    speed: Option<u64>,
    hello_seqno: u16,
    next_hello: Instant,
    /// What the next hello will promise.
    hello_interval: Duration,
    /// What the last hello promised.
    promised: Duration,
    /// How many hellos are to come sooner than promised.
    echoes: u8,
    /// How many of the next hellos say how neighbors are heard.
    reports_due: u8,
}

impl Interface {
    /// The longest UDP payload that goes in one piece, in bytes.
    fn max_packet_len(&self) -> usize {
        /// IPv6 and UDP headers.
        const HEADERS: usize = 40 + 8;
        usize::from(self.mtu) - HEADERS
    }
}

/// The routing state of one node.
#[derive(Debug)]
pub struct Router {
    config: RouterConfig,
    id: OriginatorId,
    sender: Sender,
    /// The counter of the last packet sent.
    sent: u64,
    started: Instant,
    interfaces: BTreeMap<IfIndex, Interface>,
    /// From where packets were ever sent.
    own_addresses: BTreeSet<Ipv6Addr>,
    neighbors: BTreeMap<LinkId, Neighbor>,
    /// Those given up, and when.
    lost_neighbors: BTreeMap<LinkId, Instant>,
    /// What neighbors that were restarted offered before, until they are neighbors again.
    pasts: BTreeMap<LinkId, (Instant, Vec<(OriginatorId, FeasibilityDistance)>)>,
    /// Also of those who are no neighbors any longer.
    replays: BTreeMap<LinkId, Replays>,
    /// Nodes that were written to without being neighbors, and when.
    introductions: BTreeMap<LinkId, Instant>,
    originators: BTreeMap<OriginatorId, Originator>,
    records: Records,
    map: Map,
    /// OGMs whose record is still missing.
    waiting: BTreeMap<(OriginatorId, LinkId), Waiting>,
    rib: Rib,
    gateway_policy: Policy,
    gateways_in_use: SelectedGateways,
    /// What we add to the price of a route.
    fee: Price,
    marks: Marks,
    caution: Caution,
    seqno: SeqNo,
    leaving: bool,
    own_said: Option<Said>,
    book: Book,
    budget: Budget,
    next_ogm: Instant,
    next_sweep: Instant,
    next_expiry: Instant,
    /// When our own record was last found to be behind one of an earlier life.
    caught_up_at: Option<Instant>,
    /// How often it was.
    caught_up: u32,
    /// When another node with our key was last noticed.
    double_seen: Option<Instant>,
    /// Originators of which something must be said.
    pending_ogms: BTreeSet<OriginatorId>,
    /// Nodes whose record must be passed on.
    pending_records: BTreeSet<OriginatorId>,
    flush_at: Option<Instant>,
    /// Originators for which there may soon be a better route.
    contested: BTreeSet<OriginatorId>,
    /// Originators with a backup the RIB does not know yet, and when to tell it.
    new_backups: BTreeMap<OriginatorId, Instant>,
    /// Originators without a feasible route, and when to ask for one.
    requests: BTreeMap<OriginatorId, Instant>,
    /// Requests that the present event causes, by whom they go to.
    gathered_requests: BTreeMap<LinkId, Vec<Tlv>>,
    /// Requests made since the last sweep without need.
    lazy_requests: u32,
    /// Nodes that were suspected to be dead, and when.
    suspected: BTreeMap<OriginatorId, Instant>,
    /// Originators whose traffic has just taken another way.
    moved: BTreeSet<OriginatorId>,
    courtesy: Courtesy,
    other_versions: OtherVersions,
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
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let network = config.network.clone();
        let fee = announcement.fee;
        let records = Records::new(
            (network, config.tunnels),
            key,
            announcement,
            (config.epoch, rng.next_u64()),
        );
        let mut rib = Rib::default();
        let mut marks = Marks::default();
        if let Start::Warm(routes) = &config.start {
            rib.adopt(routes.iter().copied());
            marks = Marks::adopted(routes);
        }
        let id = records.own().originator();
        let mut router = Self {
            id,
            sender: Sender {
                id,
                epoch: config.epoch,
                warm: matches!(config.start, Start::Warm(_)),
            },
            sent: 0,
            started: now,
            interfaces: BTreeMap::new(),
            own_addresses: BTreeSet::new(),
            neighbors: BTreeMap::new(),
            lost_neighbors: BTreeMap::new(),
            pasts: BTreeMap::new(),
            replays: BTreeMap::new(),
            introductions: BTreeMap::new(),
            originators: BTreeMap::new(),
            records,
            map: Map::default(),
            waiting: BTreeMap::new(),
            rib,
            gateway_policy: Policy::default(),
            gateways_in_use: SelectedGateways::none(now),
            fee,
            marks,
            caution: Caution::new(&config.start),
            seqno: SeqNo::new(config.epoch << records::EPOCH_BITS),
            leaving: false,
            own_said: None,
            book: Book::default(),
            budget: Budget::new(now),
            next_ogm: now,
            next_sweep: now + SWEEP_INTERVAL,
            next_expiry: now + EXPIRY_INTERVAL,
            caught_up_at: None,
            caught_up: 0,
            double_seen: None,
            pending_ogms: BTreeSet::new(),
            pending_records: BTreeSet::new(),
            flush_at: None,
            contested: BTreeSet::new(),
            new_backups: BTreeMap::new(),
            requests: BTreeMap::new(),
            gathered_requests: BTreeMap::new(),
            lazy_requests: 0,
            suspected: BTreeMap::new(),
            moved: BTreeSet::new(),
            courtesy: Courtesy::new(now),
            other_versions: OtherVersions::default(),
            rng,
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
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX).max(MIN_MTU);
        self.own_addresses.insert(link_local);
        self.interfaces
            .entry(ifindex)
            .and_modify(|interface| {
                interface.address = link_local;
                interface.mtu = mtu;
            })
            .or_insert(Interface {
                address: link_local,
                mtu,
                speed: None,
                hello_seqno: 0,
                next_hello: now,
                hello_interval: transmit::FIRST_HELLO_INTERVAL,
                promised: transmit::FIRST_HELLO_INTERVAL,
                echoes: 0,
                reports_due: 0,
            });
        self.caution.begin(now);
        self.announce_mtu(now);
    }

    /// What the medium of an interface promises to everybody on it, bit/s: the speed of a wire.
    pub fn handle_speed(&mut self, now: Instant, ifindex: IfIndex, bps: Option<u64>) {
        if let Some(interface) = self.interfaces.get_mut(&ifindex) {
            interface.speed = bps;
        }
        for link in self.links_on(ifindex) {
            self.set_speed(now, link, bps);
        }
    }

    /// What the driver knows of a neighbor, by its link-local address. A radio that is silent
    /// although it should send beacons is reason to ask; one that is heard proves nothing of the
    /// daemon behind it. Frames that it gave up confirm a silence, and never mean one by themselves.
    pub fn handle_station(
        &mut self,
        now: Instant,
        ifindex: IfIndex,
        address: Ipv6Addr,
        report: StationReport,
    ) {
        let Some(link) = self.link_to(ifindex, address) else {
            return;
        };
        let Some(neighbor) = self.neighbors.get_mut(&link) else {
            return;
        };
        let gave_up = neighbor.station.take_in(now, report);
        let throughput = neighbor.station.throughput_bps();
        if let Some(inactive) = report.inactive {
            if inactive > BEACON_MISSED {
                neighbor.liveness.doubt(now);
            }
            if gave_up {
                neighbor.liveness.confirm_silence(now, inactive);
            }
            self.watch_neighbor(now, link);
        }
        // What a driver does not know, or no longer does, is what the medium promises.
        self.set_speed(now, link, throughput.or(self.speed(ifindex)));
    }

    /// Traffic flows to or from a neighbor: it is watched for the next seconds.
    pub fn handle_carrying(&mut self, now: Instant, ifindex: IfIndex, address: Ipv6Addr) {
        if let Some(link) = self.link_to(ifindex, address)
            && let Some(neighbor) = self.neighbors.get_mut(&link)
        {
            neighbor.liveness.carry(now);
            self.watch_neighbor(now, link);
            self.announce_moved_traffic(now);
        }
    }

    /// The kernel cannot resolve a neighbor's address any longer. That alone decides nothing, but
    /// it is reason enough to look.
    pub fn handle_neighbor_failed(&mut self, now: Instant, ifindex: IfIndex, address: Ipv6Addr) {
        self.handle_carrying(now, ifindex, address);
    }

    /// A neighbor's kernel says that no daemon runs there. What it forwards it still forwards, so
    /// it is waited for a while: its daemon may just be restarted.
    pub fn handle_refusal(&mut self, now: Instant, ifindex: IfIndex, address: Ipv6Addr) {
        if let Some(link) = self.link_to(ifindex, address)
            && let Some(neighbor) = self.neighbors.get_mut(&link)
        {
            neighbor.liveness.excuse(now);
        }
    }

    fn set_speed(&mut self, now: Instant, link: LinkId, bps: Option<u64>) {
        if let Some(neighbor) = self.neighbors.get_mut(&link)
            && neighbor.speed != bps
        {
            neighbor.speed = bps;
            self.settle_link(now, link);
            self.send_gathered_requests(now);
        }
    }

    fn speed(&self, ifindex: IfIndex) -> Option<u64> {
        self.interfaces.get(&ifindex)?.speed
    }

    fn link_to(&self, ifindex: IfIndex, address: Ipv6Addr) -> Option<LinkId> {
        let mut links = self.neighbors.iter();
        let found = links.find(|(link, it)| link.ifindex == ifindex && it.address == address);
        found.map(|(link, _)| *link)
    }

    fn links_on(&self, ifindex: IfIndex) -> Vec<LinkId> {
        let links = self.neighbors.keys().filter(|link| link.ifindex == ifindex);
        links.copied().collect()
    }

    /// An interface is gone or unusable: all its links are.
    pub fn handle_interface_down(&mut self, now: Instant, ifindex: IfIndex) {
        if self.interfaces.remove(&ifindex).is_none() {
            return;
        }
        for link in self.links_on(ifindex) {
            self.lose_neighbor(now, link);
        }
        self.announce_moved_traffic(now);
    }

    /// Time has come to [`Router::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = self.neighbors.iter().filter(|(_, it)| it.deadline() <= now);
        for link in due.map(|(link, _)| *link).collect::<Vec<_>>() {
            self.watch_neighbor(now, link);
            self.sync_with(now, link);
        }
        if self.caution.end_listening(now) {
            self.choose_first_routes(now);
        }
        self.sweep_if_due(now);
        if self.requests.values().any(|at| *at <= now) {
            self.make_requests(now);
        }
        self.send_gathered_requests(now);
        self.announce_moved_traffic(now);
        self.transmit_due(now);
    }

    /// When [`Router::handle_timeout`] wants to be called next.
    pub fn poll_timeout(&self) -> Instant {
        let hellos = self.interfaces.values().map(|it| it.next_hello);
        let neighbors = self.neighbors.values().map(Neighbor::deadline);
        // Without an interface there is nobody to say anything to.
        let can_send = !self.interfaces.is_empty();
        let news = self.flush_at.map(|at| at.max(self.budget.ready_at()));
        hellos
            .chain(neighbors)
            .chain(self.caution.deadline())
            .chain(self.requests.values().copied())
            .chain(
                Some(self.next_ogm)
                    .into_iter()
                    .chain(news)
                    .filter(|_| can_send),
            )
            .fold(self.sweep_deadline(), Instant::min)
    }

    /// When to look for what became stale, even if nothing else happens.
    fn sweep_deadline(&self) -> Instant {
        let is_awaited = !self.contested.is_empty()
            || !self.new_backups.is_empty()
            || self.rib.has_adopted()
            || self.records.are_wanted();
        match is_awaited {
            true => self.next_sweep,
            false => self.next_sweep + SWEEP_SLACK,
        }
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
        self.set_fee(now, announcement.fee);
        if !self.records.announce(announcement) {
            return;
        }
        if was_gateway != self.is_gateway() {
            self.event(Event::GatewaysChanged);
        }
        self.pending_records.insert(self.id);
        // From our OGM, those who missed the record learn that they did.
        self.pending_ogms.insert(self.id);
        self.flush_by(now);
        self.settle_own_claims();
        self.settle_all_claims();
        self.select_gateways(now);
        self.announce_moved_traffic(now);
    }

    /// The largest packet that every link of the mesh takes, as far as its nodes are known, in bytes:
    /// at least what IPv6 asks of a link.
    pub fn mesh_mtu(&self) -> u16 {
        self.records.smallest_mtu()
    }

    /// Tells the mesh about the smallest MTU of our interfaces.
    fn announce_mtu(&mut self, now: Instant) {
        let smallest = self.interfaces.values().map(|it| it.mtu).min();
        if smallest.is_some_and(|mtu| self.records.set_mtu(mtu)) {
            self.pending_records.insert(self.id);
            self.pending_ogms.insert(self.id);
            self.flush_by(now);
        }
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Looks for what became stale without an event of its own.
    fn sweep_if_due(&mut self, now: Instant) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP_INTERVAL;
        if now >= self.started + ADOPTION_TIME && self.rib.has_adopted() {
            self.rib.purge_adopted();
        }
        let links: Vec<_> = self.neighbors.keys().copied().collect();
        for link in links {
            self.settle_link(now, link);
            self.disown_routes(link);
        }
        self.lazy_requests = 0;
        self.settle_contests(now);
        self.settle_backups(now);
        self.want_awaited_records();
        self.request_missing_records(now);
        self.settle_map(now);
        if now >= self.next_expiry {
            self.next_expiry = now + EXPIRY_INTERVAL;
            self.pasts
                .retain(|_, (at, _)| now.duration_since(*at) < EXPIRY_INTERVAL);
            self.expire_originators(now);
        }
        self.select_gateways(now);
    }
}

#[cfg(test)]
mod tests;
