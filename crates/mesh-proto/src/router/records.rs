//! Node records: our own, and those of others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;

use super::counters::DropReason;
use super::neighbor::LinkId;
use super::{Announcement, Event, MAX_ORIGINATORS, Router};
use crate::hash_chain::{Chain, Disproof, Link, Proven};
use crate::identity::MacKey;
use crate::map::{MapEntry, SignedMapEntry};
use crate::record::{MIN_MTU, USUAL_MTU};
use crate::wire::{KeyKind, RecordRequest, Tlv};
use crate::{IfIndex, Network, NodeRecord, OriginatorId, SeqNo, SignedRecord, Tunnel, Tunnels};

/// A request for a record is repeated after this long.
const REQUEST_INTERVAL: Duration = Duration::from_millis(300);
/// How often a node that we do not know, or that does not know what it should, is written to.
const INTRODUCTION_INTERVAL: Duration = Duration::from_millis(200);
/// Sequence numbers of one epoch: a week of OGMs every ten seconds. The next epoch's lie above,
/// so whoever was restarted is believed at once.
pub(super) const EPOCH_BITS: u32 = 16;
/// The epoch that a sequence number belongs to, as far as numbers tell.
pub(super) const fn epoch_of(seqno: SeqNo) -> u32 {
    seqno.value() >> EPOCH_BITS
}

/// So many records of lives that we forgot are believed to be that: not everybody remembers the
/// same one. Then there is another node with our key.
const FORGOTTEN_LIVES: u32 = 8;
/// How often we give way to another node with our key; it does the same.
const DOUBLE_INTERVAL: Duration = Duration::from_secs(60);

/// A newer record than ours is about: who has it, and when we last asked.
#[derive(Debug)]
struct Wanted {
    seq: SeqNo,
    from: LinkId,
    asked: Option<Instant>,
}

/// Another node's record.
#[derive(Debug)]
struct Known {
    signed: SignedRecord,
    proven: Proven,
    /// The tunnel to it.
    tunnel: Option<Tunnel>,
}

/// All records we have, and the secrets that belong to our own.
#[derive(Debug)]
pub(super) struct Records {
    network: Network,
    tunnels: Tunnels,
    /// The smallest MTU of our interfaces.
    mtu: u16,
    key: SigningKey,
    instance: u64,
    own: SignedRecord,
    chain: Chain,
    ipv4_moves: u8,
    others: BTreeMap<OriginatorId, Known>,
    wanted: BTreeMap<OriginatorId, Wanted>,
    /// There is something in `wanted` that was not asked for yet.
    unasked: bool,
    /// Keys shared with those who are or were neighbors.
    pair_keys: BTreeMap<OriginatorId, MacKey>,
}

impl Records {
    pub(super) fn new(
        (network, tunnels): (Network, Tunnels),
        key: SigningKey,
        announcement: Announcement,
        (epoch, instance): (u32, u64),
    ) -> Self {
        let own = NodeRecord::new("").sign(&network, &key);
        let mut records = Self {
            chain: Chain::new(own.originator(), SeqNo::new(0), &[0; 32]),
            network,
            tunnels,
            mtu: USUAL_MTU,
            key,
            instance,
            own,
            ipv4_moves: 0,
            others: BTreeMap::new(),
            wanted: BTreeMap::new(),
            unasked: false,
            pair_keys: BTreeMap::new(),
        };
        records.begin_epoch(epoch, announcement);
        records
    }

    /// Begins to count anew, above everything of earlier epochs.
    pub(super) fn begin_epoch(&mut self, epoch: u32, announcement: Announcement) {
        let first = SeqNo::new(epoch << EPOCH_BITS);
        self.renew_chain(first);
        self.sign_own(announcement, epoch, first.next());
    }

    fn renew_chain(&mut self, base: SeqNo) {
        let secret = self.network.chain_secret(&self.key, self.instance, base);
        self.chain = Chain::new(self.own.originator(), base, &secret);
    }

    /// The proof of our own number `seqno`. If the chain does not reach so far there is a new
    /// one, and with it a new record.
    pub(super) fn prove(&mut self, seqno: SeqNo) -> (Link, bool) {
        if let Some(value) = self.chain.value(seqno) {
            return (Link { seqno, value }, false);
        }
        self.renew_chain(seqno);
        self.sign_again();
        let value = self.chain.value(seqno).unwrap_or_default();
        (Link { seqno, value }, true)
    }

