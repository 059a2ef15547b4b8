//! `status`: is there Internet, and how is this node doing.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::NodeRef;
use crate::{NodeId, OriginatorId};

/// The state of the node that was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// The daemon's version, as `meshd --version` prints it.
    pub version: String,
    /// The mesh's name.
    pub network: String,
    /// This node's name.
    pub name: String,
    /// This node's public key.
    pub node_id: NodeId,
    /// The id of its originator messages.
    pub originator_id: OriginatorId,
    /// Its address in the mesh.
    pub mesh_ipv6: Ipv6Addr,
    /// Its IPv4 address in the mesh.
    pub mesh_ipv4: Ipv4Addr,
    /// Seconds since the daemon started.
    pub uptime_s: u64,
    /// The way to the Internet.
    pub internet: Internet,
    /// Neighbors with a usable link.
    pub neighbors: u32,
    /// Nodes known and reachable, this one not counted.
    pub originators: u32,
    /// Reachable gateways, this node included when it is one.
    pub gateways: u32,
    /// What went over the routing socket.
    pub counters: Counters,
    /// What an operator ought to put right, one sentence each.
    pub warnings: Vec<String>,
}

/// What every version of [`Status`] has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The version of the layout of what it answers.
    pub schema: u32,
    /// The program's version. Of a daemon untrusted text.
    pub version: String,
}

/// The way to the Internet, if there is one.
///
/// Made by [`Internet::through_gateway`], [`Internet::through_own_uplink`] or
/// [`Internet::offline`], which fill the fields that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Internet {
    /// Whether the Internet is reachable.
    pub online: bool,
    /// Online: the gateway in use. Offline: the one last used. `null` when it is this node's own
    /// uplink, or there never was one.
    pub via: Option<NodeRef>,
    /// The gateway that IPv6 goes through when that is another one than `via`.
    #[serde(default)]
    pub ipv6_via: Option<NodeRef>,
    /// The interface of this node's own working uplink when that is what is used.
    pub own_uplink: Option<String>,
    /// Hops in the mesh to the gateway; 0 with an own uplink, `null` when offline.
    pub hops: Option<u32>,
    /// The neighbor through which the gateway is reached; `null` when offline or with an own
    /// uplink.
    pub next_hop: Option<NodeRef>,
    /// Seconds since this way was chosen, or since the node is offline (since the daemon's start
    /// when it has not been online).
    pub since_s: u64,
    /// Seconds since the Internet was last reachable: 0 when online, `null` when not once since
    /// the daemon's start.
    pub last_online_s: Option<u64>,
}

impl Internet {
    /// Online through another node.
    #[must_use]
    pub const fn through_gateway(
        gateway: NodeRef,
        hops: u32,
        next_hop: NodeRef,
        since_s: u64,
    ) -> Self {
        Self {
            online: true,
            via: Some(gateway),
            ipv6_via: None,
            own_uplink: None,
            hops: Some(hops),
            next_hop: Some(next_hop),
            since_s,
            last_online_s: Some(0),
        }
    }

    /// Online through an uplink of this node.
    #[must_use]
    pub const fn through_own_uplink(interface: String, since_s: u64) -> Self {
        Self {
            online: true,
            via: None,
            ipv6_via: None,
            own_uplink: Some(interface),
            hops: Some(0),
            next_hop: None,
            since_s,
            last_online_s: Some(0),
        }
    }

    /// Not reachable. `last_via` is the gateway last used, if it was another node.
    #[must_use]
    pub const fn offline(
        since_s: u64,
        last_online_s: Option<u64>,
        last_via: Option<NodeRef>,
    ) -> Self {
        Self {
            online: false,
            via: last_via,
            ipv6_via: None,
            own_uplink: None,
            hops: None,
            next_hop: None,
            since_s,
            last_online_s,
        }
    }
}

/// Counters of the routing socket since the daemon started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Packets received, the dropped ones included.
    pub rx_packets: u64,
    /// Bytes received (UDP payload).
    pub rx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent (UDP payload).
    pub tx_bytes: u64,
    /// Packets dropped, by reason: `malformed`, `truncated`, `unknown_version`,
    /// `foreign_network`, `bad_mac` and others. A reason may be absent while it is 0.
    pub drops: BTreeMap<String, u64>,
}
