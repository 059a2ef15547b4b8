//! Keeping neighbors up to date, and being kept (see [`crate::wire::Update`]).

use std::time::Instant;

use super::book::Said;
use super::counters::DropReason;
use super::feed::Turn;
use super::neighbor::LinkId;
use super::originator::{Offered, Originator};
use super::{MAX_ORIGINATORS, Router};
use crate::hash_chain::{Disproof, Link};
use crate::wire::{Ogm, Reminder, SyncRequest, Tlv, Update};
use crate::{OriginatorId, SeqNo};

/// OGMs that wait for a record at a time: a table of each of some neighbors.
const MAX_WAITING: usize = 4 * MAX_ORIGINATORS;

/// An OGM that cannot be checked before a newer record of its originator comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    ogm: Ogm,
    proof: Link,
    /// The record that its sender has.
    record_seq: SeqNo,
}

impl Router {
    /// Asks a neighbor for what we miss of it, if it is time to.
    pub(super) fn sync_with(&mut self, now: Instant, link: LinkId) {
        let Some(neighbor) = self.neighbors.get_mut(&link) else {
            return;
        };
        if neighbor.liveness.is_confirmed() && neighbor.feed.asks(now) {
            let since = neighbor.feed.since();
            self.send_to(now, link, &[Tlv::SyncRequest(SyncRequest { since })]);
        }
    }

    pub(super) fn answer_sync_request(&mut self, now: Instant, link: LinkId, since: u32) {
        let mut tlvs = Vec::new();
        if since == 0 {
            tlvs = self.reminders(link);
        }
        let since = self.book.since(since);
        tlvs.extend(self.updates(since, self.max_packet_len(link.ifindex)));
        self.send_to(now, link, &tlvs);
    }

    /// What a restarted neighbor should know of its life before.
    fn reminders(&self, link: LinkId) -> Vec<Tlv> {
        let past = self.neighbors.get(&link).map(|it| it.past.as_slice());
        let entries = past.unwrap_or_default();
        let room = self.max_packet_len(link.ifindex) / 2 / Reminder::ENTRY_LEN;
        let parts = entries.chunks(room.max(1)).map(|entries| {
            let entries = entries.to_vec();
            Tlv::Reminder(Reminder { entries })
        });
        parts.collect()
    }

    /// Everything said after `since`, in parts that fit packets of `max_packet_len`; one without
    /// OGMs if nothing was.
    pub(super) fn updates(&self, since: u32, max_packet_len: usize) -> Vec<Tlv> {
        let room = max_packet_len
            .saturating_sub(crate::wire::PacketBuilder::OVERHEAD)
            .saturating_sub(Tlv::HEADER_LEN + Update::HEADER_LEN);
        let after = |from| Update {
            from,
            to: from,
            ogms: Vec::new(),
        };
        let (mut parts, mut part, mut len) = (Vec::new(), after(since), 0);
        for (version, id) in self.book.changes(since) {
            let Some(ogm) = self.said_ogm(id, since) else {
                continue;
            };
            if len + ogm.wire_len() > room && len > 0 {
                let next = after(part.to);
                parts.push(Tlv::Update(std::mem::replace(&mut part, next)));
                len = 0;
            }
            len += ogm.wire_len();
            part.to = version;
            part.ogms.push(ogm);
        }
        part.to = self.book.version();
        parts.push(Tlv::Update(part));
        parts
    }

    fn said_ogm(&self, id: OriginatorId, since: u32) -> Option<Ogm> {
        self.said(id).map(|said| said.ogm(id, since))
    }

    /// What was last said of an originator, ourselves included.
    pub(super) fn said(&self, id: OriginatorId) -> Option<&Said> {
        match id == self.id {
            true => self.own_said.as_ref(),
            false => self.originators.get(&id)?.said.as_ref(),
        }
    }

    pub(super) fn receive_update(
        &mut self,
        now: Instant,
        link: LinkId,
        update: &Update,
    ) -> Result<(), DropReason> {
        let Some(neighbor) = self.neighbors.get_mut(&link) else {
            return Err(DropReason::UnknownNeighbor);
        };
        if !neighbor.liveness.is_confirmed() {
            // It will be asked for.
            return Ok(());
        }
        match neighbor.feed.take(now, update) {
            Turn::Skip => return Ok(()),
            Turn::Anew => self.doubt_routes(now, link),
            Turn::Next => {}
        }
        for ogm in &update.ogms {
            if let Err(reason) = self.receive_ogm(now, link, *ogm) {
                self.counters.drop(reason);
            }
        }
        self.disown_routes(link);
        Ok(())
    }