    /// Checks another's sequence number.
    pub(super) fn check(&mut self, id: OriginatorId, proof: Link) -> Result<(), Disproof> {
        let known = self.others.get_mut(&id).ok_or(Disproof::OtherChain)?;
        known.proven.check(id, proof)
    }

    pub(super) const fn own(&self) -> &SignedRecord {
        &self.own
    }

    pub(super) fn get(&self, id: OriginatorId) -> Option<&SignedRecord> {
        if id == self.own.originator() {
            Some(&self.own)
        } else {
            self.others.get(&id).map(|known| &known.signed)
        }
    }

    /// The tunnel to another node, if there is a kind that both can end.
    pub(super) fn tunnel_to(&self, id: OriginatorId) -> Option<Tunnel> {
        self.others.get(&id).and_then(|known| known.tunnel)
    }

    pub(super) fn seq(&self, id: OriginatorId) -> Option<SeqNo> {
        self.get(id).map(|signed| signed.record().seq)
    }

    /// The present epoch of another node.
    pub(super) fn epoch(&self, id: OriginatorId) -> Option<u32> {
        self.get(id).map(|signed| signed.record().epoch)
    }

    /// Whether a record is of the same epoch as ours of its node, and of another life: the node
    /// lost count of its starts, or there are two with its key.
    pub(super) fn contradicts(&self, signed: &SignedRecord) -> bool {
        let theirs = signed.record();
        self.get(signed.originator()).is_some_and(|known| {
            let ours = known.record();
            ours.epoch == theirs.epoch && ours.instance != theirs.instance
        })
    }

    /// The key shared with a node that is or was our neighbor.
    pub(super) fn pair_key(&self, id: OriginatorId) -> Option<&MacKey> {
        self.pair_keys.get(&id)
    }

    /// Computes the key shared with `id`. Returns whether there is one.
    pub(super) fn make_pair_key(&mut self, id: OriginatorId) -> bool {
        if self.pair_keys.contains_key(&id) {
            return true;
        }
        let node = self.get(id).map(SignedRecord::node);
        let key = node.and_then(|node| self.network.pair_key(&self.key, node));
        key.map(|key| self.pair_keys.insert(id, key));
        self.pair_keys.contains_key(&id)
    }

    pub(super) fn offers_gateway(&self, id: OriginatorId) -> bool {
        self.get(id)
            .is_some_and(|signed| signed.record().gateway.is_some())
    }

    /// All nodes that offer an uplink, ourselves included.
    pub(super) fn gateways(&self) -> impl Iterator<Item = OriginatorId> {
        let own = self.own.record().gateway.as_ref();
        let own = own.map(|_| self.own.originator());
        let others = self.others.iter();
        let others = others.filter(|(_, known)| known.signed.record().gateway.is_some());
        own.into_iter().chain(others.map(|(id, _)| *id))
    }

    /// Changes what our record says. Returns whether it differs from before.
    pub(super) fn announce(&mut self, announcement: Announcement) -> bool {
        let fee = announcement.fee;
        if announcement
            == (Announcement {
                fee,
                ..self.announcement()
            })
        {
            return false;
        }
        let record = self.own.record();
        self.sign_own(announcement, record.epoch, record.seq.next());
        true
    }

    /// Takes the next IPv4 mesh address that follows from our key.
    pub(super) fn move_ipv4(&mut self) -> Ipv4Addr {
        self.ipv4_moves = self.ipv4_moves.wrapping_add(1);
        self.sign_again();
        self.own.record().ipv4
    }

    /// Notes the smallest MTU of our interfaces. Returns whether it differs from before.
    pub(super) fn set_mtu(&mut self, mtu: u16) -> bool {
        let differs = self.mtu != mtu;
        self.mtu = mtu;
        if differs {
            self.sign_again();
        }
        differs
    }

    /// The smallest MTU of anybody's interfaces.
    pub(super) fn smallest_mtu(&self) -> u16 {
        let others = self.others.values();
        let others = others.map(|known| known.signed.record().mtu);
        others.fold(self.mtu, u16::min).max(MIN_MTU)
    }

