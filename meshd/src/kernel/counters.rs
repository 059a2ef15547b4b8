//! The counter sets of our nftables table: bytes carried for and by each neighbor, to and from each gateway.
//!
//! The kernel passes on several frames of a connection as one packet where drivers and devices let it
//! (GRO, GSO), and counts it with the headers of one. What is longer than a frame is counted in a set of
//! its own as well, for [`usage`](crate::usage) to tell how many it were.
//!
//! Anybody can send packets from Ethernet addresses that nobody has, each of which gets a counter. So
//! where a set is nearly full, counters that have not counted for a while make room for others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use mesh_proto::{Family, IfIndex};
use serde::{Deserialize, Serialize};

use super::nat::TABLE;
use super::neighbor::{MacKey, Neighbors};
use super::netlink::KernelError;
use super::nfnetlink::{Element, Nfnetlink};
use super::shape::Spent;
use super::traffic::interface;

pub use super::nfnetlink::Counted;

/// The counter with a name that counts whatever any of the sets counts, so that one short question
/// tells whether they have to be read.
pub(super) const COUNTER: &str = "carried";

/// Counters in a set: neighbors times gateways. The kernel sets room aside for all of them, and looks
/// through it when they are read.
pub(super) const SET_SIZE: u32 = 2048;

/// So many in a set are no reason to remove any.
const ROOMY: usize = SET_SIZE as usize / 4 * 3;

/// Which packets a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Neighbor {
    /// Where packets are sent: its link-local address.
    LinkLocal(Ipv6Addr),
    /// Where they are received: its Ethernet address.
    Mac([u8; 6]),
}

/// The name of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CounterKey {
    /// Which packets.
    pub flow: Flow,
    /// At which mesh interface.
    #[serde(with = "Index")]
    pub ifindex: IfIndex,
    /// From or to which neighbor.
    pub neighbor: Neighbor,
    /// To or from which gateway: its mesh address.
    pub gateway: Ipv6Addr,
}

/// How an index is written down.
#[derive(Serialize, Deserialize)]
#[serde(remote = "IfIndex")]
struct Index(u32);

