//! A simulated node: the core, fed as the daemon feeds it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mesh_proto::gateway_policy::Policy;
use mesh_proto::rib::RouteKey;
use mesh_proto::router::{Announcement, Start};
use mesh_proto::{IfIndex, Network, NodeId, OriginatorId, Price, Route, Router, RouterConfig};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use receipts::LedgerConfig;

use crate::books::Books;
use crate::random;
use crate::scenario::Inheritance;

/// The one interface of every node.
pub const INTERFACE: IfIndex = IfIndex(1);
/// For so long after a prefix was given up its routes may be about.
const CLAIM_MEMORY: Duration = Duration::from_secs(10);
/// MTU of the interface, bytes.
const MTU: u32 = 1500;

/// A node, by its place in the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub usize);

impl NodeIndex {
    /// The link-local address of the node's interface.
    pub fn address(self) -> Ipv6Addr {
        let [a, b, c, d, e, f, g, h] = (self.0 as u64 + 1).to_be_bytes();
        Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a, b, c, d, e, f, g, h])
    }

    /// The node whose interface has `address`.
    pub fn of_address(address: Ipv6Addr) -> Option<Self> {
        let [.., a, b, c, d, e, f, g, h] = address.octets();
        let index = u64::from_be_bytes([a, b, c, d, e, f, g, h]).checked_sub(1)?;
        usize::try_from(index).ok().map(Self)
    }
}

impl fmt::Display for NodeIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What makes a node who it is, and what it has.
#[derive(Debug)]
pub struct Node {
    index: NodeIndex,
    key: SigningKey,
    id: OriginatorId,
    /// Its own address, as a prefix.
    host: IpNet,
    seed: u64,
    luck: ChaCha8Rng,
    /// How often it was started.
    lives: u64,
    /// Its IPv4 address in the mesh, while its daemon runs.
    ipv4: Option<IpNet>,
    /// Prefixes it announced once, and when it stopped to.
    given_up: BTreeMap<IpNet, Duration>,
    /// What its disk remembers: the number of its present life.
    epoch: u32,
    /// What it tells about itself.
    pub(crate) announcement: Announcement,
    /// Which gateways it uses, and what it pays.
    policy: Policy,
    /// Its daemon, while that runs.
    pub(crate) router: Option<Router>,
    /// Its kernel's routes into tunnels; those to neighbors stand in the table of all kernels.
    pub(crate) tunnels: BTreeMap<RouteKey, OriginatorId>,
    /// When its timer runs out.
    pub(crate) timer: Option<Duration>,
    /// For when its next timer event is in the queue: then, or sooner.
    pub(crate) timer_queued: Option<Duration>,
    /// When its daemon was last started or ended.
    pub(crate) changed: Duration,
    /// Whether it is not switched on with the others.
    pub(crate) is_late: bool,
    /// Its books, if it keeps any.
    pub(crate) books: Option<Books>,
}

impl Node {
    /// Node number `index` of the run with `seed`; both together make its key.
    pub(crate) fn new(index: NodeIndex, seed: u64, network: &Network) -> Self {
        let mut rng = random::stream(seed, random::KEYS);
        // 32 bytes of key and 8 of seed are ten words of 32 bits.
        rng.set_word_pos(10 * index.0 as u128);
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        let key = SigningKey::from_bytes(&secret);
        let id = NodeId::from_bytes(key.verifying_key().to_bytes()).originator_id();
        let seed = rng.next_u64();
        let mut luck = ChaCha8Rng::seed_from_u64(seed);
        Self {
            index,
            id,
            key,
            host: IpNet::V6(Ipv6Net::from(network.mesh_ipv6(id))),
            epoch: first_epoch(&mut luck),
            seed,
            luck,
            lives: 0,
            ipv4: None,
            given_up: BTreeMap::new(),
            announcement: Announcement::default(),
            policy: Policy::default(),
            router: None,
            tunnels: BTreeMap::new(),
            timer: None,
            timer_queued: None,
            changed: Duration::ZERO,
            is_late: false,
            books: None,
        }
    }

    /// Who it is.
    pub const fn id(&self) -> OriginatorId {
        self.id
    }

    /// Its own address, as a route's prefix.
    pub const fn host(&self) -> IpNet {
        self.host
    }

    /// What it tells about itself.
    pub const fn announcement(&self) -> &Announcement {
        &self.announcement
    }

