//! From the kernel's counters to what each neighbor carried for us and we for it.
//!
//! The kernel only ever adds. A value below the one before means that counting began anew, and so does
//! another generation of counters that we have made: then the whole new value is new. Of counters that
//! were there before us, or that somebody else has put in the place of ours, the first reading is only the
//! base: they may hold what was accounted for before.

mod meter;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use mesh_proto::{IfIndex, NodeId};

use crate::kernel::{CounterSample, Counters, Flow, Neighbor};
use meter::Meter;

/// Bytes carried between us and one neighbor, by direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Towards a gateway.
    pub up_bytes: u64,
    /// From a gateway.
    pub down_bytes: u64,
}

impl Carried {
    /// Whether nothing was carried.
    pub const fn is_empty(&self) -> bool {
        self.up_bytes == 0 && self.down_bytes == 0
    }

    fn add(&mut self, other: Self) {
        self.up_bytes = self.up_bytes.saturating_add(other.up_bytes);
        self.down_bytes = self.down_bytes.saturating_add(other.down_bytes);
    }
}

/// What is new with one neighbor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// What we carried for it: it is farther from the gateway and pays.
    pub provided: Carried,
    /// What it carried for us: we are farther from the gateway and pay.
    pub consumed: Carried,
}

type Key = (Flow, IfIndex, Neighbor);
/// A neighbor's address at one of our interfaces.
pub type Link = (IfIndex, Ipv6Addr);

/// The counters as last read, and who is behind them.
#[derive(Debug, Default)]
pub struct Usage {
    last: BTreeMap<Key, Meter>,
    /// The life of the kernel's counters that `last` belongs to.
    generation: Option<u64>,
    nodes: BTreeMap<Link, NodeId>,
    totals: BTreeMap<Link, Carried>,
}

impl Usage {
    /// The nodes behind addresses. They are remembered after they are gone, because their last traffic is
    /// read after that. Where several say they are, nothing changes until it is one again.
    pub fn note_nodes(&mut self, nodes: impl IntoIterator<Item = (Link, NodeId)>) {
        let mut behind: BTreeMap<Link, BTreeSet<NodeId>> = BTreeMap::new();
        for (link, node) in nodes {
            behind.entry(link).or_default().insert(node);
        }
        for (link, nodes) in behind {
            if let (Some(&node), 1) = (nodes.first(), nodes.len()) {
                self.nodes.insert(link, node);
            }
        }
    }

    /// Takes a reading and gives what is new for each neighbor that can be named. What cannot be
    /// named yet is kept for the next reading.
    pub fn handle_counters(&mut self, counters: &Counters) -> BTreeMap<NodeId, Delta> {
        let mut deltas: BTreeMap<NodeId, Delta> = BTreeMap::new();
        if self.generation.replace(counters.generation) != Some(counters.generation) {
            self.last.clear();
            if !counters.from_zero {
                self.take_as_base(counters);
            }
        }
        for sample in &counters.samples {
            let Some((node, link, bytes)) = self.new_bytes(sample, counters.frame) else {
                continue;
            };
            let delta = deltas.entry(node).or_default();
            let carried = match sample.flow {
                Flow::UpRx | Flow::DownTx => &mut delta.provided,
                Flow::UpTx | Flow::DownRx => &mut delta.consumed,
            };
            let new = match sample.flow {
                Flow::UpRx | Flow::UpTx => Carried {
                    up_bytes: bytes,
                    down_bytes: 0,
                },
                Flow::DownTx | Flow::DownRx => Carried {
                    up_bytes: 0,
                    down_bytes: bytes,
                },
            };
            carried.add(new);
            self.totals.entry(link).or_default().add(new);
        }
        deltas
    }

    fn take_as_base(&mut self, counters: &Counters) {
        for sample in &counters.samples {
            self.meter(sample).advance(sample, counters.frame);
        }
    }

    /// What a counter counted since it was last read, if its neighbor has a name.
    fn new_bytes(&mut self, sample: &CounterSample, frame: u16) -> Option<(NodeId, Link, u64)> {
        let link = (sample.ifindex, sample.address?);
        let node = *self.nodes.get(&link)?;
        Some((node, link, self.meter(sample).advance(sample, frame)))
    }

    fn meter(&mut self, sample: &CounterSample) -> &mut Meter {
        let key = (sample.flow, sample.ifindex, sample.neighbor);
        self.last.entry(key).or_default()
    }

    /// What was carried over a link since the start, whoever pays.
    pub fn total(&self, ifindex: IfIndex, address: Ipv6Addr) -> Carried {
        self.totals
            .get(&(ifindex, address))
            .copied()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Counted;

    const NODE: NodeId = NodeId::from_bytes([7; 32]);
    const ADDRESS: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 7);

    fn sample(flow: Flow, bytes: u64) -> CounterSample {
        CounterSample {
            flow,
            ifindex: IfIndex(3),
            neighbor: Neighbor::LinkLocal(ADDRESS),
            address: Some(ADDRESS),
            all: Counted { bytes, packets: 1 },
            merged: [Counted::default(); 2],
        }
    }

    fn reading(generation: u64, samples: &[CounterSample]) -> Counters {
        Counters {
            generation,
            from_zero: true,
            frame: 1500,
            samples: samples.to_vec(),
        }
    }

