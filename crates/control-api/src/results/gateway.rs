//! `gateways` and `gateways.select`: who offers Internet, and why which one is used.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{AttoSmt, NodeId, OriginatorId, TunnelKind};

/// Every gateway that is known, this node included when it is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gateways {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// What `gateways.select` said last.
    #[serde(default)]
    pub choice: GatewayChoice,
    /// The best first.
    pub gateways: Vec<Gateway>,
}

/// Which gateway is used, as told at run time: `"auto"`, `"off"`, or a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum GatewayChoice {
    /// As the configuration says.
    #[default]
    Auto,
    /// None.
    Off,
    /// This one or none: a node's name, or eight or more of the first digits of its originator id.
    Node(String),
}

/// A text that names no gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected auto, off, a node's name or the first digits of its originator id")]
pub struct GatewayChoiceError;

impl FromStr for GatewayChoice {
    type Err = GatewayChoiceError;

    fn from_str(text: &str) -> Result<Self, GatewayChoiceError> {
        match text {
            "" => Err(GatewayChoiceError),
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            node => Ok(Self::Node(node.to_owned())),
        }
    }
}

impl TryFrom<String> for GatewayChoice {
    type Error = GatewayChoiceError;

    fn try_from(text: String) -> Result<Self, GatewayChoiceError> {
        text.parse()
    }
}

impl fmt::Display for GatewayChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Off => "off",
            Self::Node(node) => node,
        })
    }
}

impl From<GatewayChoice> for String {
    fn from(choice: GatewayChoice) -> Self {
        choice.to_string()
    }
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
    /// The address families that go through it.
    #[serde(default)]
    pub used_for: Vec<Family>,
    /// Why it is selected or not, in a few words.
    pub reason: String,
    /// The path's metric: airtime in µs per 1500 bytes, added up; 0 for this node itself, 2³² − 1
    /// when it cannot be reached.
    pub metric_us: u64,
    /// What the way to the Internet through it costs: path, uplink and price, in µs per 1500 bytes;
    /// `null` when it cannot be used, or is this node itself.
    #[serde(default)]
    pub cost_us: Option<u64>,
    /// Hops to it; 0 for this node itself, `null` when it cannot be reached.
    pub hops: Option<u32>,
    /// What it offers to carry from the Internet, in bits per second; `null` when it does not say.
    pub bandwidth_down_bps: Option<u64>,
    /// What it offers to carry to the Internet, in bits per second; `null` when it does not say.
    pub bandwidth_up_bps: Option<u64>,
    /// What the way to it costs in atto-SMT per MiB, as a string of digits: what the next hop is paid;
    /// for this node itself, what it takes. `null` without a way, or if nobody could pay it.
    pub price_atto_per_mib: Option<AttoSmt>,
    /// The address families it carries.
    pub families: Vec<Family>,
    /// The tunnel to it; `null` when there is none that both know, or it is this node itself.
    #[serde(default)]
    pub tunnel: Option<TunnelKind>,
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
