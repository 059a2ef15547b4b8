//! From the kernel's counters to what each neighbor carried for us and we for it, by gateway.
//!
//! The kernel only ever adds. A value below the one before means that counting began anew, and so does
//! another generation of counters that we have made: then the whole new value is new. Of counters that
//! were there before us, or that somebody else has put in the place of ours, the first reading is only the
//! base: they may hold what was accounted for before. Unless a [`checkpoint`] says what was.

pub mod checkpoint;
mod meter;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use mesh_proto::{IfIndex, NodeId};

use crate::kernel::{CounterKey, CounterSample, Counters, Flow};
use checkpoint::Metered;
use meter::Meter;

/// So many names are remembered at least.
const MANY_NODES: usize = 4096;

/// Bytes carried between us and one neighbor, by direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Towards a gateway.
    pub up_bytes: u64,
    /// From a gateway.
    pub down_bytes: u64,
}

impl Carried {
    /// In both directions, for people to look at.
    pub const fn bytes(&self) -> u64 {
        self.up_bytes.saturating_add(self.down_bytes)
    }

    fn add(&mut self, other: Self) {
        self.up_bytes = self.up_bytes.saturating_add(other.up_bytes);
        self.down_bytes = self.down_bytes.saturating_add(other.down_bytes);
    }
}

/// What is new with one neighbor and gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// What we carried for it: it is farther from the gateway and pays.
    pub provided: Carried,
    /// What it carried for us: we are farther from the gateway and pay.
    pub consumed: Carried,
}

impl Delta {
    fn add(&mut self, flow: Flow, new: Carried) {
        match flow {
            Flow::UpRx | Flow::DownTx => self.provided.add(new),
            Flow::UpTx | Flow::DownRx => self.consumed.add(new),
        }
    }
}

/// What is new, by the neighbor and the gateway.
pub type Deltas = BTreeMap<(NodeId, NodeId), Delta>;

/// A neighbor's address at one of our interfaces.
pub type Link = (IfIndex, Ipv6Addr);

/// The counters as last read, and who is behind them.
#[derive(Debug, Default)]
pub struct Usage {
    meters: BTreeMap<CounterKey, Meter>,
    /// The life of the kernel's counters that the meters belong to.
    generation: Option<u64>,
    /// Whether the meters are those of an earlier run.
    is_resumed: bool,
    nodes: BTreeMap<Link, NodeId>,
    /// Gateways, by mesh address.
    gateways: BTreeMap<Ipv6Addr, NodeId>,
    /// Where nodes were when they were named last.
    present: BTreeSet<Link>,
    totals: BTreeMap<Link, Carried>,
}

impl Usage {
    /// Goes on where an earlier run in this life of the kernel was.
    pub fn resume(metered: Metered) -> Self {
        Self {
            meters: metered.meters.into_iter().collect(),
            generation: metered.generation,
            is_resumed: true,
            ..Self::default()
        }
    }

    /// How far the counters are accounted for.
    pub fn metered(&self) -> Metered {
        let meters = self.meters.iter();
        Metered {
            generation: self.generation,
            meters: meters.map(|(&key, &meter)| (key, meter)).collect(),
        }
    }

    /// The nodes behind addresses. They are remembered after they are gone, because their last traffic is
    /// read after that. Where several say they are, nothing changes until it is one again.
    pub fn note_nodes(&mut self, nodes: impl IntoIterator<Item = (Link, NodeId)>) {
        let mut behind: BTreeMap<Link, BTreeSet<NodeId>> = BTreeMap::new();
        for (link, node) in nodes {
            behind.entry(link).or_default().insert(node);
        }
        self.present = behind.keys().copied().collect();
        for (link, nodes) in behind {
            if let (Some(&node), 1) = (nodes.first(), nodes.len()) {
                self.nodes.insert(link, node);
            }
        }
    }

