//! Packets out: what is said when.

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use rand_core::Rng;

use super::book::Advertised;
use super::neighbor::LinkId;
use super::originator::to_say;
use super::{Interface, Output, Router, Transmit, records};
use crate::wire::{Hello, LinkReport, PacketBuilder, Payload, ReportEntry, Tlv};
use crate::{IfIndex, Metric, OriginatorId, Price, SeqNo};

/// News waits this long at most, so that what arrives together leaves together and neighbors do
/// not all send at once.
const FLUSH_DELAY: Duration = Duration::from_millis(20);
/// Between the first hellos on an interface; it doubles up to [`Hello::LONGEST`].
pub(super) const FIRST_HELLO_INTERVAL: Duration = Duration::from_millis(150);
/// After news, hellos come this soon: they tell those who missed it that they did.
const ECHO_DELAY: Duration = Duration::from_millis(100);
/// How many hellos come so soon after news. Broadcasts on a bad link of 30 % loss: news and both
/// echoes get lost once in forty times, and then there is still the next hello.
const ECHOES: u8 = 2;
/// On idle links, every so many hellos say how neighbors are heard.
const REPORT_EVERY: u16 = 2;
/// For so long a neighbor that was given up is told that it is not heard.
const FAREWELL_TIME: Duration = Duration::from_secs(10);
/// Our own OGMs come as often as there are originators, one a second, and not more nor less often
/// than this: then all OGMs of a mesh together are one a second, at a sixtieth of the originators
/// from sixty on.
const OGM_INTERVALS: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(60)];

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
        let links = self.neighbors.iter();
        let links = links.filter(|(link, it)| link.neighbor == to && it.cost().is_finite());
        let best = links.min_by_key(|(link, it)| (it.cost(), **link));
        let Some(link) = best.map(|(link, _)| *link) else {
            return false;
        };
        if bytes.len() > Payload::MAX_LEN {
            return false;
        }
        self.send_to(now, link, &[Tlv::Payload(Payload { channel, bytes })]);
        true
    }

    /// Says goodbye: neighbors take other ways at once instead of finding out. The router must
    /// not be used to receive anything after this.
    pub fn leave(&mut self, now: Instant) {
        self.neighbors.clear();
        self.pending_ogms.extend(self.originators.keys());
        let ids: Vec<_> = self.originators.keys().copied().collect();
        ids.into_iter().for_each(|id| self.select_route(now, id));
        self.seqno = self.seqno.next();
        self.leaving = true;
        self.pending_ogms.insert(self.id);
        let news = self.news();
        self.say_everywhere(now, &news, &[]);
    }

    /// Sends `tlvs` to one neighbor, with the key of the pair.
    pub(super) fn send_to(&mut self, now: Instant, link: LinkId, tlvs: &[Tlv]) {
        let Some(address) = self.neighbors.get(&link).map(|neighbor| neighbor.address) else {
            return;
        };
        self.seal(
            now,
            link.ifindex,
            Some((address, Some(link.neighbor))),
            tlvs,
        );
    }

    /// Sends `tlvs` with the network's key: to everybody on the link, or to one who has no other.
    pub(super) fn transmit(
        &mut self,
        now: Instant,
        ifindex: IfIndex,
        to: Option<Ipv6Addr>,
        tlvs: &[Tlv],
    ) {
        self.seal(now, ifindex, to.map(|address| (address, None)), tlvs);
    }

    /// Packets to link-local addresses are sent from the interface's own, all others from our mesh address.
    pub(super) fn seal(
        &mut self,
        now: Instant,
        ifindex: IfIndex,
        to: Option<(Ipv6Addr, Option<OriginatorId>)>,
        tlvs: &[Tlv],
    ) {
        let Some(interface) = self.interfaces.get(&ifindex) else {
            return;
        };
        let key = match to {
            Some((_, Some(neighbor))) => match self.records.pair_key(neighbor) {
                Some(key) => Some(key),
                None => return,
            },
            _ => None,
        };
        let network = &self.config.network;
        let is_afar = |(to, _): (Ipv6Addr, _)| !to.is_unicast_link_local();
        let address = match to.is_some_and(is_afar) {
            true => network.mesh_ipv6(self.id),
            false => interface.address,
        };
        let max_packet_len = interface.max_packet_len();
        let (sender, sent) = (self.sender, self.sent);
        let mut builder = PacketBuilder::new(network, key, sender, address, max_packet_len, sent);
        tlvs.iter().for_each(|tlv| builder.push(tlv));
        let (packets, sent) = builder.finish();
        self.sent = sent;
        let to = to.map(|(address, _)| address);
        for bytes in packets {
            self.counters.sent_packets += 1;
            self.counters.sent_bytes += bytes.len() as u64;
            // What goes to one neighbor it has asked for, and is sent at the speed it can take.
            if to.is_none() {
                self.budget.spend(now, bytes.len());
            }
            let transmit = Transmit { ifindex, to, bytes };
            self.outputs.push_back(Output::Transmit(transmit));
        }
    }

    /// Hellos come fast for a while, on all interfaces.
    pub(super) fn excite(&mut self, now: Instant) {
        let jitter = self.jitter(FLUSH_DELAY);
        for interface in self.interfaces.values_mut() {
            interface.hello_interval = FIRST_HELLO_INTERVAL;
            interface.next_hello = interface.next_hello.min(now + jitter);
        }
    }

    /// The next hello on an interface says how neighbors are heard.
    pub(super) fn report_soon(&mut self, ifindex: IfIndex) {
        if let Some(interface) = self.interfaces.get_mut(&ifindex) {
            interface.reports_due = 2;
        }
    }

    /// Sends what is pending within [`FLUSH_DELAY`].
    pub(super) fn flush_soon(&mut self, now: Instant) {
        self.flush_within(now, FLUSH_DELAY);
    }

    /// Sends what is pending at a random time within `delay`.
    pub(super) fn flush_within(&mut self, now: Instant, delay: Duration) {
        let at = now + self.jitter(delay);
        self.flush_by(at);
    }

    /// Sends what is pending at `at` at the latest, if the budget allows.
    pub(super) fn flush_by(&mut self, at: Instant) {
        let at = at.max(self.budget.ready_at());
        self.flush_at = Some(self.flush_at.map_or(at, |planned| planned.min(at)));
    }

    /// Our next sequence number. When those of an epoch are used up the next one begins, as the
    /// numbers after a restart must lie above all that were used.
    pub(super) fn originate(&mut self, now: Instant, seqno: SeqNo) {
        if records::epoch_of(seqno) != records::epoch_of(self.seqno) && self.begin_next_epoch(now) {
            return;
        }
        self.seqno = seqno;
        let originators = u32::try_from(self.originators.len()).unwrap_or(u32::MAX);
        let [least, most] = OGM_INTERVALS;
        let interval = Duration::from_secs(1).saturating_mul(originators);
        self.next_ogm = now + self.jittered(interval.clamp(least, most));
        self.pending_ogms.insert(self.id);
    }

    /// Sends everything whose time has come. A due hello takes pending news along.
    pub(super) fn transmit_due(&mut self, now: Instant) {
        if self.interfaces.is_empty() {
            return;
        }
        if now >= self.next_ogm {
            self.originate(now, self.seqno.next());
        }
        let due = self.interfaces.iter();
        let due = due.filter(|(_, interface)| now >= interface.next_hello);
        let hellos: Vec<IfIndex> = due.map(|(ifindex, _)| *ifindex).collect();
        let in_budget = now >= self.budget.ready_at();
        let is_urgent = in_budget && self.flush_at.is_some_and(|at| now >= at);
        // What is not urgent goes along with a hello.
        let news = match is_urgent || (in_budget && !hellos.is_empty()) {
            true => self.news(),
            false => Vec::new(),
        };
        self.say_everywhere(now, &news, &hellos);
        if is_urgent {
            self.expect_echoes(now);
        }
    }

    /// Says news over all interfaces, and hellos over those where they are due.
    fn say_everywhere(&mut self, now: Instant, news: &[Tlv], hellos: &[IfIndex]) {
        for ifindex in self.interfaces.keys().copied().collect::<Vec<_>>() {
            let mut tlvs = news.to_vec();
            if hellos.contains(&ifindex) {
                // Last: it says how much there is to know by then.
                tlvs.extend(self.hello(now, ifindex));
            }
            if !tlvs.is_empty() {
                self.transmit(now, ifindex, None, &tlvs);
            }
        }
    }

    /// Urgent news is followed by hellos, from which those who missed it learn that they did.
    fn expect_echoes(&mut self, now: Instant) {
        let at = now + self.jittered(ECHO_DELAY);
        for interface in self.interfaces.values_mut() {
            interface.echoes = ECHOES;
            interface.next_hello = interface.next_hello.min(at);
        }
    }

    /// What is pending, to be said over all interfaces.
    fn news(&mut self) -> Vec<Tlv> {
        self.flush_at = None;
        let before = self.book.version();
        for id in std::mem::take(&mut self.pending_ogms) {
            self.say(id);
        }
        let records = std::mem::take(&mut self.pending_records);
        let records = records.into_iter().filter_map(|id| self.records.get(id));
        let mut news: Vec<_> = records.cloned().map(Box::new).map(Tlv::Record).collect();
        news.extend(self.map_news());
        self.counters.sent_ogms += u64::from(self.book.version() - before);
        if self.book.version() != before {
            let room = self.interfaces.values().map(Interface::max_packet_len);
            news.extend(self.updates(before, room.min().unwrap_or(0)));
        }
        news
    }

    /// Says the truth about an originator, if it was not said already. What is said lowers the
    /// feasibility distance first (RFC 8966 §3.7.3).
    fn say(&mut self, id: OriginatorId) {
        let record_seq = self.record_seq(id);
        if id == self.id {
            let own = self.own_truth();
            let record_seq = self.record_seq(id);
            self.own_said = self.book.say(id, self.own_said, own, record_seq);
            return;
        }
        let Some(truth) = self.now_true(id) else {
            return;
        };
        let Some(originator) = self.originators.get_mut(&id) else {
            return;
        };
        let advertised = to_say(originator.advertised(), truth);
        let is_known = originator
            .said
            .as_ref()
            .is_some_and(|said| said.says(&advertised, record_seq));
        let never_said = originator.said.is_none() && !advertised.metric.is_finite();
        if is_known || never_said {
            return;
        }
        let (seqno, metric) = (advertised.link.seqno, advertised.metric);
        originator.lower_feasibility(seqno, metric);
        originator.said = self.book.say(id, originator.said, advertised, record_seq);
    }

    fn own_truth(&mut self) -> Advertised {
        let (link, renewed) = self.records.prove(self.seqno);
        if renewed {
            // It goes along with what is being said.
            self.pending_records.insert(self.id);
        }
        let metric = if self.leaving {
            Metric::INFINITE
        } else {
            Metric::ZERO
        };
        Advertised {
            link,
            metric,
            hops: 0,
            price: self.price_through_us(self.id, Price::FREE),
        }
    }

    fn hello(&mut self, now: Instant, ifindex: IfIndex) -> Vec<Tlv> {
        let jitter = self.rng.next_u32();
        let Some(interface) = self.interfaces.get_mut(&ifindex) else {
            return Vec::new();
        };
        let promised = interface.hello_interval;
        let wait = match interface.echoes.checked_sub(1) {
            Some(left) => {
                interface.echoes = left;
                promised.min(ECHO_DELAY)
            }
            None => {
                interface.hello_interval = (promised * 2).min(Hello::LONGEST);
                promised
            }
        };
        interface.promised = promised;
        interface.hello_seqno = interface.hello_seqno.wrapping_add(1);
        interface.next_hello = now + shortened(wait, jitter);
        let is_settled = promised == Hello::LONGEST;
        let reports = !is_settled
            || interface.reports_due > 0
            || interface.hello_seqno.is_multiple_of(REPORT_EVERY);
        interface.reports_due = interface.reports_due.saturating_sub(1);
        let mut tlvs = vec![Tlv::Hello(self.last_hello(ifindex))];
        let hello_seqno = self.last_hello(ifindex).seqno;
        tlvs.extend(self.map_digest(hello_seqno));
        if reports {
            tlvs.extend(self.reports(now, ifindex));
        }
        tlvs
    }

    fn reports(&mut self, now: Instant, ifindex: IfIndex) -> Vec<Tlv> {
        self.lost_neighbors
            .retain(|_, at| now.duration_since(*at) < FAREWELL_TIME);
        let lost = self.lost_neighbors.keys().map(|link| (link, 0));
        let heard = self.neighbors.iter();
        let heard = heard.map(|(link, neighbor)| (link, neighbor.rx_quality(now)));
        let here = heard
            .chain(lost)
            .filter(|(link, _)| link.ifindex == ifindex);
        let entries = here.map(|(link, quality)| ReportEntry::new(link.neighbor, quality));
        let entries: Vec<_> = entries.collect();
        let room = self.max_packet_len(ifindex) / 2 / ReportEntry::LEN;
        let parts = entries.chunks(room.max(1)).map(|entries| {
            let entries = entries.to_vec();
            Tlv::LinkReport(LinkReport { entries })
        });
        parts.collect()
    }

    /// The last hello on an interface, to go along with something else.
    pub(super) fn last_hello(&self, ifindex: IfIndex) -> Hello {
        let interface = self.interfaces.get(&ifindex);
        let promised = interface.map_or(Hello::LONGEST, |interface| interface.promised);
        Hello {
            seqno: interface.map_or(0, |interface| interface.hello_seqno),
            interval_ms: u16::try_from(promised.as_millis()).unwrap_or(u16::MAX),
            version: self.book.version(),
        }
    }

    pub(super) fn max_packet_len(&self, ifindex: IfIndex) -> usize {
        self.interfaces
            .get(&ifindex)
            .map_or(0, Interface::max_packet_len)
    }

    pub(super) fn random(&mut self) -> u32 {
        self.rng.next_u32()
    }

    /// A random part of `max`.
    pub(super) fn jitter(&mut self, max: Duration) -> Duration {
        max * (self.rng.next_u32() % 1024) / 1024
    }

    fn jittered(&mut self, interval: Duration) -> Duration {
        let random = self.rng.next_u32();
        shortened(interval, random)
    }
}

/// `interval`, or up to a tenth less, so that neighbors do not fall into step. Never more: hellos
/// announce their interval as a promise.
fn shortened(interval: Duration, random: u32) -> Duration {
    interval - interval / 10 * (random % 1024) / 1024
}
