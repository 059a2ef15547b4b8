//! The counter sets of our nftables table: bytes carried for and by each neighbor.
//!
//! The kernel passes on several frames of a connection as one packet where drivers and devices let it
//! (GRO, GSO), and counts it with the headers of one. What is longer than a frame is counted in a set of
//! its own as well, for [`usage`](crate::usage) to tell how many it were.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use mesh_proto::{Family, IfIndex};

use super::neighbor::{MacKey, Neighbors};
use super::netlink::KernelError;
use super::nfnetlink::{Element, Nfnetlink};

pub use super::nfnetlink::Counted;

/// The counter with a name that counts whatever any of the sets counts, so that one short question
/// tells whether they have to be read.
pub(super) const COUNTER: &str = "carried";

/// Which packets a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flow {
    /// Received from the neighbor, on their way to a gateway.
    UpRx,
    /// Sent to the neighbor, on their way to a gateway.
    UpTx,
    /// Received from the neighbor, coming from a gateway.
    DownRx,
    /// Sent to the neighbor, coming from a gateway.
    DownTx,
}

impl Flow {
    /// All of them; what is counted as `up` comes before what is counted as `down`.
    pub(super) const ALL: [Self; 4] = [Self::UpRx, Self::UpTx, Self::DownRx, Self::DownTx];

    /// Whether the packets are on their way to a gateway.
    pub(super) const fn is_up(self) -> bool {
        matches!(self, Self::UpRx | Self::UpTx)
    }

    /// Whether the packets come from the neighbor.
    pub(super) const fn is_received(self) -> bool {
        matches!(self, Self::UpRx | Self::DownRx)
    }

    /// The name of the set these counters are in.
    pub(super) const fn set_name(self) -> &'static str {
        match self {
            Self::UpRx => "up_rx",
            Self::UpTx => "up_tx",
            Self::DownRx => "down_rx",
            Self::DownTx => "down_tx",
        }
    }

    /// The name of the set that counts merged frames of a family once more.
    pub(super) fn merged_set_name(self, inside: Family) -> String {
        let suffix = match inside {
            Family::Ipv4 => "merged4",
            Family::Ipv6 => "merged6",
        };
        format!("{}_{suffix}", self.set_name())
    }
}

/// A neighbor as the counters know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Neighbor {
    /// Where packets are sent: its link-local address.
    LinkLocal(Ipv6Addr),
    /// Where they are received: its Ethernet address.
    Mac([u8; 6]),
}

/// What one counter counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterSample {
    /// Which packets.
    pub flow: Flow,
    /// At which mesh interface.
    pub ifindex: IfIndex,
    /// From or to which neighbor: with the flow and the interface, the name of the counter.
    pub neighbor: Neighbor,
    /// The neighbor's link-local address, if the kernel knows it.
    pub address: Option<Ipv6Addr>,
    /// All packets.
    pub all: Counted,
    /// Those of them that are longer than a frame, by what is inside: IPv4, IPv6.
    pub merged: [Counted; 2],
}

/// What all counters counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Names the life of the counters: two readings with the same value and without a reboot
    /// between them count from the same zero. It changes when the table was made anew.
    pub generation: u64,
    /// Whether they were made by us, in this life, and began at zero. Others may hold what an earlier
    /// life has accounted for, or what somebody has restored.
    pub from_zero: bool,
    /// The longest packet that one frame holds, in bytes: the smallest MTU of the mesh.
    pub frame: u16,
    /// One for each flow, interface and neighbor that had packets.
    pub samples: Vec<CounterSample>,
}

/// Reads the counters, as far as they changed.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The last reading, without addresses where packets are received, and what all counters had counted
    /// before it.
    last: Option<(Counted, Counters)>,
    /// As in [`Counters`].
    frame: u16,
    /// The generation that we have made.
    made: Option<u64>,
}

impl Reader {
    /// The counters may be others from now on, and what is longer than `frame` counts as merged.
    pub(super) fn begin(&mut self, frame: u16) {
        self.last = None;
        self.frame = frame;
    }

    /// The counters of this generation are our own, made just now.
    pub(super) fn made(&mut self, generation: u64) {
        self.made = Some(generation);
    }

