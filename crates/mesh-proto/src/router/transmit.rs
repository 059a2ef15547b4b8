//! Packets out.

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use rand_core::Rng;

use super::neighbor::LinkId;
use super::originator::Advertised;
use super::{Interface, Output, Router, Start, Transmit};
use crate::wire::{Hello, LinkReport, Ogm, PacketBuilder, Payload, ReportEntry, Tlv};
use crate::{IfIndex, Metric, OriginatorId};

/// News waits this long at most, so that what arrives together leaves together and neighbors do
/// not all send at once.
const FLUSH_DELAY: Duration = Duration::from_millis(20);
/// A new neighbor is answered at once, but not more often than this: a whole village that
/// powers up together shares one channel.
const GREETING_GAP: Duration = Duration::from_millis(100);

impl Router {
    /// Sends bytes to the application `channel` of a neighbor, over the cheapest link to it.
    /// Returns whether there is one; delivery is not promised.
    pub fn send_payload(
        &mut self,
        now: Instant,
        to: OriginatorId,
        channel: u8,
        bytes: Vec<u8>,
    ) -> bool {
        let links = self
            .neighbors
            .iter()
            .filter(|(link, _)| link.neighbor == to);
        let best = links.min_by_key(|(link, neighbor)| (neighbor.cost(now), **link));
        let Some((link, neighbor)) = best else {
            return false;
        };
        if !neighbor.cost(now).is_finite() || bytes.len() > Payload::MAX_LEN {
            return false;
        }
        let (ifindex, address) = (link.ifindex, neighbor.address);
        let payload = Tlv::Payload(Payload {
            receiver: to,
            channel,
            bytes,
        });
        self.transmit(ifindex, Some(address), &[payload]);
        true
    }

    /// Says goodbye: neighbors take other ways at once instead of finding out. The router must
    /// not be used to receive anything after this.
    pub fn leave(&mut self, now: Instant) {
        self.seqno = self.seqno.next();
        let originator = self.id;
        let record_seq = self.records.own().record().seq;
        let metric = Metric::INFINITE;
        let mut tlvs = vec![Tlv::Ogm(Ogm {
            originator,
            seqno: self.seqno,
            metric,
            record_seq,
            hops: 0,
        })];
        self.neighbors.clear();
        for id in self.originators.keys().copied().collect::<Vec<_>>() {
            self.select_route(now, id);
            tlvs.extend(self.ogm(now, id).map(Tlv::Ogm));
        }
        for ifindex in self.interfaces.keys().copied().collect::<Vec<_>>() {
            self.transmit(ifindex, None, &tlvs);
        }
    }

    /// Sends `tlvs` to one neighbor.
    pub(super) fn send_to(&mut self, link: LinkId, tlvs: &[Tlv]) {
        if let Some(address) = self.neighbors.get(&link).map(|neighbor| neighbor.address) {
            self.transmit(link.ifindex, Some(address), tlvs);
        }
    }

    /// Says hello soon, and with it everything we know: somebody new is listening, who does not
    /// take news from anybody whose hello it has not heard.
    pub(super) fn greet(&mut self, now: Instant, ifindex: IfIndex) {
        let jitter = self.jitter(FLUSH_DELAY);
        if let Some(interface) = self.interfaces.get_mut(&ifindex) {
            let earliest = interface
                .last_hello
                .map_or(now, |last| now.max(last + GREETING_GAP));
            interface.next_hello = interface.next_hello.min(earliest + jitter);
            interface.greets = true;
        }
    }

    /// Sends what is pending within [`FLUSH_DELAY`].
    pub(super) fn flush_soon(&mut self, now: Instant) {
        let at = now + self.jitter(FLUSH_DELAY);
        self.flush_by(at);
    }

    /// Sends what is pending at `at` at the latest.
    pub(super) fn flush_by(&mut self, at: Instant) {
        self.flush_at = Some(self.flush_at.map_or(at, |planned| planned.min(at)));
    }

