//! Nodes that exist only in what a neighbor says of them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use ed25519_dalek::SigningKey;
use mesh_proto::hash_chain::{Chain, ChainValue, Link};
use mesh_proto::identity::MESH_IPV4_RANGE;
use mesh_proto::wire::{Binding, Ogm, OgmIndex, PacketBuilder, Tlv, Update};
use mesh_proto::{Metric, Network, NodeId, NodeRecord, OriginatorId, Price, SeqNo, SignedRecord};

/// The epoch of all of them.
pub(super) const EPOCH: u32 = 1;
/// Sequence numbers of an epoch begin here.
const BASE: SeqNo = SeqNo::new(EPOCH << 16);
/// From the neighbor to each of the others: one hop over a radio that says nothing of its speed.
const DISTANCE: Metric = Metric::from_us(600);
/// Bytes of an update before its OGMs.
const UPDATE_HEADER: usize = Tlv::HEADER_LEN + 8;

/// All of them, the neighbor that speaks for them first.
pub(super) struct Crowd {
    members: Vec<Member>,
    /// How often something was said of one of them, or will have been when all of it is sent.
    version: u32,
}

struct Member {
    id: OriginatorId,
    index: OgmIndex,
    record: SignedRecord,
    chain: Chain,
    newest: Link,
    metric: Metric,
    hops: u8,
    /// The version at which its newest number is said.
    said: u32,
    /// The version at which its index was first used.
    named: u32,
}

/// The key of a member; the same in every run.
pub(super) fn key(number: u16) -> SigningKey {
    SigningKey::from_bytes(&secret(number))
}

fn secret(number: u16) -> [u8; 32] {
    let [high, low] = number.to_be_bytes();
    let mut secret = [0xcc; 32];
    let [first, second, ..] = &mut secret;
    (*first, *second) = (high, low);
    secret
}

impl Crowd {
    /// The neighbor and `count` others; all of it is yet to be said.
    pub(super) fn new(network: &Network, count: u16) -> Result<Self> {
        let members = (0..=count).map(|number| Member::new(network, number));
        let members: Vec<Member> = members.collect::<Result<_>>()?;
        let version = u32::from(count) + 1;
        Ok(Self { members, version })
    }

    /// How much there is to say.
    pub(super) const fn version(&self) -> u32 {
        self.version
    }

    /// Raises the sequence number of every member.
    pub(super) fn raise(&mut self) -> Result<()> {
        for member in &mut self.members {
            let seqno = member.newest.seqno.next();
            member.newest = member.link(seqno)?;
            self.version += 1;
            member.said = self.version;
        }
        Ok(())
    }

    /// What was said after `since` and up to `until`, as much of it as fits a packet of
    /// `max_packet` bytes.
    pub(super) fn part(&self, since: u32, until: u32, max_packet: usize) -> Update {
        let lengths = self.members.iter().map(|it| it.ogm(since).wire_len());
        let each = lengths.max().unwrap_or(1);
        let room = max_packet.saturating_sub(PacketBuilder::OVERHEAD + UPDATE_HEADER);
        let most = (room / each).max(1);
        // They are spoken of in one order, so versions rise in it.
        let changed = self.members.iter();
        let changed = changed.filter(|it| it.said > since && it.said <= until);
        let changed: Vec<&Member> = changed.take(most).collect();
        let last = changed.last().map_or(until, |member| member.said);
        Update {
            from: since,
            to: if changed.len() < most { until } else { last },
            ogms: changed.iter().map(|member| member.ogm(since)).collect(),
        }
    }

    /// The proofs of the newest numbers: of each member another one.
    pub(super) fn proofs(&self) -> BTreeSet<[u8; ChainValue::LEN]> {
        let newest = self.members.iter().map(|member| member.newest.value.0);
        newest.collect()
    }

    /// The newest sequence number of each.
    pub(super) fn newest(&self) -> BTreeMap<[u8; OriginatorId::LEN], u32> {
        let members = self.members.iter();
        let newest = members.map(|it| (*it.id.as_bytes(), it.newest.seqno.value()));
        newest.collect()
    }

    /// The record of a member.
    pub(super) fn record(&self, id: OriginatorId) -> Option<&SignedRecord> {
        let member = self.members.iter().find(|member| member.id == id);
        member.map(|member| &member.record)
    }
}

