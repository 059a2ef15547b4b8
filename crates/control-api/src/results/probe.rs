//! `probe`: a node of the mesh is asked whether it is there, and where it would send packets.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use super::NodeRef;
use crate::{Quality, RpcError};

/// The longest that a node may be waited for, in milliseconds.
pub const MAX_PROBE_WAIT_MS: u32 = 10_000;

/// Whom to ask, and for how long to wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// A name, eight or more of the first digits of an originator id or a public key, or a mesh address.
    pub node: String,
    /// The node whose packets the answer is to say the way of, named likewise. If there is none, it says none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub towards: Option<String>,
    /// How long to wait for the answer, at most [`MAX_PROBE_WAIT_MS`].
    pub wait_ms: u32,
}

impl Probe {
    /// # Errors
    /// It would wait for nothing, or too long.
    pub(crate) fn checked(self) -> Result<Self, RpcError> {
        check_wait(self.wait_ms)?;
        Ok(self)
    }
}

pub(super) fn check_wait(wait_ms: u32) -> Result<(), RpcError> {
    if (1..=MAX_PROBE_WAIT_MS).contains(&wait_ms) {
        return Ok(());
    }
    let message = format!("wait_ms: expected 1 to {MAX_PROBE_WAIT_MS}");
    Err(RpcError::invalid_params(message))
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// Who was asked.
    pub node: NodeRef,
    /// Its mesh address.
    pub address: Ipv6Addr,
    /// The time from question to answer, in microseconds; `null` if none came. 0 is this node itself.
    pub rtt_us: Option<u64>,
    /// The neighbor it would send to; `null` if it knows no way, or is the destination, or did not answer.
    pub next_hop: Option<NextHop>,
}

/// A neighbor of the node that was asked, and how well the two hear each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NextHop {
    /// The neighbor.
    pub node: NodeRef,
    /// The share of the neighbor's hellos that arrive.
    pub rx_quality: Quality,
    /// The share of hellos that arrive at the neighbor.
    pub tx_quality: Quality,
}