    /// Reads the counters. Gives them without addresses where packets are received, and whether they
    /// were read anew.
    ///
    /// # Errors
    /// [`KernelError::TableMissing`] when the table is not complete.
    pub(super) fn read(
        &mut self,
        nfnetlink: &mut Nfnetlink,
    ) -> Result<(Counters, bool), KernelError> {
        let last = self.last.take();
        // Rules count here after they have counted in a set, so what the sets lack of this is in
        // the next reading.
        let counted = nfnetlink.counter(COUNTER)?;
        let (counters, is_new) = match last.filter(|(before, _)| *before == counted) {
            Some((_, counters)) => (counters, false),
            None => (self.read_anew(nfnetlink)?, true),
        };
        self.last = Some((counted, counters.clone()));
        Ok((counters, is_new))
    }

    fn read_anew(&self, nfnetlink: &mut Nfnetlink) -> Result<Counters, KernelError> {
        let generation_before = generation(nfnetlink)?;
        let mut samples = Vec::new();
        for flow in Flow::ALL {
            let all = by_neighbor(flow, nfnetlink.elements(flow.set_name())?);
            let [ipv4, ipv6] = Family::BOTH.map(|family| {
                let elements = nfnetlink.elements(&flow.merged_set_name(family));
                elements.map(|elements| by_neighbor(flow, elements))
            });
            let merged = [ipv4?, ipv6?];
            samples.extend(all.into_iter().map(|(key, all)| {
                CounterSample {
                    flow,
                    ifindex: key.0,
                    neighbor: key.1,
                    address: None,
                    all,
                    merged: merged
                        .each_ref()
                        .map(|counts| counts.get(&key).copied().unwrap_or_default()),
                }
            }));
        }
        let generation = generation(nfnetlink)?;
        if generation != generation_before {
            // What was read may be of both.
            return Err(KernelError::Disturbed);
        }
        Ok(Counters {
            generation,
            from_zero: self.made == Some(generation),
            frame: self.frame,
            samples,
        })
    }
}

impl Counters {
    /// The Ethernet addresses of neighbors.
    pub(super) fn macs(&self) -> BTreeSet<MacKey> {
        let macs = self
            .samples
            .iter()
            .filter_map(|sample| match sample.neighbor {
                Neighbor::Mac(mac) => Some((sample.ifindex, mac)),
                Neighbor::LinkLocal(_) => None,
            });
        macs.collect()
    }

    /// Adds the addresses of neighbors as far as they are known.
    pub(super) fn resolve(&mut self, neighbors: &Neighbors) {
        for sample in &mut self.samples {
            sample.address = match sample.neighbor {
                Neighbor::LinkLocal(address) => Some(address),
                Neighbor::Mac(mac) => neighbors.address((sample.ifindex, mac)),
            };
        }
    }
}

/// Names the life of the counters: as in [`Counters`].
///
/// # Errors
/// [`KernelError::TableMissing`] when the table is not complete.
pub(super) fn generation(nfnetlink: &mut Nfnetlink) -> Result<u64, KernelError> {
    let sets = nfnetlink.sets()?;
    let handle = |flow: Flow| sets.get(flow.set_name()).copied();
    let handles: Option<Vec<u64>> = Flow::ALL.into_iter().map(handle).collect();
    let newest_set = handles.ok_or(KernelError::TableMissing)?.into_iter().max();
    // Handles count up within a table, and tables count up within a network namespace, so the
    // pair never comes again before a reboot.
    Ok(nfnetlink.table()? << 32 | newest_set.unwrap_or_default())
}

fn by_neighbor(flow: Flow, elements: Vec<Element>) -> BTreeMap<(IfIndex, Neighbor), Counted> {
    let mut counts = BTreeMap::new();
    for element in elements {
        let Some(counted) = element.counted else {
            continue;
        };
        let neighbor = neighbor(flow, element.address);
        // A set that grows while it is dumped may have an element twice.
        let kept: &mut Counted = counts.entry((element.ifindex, neighbor)).or_default();
        if kept.bytes < counted.bytes {
            *kept = counted;
        }
    }
    counts
}

fn neighbor(flow: Flow, address: [u8; 16]) -> Neighbor {
    if flow.is_received() {
        let [a, b, c, d, e, f, ..] = address;
        Neighbor::Mac([a, b, c, d, e, f])
    } else {
        Neighbor::LinkLocal(Ipv6Addr::from(address))
    }
}
