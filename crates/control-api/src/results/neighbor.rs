//! `neighbors`: the nodes in direct reach.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use crate::{NodeId, OriginatorId, Quality};

/// Every neighbor heard lately, one entry for each link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Neighbors {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// Ordered by interface, then by originator id.
    pub neighbors: Vec<Neighbor>,
}

/// One link to one neighbor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Neighbor {
    /// Its originator id.
    pub originator_id: OriginatorId,
    /// Its public key, `null` until its node record has arrived.
    pub node_id: Option<NodeId>,
    /// Its name, `null` until its node record has arrived. Untrusted text.
    pub name: Option<String>,
    /// The interface it was heard on.
    pub interface: String,
    /// Its address on that interface.
    pub link_local: Ipv6Addr,
    /// The share of its hellos that arrive here.
    pub rx_quality: Quality,
    /// The share of our hellos that it says arrive there.
    pub tx_quality: Quality,
    /// How strong its frames arrive, on average, in dBm; `null` where there is no radio, or its driver does not say.
    #[serde(default)]
    pub signal_dbm: Option<i32>,
    /// Both directions together as operators know it, 0 to 255.
    pub tq: u8,
    /// What the link adds to a metric: airtime in µs per 1500 bytes. `null` while it is unusable.
    pub cost_us: Option<u64>,
    /// Milliseconds since anything was heard from it.
    pub last_heard_ms: u64,
    /// Seconds since the link became usable; `null` while it is not.
    pub up_since_s: Option<u64>,
    /// Bytes exchanged with it towards a gateway, as counted for receipts.
    pub bytes_up: u64,
    /// Bytes exchanged with it from a gateway, as counted for receipts.
    pub bytes_down: u64,
}