    /// What our record says; the fee is not in it.
    pub(super) fn announcement(&self) -> Announcement {
        let NodeRecord {
            name,
            prefixes,
            gateway,
            ..
        } = self.own.record().clone();
        Announcement {
            name,
            prefixes,
            gateway,
            ..Announcement::default()
        }
    }

    fn sign_again(&mut self) {
        let (epoch, seq) = (self.own.record().epoch, self.own.record().seq.next());
        self.sign_own(self.announcement(), epoch, seq);
    }

    fn sign_own(&mut self, announcement: Announcement, epoch: u32, seq: SeqNo) {
        let Announcement {
            name,
            prefixes,
            gateway,
            fee: _,
        } = announcement;
        let record = NodeRecord {
            name,
            epoch,
            instance: self.instance,
            seq,
            anchor: self.chain.anchor(),
            ipv4: self.own.node().mesh_ipv4(self.ipv4_moves),
            tunnels: self.tunnels,
            mtu: self.mtu,
            prefixes,
            gateway,
        };
        self.own = record.sign(&self.network, &self.key);
    }

    /// Signs our entry in the map.
    pub(super) fn sign_map_entry(&self, entry: MapEntry) -> SignedMapEntry {
        entry.sign(&self.network, &self.key)
    }

    /// A neighbor says that it has record `seq` of `id`; 0, which no record has, that it has
    /// none.
    pub(super) fn note_advertised(&mut self, id: OriginatorId, seq: SeqNo, from: LinkId) {
        let wanted = self.wanted.get(&id);
        let asked = wanted.and_then(|wanted| wanted.asked);
        let older = wanted.is_some_and(|wanted| wanted.seq.is_newer_than(seq));
        let missing = self.seq(id).is_none_or(|ours| seq.is_newer_than(ours));
        if missing && !older && seq != SeqNo::default() {
            self.wanted.insert(id, Wanted { seq, from, asked });
            self.unasked |= asked.is_none();
        }
    }

    /// Whether there are records to be asked for, or asked for again.
    pub(super) fn are_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Puts another's record in place of what is known of it.
    fn insert(&mut self, signed: SignedRecord) {
        let (id, seq) = (signed.originator(), signed.record().seq);
        let anchor = signed.record().anchor;
        let proven = self.others.get(&id).map(|known| known.proven);
        let proven = proven.filter(|proven| proven.anchor() == anchor);
        let known = Known {
            proven: proven.unwrap_or(Proven::new(anchor)),
            tunnel: self.tunnels.to(signed.record().tunnels),
            signed,
        };
        self.others.insert(id, known);
        let wanted = self.wanted.get(&id);
        if wanted.is_some_and(|wanted| !wanted.seq.is_newer_than(seq)) {
            self.wanted.remove(&id);
        }
    }

    pub(super) fn forget_link(&mut self, link: LinkId) {
        self.wanted.retain(|_, wanted| wanted.from != link);
    }

    pub(super) fn forget(&mut self, id: OriginatorId) {
        self.others.remove(&id);
        self.wanted.remove(&id);
        self.pair_keys.remove(&id);
    }

    /// What is to be asked at this moment, and whom.
    fn requests(&mut self, now: Instant) -> BTreeMap<LinkId, Vec<OriginatorId>> {
        self.unasked = false;
        let mut requests: BTreeMap<LinkId, Vec<OriginatorId>> = BTreeMap::new();
        for (id, wanted) in &mut self.wanted {
            let asked = wanted.asked;
            if asked.is_none_or(|asked| now.duration_since(asked) >= REQUEST_INTERVAL) {
                wanted.asked = Some(now);
                requests.entry(wanted.from).or_default().push(*id);
            }
        }
        requests
    }
}

impl Router {
    /// Asks for the records we miss, unless we just did: those noted since the last time.
    pub(super) fn request_wanted_records(&mut self, now: Instant) {
        if self.records.unasked {
            self.request_missing_records(now);
        }
    }

    pub(super) fn request_missing_records(&mut self, now: Instant) {
        for (link, ids) in self.records.requests(now) {
            for some in ids.chunks(RecordRequest::MAX_ORIGINATORS) {
                let originators = some.to_vec();
                let request = Tlv::RecordRequest(RecordRequest { originators });
                self.send_to(now, link, &[request]);
            }
        }
    }

