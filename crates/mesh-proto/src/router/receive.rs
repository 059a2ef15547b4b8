//! Packets in.

use std::net::Ipv6Addr;
use std::time::Instant;

use super::counters::DropReason;
use super::neighbor::{Continuity, LinkId, Neighbor};
use super::originator::Originator;
use super::{Event, MAX_NEIGHBORS, MAX_ORIGINATORS, Router};
use crate::wire::{Hello, LinkReport, Ogm, Packet, Payload, Tlv};
use crate::{IfIndex, Metric, OriginatorId};

impl Router {
    /// A datagram arrived on `ifindex` from `source`. Whatever is wrong with it is counted.
    pub fn handle_packet(
        &mut self,
        now: Instant,
        ifindex: IfIndex,
        source: Ipv6Addr,
        bytes: &[u8],
    ) {
        self.counters.received_packets += 1;
        self.counters.received_bytes += bytes.len() as u64;
        if let Err(reason) = self.receive(now, ifindex, source, bytes) {
            self.counters.drop(reason);
        }
    }

    fn receive(
        &mut self,
        now: Instant,
        ifindex: IfIndex,
        source: Ipv6Addr,
        bytes: &[u8],
    ) -> Result<(), DropReason> {
        if !self.interfaces.contains_key(&ifindex) || !source.is_unicast_link_local() {
            return Err(DropReason::NotFromLink);
        }
        let packet =
            Packet::parse(&self.config.network, source, bytes).map_err(DropReason::Parse)?;
        if packet.sender == self.id {
            return Err(DropReason::Own);
        }
        let link = LinkId {
            ifindex,
            neighbor: packet.sender,
        };
        for tlv in packet.tlvs {
            if let Err(reason) = self.receive_tlv(now, link, source, tlv) {
                self.counters.drop(reason);
            }
        }
        self.settle_link(now, link);
        Ok(())
    }

    fn receive_tlv(
        &mut self,
        now: Instant,
        link: LinkId,
        source: Ipv6Addr,
        tlv: Tlv,
    ) -> Result<(), DropReason> {
        if let Tlv::Hello(hello) = tlv {
            return self.receive_hello(now, link, source, &hello);
        }
        if !self.neighbors.contains_key(&link) {
            return Err(DropReason::UnknownNeighbor);
        }
        match tlv {
            Tlv::Hello(_) => Ok(()),
            Tlv::LinkReport(report) => {
                self.receive_report(now, link, &report);
                Ok(())
            }
            Tlv::Ogm(ogm) => self.receive_ogm(now, link, &ogm),
            Tlv::Record(record) => self.receive_record(now, *record),
            Tlv::RecordRequest(request) => {
                self.answer_record_request(link, request.originator);
                Ok(())
            }
            Tlv::Payload(payload) => self.receive_payload(link.neighbor, payload),
        }
    }

    fn receive_hello(
        &mut self,
        now: Instant,
        link: LinkId,
        source: Ipv6Addr,
        hello: &Hello,
    ) -> Result<(), DropReason> {
        let Some(neighbor) = self.neighbors.get_mut(&link) else {
            if self.neighbors.len() >= MAX_NEIGHBORS {
                return Err(DropReason::TableFull);
            }
            self.neighbors
                .insert(link, Neighbor::new(now, source, hello));
            self.greet(now, link.ifindex);
            return Ok(());
        };
        let moved = std::mem::replace(&mut neighbor.address, source) != source;
        match neighbor.handle_hello(now, hello) {
            Continuity::Same => {}
            Continuity::Restarted => {
                self.remind_of_offers(link);
                self.greet(now, link.ifindex);
            }
            Continuity::StateLost => {
                self.remind_of_offers(link);
                self.drop_neighbor(now, link);
                self.neighbors
                    .insert(link, Neighbor::new(now, source, hello));
                self.greet(now, link.ifindex);
            }
        }
        if moved {
            self.settle_claims_through(link);
        }
        Ok(())
    }

