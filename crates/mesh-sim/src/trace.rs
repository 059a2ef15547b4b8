//! A fingerprint of everything that happened.

use std::time::Duration;

use ipnet::IpNet;
use mesh_proto::rib::RouteKey;
use mesh_proto::{Table, Target};

/// A running hash (64 bit), multiplied as FNV-1a but by words: not cryptographic, but any packet
/// or route that differs between two runs changes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trace(u64);

impl Trace {
    pub(crate) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// A node sent a packet.
    pub(crate) fn add(&mut self, at: Duration, node: usize, bytes: &[u8]) {
        self.happened(at, node);
        self.mix(bytes.len() as u64);
        let words = bytes.chunks_exact(8);
        let mut last = [0; 8];
        last.iter_mut()
            .zip(words.remainder())
            .for_each(|(to, from)| *to = *from);
        for word in words {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(word);
            self.mix(u64::from_le_bytes(bytes));
        }
        self.mix(u64::from_le_bytes(last));
    }

    /// A node's kernel changed a route; `None` removed it.
    pub(crate) fn route(
        &mut self,
        at: Duration,
        node: usize,
        (table, prefix): RouteKey,
        target: Option<Target>,
    ) {
        self.happened(at, node);
        match prefix {
            IpNet::V6(net) => self.address(net.addr().to_bits()),
            IpNet::V4(net) => self.mix(u64::from(net.addr().to_bits())),
        }
        let table = match table {
            Table::Mesh => 0,
            Table::Tunnel => 1,
            Table::Marked(mark) => 1 + u64::from(mark.number()),
        };
        self.mix(u64::from(prefix.prefix_len()) << 8 | table);
        match target {
            Some(Target::NextHop { via, ifindex }) => {
                self.address(via.to_bits());
                self.mix(ifindex.0.into());
            }
            Some(Target::Tunnel { peer, .. }) => {
                let bytes = peer.as_bytes();
                bytes.iter().for_each(|byte| self.mix((*byte).into()));
            }
            None => self.mix(0),
        }
    }

    fn address(&mut self, bits: u128) {
        #[expect(clippy::cast_possible_truncation, reason = "one half after the other")]
        let (high, low) = ((bits >> 64) as u64, bits as u64);
        self.mix(high);
        self.mix(low);
    }

    /// Something happened at a node that what was added before describes: a packet arrived.
    pub(crate) fn happened(&mut self, at: Duration, node: usize) {
        self.mix(at.as_secs());
        self.mix(u64::from(at.subsec_nanos()) << 32 | node as u64);
    }

    pub(crate) const fn value(self) -> u64 {
        self.0
    }

    const fn mix(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01b3);
        // The multiplication carries upwards only.
        self.0 ^= self.0 >> 29;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(at: u64, node: usize, bytes: &[u8]) -> u64 {
        let mut trace = Trace::new();
        trace.add(Duration::from_nanos(at), node, bytes);
        trace.value()
    }

    #[test]
    fn time_node_and_every_byte_count() {
        let bytes = [7; 21];
        let hashes = (0..bytes.len()).map(|i| {
            let mut changed = bytes;
            changed[i] ^= 1;
            hash(1, 2, &changed)
        });
        let others = [hash(2, 2, &bytes), hash(1, 3, &bytes), hash(1, 2, &[7; 20])];
        let same = hash(1, 2, &bytes);
        assert!(hashes.chain(others).all(|hash| hash != same));
        assert_eq!(hash(1, 2, &bytes), same);
    }

    #[test]
    fn everything_about_a_route_counts() {
        let hash = |table, prefix: &str, target| {
            let mut trace = Trace::new();
            let key = (table, prefix.parse().unwrap());
            trace.route(Duration::ZERO, 0, key, target);
            trace.value()
        };
        let via = |via: &str| {
            let (via, ifindex) = (via.parse().unwrap(), mesh_proto::IfIndex(1));
            Some(Target::NextHop { via, ifindex })
        };
        let hashes = [
            hash(Table::Mesh, "fd00::1/128", via("fe80::1")),
            hash(Table::Mesh, "fd00::1/128", via("fe80::2")),
            hash(Table::Mesh, "fd00::1/128", None),
            hash(Table::Mesh, "fd00::2/128", via("fe80::1")),
            hash(Table::Mesh, "fd00::1/127", via("fe80::1")),
            hash(Table::Tunnel, "fd00::1/128", via("fe80::1")),
            hash(Table::Mesh, "10.0.0.1/32", via("fe80::1")),
        ];
        let different: std::collections::BTreeSet<_> = hashes.iter().collect();
        assert_eq!(different.len(), hashes.len());
    }
}
