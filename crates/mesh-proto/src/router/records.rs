//! Node records: our own, and those of others.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;

use super::counters::DropReason;
use super::neighbor::LinkId;
use super::{Announcement, Event, Router};
use crate::wire::{RecordRequest, Tlv};
use crate::{Network, NodeRecord, OriginatorId, SeqNo, SignedRecord};

/// A request for a record is repeated after this long.
const REQUEST_INTERVAL: Duration = Duration::from_millis(500);

/// A newer record than ours is about: who has it, and when we last asked.
#[derive(Debug)]
struct Wanted {
    seq: SeqNo,
    from: LinkId,
    asked: Option<Instant>,
}

/// All records we have.
#[derive(Debug)]
pub(super) struct Records {
    network: Network,
    key: SigningKey,
    own: SignedRecord,
    ipv4_moves: u8,
    others: BTreeMap<OriginatorId, SignedRecord>,
    wanted: BTreeMap<OriginatorId, Wanted>,
}

impl Records {
    pub(super) fn new(network: Network, key: SigningKey, announcement: Announcement) -> Self {
        let unsigned = NodeRecord::new("").sign(&network, &key);
        let mut records = Self {
            network,
            key,
            own: unsigned,
            ipv4_moves: 0,
            others: BTreeMap::new(),
            wanted: BTreeMap::new(),
        };
        records.sign_own(announcement, SeqNo::new(1));
        records
    }

    pub(super) const fn own(&self) -> &SignedRecord {
        &self.own
    }

    pub(super) fn get(&self, id: OriginatorId) -> Option<&SignedRecord> {
        if id == self.own.originator() {
            Some(&self.own)
        } else {
            self.others.get(&id)
        }
    }

    pub(super) fn seq(&self, id: OriginatorId) -> Option<SeqNo> {
        self.get(id).map(|signed| signed.record().seq)
    }

    pub(super) fn offers_gateway(&self, id: OriginatorId) -> bool {
        self.get(id)
            .is_some_and(|signed| signed.record().gateway.is_some())
    }

    /// All nodes that offer an uplink, ourselves included.
    pub(super) fn gateways(&self) -> impl Iterator<Item = OriginatorId> {
        let own = self
            .own
            .record()
            .gateway
            .as_ref()
            .map(|_| self.own.originator());
        let others = self
            .others
            .iter()
            .filter(|(_, s)| s.record().gateway.is_some());
        own.into_iter().chain(others.map(|(id, _)| *id))
    }

    /// Changes what our record says. Returns whether it differs from before.
    pub(super) fn announce(&mut self, announcement: Announcement) -> bool {
        if self.announcement() == announcement {
            return false;
        }
        self.sign_own(announcement, self.own.record().seq.next());
        true
    }

    /// Somebody has seen our record with number `seen`: goes beyond it if ours is lower, or if
    /// it is from `an_earlier_life` and may differ from ours even if that has the same number.
    /// Returns whether there is a new one.
    pub(super) fn catch_up(&mut self, seen: SeqNo, an_earlier_life: bool) -> bool {
        let ours = self.own.record().seq;
        let behind = seen.is_newer_than(ours);
        if behind || an_earlier_life {
            let last = if behind { seen } else { ours };
            self.sign_own(self.announcement(), last.next());
        }
        behind || an_earlier_life
    }

    /// Takes the next IPv4 mesh address that follows from our key.
    pub(super) fn move_ipv4(&mut self) -> Ipv4Addr {
        self.ipv4_moves = self.ipv4_moves.wrapping_add(1);
        self.sign_own(self.announcement(), self.own.record().seq.next());
        self.own.record().ipv4
    }

    fn announcement(&self) -> Announcement {
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
        }
    }

    fn sign_own(&mut self, announcement: Announcement, seq: SeqNo) {
        let Announcement {
            name,
            prefixes,
            gateway,
        } = announcement;
        let ipv4 = self.own.node().mesh_ipv4(self.ipv4_moves);
        let record = NodeRecord {
            name,
            seq,
            ipv4,
            prefixes,
            gateway,
        };
        self.own = record.sign(&self.network, &self.key);
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
        }
    }

    pub(super) fn forget_link(&mut self, link: LinkId) {
        self.wanted.retain(|_, wanted| wanted.from != link);
    }

    pub(super) fn forget(&mut self, id: OriginatorId) {
        self.others.remove(&id);
        self.wanted.remove(&id);
    }
}

impl Router {
    /// Asks for a record we miss, unless we just did.
    pub(super) fn request_record(&mut self, now: Instant, id: OriginatorId) {
        let Some(wanted) = self.records.wanted.get_mut(&id) else {
            return;
        };
        if wanted
            .asked
            .is_some_and(|asked| now.duration_since(asked) < REQUEST_INTERVAL)
        {
            return;
        }
        wanted.asked = Some(now);
        let from = wanted.from;
        self.send_to(
            from,
            &[Tlv::RecordRequest(RecordRequest { originator: id })],
        );
    }

    pub(super) fn request_missing_records(&mut self, now: Instant) {
        let wanted: Vec<_> = self.records.wanted.keys().copied().collect();
        for id in wanted {
            self.request_record(now, id);
        }
    }

    pub(super) fn answer_record_request(&mut self, link: LinkId, id: OriginatorId) {
        if let Some(record) = self.records.get(id).cloned() {
            self.send_to(link, &[Tlv::Record(Box::new(record))]);
        }
    }

    /// Takes a record if it is newer than ours and its signature is right, and passes it on.
    /// Only records of originators we hear of are kept, so the table is bounded by theirs.
    pub(super) fn receive_record(
        &mut self,
        now: Instant,
        signed: SignedRecord,
    ) -> Result<(), DropReason> {
        let id = signed.originator();
        let seq = signed.record().seq;
        if id == self.id
            || self
                .records
                .seq(id)
                .is_some_and(|ours| !seq.is_newer_than(ours))
        {
            return Ok(());
        }
        if !self.originators.contains_key(&id) {
            return Ok(());
        }
        if !signed.verify(&self.config.network) {
            return Err(DropReason::BadSignature);
        }
        let offered_before = self.records.offers_gateway(id);
        let offers_now = signed.record().gateway.is_some();
        self.records.others.insert(id, signed);
        if self
            .records
            .wanted
            .get(&id)
            .is_some_and(|wanted| !wanted.seq.is_newer_than(seq))
        {
            self.records.wanted.remove(&id);
        }
        self.pending_records.insert(id);
        self.flush_soon(now);
        self.settle_claims(now, id);
        if offered_before != offers_now {
            self.event(Event::GatewaysChanged);
            self.choose_gateway(now);
        }
        Ok(())
    }
}