/// What one counter counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterSample {
    /// Which counter.
    pub key: CounterKey,
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
    /// One for each flow, interface, neighbor and gateway that had packets.
    pub samples: Vec<CounterSample>,
    /// Those that were removed after they were read: if they come again they begin at zero.
    pub removed: BTreeSet<CounterKey>,
    /// Whether a set has no room for further neighbors. What cannot be counted is slowed down.
    pub is_full: bool,
    /// What counted against the credit of neighbors when reading began.
    pub spent: Spent,
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
    /// What each counter had counted when that changed last, and when it was read.
    changed: BTreeMap<CounterKey, (Counted, Instant)>,
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
        let spent = nfnetlink.quotas()?;
        let mut samples = Vec::new();
        let mut is_full = false;
        for flow in Flow::ALL {
            let all = by_key(flow, nfnetlink.elements(flow.set_name())?);
            is_full |= all.len() >= SET_SIZE as usize;
            let [ipv4, ipv6] = Family::BOTH.map(|family| {
                let elements = nfnetlink.elements(&flow.merged_set_name(family));
                elements.map(|elements| by_key(flow, elements))
            });
            let merged = [ipv4?, ipv6?];
            samples.extend(all.into_iter().map(|(key, all)| {
                CounterSample {
                    key,
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
            removed: BTreeSet::new(),
            is_full,
            spent,
        })
    }

    /// Which counters of a new reading should make room for others: those that have not counted for
    /// `idle_time`.
    pub(super) fn idle(
        &mut self,
        now: Instant,
        idle_time: Duration,
        counters: &Counters,
    ) -> BTreeSet<CounterKey> {
        let before = std::mem::take(&mut self.changed);
        let changed = counters.samples.iter().map(|sample| {
            let before = before.get(&sample.key);
            let unchanged = before.filter(|(counted, _)| *counted == sample.all);
            (sample.key, unchanged.copied().unwrap_or((sample.all, now)))
        });
        self.changed = changed.collect();
        let is_crowded = |flow: Flow| {
            let of_flow = self.changed.keys().filter(|key| key.flow == flow);
            of_flow.count() > ROOMY
        };
        let crowded = Flow::ALL.map(|flow| (flow, is_crowded(flow)));
        let idle = self.changed.iter().filter(|(key, (_, since))| {
            now.duration_since(*since) >= idle_time && crowded.contains(&(key.flow, true))
        });
        idle.map(|(key, _)| *key).collect()
    }

    /// These counters are gone.
    pub(super) fn removed(&mut self, removed: &BTreeSet<CounterKey>) {
        if let Some((_, last)) = &mut self.last {
            last.samples.retain(|it| !removed.contains(&it.key));
        }
        self.changed.retain(|key, _| !removed.contains(key));
    }
}

impl Counters {
    /// The Ethernet addresses of neighbors.
    pub(super) fn macs(&self) -> BTreeSet<MacKey> {
        let macs = self
            .samples
            .iter()
            .filter_map(|sample| match sample.key.neighbor {
                Neighbor::Mac(mac) => Some((sample.key.ifindex, mac)),
                Neighbor::LinkLocal(_) => None,
            });
        macs.collect()
    }

    /// Adds the addresses of neighbors as far as they are known.
    pub(super) fn resolve(&mut self, neighbors: &Neighbors) {
        for sample in &mut self.samples {
            sample.address = match sample.key.neighbor {
                Neighbor::LinkLocal(address) => Some(address),
                Neighbor::Mac(mac) => neighbors.address((sample.key.ifindex, mac)),
            };
        }
    }

    /// Commands for nft(8) that remove these counters from their sets.
    pub(super) fn removing(&self, removed: &BTreeSet<CounterKey>) -> String {
        let samples = self.samples.iter();
        let samples = samples.filter(|sample| removed.contains(&sample.key));
        samples.flat_map(CounterSample::removing).collect()
    }
}

impl CounterSample {
    fn removing(&self) -> impl Iterator<Item = String> {
        let CounterKey {
            flow,
            ifindex,
            neighbor,
            gateway,
        } = self.key;
        let element = format!("{ifindex} . {neighbor} . {gateway}");
        let merged = Family::BOTH.into_iter().zip(self.merged);
        // What has counted nothing is not there.
        let merged = merged.filter(|(_, counted)| counted.packets > 0);
        let sets = merged.map(move |(family, _)| flow.merged_set_name(family));
        let sets = sets.chain([flow.set_name().to_owned()]);
        sets.map(move |set| format!("delete element inet {TABLE} {set} {{ {element} }}\n"))
    }
}

/// As nft(8) reads it.
impl fmt::Display for Neighbor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkLocal(address) => address.fmt(f),
            Self::Mac(mac) => write_mac(f, mac),
        }
    }
}

fn write_mac(f: &mut fmt::Formatter<'_>, [first, others @ ..]: &[u8; 6]) -> fmt::Result {
    write!(f, "{first:02x}")?;
    others.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
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

fn by_key(flow: Flow, elements: Vec<Element>) -> BTreeMap<CounterKey, Counted> {
    let mut counts = BTreeMap::new();
    for element in elements {
        let Some(counted) = element.counted else {
            continue;
        };
        // A set that grows while it is dumped may have an element twice.
        let kept: &mut Counted = counts.entry(key(flow, element)).or_default();
        if kept.bytes < counted.bytes {
            *kept = counted;
        }
    }
    counts
}

/// An interface, a neighbor, a gateway: as [`counting`](super::counting) puts them there.
fn key(flow: Flow, element: Element) -> CounterKey {
    let address = |at| Ipv6Addr::from(element.part::<16>(at));
    let (neighbor, gateway) = match flow.is_received() {
        true => (Neighbor::Mac(element.part(4)), address(12)),
        false => (Neighbor::LinkLocal(address(4)), address(20)),
    };
    CounterKey {
        flow,
        ifindex: interface(element),
        neighbor,
        gateway,
    }
}