    /// Answers in the way we were asked: who does not know us has no key of ours.
    pub(super) fn answer_record_request(
        &mut self,
        now: Instant,
        link: LinkId,
        source: Ipv6Addr,
        key: KeyKind,
        ids: &[OriginatorId],
    ) {
        let mut tlvs = Vec::new();
        if ids.contains(&self.id) {
            tlvs.push(Tlv::Hello(self.last_hello(link.ifindex)));
        }
        let records = ids.iter().filter_map(|id| self.records.get(*id).cloned());
        tlvs.extend(records.map(Box::new).map(Tlv::Record));
        match key {
            KeyKind::Network => self.transmit(now, link.ifindex, Some(source), &tlvs),
            KeyKind::Pair => self.send_to(now, link, &tlvs),
        }
    }

    /// Tells a node that we do not know, or no longer, who we are, and asks who it is.
    pub(super) fn introduce(&mut self, now: Instant, link: LinkId, source: Ipv6Addr) {
        if self.wrote_recently(now, link) {
            return;
        }
        let hello = Tlv::Hello(self.last_hello(link.ifindex));
        let record = Tlv::Record(Box::new(self.records.own().clone()));
        let originators = vec![link.neighbor];
        let request = Tlv::RecordRequest(RecordRequest { originators });
        self.transmit(now, link.ifindex, Some(source), &[hello, record, request]);
    }

    /// A node counts below what we have seen of it: it forgot how often it was started. Its own
    /// signature tells it, and our record who says so.
    pub(super) fn tell_outdated(&mut self, now: Instant, link: LinkId, source: Ipv6Addr) {
        if self.wrote_recently(now, link) {
            return;
        }
        let known = [self.id, link.neighbor].map(|id| self.records.get(id).cloned());
        let records = known.into_iter().flatten().map(Box::new).map(Tlv::Record);
        let tlvs: Vec<_> = records.collect();
        self.transmit(now, link.ifindex, Some(source), &tlvs);
    }

    /// A neighbor passes numbers of `id` on that our record of it disproves: shows it that record.
    /// If the neighbor's is another one, it goes from there to the node itself, which can settle it.
    pub(super) fn show_record(&mut self, now: Instant, to: LinkId, id: OriginatorId) {
        if self.wrote_recently(now, about(id)) {
            return;
        }
        if let Some(record) = self.records.get(id).cloned() {
            self.send_to(now, to, &[Tlv::Record(Box::new(record))]);
        }
    }

    /// A record of the same epoch as ours, but of another life, goes on towards its node.
    fn pass_contradiction_on(&mut self, now: Instant, signed: &SignedRecord) {
        let id = signed.originator();
        let next = self.originators.get(&id).and_then(|it| it.selected);
        let Some(next) = next else {
            return;
        };
        if !self.wrote_recently(now, about(id)) && signed.verify(&self.config.network) {
            self.send_to(now, next, &[Tlv::Record(Box::new(signed.clone()))]);
        }
    }

    fn wrote_recently(&mut self, now: Instant, link: LinkId) -> bool {
        self.introductions
            .retain(|_, at| now.duration_since(*at) < INTRODUCTION_INTERVAL);
        let full = self.introductions.len() >= super::MAX_NEIGHBORS;
        if full || self.introductions.contains_key(&link) {
            return true;
        }
        self.introductions.insert(link, now);
        false
    }

