//! `originators`: every node of the mesh and the way to it.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::NodeRef;
use crate::{NodeId, OriginatorId};

/// Every other node known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Originators {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// Ordered by originator id.
    pub originators: Vec<Originator>,
}

/// One node and the selected path to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Originator {
    /// Its originator id.
    pub originator_id: OriginatorId,
    /// Its public key, `null` until its node record has arrived.
    pub node_id: Option<NodeId>,
    /// Its name, `null` until its node record has arrived. Untrusted text.
    pub name: Option<String>,
    /// Its address in the mesh.
    pub mesh_ipv6: Ipv6Addr,
    /// Its IPv4 address in the mesh, `null` until its node record has arrived.
    pub mesh_ipv4: Option<Ipv4Addr>,
    /// The path's metric: airtime in µs per 1500 bytes, added up. `null` when unreachable.
    pub metric_us: Option<u64>,
    /// The metric as operators know it, 0 to 255; 0 when unreachable.
    pub tq: u8,
    /// Hops to it; `null` when unreachable or not known.
    pub hops: Option<u32>,
    /// The neighbor that packets for it go to; `null` when unreachable.
    pub next_hop: Option<NodeRef>,
    /// The interface they leave by; `null` when unreachable.
    pub interface: Option<String>,
    /// The newest sequence number accepted.
    pub seqno: u32,
    /// The feasibility distance: with `seqno`, only a metric below it is loop-free.
    pub feasibility_distance_us: Option<u64>,
    /// The prefixes it announces.
    pub prefixes: Vec<IpNet>,
    /// Whether it offers an uplink.
    pub gateway: bool,
    /// Milliseconds since its last originator message.
    pub last_heard_ms: u64,
}
