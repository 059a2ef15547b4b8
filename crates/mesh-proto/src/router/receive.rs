//! Packets in.

use std::net::Ipv6Addr;
use std::time::Instant;

use super::counters::DropReason;
use super::neighbor::{Continuity, LinkId, Neighbor};
use super::originator::Originator;
use super::{ADOPTION_TIME, Event, MAX_NEIGHBORS, MAX_ORIGINATORS, Router, Start};
use crate::route_selection::FeasibilityDistance;
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
        let packet = Packet::parse(&self.config.network, bytes).map_err(DropReason::Parse)?;
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
            Continuity::Restarted => self.greet(now, link.ifindex),
            Continuity::StateLost => {
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
        if let (Some(entry), Some(neighbor)) = (ours, self.neighbors.get_mut(&link)) {
            neighbor.handle_report(now, entry.quality);
        }
    }

    fn receive_ogm(&mut self, now: Instant, link: LinkId, ogm: &Ogm) -> Result<(), DropReason> {
        if ogm.originator == self.id {
            self.catch_up_with_own_past(now, ogm);
            return Ok(());
        }
        if !self.originators.contains_key(&ogm.originator) {
            if !ogm.metric.is_finite() {
                return Ok(());
            }
            if self.originators.len() >= MAX_ORIGINATORS {
                return Err(DropReason::TableFull);
            }
            let feasibility = self.caution_after_restart(now, link, ogm);
            self.originators
                .insert(ogm.originator, Originator::new(now, feasibility));
        }
        if let Some(originator) = self.originators.get_mut(&ogm.originator) {
            let known = originator.feasibility.map(|fd| fd.seqno);
            originator.offer(now, link, ogm);
            // An originator that forgot how far it had counted learns it from its neighbors.
            if link.neighbor == ogm.originator && known.is_some_and(|k| k.is_newer_than(ogm.seqno))
            {
                self.pending_ogms.insert(ogm.originator);
                self.flush_soon(now);
            }
        }
        if ogm.metric.is_finite() {
            self.records
                .note_advertised(ogm.originator, ogm.record_seq, link);
            self.request_record(now, ogm.originator);
        }
        self.select_route(now, ogm.originator);
        Ok(())
    }

    /// Our own OGM comes back with a number we have not used: it is from before a restart.
    /// Others would not believe lower ones, so we go on from there.
    fn catch_up_with_own_past(&mut self, now: Instant, ogm: &Ogm) {
        if ogm.seqno.is_newer_than(self.seqno) {
            self.seqno = ogm.seqno.next();
            self.pending_ogms.insert(self.id);
            self.flush_by(now);
        }
        if self.records.catch_up(ogm.record_seq) {
            self.pending_records.insert(self.id);
            self.flush_by(now);
        }
    }

    /// After a warm restart others still route through us, but what we advertised to them is
    /// forgotten. Until an originator raises its sequence number, its routes may lead back to
    /// us: the kernel keeps the adopted ones meanwhile.
    fn caution_after_restart(
        &self,
        now: Instant,
        link: LinkId,
        ogm: &Ogm,
    ) -> Option<FeasibilityDistance> {
        let warm = matches!(self.config.start, Start::Warm(_));
        let recent = now < self.started + ADOPTION_TIME;
        let first_hand = link.neighbor == ogm.originator;
        (warm && recent && !first_hand).then_some(FeasibilityDistance {
            seqno: ogm.seqno,
            metric: Metric::ZERO,
        })
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