    /// Sends everything whose time has come. A due hello takes pending news along.
    pub(super) fn transmit_due(&mut self, now: Instant) {
        if self.interfaces.is_empty() {
            return;
        }
        if now >= self.next_ogm {
            self.seqno = self.seqno.next();
            self.next_ogm = now + self.jittered(self.config.ogm_interval);
            self.pending_ogms.insert(self.id);
            self.flush_by(now);
        }
        let hello_due: Vec<IfIndex> = self
            .interfaces
            .iter()
            .filter(|(_, interface)| now >= interface.next_hello)
            .map(|(ifindex, _)| *ifindex)
            .collect();
        if hello_due.is_empty() && self.flush_at.is_none_or(|at| now < at) {
            return;
        }
        if !hello_due.is_empty() {
            self.queue_repeats(now);
        }
        if self.takes_greeting(&hello_due) {
            self.pending_ogms.extend(self.originators.keys());
            self.pending_ogms.insert(self.id);
            self.pending_records.insert(self.id);
        }
        let news = self.take_news(now);
        let interfaces: Vec<IfIndex> = self.interfaces.keys().copied().collect();
        for ifindex in interfaces {
            let mut tlvs = Vec::new();
            if hello_due.contains(&ifindex) {
                tlvs = self.hello(now, ifindex);
            }
            tlvs.extend_from_slice(&news);
            self.transmit(ifindex, None, &tlvs);
        }
    }

    /// Whether one of these interfaces has somebody new, who is greeted now.
    fn takes_greeting(&mut self, interfaces: &[IfIndex]) -> bool {
        let mut greets = false;
        for ifindex in interfaces {
            if let Some(interface) = self.interfaces.get_mut(ifindex) {
                greets |= std::mem::take(&mut interface.greets);
            }
        }
        greets
    }

    /// Queues what was said of others and has to be said again: after one and a half intervals
    /// their next OGM is not just late.
    fn queue_repeats(&mut self, now: Instant) {
        let interval = self.config.ogm_interval * 3 / 2;
        let known = self.originators.iter();
        let due = known.filter(|(_, originator)| originator.needs_repeating(now, interval));
        self.pending_ogms.extend(due.map(|(id, _)| *id));
    }

    fn hello(&mut self, now: Instant, ifindex: IfIndex) -> Vec<Tlv> {
        let next_hello = now + self.jittered(self.config.hello_interval);
        let Some(interface) = self.interfaces.get_mut(&ifindex) else {
            return Vec::new();
        };
        interface.hello_seqno = interface.hello_seqno.wrapping_add(1);
        interface.next_hello = next_hello;
        interface.last_hello = Some(now);
        let mut tlvs = vec![self.last_hello(ifindex)];
        let neighbors = self
            .neighbors
            .iter()
            .filter(|(link, _)| link.ifindex == ifindex);
        let entries: Vec<_> = neighbors
            .map(|(link, neighbor)| ReportEntry {
                neighbor: link.neighbor,
                boot: neighbor.boot(),
                quality: neighbor.rx_quality(now),
            })
            .collect();
        let per_report = self.max_packet_len(ifindex) / 2 / ReportEntry::LEN;
        let reports = entries.chunks(per_report.max(1));
        tlvs.extend(reports.map(|some| {
            Tlv::LinkReport(LinkReport {
                entries: some.to_vec(),
            })
        }));
        tlvs
    }

    fn last_hello(&self, ifindex: IfIndex) -> Tlv {
        let interface = self.interfaces.get(&ifindex);
        Tlv::Hello(Hello {
            seqno: interface.map_or(0, |interface| interface.hello_seqno),
            interval_ms: u16::try_from(self.config.hello_interval.as_millis()).unwrap_or(u16::MAX),
            boot: self.config.boot,
            warm: matches!(self.config.start, Start::Warm(_)),
        })
    }

