//! A simulated node: the core, fed as the daemon feeds it, and a kernel that has routes.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use ipnet::IpNet;
use mesh_proto::rib::RouteKey;
use mesh_proto::router::{Announcement, Start};
use mesh_proto::{
    IfIndex, Network, NodeId, OriginatorId, Route, RouteChange, Router, RouterConfig, Table, Target,
};
use rand_core::Rng;

use crate::random;

/// The one interface of every node.
pub const INTERFACE: IfIndex = IfIndex(1);
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

/// The routes in a node's kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fib {
    routes: BTreeMap<RouteKey, Target>,
    refused: u64,
}

impl Fib {
    /// The routes.
    pub fn routes(&self) -> impl Iterator<Item = Route> {
        self.routes.iter().map(|(&(table, prefix), &target)| Route {
            table,
            prefix,
            target,
        })
    }

    /// The route for exactly `prefix`.
    pub fn get(&self, table: Table, prefix: IpNet) -> Option<Target> {
        self.routes.get(&(table, prefix)).copied()
    }

    /// Changes that a kernel would have refused: removals of routes it does not have.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    pub(crate) fn change(&mut self, change: RouteChange) {
        match change {
            RouteChange::Set(route) => {
                self.routes.insert(route.key(), route.target);
            }
            RouteChange::Remove { table, prefix } => {
                if self.routes.remove(&(table, prefix)).is_none() {
                    self.refused += 1;
                }
            }
        }
    }

    pub(crate) fn flush(&mut self) -> Vec<RouteKey> {
        std::mem::take(&mut self.routes).into_keys().collect()
    }
}

/// What makes a node who it is, and what it has.
#[derive(Debug)]
pub struct Node {
    index: NodeIndex,
    key: SigningKey,
    id: OriginatorId,
    seed: u64,
    boots: u32,
    /// What it tells about itself.
    pub(crate) announcement: Announcement,
    /// Its daemon, while that runs.
    pub(crate) router: Option<Router>,
    /// Its kernel's routes.
    pub(crate) fib: Fib,
    /// When its timer runs out.
    pub(crate) timer: Option<Duration>,
}

impl Node {
    /// Node number `index` of the run with `seed`; both together make its key.
    pub(crate) fn new(index: NodeIndex, seed: u64) -> Self {
        let mut rng = random::stream(seed, random::KEYS);
        // 32 bytes of key and 8 of seed are ten words of 32 bits.
        rng.set_word_pos(10 * index.0 as u128);
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        let key = SigningKey::from_bytes(&secret);
        Self {
            index,
            id: NodeId::from_bytes(key.verifying_key().to_bytes()).originator_id(),
            key,
            seed: rng.next_u64(),
            boots: 0,
            announcement: Announcement::default(),
            router: None,
            fib: Fib::default(),
            timer: None,
        }
    }

    /// Who it is.
    pub const fn id(&self) -> OriginatorId {
        self.id
    }

    /// Its kernel's routes.
    pub const fn fib(&self) -> &Fib {
        &self.fib
    }

    /// Starts the daemon.
    pub(crate) fn start(&mut self, network: &Network, warm: bool, now: Instant) {
        self.boots += 1;
        let start = if warm {
            Start::Warm(self.fib.routes().collect())
        } else {
            Start::Cold
        };
        let seed = self.seed.wrapping_add(self.boots.into());
        let config = RouterConfig::new(network.clone(), start, self.boots, seed);
        let mut router = Router::new(config, self.key.clone(), self.announcement.clone(), now);
        router.handle_interface_up(now, INTERFACE, self.index.address(), MTU);
        self.router = Some(router);
    }

    /// Whether packets for `prefix` end here: the node says so itself.
    pub(crate) fn owns(&self, network: &Network, prefix: IpNet) -> bool {
        let host = match prefix {
            IpNet::V6(net) => net.addr() == network.mesh_ipv6(self.id) && net.prefix_len() == 128,
            IpNet::V4(net) => {
                let record = self.router.as_ref().and_then(|r| r.record(self.id));
                net.prefix_len() == 32 && record.is_some_and(|r| r.record().ipv4 == net.addr())
            }
        };
        host || self.announcement.prefixes.contains(&prefix)
    }
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
        let id = |index, seed| Node::new(NodeIndex(index), seed).id();
        assert_eq!(id(1, 1), id(1, 1));
        assert_ne!(id(1, 1), id(2, 1));
        assert_ne!(id(1, 1), id(1, 2));
    }

    #[test]
    fn the_kernel_refuses_to_remove_what_it_has_not() {
        let mut fib = Fib::default();
        fib.change(RouteChange::Remove {
            table: Table::Mesh,
            prefix: "10.0.0.0/24".parse().unwrap(),
        });
        assert_eq!(fib.refused(), 1);
    }
}