    /// Whether its daemon runs.
    pub const fn runs(&self) -> bool {
        self.router.is_some()
    }

    /// Whether it offers a way to the Internet.
    pub const fn is_gateway(&self) -> bool {
        self.runs() && self.announcement.gateway.is_some()
    }

    /// Starts the daemon; `routes` are those in its kernel.
    pub(crate) fn start(
        &mut self,
        network: &Network,
        how: Inheritance,
        routes: Vec<Route>,
        now: Instant,
    ) {
        self.epoch = match how {
            Inheritance::Warm | Inheritance::Cold => self.epoch + 1,
            Inheritance::Lost => first_epoch(&mut self.luck),
        };
        let start = match how {
            Inheritance::Warm => Start::Warm(routes),
            Inheritance::Cold | Inheritance::Lost => Start::Cold,
        };
        self.lives += 1;
        let seed = self.seed.wrapping_add(self.lives);
        let config = RouterConfig::new(network.clone(), start, self.epoch, seed);
        let mut router = Router::new(config, self.key.clone(), self.announcement.clone(), now);
        router.set_gateway_policy(now, self.policy.clone());
        router.handle_interface_up(now, INTERFACE, self.index.address(), MTU);
        self.router = Some(router);
        self.note_ipv4();
        if let Some(books) = &mut self.books {
            books.start(now, self.policy.maximum_price);
        }
    }

    /// Ends the daemon.
    pub(crate) fn stop(&mut self, how: Inheritance) {
        self.router = None;
        self.note_ipv4();
        if let Some(books) = &mut self.books {
            books.stop(how);
        }
    }

    /// Pays at most so much from its next start on; `None`: whatever others ask for.
    pub(crate) const fn set_maximum_price(&mut self, most: Option<Price>) {
        self.policy.maximum_price = most;
    }

    /// Keeps books from its next start on.
    pub(crate) fn open_books(&mut self, config: LedgerConfig) {
        self.books = Some(Books::new(self.key.clone(), config));
    }

    /// Its IPv4 address in the mesh may have changed.
    pub(crate) fn note_ipv4(&mut self) {
        let record = self.router.as_ref().and_then(|r| r.record(self.id));
        self.ipv4 = record.map(|r| IpNet::V4(Ipv4Net::from(r.record().ipv4)));
    }

    /// Tells the core that a neighbor brings traffic.
    pub(crate) fn tell_carrying(&mut self, now: Instant, neighbor: NodeIndex) {
        if let Some(router) = &mut self.router {
            router.handle_carrying(now, INTERFACE, neighbor.address());
        }
    }

    /// Says something else about itself from `now` on.
    pub(crate) fn set_announcement(&mut self, now: Duration, announcement: Announcement) {
        let before = std::mem::replace(&mut self.announcement, announcement);
        let given_up = before.prefixes.into_iter();
        self.given_up.extend(given_up.map(|prefix| (prefix, now)));
    }

    /// Whether some may still think that packets for `prefix` end here: they do, or did not long
    /// before `now`.
    pub(crate) fn claims(&self, now: Duration, prefix: IpNet) -> bool {
        let recently = |at: &Duration| now < *at + CLAIM_MEMORY;
        self.owns(prefix) || self.given_up.get(&prefix).is_some_and(recently)
    }

    /// Whether packets for `prefix` end here: the node says so itself.
    pub(crate) fn owns(&self, prefix: IpNet) -> bool {
        prefix == self.host
            || self.ipv4 == Some(prefix)
            || self.announcement.prefixes.contains(&prefix)
    }
}

/// The epoch that a daemon begins with when its disk remembers nothing: some number, so that it
/// may be above or below the one before.
fn first_epoch(luck: &mut ChaCha8Rng) -> u32 {
    /// Far more starts than any run has, and fewer than a node has in its life.
    const SPAN: usize = 1 << 10;
    u32::try_from(random::below(luck, SPAN)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lead_back_to_their_node() {
        for index in [0, 1, 255, 1999].map(NodeIndex) {
            assert_eq!(NodeIndex::of_address(index.address()), Some(index));
        }
    }

    #[test]
    fn nodes_differ_and_follow_from_seed_and_index() {
        let network = Network::new("simulated village");
        let id = |index, seed| Node::new(NodeIndex(index), seed, &network).id();
        assert_eq!(id(1, 1), id(1, 1));
        assert_ne!(id(1, 1), id(2, 1));
        assert_ne!(id(1, 1), id(1, 2));
    }
}
