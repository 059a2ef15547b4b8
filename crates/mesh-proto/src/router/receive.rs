//! Packets in: who sent them, whether they are fresh, and what their parts mean.

use std::net::Ipv6Addr;
use std::time::Instant;

use super::counters::DropReason;
use super::neighbor::{LinkId, Neighbor};
use super::{Event, MAX_NEIGHBORS, Router};
use crate::route_selection::FeasibilityDistance;
use crate::wire::{
    Header, Hello, KeyKind, LinkReport, Payload, ProbeAnswer, ReportEntry, Sealed, Sender, Tlv,
};
use crate::{IfIndex, Metric, OriginatorId, SeqNo};

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
        self.sweep_if_due(now);
        self.request_wanted_records(now);
        self.send_gathered_requests(now);
        self.announce_moved_traffic(now);
    }

    fn receive(
        &mut self,
        now: Instant,
        ifindex: IfIndex,
        source: Ipv6Addr,
        bytes: &[u8],
    ) -> Result<(), DropReason> {
        if !self.interfaces.contains_key(&ifindex) {
            return Err(DropReason::NotFromLink);
        }
        if !source.is_unicast_link_local() {
            return self.receive_from_afar(now, source, bytes);
        }
        let sealed = Sealed::parse(&self.config.network, bytes).map_err(|error| {
            self.other_versions.note(now, ifindex, source, bytes, error);
            DropReason::Parse(error)
        })?;
        let header = *sealed.header();
        let neighbor = header.sender.id;
        let key = match header.key {
            KeyKind::Network => self.config.network.key(),
            KeyKind::Pair => self.records.pair_key(neighbor).ok_or(DropReason::NoKey)?,
        };
        let tlvs = sealed.open(key, source).map_err(DropReason::Parse)?;
        if neighbor == self.id {
            self.note_own_packet(now, source);
            return Err(DropReason::Own);
        }
        let link = LinkId { ifindex, neighbor };
        self.receive_introduction(now, link, source, &tlvs);
        let met = self.neighbors.get(&link);
        if met.is_some_and(|it| it.liveness.is_confirmed() && it.address != source) {
            // It answered from another address: this may be a recording from another link, or
            // another node with its key. If it has a new one, it is missed at the old one and met
            // again.
            self.tell_outdated(now, link, source);
            return Err(DropReason::NotFromLink);
        }
        self.check_freshness(now, link, source, &header)?;
        for tlv in tlvs {
            if let Err(reason) = self.receive_tlv(now, link, source, &header, tlv) {
                self.counters.drop(reason);
            }
        }
        self.note_sign_of_life(now, link);
        self.settle_link(now, link);
        Ok(())
    }

    /// The record of the sender, if it is among the parts: without it nothing else is believed.
    fn receive_introduction(&mut self, now: Instant, link: LinkId, source: Ipv6Addr, tlvs: &[Tlv]) {
        let records = tlvs.iter().filter_map(|tlv| {
            let Tlv::Record(record) = tlv else {
                return None;
            };
            Some(record)
        });
        for record in records.filter(|record| record.originator() == link.neighbor) {
            if self.records.contradicts(record) {
                self.tell_outdated(now, link, source);
            } else if let Err(reason) = self.receive_record(now, link, record) {
                self.counters.drop(reason);
            }
        }
    }

    /// Whether the packet is of the sender's present life, which its signed record names, and has
    /// not been taken before. Notices restarts.
    fn check_freshness(
        &mut self,
        now: Instant,
        link: LinkId,
        source: Ipv6Addr,
        header: &Header,
    ) -> Result<(), DropReason> {
        let epoch = header.sender.epoch;
        let Some(known) = self.records.epoch(link.neighbor) else {
            self.introduce(now, link, source);
            return Err(DropReason::UnknownSender);
        };
        if epoch > known {
            self.introduce(now, link, source);
            return Err(DropReason::UnknownSender);
        }
        if epoch < known {
            self.tell_outdated(now, link, source);
            return Err(DropReason::Stale);
        }
        let replays = self.replays.entry(link).or_default();
        if !replays.accept(header.key, epoch, header.counter) {
            // Or it lost count, and began again with the same epoch.
            self.tell_outdated(now, link, source);
            return Err(DropReason::Replayed);
        }
        if self.neighbors.get(&link).is_some_and(|it| it.epoch < epoch) {
            self.handle_restart(now, link, epoch, header.sender.warm);
        }
        Ok(())
    }

    /// A neighbor's daemon was restarted. It is reminded of what it said before.
    fn handle_restart(&mut self, now: Instant, link: LinkId, epoch: u32, warm: bool) {
        let past = self.what_was_offered(link);
        if warm {
            self.doubt_routes(now, link);
            if let Some(neighbor) = self.neighbors.get_mut(&link) {
                neighbor.restart(epoch, past);
            }
            return;
        }
        self.drop_neighbor(now, link);
        self.pasts.insert(link, (now, past));
    }

    fn what_was_offered(&self, link: LinkId) -> Vec<(OriginatorId, FeasibilityDistance)> {
        let offered = self.originators.iter().filter_map(|(id, originator)| {
            let route = originator.route(link)?;
            let (seqno, retracted) = (route.proof.seqno, !route.metric.is_finite());
            // How near it was before the retraction is forgotten; a newer number is always safe.
            let metric = if retracted {
                Metric::ZERO
            } else {
                route.metric
            };
            Some((*id, FeasibilityDistance { seqno, metric }))
        });
        // What a node says of itself leads nowhere else.
        offered.filter(|(id, _)| *id != link.neighbor).collect()
    }

    fn note_sign_of_life(&mut self, now: Instant, link: LinkId) {
        let slack = self.jitter(super::liveness::SLACK);
        if let Some(neighbor) = self.neighbors.get_mut(&link) {
            neighbor.last_heard = now;
            neighbor.liveness.hear(now, slack);
        }
    }

    fn receive_tlv(
        &mut self,
        now: Instant,
        link: LinkId,
        source: Ipv6Addr,
        header: &Header,
        tlv: Tlv,
    ) -> Result<(), DropReason> {
        let is_neighbor = self.neighbors.contains_key(&link);
        match (tlv, header.key) {
            (Tlv::Hello(hello), _) => {
                return self.receive_hello(now, link, source, &header.sender, &hello);
            }
            // Taken already.
            (Tlv::Record(record), _) if record.originator() == link.neighbor => {}
            (Tlv::Record(record), _) => return self.receive_record(now, link, &record),
            (Tlv::RecordRequest(request), _) => {
                self.answer_record_request(now, link, source, header.key, &request.originators);
            }
            _ if !is_neighbor => return Err(DropReason::UnknownNeighbor),
            (Tlv::LinkReport(report), _) => self.receive_report(now, link, &report),
            (Tlv::Suspicion(suspicion), _) => self.receive_suspicion(now, suspicion),
            (Tlv::Update(update), _) => return self.receive_update(now, link, &update),
            (Tlv::Probe(probe), KeyKind::Pair) => self.answer_probe(now, link, probe),
            (Tlv::ProbeAnswer(answer), KeyKind::Pair) => {
                self.receive_probe_answer(now, link, answer);
            }
            (Tlv::SyncRequest(request), KeyKind::Pair) => {
                self.answer_sync_request(now, link, request.since);
            }
            (Tlv::Reminder(reminder), KeyKind::Pair) => self.receive_reminder(now, &reminder),
            (Tlv::SeqnoRequest(request), KeyKind::Pair) => {
                self.receive_seqno_request(now, link, &request);
            }
            (Tlv::PathCheck(check), KeyKind::Pair) => {
                self.receive_path_check(now, link, &check);
            }
            (Tlv::Payload(payload), KeyKind::Pair) => {
                self.receive_payload(link.neighbor, payload);
            }
            (Tlv::MapEntry(entry), _) => return self.receive_map_entry(now, &entry),
            (Tlv::MapDigest(digest), _) => self.receive_map_digest(now, link, digest),
            (Tlv::MapRequest(request), KeyKind::Pair) => {
                self.answer_map_request(now, link, &request);
            }
            // They are said between mesh addresses only.
            (
                Tlv::Echo(_)
                | Tlv::EchoReply(_)
                | Tlv::ThroughputRequest(_)
                | Tlv::ThroughputAnswer(_),
                _,
            ) => return Err(DropReason::NotFromAfar),
            // What is said to us alone has to be said with our key.
            _ => return Err(DropReason::WrongKey),
        }
        Ok(())
    }

    fn receive_hello(
        &mut self,
        now: Instant,
        link: LinkId,
        source: Ipv6Addr,
        sender: &Sender,
        hello: &Hello,
    ) -> Result<(), DropReason> {
        let Some(neighbor) = self.neighbors.get_mut(&link) else {
            return self.meet_neighbor(now, link, source, sender, hello);
        };
        neighbor.address = source;
        neighbor.handle_hello(now, hello);
        Ok(())
    }

    fn meet_neighbor(
        &mut self,
        now: Instant,
        link: LinkId,
        source: Ipv6Addr,
        sender: &Sender,
        hello: &Hello,
    ) -> Result<(), DropReason> {
        if self.neighbors.len() >= MAX_NEIGHBORS {
            return Err(DropReason::TableFull);
        }
        if !self.records.make_pair_key(link.neighbor) {
            return Err(DropReason::NoKey);
        }
        let nonce = self.random();
        let mut neighbor = Neighbor::new(now, source, sender, hello, nonce);
        neighbor.feed.note_version(now, hello.version);
        neighbor.speed = self.speed(link.ifindex);
        if let Some((_, past)) = self.pasts.remove(&link) {
            neighbor.past = past;
        }
        self.lost_neighbors.remove(&link);
        self.neighbors.insert(link, neighbor);
        self.watch_neighbor(now, link);
        Ok(())
    }

    fn receive_report(&mut self, now: Instant, link: LinkId, report: &LinkReport) {
        let us = ReportEntry::node(self.id);
        let ours = report.entries.iter().find(|entry| entry.node == us);
        if let Some(entry) = ours
            && let Some(neighbor) = self.neighbors.get_mut(&link)
        {
            neighbor.handle_report(now, entry.quality);
        }
    }

    fn receive_probe_answer(&mut self, now: Instant, link: LinkId, answer: ProbeAnswer) {
        if let Some(neighbor) = self.neighbors.get_mut(&link)
            && neighbor.liveness.confirm(answer.nonce)
        {
            neighbor.handle_report(now, answer.quality);
        }
    }

    fn receive_payload(&mut self, from: OriginatorId, payload: Payload) {
        let Payload { channel, bytes } = payload;
        self.event(Event::Payload {
            from,
            channel,
            bytes,
        });
    }

    /// A packet of our own came back. If it was never sent from here, another node has our key.
    fn note_own_packet(&mut self, now: Instant, source: Ipv6Addr) {
        if !self.own_addresses.contains(&source) {
            self.note_double(now);
        }
    }

    /// Another node has our key.
    pub(super) fn note_double(&mut self, now: Instant) {
        if self.double_seen.replace(now).is_none() {
            self.event(Event::DuplicateIdentity);
        }
    }

    /// The number of the originator's newest record that we have; 0 for none.
    pub(super) fn record_seq(&self, id: OriginatorId) -> SeqNo {
        self.records.seq(id).unwrap_or_default()
    }
}