    /// Takes a record if it is newer than ours and its signature is right, and passes it on.
    pub(super) fn receive_record(
        &mut self,
        now: Instant,
        from: LinkId,
        signed: &SignedRecord,
    ) -> Result<(), DropReason> {
        let (id, seq) = (signed.originator(), signed.record().seq);
        if id == self.id {
            return self.receive_own_record(now, signed);
        }
        if self.records.contradicts(signed) {
            self.pass_contradiction_on(now, signed);
            return Ok(());
        }
        let known = self.records.seq(id);
        if known.is_some_and(|ours| !seq.is_newer_than(ours)) {
            return Ok(());
        }
        // Only what was asked for, what is newer, and who stands before us.
        let expected = known.is_some() || self.is_spoken_of(id) || id == from.neighbor;
        if !expected {
            return Ok(());
        }
        if known.is_none() && self.records.others.len() >= 2 * MAX_ORIGINATORS {
            return Err(DropReason::TableFull);
        }
        if !signed.verify(&self.config.network) {
            return Err(DropReason::BadSignature);
        }
        let before = self.records.get(id);
        let offer_before = before.and_then(|signed| signed.record().gateway.clone());
        let tunnel_before = self.records.tunnel_to(id);
        let offer = signed.record().gateway.clone();
        self.records.insert(signed.clone());
        self.event(Event::NodeChanged(id));
        self.release_waiting(now, id);
        if self.originators.contains_key(&id) {
            self.pending_records.insert(id);
            self.pending_ogms.insert(id);
            self.flush_soon(now);
            self.settle_claims(now, id);
        }
        if offer_before.is_some() != offer.is_some() {
            self.event(Event::GatewaysChanged);
            self.settle_prices_to(now, id);
        }
        if offer_before != offer || tunnel_before != self.records.tunnel_to(id) {
            self.select_gateways(now);
        }
        Ok(())
    }

    fn is_spoken_of(&self, id: OriginatorId) -> bool {
        self.records.wanted.contains_key(&id) || self.originators.contains_key(&id)
    }

    /// A record with our signature that we did not make in this life. The first few are from
    /// earlier lives that we forgot, and we go on above them. After that another node has our key.
    fn receive_own_record(
        &mut self,
        now: Instant,
        signed: &SignedRecord,
    ) -> Result<(), DropReason> {
        let theirs = signed.record();
        let ours = self.records.own().record();
        if theirs.instance == ours.instance || theirs.epoch < ours.epoch {
            return Ok(());
        }
        if !signed.verify(&self.config.network) {
            return Err(DropReason::BadSignature);
        }
        if let Some(last) = self.caught_up_at
            && self.caught_up >= FORGOTTEN_LIVES
        {
            self.note_double(now);
            if now.duration_since(last) < DOUBLE_INTERVAL {
                return Ok(());
            }
        }
        self.caught_up_at = Some(now);
        self.caught_up += 1;
        let Some(epoch) = theirs.epoch.checked_add(1) else {
            return Ok(());
        };
        self.begin_epoch(now, epoch);
        Ok(())
    }

    /// Goes on in the next epoch with all routes, as after a warm start. Returns whether there is
    /// one.
    pub(super) fn begin_next_epoch(&mut self, now: Instant) -> bool {
        let next = self.sender.epoch.checked_add(1);
        if let Some(epoch) = next {
            self.sender.warm = true;
            self.begin_epoch(now, epoch);
        }
        next.is_some()
    }

    /// Goes on in a new epoch, as if just started.
    fn begin_epoch(&mut self, now: Instant, epoch: u32) {
        let announcement = self.records.announcement();
        self.records.begin_epoch(epoch, announcement);
        self.sender.epoch = epoch;
        self.event(Event::EpochBegun(epoch));
        self.seqno = SeqNo::new(epoch << EPOCH_BITS);
        self.originate(now, self.seqno.next());
        self.pending_records.insert(self.id);
        self.excite(now);
    }

    /// Records of nodes that nothing refers to any longer.
    pub(super) fn forget_records(&mut self) {
        let neighbors: BTreeSet<_> = self.neighbors.keys().map(|link| link.neighbor).collect();
        let waiting: BTreeSet<_> = self.waiting.keys().map(|(id, _)| *id).collect();
        let known = self.records.others.keys().copied();
        let unused = known.filter(|id| {
            !self.originators.contains_key(id) && !neighbors.contains(id) && !waiting.contains(id)
        });
        for id in unused.collect::<Vec<_>>() {
            if self.records.offers_gateway(id) {
                self.event(Event::GatewaysChanged);
            }
            self.records.forget(id);
            self.map.forget(id);
            self.replays.retain(|link, _| link.neighbor != id);
        }
    }
}

/// Where it is noted when a node was last written about: under no interface's number.
const fn about(id: OriginatorId) -> LinkId {
    LinkId {
        ifindex: IfIndex(0),
        neighbor: id,
    }
}