    fn receive_report(&mut self, now: Instant, link: LinkId, report: &LinkReport) {
        let ours = report
            .entries
            .iter()
            .find(|entry| entry.neighbor == self.id);
        let Some(entry) = ours else {
            return;
        };
        if entry.boot != self.config.boot {
            // It still sends packets through us by what we said before the restart, so it is no
            // next hop for us yet.
            self.caution.note_earlier_life();
        } else if let Some(neighbor) = self.neighbors.get_mut(&link) {
            neighbor.handle_report(now, entry.quality);
        }
    }

    fn receive_ogm(&mut self, now: Instant, link: LinkId, ogm: &Ogm) -> Result<(), DropReason> {
        if ogm.originator == self.id {
            self.catch_up_with_own_past(now, ogm);
            return Ok(());
        }
        if !self.originators.contains_key(&ogm.originator) {
            // Retractions of what we do not know say nothing, unless they remind us of what we
            // said in an earlier life.
            if !ogm.metric.is_finite() && !self.caution.is_listening() {
                return Ok(());
            }
            if self.originators.len() >= MAX_ORIGINATORS {
                return Err(DropReason::TableFull);
            }
            self.meet(now, link, ogm);
        }
        if link.neighbor == ogm.originator {
            self.remind_of_past(link, ogm);
        }
        if let Some(originator) = self.originators.get_mut(&ogm.originator) {
            originator.offer(now, link, ogm);
        }
        if ogm.metric.is_finite() {
            self.records
                .note_advertised(ogm.originator, ogm.record_seq, link);
            self.request_record(now, ogm.originator);
        }
        self.select_route(now, ogm.originator);
        Ok(())
    }

    /// Our own OGM comes back with a number we have not used: it is from an earlier life. Others
    /// would not believe lower ones, so we go on from there. Our record of then may have had the
    /// number of today's, so that gets a new one in any case.
    fn catch_up_with_own_past(&mut self, now: Instant, ogm: &Ogm) {
        let forgot = ogm.seqno.is_newer_than(self.seqno);
        if forgot {
            self.caution.note_earlier_life();
            self.seqno = ogm.seqno.next();
            self.pending_ogms.insert(self.id);
        }
        let outdated = self.records.catch_up(ogm.record_seq, forgot);
        if outdated {
            self.pending_records.insert(self.id);
        }
        if forgot || outdated {
            self.flush_by(now);
        }
    }

    /// A new originator is heard of.
    fn meet(&mut self, now: Instant, link: LinkId, ogm: &Ogm) {
        let mut originator = Originator::new(now);
        let first_hand = link.neighbor == ogm.originator;
        if !first_hand && !self.caution.is_listening() && self.caution.asks_for_newer(now) {
            originator.offer(now, link, ogm);
            originator.ask_for_newer();
        }
        self.originators.insert(ogm.originator, originator);
    }

    /// An originator that forgot how far it had counted learns it from its neighbors.
    fn remind_of_past(&mut self, link: LinkId, ogm: &Ogm) {
        let originator = self.originators.get(&ogm.originator);
        let Some(known) = originator.and_then(|originator| originator.feasibility) else {
            return;
        };
        if known.seqno.is_newer_than(ogm.seqno) {
            let reminder = Ogm {
                seqno: known.seqno,
                metric: Metric::INFINITE,
                record_seq: self.records.seq(ogm.originator).unwrap_or_default(),
                hops: u8::MAX,
                ..*ogm
            };
            self.send_to(link, &[Tlv::Ogm(reminder)]);
        }
    }

    fn receive_payload(&mut self, from: OriginatorId, payload: Payload) -> Result<(), DropReason> {
        if payload.receiver != self.id {
            return Err(DropReason::NotForUs);
        }
        let Payload { channel, bytes, .. } = payload;
        self.event(Event::Payload {
            from,
            channel,
            bytes,
        });
        Ok(())
    }
}
