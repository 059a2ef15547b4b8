//! `map`: what the nodes of the mesh say of where they stand and whom they hear.

use serde::{Deserialize, Serialize};

use super::NodeRef;
use crate::Quality;

/// Every node that can be reached and has said so, this one included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeshMap {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// Ordered by originator id.
    pub nodes: Vec<MapNode>,
}

/// What one node says, signed with its key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapNode {
    /// The node.
    pub node: NodeRef,
    /// Where it stands, `null` if its operator does not say.
    pub position: Option<Position>,
    /// Seconds since this node heard of it.
    pub said_s: u64,
    /// Its best links, at most 16, ordered by originator id.
    pub links: Vec<MapLink>,
}

/// A place on the earth (WGS 84).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Millionths of a degree, north is positive; 90 000 000 at most.
    pub latitude_udeg: i32,
    /// Millionths of a degree, east is positive; 180 000 000 at most.
    pub longitude_udeg: i32,
}

/// How a node hears one of its neighbors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapLink {
    /// The neighbor.
    pub to: NodeRef,
    /// The share of the neighbor's hellos that arrive. What is heard at the other end is in the entry of that.
    pub rx_quality: Quality,
}