    /// The gateways there are, by mesh address. They are remembered for as long as they are counted for.
    pub fn note_gateways(&mut self, gateways: impl IntoIterator<Item = (Ipv6Addr, NodeId)>) {
        let counted: BTreeSet<Ipv6Addr> = self.meters.keys().map(|key| key.gateway).collect();
        self.gateways.retain(|address, _| counted.contains(address));
        self.gateways.extend(gateways);
    }

    /// Takes a reading and gives what is new for each neighbor and gateway that can be named. What
    /// cannot be named yet is kept for the next reading.
    pub fn handle_counters(&mut self, counters: &Counters) -> Deltas {
        self.follow_generation(counters);
        let mut deltas = Deltas::new();
        for sample in &counters.samples {
            let Some((account, link, bytes)) = self.new_bytes(sample, counters.frame) else {
                continue;
            };
            let flow = sample.key.flow;
            let new = match flow {
                Flow::UpRx | Flow::UpTx => Carried {
                    up_bytes: bytes,
                    down_bytes: 0,
                },
                Flow::DownTx | Flow::DownRx => Carried {
                    up_bytes: 0,
                    down_bytes: bytes,
                },
            };
            deltas.entry(account).or_default().add(flow, new);
            self.totals.entry(link).or_default().add(new);
        }
        self.meters.retain(|key, _| !counters.removed.contains(key));
        self.follow_names(counters);
        deltas
    }

    /// Begins anew with other counters than those of the last reading.
    fn follow_generation(&mut self, counters: &Counters) {
        let before = self.generation.replace(counters.generation);
        // Counters of this run are not those of an earlier one, even if they are called alike.
        let is_mistaken = std::mem::take(&mut self.is_resumed) && counters.from_zero;
        if before == Some(counters.generation) && !is_mistaken {
            return;
        }
        self.meters.clear();
        if !counters.from_zero {
            for sample in &counters.samples {
                self.meter(sample).advance(sample, counters.frame);
            }
        }
    }

    /// What a counter counted since it was last read, if its neighbor and its gateway have names.
    fn new_bytes(
        &mut self,
        sample: &CounterSample,
        frame: u16,
    ) -> Option<((NodeId, NodeId), Link, u64)> {
        let link = link(sample)?;
        let node = *self.nodes.get(&link)?;
        let gateway = *self.gateways.get(&sample.key.gateway)?;
        let bytes = self.meter(sample).advance(sample, frame);
        Some(((node, gateway), link, bytes))
    }

    fn meter(&mut self, sample: &CounterSample) -> &mut Meter {
        self.meters.entry(sample.key).or_default()
    }

    /// Forgets nodes that are gone, and whose counters are, once there are many.
    fn follow_names(&mut self, counters: &Counters) {
        let samples = counters.samples.iter();
        let samples = samples.filter(|sample| !counters.removed.contains(&sample.key));
        if self.nodes.len() <= MANY_NODES {
            return;
        }
        let counted: BTreeSet<Link> = samples.filter_map(link).collect();
        let present = &self.present;
        self.nodes
            .retain(|link, _| present.contains(link) || counted.contains(link));
        let nodes = &self.nodes;
        self.totals.retain(|link, _| nodes.contains_key(link));
    }

    /// Who was there when nodes were named last, and where: to whom what is carried from and to there
    /// belongs.
    pub fn neighbors(&self) -> BTreeMap<NodeId, BTreeSet<Link>> {
        let mut neighbors: BTreeMap<_, BTreeSet<Link>> = BTreeMap::new();
        for link in &self.present {
            if let Some(node) = self.nodes.get(link) {
                neighbors.entry(*node).or_default().insert(*link);
            }
        }
        neighbors
    }

    /// What was carried over a link since the start, whoever pays.
    pub fn total(&self, ifindex: IfIndex, address: Ipv6Addr) -> Carried {
        self.totals
            .get(&(ifindex, address))
            .copied()
            .unwrap_or_default()
    }
}

/// Where the neighbor of a counter is, if the kernel knows.
fn link(sample: &CounterSample) -> Option<Link> {
    Some((sample.key.ifindex, sample.address?))
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
