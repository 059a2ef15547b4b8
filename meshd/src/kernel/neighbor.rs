//! The kernel's neighbors: whose Ethernet address is whose, and who does not answer.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink attributes are an open set"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use mesh_proto::IfIndex;
use rtnetlink::Handle;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};

use super::netlink::{KernelError, dump};

/// How often those are looked for who are not to be found.
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);

/// How many Ethernet addresses of one neighbor are remembered.
const MAX_MACS: usize = 4;

/// An Ethernet address at one of our interfaces.
pub(super) type MacKey = (IfIndex, [u8; 6]);

/// Whose Ethernet address is whose. Remembered, since the kernel forgets neighbors it does not
/// hear of for a while, and counters stay.
#[derive(Debug, Default)]
pub(super) struct Neighbors {
    known: BTreeMap<MacKey, Ipv6Addr>,
    /// In the order in which they became known.
    learned: VecDeque<MacKey>,
    /// Who was looked for last, and when.
    searched: (Option<Instant>, BTreeSet<MacKey>),
    searched_links: (Option<Instant>, BTreeSet<(IfIndex, Ipv6Addr)>),
}

impl Neighbors {
    /// Reads the kernel's neighbors, as far as they are asked for: these are bounded many.
    pub(super) async fn update(
        &mut self,
        handle: &Handle,
        asked: &BTreeSet<MacKey>,
    ) -> Result<(), KernelError> {
        if asked.is_empty() {
            return Ok(());
        }
        let mut present: BTreeMap<_, BTreeSet<Ipv6Addr>> = BTreeMap::new();
        for (key, address) in entries(handle).await? {
            if asked.contains(&key) {
                present.entry(key).or_default().insert(address);
            }
        }
        for (key, addresses) in present {
            let known = self.known.get(&key);
            if known.is_none_or(|known| !addresses.contains(known)) {
                addresses
                    .first()
                    .into_iter()
                    .for_each(|address| self.learn(key, *address));
            }
        }
        Ok(())
    }

    /// The same, unless all of them are known, or those that are not were asked for a moment ago:
    /// they may never send anything.
    pub(super) async fn find(
        &mut self,
        handle: &Handle,
        mut asked: BTreeSet<MacKey>,
    ) -> Result<(), KernelError> {
        asked.retain(|&key| self.address(key).is_none());
        let now = Instant::now();
        let (searched_at, searched_for) = &self.searched;
        let is_fresh = searched_at.is_some_and(|at| now < at + SEARCH_INTERVAL);
        if asked.is_empty() || (is_fresh && asked.is_subset(searched_for)) {
            return Ok(());
        }
        self.searched = (Some(now), asked.clone());
        self.update(handle, &asked).await
    }

    /// Reads the kernel's neighbors if any of these links has no Ethernet address yet, unless they were
    /// looked for a moment ago.
    pub(super) async fn find_links(
        &mut self,
        handle: &Handle,
        links: &BTreeSet<(IfIndex, Ipv6Addr)>,
    ) -> Result<(), KernelError> {
        let known = self.known.iter();
        let known: BTreeSet<_> = known.map(|(mac, address)| (mac.0, *address)).collect();
        let unknown: BTreeSet<_> = links.difference(&known).copied().collect();
        let now = Instant::now();
        let (searched_at, searched_for) = &self.searched_links;
        let is_fresh = searched_at.is_some_and(|at| now < at + SEARCH_INTERVAL);
        if unknown.is_empty() || (is_fresh && unknown.is_subset(searched_for)) {
            return Ok(());
        }
        let present: BTreeSet<_> = entries(handle).await?.into_iter().collect();
        for &(mac, address) in &present {
            // Where several are behind one, as behind a repeater, it stays the first one's.
            let before = self.address(mac).map(|address| (mac, address));
            let is_taken =
                before.is_some_and(|it| present.contains(&it) && links.contains(&(mac.0, it.1)));
            if unknown.contains(&(mac.0, address)) && !is_taken {
                self.learn(mac, address);
            }
        }
        self.searched_links = (Some(now), unknown);
        Ok(())
    }

    /// Takes note of whose an Ethernet address is. Of those of one neighbor the last few are remembered: it
    /// may have another each time it is asked.
    fn learn(&mut self, mac: MacKey, address: Ipv6Addr) {
        self.known.insert(mac, address);
        self.learned.retain(|it| *it != mac);
        self.learned.push_back(mac);
        let is_its = |it: &&MacKey| it.0 == mac.0 && self.known.get(it) == Some(&address);
        if self.learned.iter().filter(is_its).count() > MAX_MACS {
            let oldest = self.learned.iter().find(is_its).copied();
            oldest.into_iter().for_each(|oldest| self.remove(oldest));
        }
    }

    fn remove(&mut self, mac: MacKey) {
        self.known.remove(&mac);
        self.learned.retain(|it| *it != mac);
    }

    /// Ethernet addresses, and whose they are.
    pub(super) fn all(&self) -> impl Iterator<Item = (MacKey, Ipv6Addr)> + '_ {
        self.known.iter().map(|(mac, address)| (*mac, *address))
    }

    /// The link-local address of the neighbor with this Ethernet address, as far as it is known.
    pub(super) fn address(&self, key: MacKey) -> Option<Ipv6Addr> {
        self.known.get(&key).copied()
    }

    /// Forgets the neighbors at an interface that is gone: its index may come again.
    pub(super) fn forget(&mut self, ifindex: IfIndex) {
        self.known.retain(|&(known, _), _| known != ifindex);
        self.learned.retain(|&(known, _)| known != ifindex);
    }
}

/// The kernel's neighbors with link-local addresses.
async fn entries(handle: &Handle) -> Result<Vec<(MacKey, Ipv6Addr)>, KernelError> {
    let request = handle
        .neighbours()
        .get()
        .set_address_family(AddressFamily::Inet6);
    let messages = dump("list neighbors", request.execute()).await?;
    let entries = messages.iter().filter_map(|message| {
        let key = (IfIndex(message.header.ifindex), mac(message)?);
        Some((key, link_local(message)?))
    });
    Ok(entries.collect())
}

/// The neighbor that a message says does not answer, if it is one with a link-local address.
pub(super) fn unanswering(message: &NeighbourMessage) -> Option<(IfIndex, Ipv6Addr)> {
    let failed = message.header.state == NeighbourState::Failed;
    let address = link_local(message).filter(|_| failed)?;
    Some((IfIndex(message.header.ifindex), address))
}

fn link_local(message: &NeighbourMessage) -> Option<Ipv6Addr> {
    let mut attributes = message.attributes.iter();
    let address = attributes.find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => Some(*address),
        _ => None,
    });
    address.filter(Ipv6Addr::is_unicast_link_local)
}

fn mac(message: &NeighbourMessage) -> Option<[u8; 6]> {
    let mut attributes = message.attributes.iter();
    attributes.find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(mac) => mac.as_slice().try_into().ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    const OTHER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

    #[test]
    fn who_changes_its_ethernet_address_is_known_by_the_last_few() {
        let mac = |last| (IfIndex(3), [2, 0, 0, 0, 0, last]);
        let mut neighbors = Neighbors::default();
        neighbors.learn(mac(200), OTHER);
        (0..100).for_each(|last| neighbors.learn(mac(last), ADDRESS));
        neighbors.learn(mac(96), ADDRESS);
        neighbors.learn(mac(100), ADDRESS);
        let known: Vec<u8> = neighbors.all().map(|((_, mac), _)| mac[5]).collect();
        assert_eq!(known, [96, 98, 99, 100, 200]);
    }
}