impl Member {
    fn new(network: &Network, number: u16) -> Result<Self> {
        let key = key(number);
        let id = NodeId::from_bytes(key.verifying_key().to_bytes()).originator_id();
        let chain = Chain::new(id, BASE, &secret(number));
        let name = format!("crowd-{number}");
        // Not those that follow from the keys: of a thousand, two may be the same.
        let ipv4 = u32::from(MESH_IPV4_RANGE.network()) + u32::from(number) + 1;
        let record = NodeRecord {
            epoch: EPOCH,
            seq: BASE.next(),
            anchor: chain.anchor(),
            ipv4: ipv4.into(),
            ..NodeRecord::new(&name)
        };
        let version = u32::from(number) + 1;
        let mut member = Self {
            id,
            index: OgmIndex::new(number).context("more members than indexes")?,
            record: record.sign(network, &key),
            newest: chain.anchor(),
            chain,
            metric: if number == 0 { Metric::ZERO } else { DISTANCE },
            hops: u8::from(number > 0),
            said: version,
            named: version,
        };
        member.newest = member.link(BASE.next())?;
        Ok(member)
    }

    fn link(&self, seqno: SeqNo) -> Result<Link> {
        let value = self.chain.value(seqno);
        let value = value.context("more rounds than a hash chain has numbers")?;
        Ok(Link { seqno, value })
    }

    /// What to tell who has heard everything up to `since`, but not its newest number.
    fn ogm(&self, since: u32) -> Ogm {
        let binding = Binding {
            originator: self.id,
            record_seq: self.record.record().seq,
        };
        Ogm {
            index: self.index,
            binding: (self.named > since).then_some(binding),
            fresh: Some(self.newest),
            metric: self.metric,
            hops: self.hops,
            price: Price::FREE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_PACKET: usize = 1452;

    /// All parts from `since` on, and how many bytes the packets of each have.
    fn parts(crowd: &Crowd, network: &Network, mut since: u32) -> Vec<(Update, usize)> {
        let mut parts = Vec::new();
        while since < crowd.version() {
            let part = crowd.part(since, crowd.version(), MAX_PACKET);
            let mut bytes = Vec::new();
            Tlv::Update(part.clone()).emit(&mut bytes);
            assert_eq!(part.from, since);
            assert!(part.to > since);
            since = part.to;
            parts.push((part, bytes.len() + PacketBuilder::OVERHEAD));
        }
        assert!(crowd.record(self::id(0)).unwrap().verify(network));
        parts
    }

    fn id(number: u16) -> OriginatorId {
        NodeId::from_bytes(key(number).verifying_key().to_bytes()).originator_id()
    }

    #[test]
    fn everything_is_said_once_in_packets_that_are_full() {
        let network = Network::new("village");
        let mut crowd = Crowd::new(&network, 200).unwrap();
        for since in [0, 201] {
            let parts = parts(&crowd, &network, since);
            let said: usize = parts.iter().map(|(part, _)| part.ogms.len()).sum();
            assert_eq!(said, 201);
            let (_, full) = parts.split_last().unwrap();
            let each = crowd.members[0].ogm(since).wire_len();
            for (_, bytes) in full {
                assert!(*bytes <= MAX_PACKET && bytes + each > MAX_PACKET, "{bytes}");
            }
            crowd.raise().unwrap();
        }
    }

    #[test]
    fn what_is_said_again_is_newer_and_proven_by_the_record() {
        let network = Network::new("village");
        let mut crowd = Crowd::new(&network, 3).unwrap();
        crowd.raise().unwrap();
        let part = crowd.part(4, 8, MAX_PACKET);
        assert_eq!((part.from, part.to, part.ogms.len()), (4, 8, 4));
        let link = part.ogms[2].fresh.unwrap();
        let anchor = crowd.record(id(2)).unwrap().record().anchor;
        assert_eq!(link.seqno, BASE.next().next());
        assert_eq!(link.proves(id(2), anchor.seqno), Some(anchor.value));
        assert!(
            part.ogms[2].binding.is_none()
                && crowd.part(0, 8, MAX_PACKET).ogms[2].binding.is_some()
        );
    }
}