    /// Tells a neighbor that was restarted what it offered us: those numbers it must not use
    /// again for a route that may lead through us. Our hello comes along, or it would not listen.
    pub(super) fn remind_of_offers(&mut self, link: LinkId) {
        let mut tlvs = vec![self.last_hello(link.ifindex)];
        for (id, originator) in &mut self.originators {
            let Some(offered) = originator.routes.get_mut(&link) else {
                continue;
            };
            // A node's own count goes on where it was, as soon as it is reminded of it.
            offered.from_earlier_life = *id != link.neighbor;
            let retraction = Ogm {
                originator: *id,
                seqno: offered.seqno,
                metric: Metric::INFINITE,
                record_seq: self.records.seq(*id).unwrap_or_default(),
                hops: u8::MAX,
            };
            tlvs.push(Tlv::Ogm(retraction));
        }
        self.send_to(link, &tlvs);
    }

    /// The OGMs and records that are pending, which are then said.
    fn take_news(&mut self, now: Instant) -> Vec<Tlv> {
        self.flush_at = None;
        let mut news = Vec::new();
        for id in std::mem::take(&mut self.pending_ogms) {
            news.extend(self.ogm(now, id).map(Tlv::Ogm));
        }
        self.counters.sent_ogms += news.len() as u64;
        for id in std::mem::take(&mut self.pending_records) {
            news.extend(self.records.get(id).cloned().map(Box::new).map(Tlv::Record));
        }
        news
    }

    /// What we say of an originator: the route in use, or a retraction if there was one. What is
    /// said lowers the feasibility distance first (RFC 8966 §3.7.3).
    fn ogm(&mut self, now: Instant, id: OriginatorId) -> Option<Ogm> {
        let record_seq = self.records.seq(id).unwrap_or_default();
        if id == self.id {
            let (seqno, metric) = (self.seqno, Metric::ZERO);
            return Some(Ogm {
                originator: id,
                seqno,
                metric,
                record_seq,
                hops: 0,
            });
        }
        let truth = self.now_true(now, id)?;
        let originator = self.originators.get_mut(&id)?;
        let hops = originator
            .in_use()
            .map_or(u8::MAX, |(_, route)| route.hops.saturating_add(1));
        let advertised = match originator.advertised {
            Some(said) => said.updated_to(truth),
            None if truth.metric.is_finite() => truth,
            None => return None,
        };
        originator.say(now, advertised);
        let Advertised { seqno, metric } = advertised;
        Some(Ogm {
            originator: id,
            seqno,
            metric,
            record_seq,
            hops,
        })
    }

    fn transmit(&mut self, ifindex: IfIndex, to: Option<Ipv6Addr>, tlvs: &[Tlv]) {
        let Some(interface) = self.interfaces.get(&ifindex) else {
            return;
        };
        let Interface {
            address,
            max_packet_len,
            ..
        } = *interface;
        let mut builder =
            PacketBuilder::new(&self.config.network, self.id, address, max_packet_len);
        tlvs.iter().for_each(|tlv| builder.push(tlv));
        for bytes in builder.finish() {
            self.counters.sent_packets += 1;
            self.counters.sent_bytes += bytes.len() as u64;
            self.outputs
                .push_back(Output::Transmit(Transmit { ifindex, to, bytes }));
        }
    }

    fn max_packet_len(&self, ifindex: IfIndex) -> usize {
        self.interfaces
            .get(&ifindex)
            .map_or(0, |interface| interface.max_packet_len)
    }

    /// A random part of `max`.
    fn jitter(&mut self, max: Duration) -> Duration {
        max * (self.rng.next_u32() % 1024) / 1024
    }

    /// `interval`, or up to a tenth less, so that neighbors do not fall into step. Never more:
    /// hellos announce their interval as a promise.
    fn jittered(&mut self, interval: Duration) -> Duration {
        interval - self.jitter(interval / 10)
    }
}
