//! The counter sets of our nftables table: bytes carried for and by each neighbor.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use mesh_proto::IfIndex;

use super::neighbor::{MacKey, Neighbors};
use super::netlink::KernelError;
use super::nfnetlink::{Counted, Element, Nfnetlink};

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
}

/// A neighbor as the counters know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Neighbor {
    /// Its link-local address.
    LinkLocal(Ipv6Addr),
    /// Its Ethernet address, as long as the kernel does not know whose it is.
    Mac([u8; 6]),
}

/// What one counter counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterSample {
    /// Which packets.
    pub flow: Flow,
    /// At which mesh interface.
    pub ifindex: IfIndex,
    /// From or to which neighbor.
    pub neighbor: Neighbor,
    /// Bytes of whole IPv6 packets, the tunnel's headers included.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
}

/// What all counters counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Names the life of the counters: two readings with the same value and without a reboot
    /// between them count from the same zero. It changes when the table was made anew.
    pub generation: u64,
    /// One for each flow, interface and neighbor that had packets.
    pub samples: Vec<CounterSample>,
}

/// Reads the counters, as far as they changed.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The last reading, with neighbors by Ethernet address where packets are received, and what
    /// all counters had counted before it.
    last: Option<(Counted, Counters)>,
}

impl Reader {
    /// The counters may be others from now on.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// Reads the counters. Gives them with neighbors by Ethernet address where packets are
    /// received, and whether they were read anew.
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
            None => (read(nfnetlink)?, true),
        };
        self.last = Some((counted, counters.clone()));
        Ok((counters, is_new))
    }
}

impl Counters {
    /// The Ethernet addresses in place of neighbors.
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

    /// Names neighbors by their link-local address as far as it is known.
    pub(super) fn resolve(&mut self, neighbors: &Neighbors) {
        for sample in &mut self.samples {
            if let Neighbor::Mac(mac) = sample.neighbor
                && let Some(address) = neighbors.address((sample.ifindex, mac))
            {
                sample.neighbor = Neighbor::LinkLocal(address);
            }
        }
    }
}

fn read(nfnetlink: &mut Nfnetlink) -> Result<Counters, KernelError> {
    let sets = nfnetlink.sets()?;
    let handle = |flow: Flow| sets.get(flow.set_name()).copied();
    let handles: Option<Vec<u64>> = Flow::ALL.into_iter().map(handle).collect();
    let newest_set = handles.ok_or(KernelError::TableMissing)?.into_iter().max();
    let mut counted = BTreeMap::new();
    for flow in Flow::ALL {
        for element in nfnetlink.elements(flow.set_name())? {
            let Some(sample) = sample(flow, &element) else {
                continue;
            };
            // A set that grows while it is dumped may have an element twice.
            let key = (flow, sample.ifindex, sample.neighbor);
            let kept: &mut CounterSample = counted.entry(key).or_insert(sample);
            if kept.bytes < sample.bytes {
                *kept = sample;
            }
        }
    }
    // Handles count up within a table, and tables count up within a network namespace, so the
    // pair never comes again before a reboot.
    let generation = nfnetlink.table()? << 32 | newest_set.unwrap_or_default();
    Ok(Counters {
        generation,
        samples: counted.into_values().collect(),
    })
}

fn sample(flow: Flow, element: &Element) -> Option<CounterSample> {
    let neighbor = if flow.is_received() {
        let [a, b, c, d, e, f, ..] = element.address;
        Neighbor::Mac([a, b, c, d, e, f])
    } else {
        Neighbor::LinkLocal(Ipv6Addr::from(element.address))
    };
    let Counted { bytes, packets } = element.counted?;
    Some(CounterSample {
        flow,
        ifindex: element.ifindex,
        neighbor,
        bytes,
        packets,
    })
}
