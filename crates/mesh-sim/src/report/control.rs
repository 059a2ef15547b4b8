//! Routing's own traffic.

use std::ops::Range;

use serde::Serialize;

use crate::Simulation;
use crate::watch::Sent;

/// Routing's own traffic over some seconds of a run: what nodes sent, per second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Control {
    /// Packets that a node sends in a second, on average over nodes.
    pub packets_per_node_s: f64,
    /// Bytes of them, UDP payload.
    pub bytes_per_node_s: f64,
    /// The same with the headers of IPv6 and UDP, 48 bytes for each packet.
    pub bytes_with_headers_per_node_s: f64,
    /// Packets in a second of the node that sends most of them.
    pub packets_max_node_s: f64,
    /// Bytes in a second of the node that sends most, UDP payload.
    pub bytes_max_node_s: f64,
    /// Bytes with headers in a second of the node that sends most.
    pub bytes_with_headers_max_node_s: f64,
    /// What of the packets is sent to one neighbor, probes among them.
    pub unicast_packets_per_node_s: f64,
    /// Their bytes, UDP payload.
    pub unicast_bytes_per_node_s: f64,
}

impl Control {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2⁵²")]
    pub(super) fn measure(simulation: &Simulation, seconds: Range<usize>) -> Self {
        let by_node: Vec<Sent> = simulation.sent(seconds.clone()).collect();
        let length = seconds.len().max(1) as f64;
        let mean = |of: fn(&Sent) -> u64| {
            let sum: u64 = by_node.iter().map(of).sum();
            sum as f64 / length / by_node.len().max(1) as f64
        };
        let max = |of: fn(&Sent) -> u64| {
            let max = by_node.iter().map(of).max();
            max.unwrap_or(0) as f64 / length
        };
        Self {
            packets_per_node_s: mean(|sent| sent.packets),
            bytes_per_node_s: mean(|sent| sent.bytes),
            bytes_with_headers_per_node_s: mean(|sent| sent.with_headers()),
            packets_max_node_s: max(|sent| sent.packets),
            bytes_max_node_s: max(|sent| sent.bytes),
            bytes_with_headers_max_node_s: max(|sent| sent.with_headers()),
            unicast_packets_per_node_s: mean(|sent| sent.unicast_packets),
            unicast_bytes_per_node_s: mean(|sent| sent.unicast_bytes),
        }
    }
}