    fn receive_ogm(&mut self, now: Instant, link: LinkId, ogm: Ogm) -> Result<(), DropReason> {
        let Some(neighbor) = self.neighbors.get_mut(&link) else {
            return Err(DropReason::UnknownNeighbor);
        };
        if let Some(binding) = ogm.binding {
            neighbor.feed.bind(ogm.index, binding);
        }
        let binding = neighbor.feed.binding(ogm.index);
        let binding = binding.ok_or(DropReason::UnknownIndex)?;
        let id = binding.originator;
        self.records.note_advertised(id, binding.record_seq, link);
        if id == self.id {
            return Ok(());
        }
        let known = self.originators.get(&id).and_then(|it| it.route(link));
        let waiting = self.waiting.get(&(id, link));
        let proof = ogm
            .fresh
            .or_else(|| waiting.map(|waiting| waiting.proof))
            .or_else(|| known.map(|route| route.proof));
        // Nothing is known that this could change: what came before was not believed.
        let proof = proof.ok_or(DropReason::BadProof)?;
        self.waiting.remove(&(id, link));
        let record_seq = binding.record_seq;
        let it = Waiting {
            ogm,
            proof,
            record_seq,
        };
        self.take_ogm(now, link, id, it)
    }

    /// Asks for the records that OGMs wait for, also where whoever was asked is gone.
    pub(super) fn want_awaited_records(&mut self) {
        for ((id, link), it) in &self.waiting {
            self.records.note_advertised(*id, it.record_seq, *link);
        }
    }

    /// Takes an OGM whose sequence number is proven, or lets it wait for the record that proves
    /// it.
    fn take_ogm(
        &mut self,
        now: Instant,
        link: LinkId,
        id: OriginatorId,
        it: Waiting,
    ) -> Result<(), DropReason> {
        let Waiting { ogm, proof, .. } = it;
        match self.records.check(id, proof) {
            Ok(()) => {}
            Err(Disproof::WrongValue) => {
                self.show_record(now, link, id);
                return Err(DropReason::BadProof);
            }
            Err(Disproof::OtherChain) => {
                if self.waiting.len() >= MAX_WAITING {
                    return Err(DropReason::TableFull);
                }
                self.waiting.insert((id, link), it);
                if self.record_seq(id).is_newer_than(it.record_seq) {
                    // It is not the neighbor's record that is missing here, but ours there.
                    self.show_record(now, link, id);
                }
                return Ok(());
            }
        }
        if !self.originators.contains_key(&id) {
            if !ogm.metric.is_finite() {
                return Ok(());
            }
            if self.originators.len() >= MAX_ORIGINATORS {
                return Err(DropReason::TableFull);
            }
            let mut originator = Originator::new(now);
            originator.feasibility = self.caution.past(id);
            self.originators.insert(id, originator);
        }
        let before = self.price_asked(id);
        if let Some(originator) = self.originators.get_mut(&id) {
            let Ogm {
                metric,
                hops,
                price,
                ..
            } = ogm;
            originator.offer(
                now,
                Offered {
                    link,
                    proof,
                    metric,
                    hops,
                    price,
                    unconfirmed_since: None,
                },
            );
        }
        self.select_route(now, id);
        if before.is_some() && before != self.price_asked(id) {
            self.select_gateways(now);
        }
        Ok(())
    }

    /// The record of an originator came: checks what waited for it.
    pub(super) fn release_waiting(&mut self, now: Instant, id: OriginatorId) {
        let lowest = LinkId {
            ifindex: crate::IfIndex(0),
            neighbor: OriginatorId::from_bytes([0; OriginatorId::LEN]),
        };
        let of_it = self.waiting.range((id, lowest)..);
        let of_it: Vec<_> = of_it.take_while(|((of, _), _)| *of == id).collect();
        let of_it: Vec<_> = of_it.into_iter().map(|(key, it)| (*key, *it)).collect();
        for ((id, link), it) in of_it {
            self.waiting.remove(&(id, link));
            if let Err(reason) = self.take_ogm(now, link, id, it) {
                self.counters.drop(reason);
            }
        }
    }

    /// Everything a neighbor offered is void.
    pub(super) fn withdraw_routes(&mut self, now: Instant, link: LinkId) {
        self.waiting.retain(|(_, from), _| *from != link);
        for id in self.originators_through(link) {
            if let Some(originator) = self.originators.get_mut(&id) {
                originator.withdraw(link);
            }
            self.select_route(now, id);
        }
    }

    /// A neighbor remembers what we said before we were restarted.
    pub(super) fn receive_reminder(&mut self, now: Instant, reminder: &Reminder) {
        if !self.caution.expects_reminders(now) {
            return;
        }
        for (id, said) in &reminder.entries {
            self.caution.remember(*id, *said, MAX_ORIGINATORS);
            if let Some(originator) = self.originators.get_mut(id) {
                let known = originator.feasibility.get_or_insert(*said);
                known.lower_to(said.seqno, said.metric);
                self.select_route(now, *id);
            }
        }
    }
}