    fn usage() -> Usage {
        let mut usage = Usage::default();
        usage.note_nodes([((IfIndex(3), ADDRESS), NODE)]);
        usage
    }

    #[test]
    fn each_flow_counts_for_the_one_who_carried_it() {
        let mut usage = usage();
        let samples = [
            sample(Flow::UpRx, 1),
            sample(Flow::DownTx, 20),
            sample(Flow::UpTx, 300),
            sample(Flow::DownRx, 4000),
        ];
        let delta = usage.handle_counters(&reading(1, &samples))[&NODE];
        assert_eq!(
            delta.provided,
            Carried {
                up_bytes: 1,
                down_bytes: 20
            }
        );
        assert_eq!(
            delta.consumed,
            Carried {
                up_bytes: 300,
                down_bytes: 4000
            }
        );
        assert_eq!(
            usage.total(IfIndex(3), ADDRESS),
            Carried {
                up_bytes: 301,
                down_bytes: 4020
            }
        );
        assert_eq!(
            usage.handle_counters(&reading(1, &samples))[&NODE],
            Delta::default()
        );
    }

    #[test]
    fn a_counter_that_began_anew_never_loses_or_doubles_bytes() {
        let mut usage = usage();
        usage.handle_counters(&reading(1, &[sample(Flow::UpRx, 1000)]));
        let delta = usage.handle_counters(&reading(1, &[sample(Flow::UpRx, 60)]))[&NODE];
        assert_eq!(delta.provided.up_bytes, 60);
        let delta = usage.handle_counters(&reading(1, &[sample(Flow::UpRx, 100)]))[&NODE];
        assert_eq!(delta.provided.up_bytes, 40);
        let delta = usage.handle_counters(&reading(2, &[sample(Flow::UpRx, 500)]))[&NODE];
        assert_eq!(delta.provided.up_bytes, 500, "a new table counts from zero");
    }

    /// Counters that an earlier run made, or that somebody restored.
    fn found(generation: u64, samples: &[CounterSample]) -> Counters {
        Counters {
            from_zero: false,
            ..reading(generation, samples)
        }
    }

    #[test]
    fn what_was_counted_before_is_not_counted_again() {
        let mut usage = usage();
        let first = usage.handle_counters(&found(1, &[sample(Flow::UpRx, 1000)]));
        assert_eq!(first[&NODE], Delta::default());
        let later = [sample(Flow::UpRx, 1500), sample(Flow::UpTx, 9)];
        let delta = usage.handle_counters(&found(1, &later));
        assert_eq!(delta[&NODE].provided.up_bytes, 500);
        assert_eq!(
            delta[&NODE].consumed.up_bytes, 9,
            "a new counter began at zero"
        );
    }

    #[test]
    fn bytes_of_a_node_that_is_named_later_are_not_lost() {
        let mut usage = Usage::default();
        assert!(
            usage
                .handle_counters(&reading(1, &[sample(Flow::UpRx, 700)]))
                .is_empty()
        );
        usage.note_nodes([((IfIndex(3), ADDRESS), NODE)]);
        let delta = usage.handle_counters(&reading(1, &[sample(Flow::UpRx, 1000)]))[&NODE];
        assert_eq!(delta.provided.up_bytes, 1000);
    }

    #[test]
    fn what_somebody_restored_is_not_counted_again() {
        let mut usage = usage();
        usage.handle_counters(&reading(1, &[sample(Flow::UpRx, 1000)]));
        let restored = usage.handle_counters(&found(2, &[sample(Flow::UpRx, 1000)]));
        assert_eq!(restored[&NODE], Delta::default());
        let delta = usage.handle_counters(&found(2, &[sample(Flow::UpRx, 1100)]))[&NODE];
        assert_eq!(delta.provided.up_bytes, 100);
    }

    #[test]
    fn another_name_of_a_neighbor_counts_nothing_again() {
        const OTHER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 8);
        let received = |bytes, address| CounterSample {
            neighbor: Neighbor::Mac([2; 6]),
            address,
            ..sample(Flow::DownRx, bytes)
        };
        let mut usage = usage();
        usage.note_nodes([((IfIndex(3), OTHER), NODE)]);
        // Found before the kernel knew whose address it is.
        usage.handle_counters(&found(1, &[received(1000, None)]));
        let delta = usage.handle_counters(&found(1, &[received(1200, Some(ADDRESS))]))[&NODE];
        assert_eq!(delta.consumed.down_bytes, 200);
        let delta = usage.handle_counters(&found(1, &[received(1300, Some(OTHER))]))[&NODE];
        assert_eq!(delta.consumed.down_bytes, 100);
    }

    #[test]
    fn an_address_that_two_nodes_claim_stays_with_the_first() {
        const RIVAL: NodeId = NodeId::from_bytes([9; 32]);
        let link = (IfIndex(3), ADDRESS);
        let mut usage = usage();
        usage.note_nodes([(link, RIVAL), (link, NODE)]);
        let deltas = usage.handle_counters(&reading(1, &[sample(Flow::UpRx, 1000)]));
        assert_eq!(deltas.keys().collect::<Vec<_>>(), [&NODE]);
    }
}
