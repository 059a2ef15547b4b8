//! `routes`: what meshd has put into the kernel.

use std::net::Ipv6Addr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::NodeRef;

/// The kernel routes of meshd, all or those for one destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Routes {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// Ordered by table, then by prefix.
    pub routes: Vec<Route>,
}

/// One kernel route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The kernel's number of the routing table, as in `ip route show table N`. Tables are looked
    /// up in ascending order.
    pub table: u32,
    /// The destinations it covers.
    pub prefix: IpNet,
    /// The node that they belong to or, for a default route, the gateway.
    pub owner: NodeRef,
    /// Where packets go next.
    pub to: RouteTo,
    /// The mesh interface they leave by; `null` for those into a tunnel.
    pub interface: Option<String>,
    /// The path's metric: airtime in µs per 1500 bytes, added up; `null` for a route taken over
    /// from a predecessor whose owner has not been heard yet.
    pub metric_us: Option<u64>,
}

/// Where a route's packets go next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RouteTo {
    /// To a neighbor.
    Neighbor {
        /// Its link-local address.
        via: Ipv6Addr,
        /// Which neighbor it is.
        node: NodeRef,
    },
    /// Through the tunnel to a node, over whatever hops the mesh has.
    Tunnel {
        /// The mesh address of the tunnel's far end.
        remote: Ipv6Addr,
        /// The node there.
        node: NodeRef,
        /// Which tunnel it is.
        tunnel: TunnelKind,
    },
}

/// A kind of tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TunnelKind {
    /// VXLAN, which everybody on the way can read and forge.
    Vxlan,
    /// WireGuard, encrypted from end to end.
    Wireguard,
}
