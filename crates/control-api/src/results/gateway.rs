//! `gateways`: who offers Internet, and why which one was taken.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{AttoSmt, NodeId, OriginatorId};

/// Every gateway that is reachable, this node included when it is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gateways {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// The best first.
    pub gateways: Vec<Gateway>,
}

/// One gateway and its offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gateway {
    /// Its originator id.
    pub originator_id: OriginatorId,
    /// Its public key.
    pub node_id: NodeId,
    /// Its name. Untrusted text.
    pub name: String,
    /// Whether this node uses it.
    pub selected: bool,
    /// Why it is selected or not, in a few words.
    pub reason: String,
    /// The path's metric: airtime in µs per 1500 bytes, added up; 0 for this node itself.
    pub metric_us: u64,
    /// Hops to it; 0 for this node itself, `null` when not known.
    pub hops: Option<u32>,
    /// What it offers to carry from the Internet, in bits per second; `null` when it does not say.
    pub bandwidth_down_bps: Option<u64>,
    /// What it offers to carry to the Internet, in bits per second; `null` when it does not say.
    pub bandwidth_up_bps: Option<u64>,
    /// Its price in atto-SMT per MiB, as a string of digits.
    pub price_atto_per_mib: AttoSmt,
    /// The address families it carries.
    pub families: Vec<Family>,
    /// The DNS servers it recommends.
    pub dns: Vec<IpAddr>,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}
