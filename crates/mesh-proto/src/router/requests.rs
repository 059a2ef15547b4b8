//! Asking for newer sequence numbers when no route is feasible, and warning of traffic that
//! moves.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::liveness::Watch;
use super::neighbor::LinkId;
use super::originator::Asked;
use super::{Event, Router};
use crate::wire::{Hello, PathCheck, Probe, ProbeAnswer, SeqnoRequest, Suspicion, Tlv};
use crate::{OriginatorId, SeqNo};

/// A request that brought nothing is made again after this time; it doubles up to
/// [`LONGEST_RETRY`].
const RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(4);
/// A number is not asked for more often than this only because the route became longer or dearer.
const LAZY_RETRY: Duration = Duration::from_secs(10);
/// How many are asked for only for that reason in a second.
const LAZY_REQUESTS: u32 = 16;
/// The same request is not passed on again before this time (RFC 8966 §3.8.1.2).
const DUPLICATE_TIME: Duration = Duration::from_millis(300);
/// The same node is not suspected again before this time.
const SUSPICION_INTERVAL: Duration = Duration::from_secs(1);
/// Within this time no more nodes are spoken of: where more die at once, hellos tell.
const MAX_SUSPECTED: usize = 16;
/// How long a number that was asked for is passed on at once when it comes.
const ANSWER_TIME: Duration = Duration::from_secs(4);
/// How far ahead of our own number a request may make us jump. Nobody has a proof of numbers we
/// have not used, so more is a mistake.
const LONGEST_JUMP: u32 = 8;

impl Router {
    /// An originator has offers, and none is feasible: asks the best of them for a newer
    /// sequence number.
    pub(super) fn ask_if_starved(&mut self, now: Instant, id: OriginatorId) {
        if self.caution.is_listening() {
            return;
        }
        let Some(originator) = self.originators.get(&id) else {
            return;
        };
        let offers = originator.routes().iter();
        let hopeful = offers.filter(|route| route.metric.is_finite()).count() > 0;
        if originator.selected.is_none() && hopeful {
            self.requests.entry(id).or_insert(now);
        } else {
            self.requests.remove(&id);
        }
    }

    /// Asks over `link` for a newer number than that of the route in use: this became longer than
    /// what was said of it, which only a newer number lets us say, or it is too dear. The next OGM
    /// brings one; this is only faster, so it is done for a few at a time.
    pub(super) fn ask_lazily(&mut self, now: Instant, id: OriginatorId, link: LinkId) {
        let Some(originator) = self.originators.get_mut(&id) else {
            return;
        };
        let recently = |asked: Asked| now.duration_since(asked.at) < LAZY_RETRY;
        if self.lazy_requests >= LAZY_REQUESTS || originator.asked.is_some_and(recently) {
            return;
        }
        let Some(route) = originator.in_use() else {
            return;
        };
        let seqno = route.proof.seqno.next();
        originator.asked = Some(Asked {
            seqno,
            at: now,
            tries: 0,
            hop_limit: SeqnoRequest::HOP_LIMIT,
            on_behalf_of: None,
        });
        self.lazy_requests += 1;
        self.gather_request(link, request(id, seqno, SeqnoRequest::HOP_LIMIT));
    }

    /// Makes the requests whose time has come.
    pub(super) fn make_requests(&mut self, now: Instant) {
        let due = self.requests.iter().filter(|(_, at)| **at <= now);
        let due: Vec<_> = due.map(|(id, _)| *id).collect();
        for id in due {
            match self.next_request(now, id) {
                Some((link, tlv)) => self.gather_request(link, tlv),
                None => _ = self.requests.remove(&id),
            }
        }
    }

    /// Whom to ask for a newer number of `id`: those who offer a route, the nearest first, each
    /// in turn.
    fn next_request(&mut self, now: Instant, id: OriginatorId) -> Option<(LinkId, Tlv)> {
        let costs = &self.neighbors;
        let originator = self.originators.get_mut(&id)?;
        let seqno = originator.feasibility?.seqno.next();
        let offers = originator
            .routes()
            .iter()
            .filter(|it| it.metric.is_finite());
        let mut offers: Vec<_> = offers
            .filter_map(|it| Some((it.metric.plus(costs.get(&it.link)?.cost()), it.link)))
            .filter(|(metric, _)| metric.is_finite())
            .collect();
        offers.sort();
        let tries = originator.asked.filter(|it| it.seqno == seqno);
        let tries = tries.map_or(0, |it| it.tries);
        let (_, link) = *offers.iter().cycle().nth(usize::try_from(tries).ok()?)?;
        originator.asked = Some(Asked {
            seqno,
            at: now,
            tries: tries + 1,
            hop_limit: SeqnoRequest::HOP_LIMIT,
            on_behalf_of: None,
        });
        let retry = (RETRY * (1 << tries.min(6))).min(LONGEST_RETRY);
        self.requests.insert(id, now + retry);
        Some((link, request(id, seqno, SeqnoRequest::HOP_LIMIT)))
    }

    pub(super) fn receive_seqno_request(
        &mut self,
        now: Instant,
        from: LinkId,
        asked: &SeqnoRequest,
    ) {
        let &SeqnoRequest {
            originator: id,
            seqno,
            hop_limit,
        } = asked;
        if id == self.id {
            self.raise_own_seqno(now, seqno);
            return;
        }
        let Some(originator) = self.originators.get_mut(&id) else {
            return;
        };
        let said = originator.advertised().filter(|it| it.metric.is_finite());
        let has_it = said.is_some_and(|said| !seqno.is_newer_than(said.link.seqno));
        let is_duplicate = originator.asked.is_some_and(|before| {
            !seqno.is_newer_than(before.seqno) && now < before.at + DUPLICATE_TIME
        });
        if has_it {
            return;
        }
        let in_use = originator.in_use();
        if in_use.is_some_and(|route| !seqno.is_newer_than(route.proof.seqno)) {
            self.say_soon(now, id);
            return;
        }
        if is_duplicate || hop_limit == 0 {
            return;
        }
        let others = |link: &LinkId| link.neighbor != from.neighbor;
        let in_use = originator.selected.filter(others);
        let offers = originator.routes().iter().filter(|it| others(&it.link));
        let offers = offers.filter(|it| it.metric.is_finite());
        let nearest = offers.min_by_key(|it| it.metric).map(|it| it.link);
        if let Some(link) = in_use.or(nearest) {
            let tries = originator.asked.map_or(0, |before| before.tries);
            let hop_limit = hop_limit - 1;
            originator.asked = Some(Asked {
                seqno,
                at: now,
                tries,
                hop_limit,
                on_behalf_of: Some(from.neighbor),
            });
            self.gather_request(link, request(id, seqno, hop_limit));
        }
    }

    /// The route to `id` leads over another neighbor now: a request that went the way before, and
    /// was not answered, may be lost with it, and is made again.
    pub(super) fn ask_again(&mut self, now: Instant, id: OriginatorId) {
        let Some(originator) = self.originators.get_mut(&id) else {
            return;
        };
        let (Some(route), Some(asked)) = (originator.in_use(), originator.asked) else {
            return;
        };
        let link = route.link;
        let is_open = now < asked.at + ANSWER_TIME && asked.seqno.is_newer_than(route.proof.seqno);
        let leads_back = asked.on_behalf_of == Some(link.neighbor);
        if is_open && !leads_back {
            originator.asked = Some(Asked { at: now, ..asked });
            self.gather_request(link, request(id, asked.seqno, asked.hop_limit));
        }
    }

    fn raise_own_seqno(&mut self, now: Instant, wanted: SeqNo) {
        let ahead = wanted.value().wrapping_sub(self.seqno.value());
        if wanted.is_newer_than(self.seqno) && ahead <= LONGEST_JUMP {
            self.originate(now, wanted);
        }
        self.say_soon(now, self.id);
    }

    /// A newer number that waits for the next hello is wanted now.
    fn say_soon(&mut self, now: Instant, id: OriginatorId) {
        if self.pending_ogms.contains(&id) {
            self.flush_by(now);
        }
    }

    fn gather_request(&mut self, link: LinkId, tlv: Tlv) {
        self.gathered_requests.entry(link).or_default().push(tlv);
    }

    /// Sends the requests that one event caused, all to one neighbor in one packet.
    pub(super) fn send_gathered_requests(&mut self, now: Instant) {
        for (link, tlvs) in std::mem::take(&mut self.gathered_requests) {
            self.counters.seqno_requests += tlvs.len() as u64;
            self.send_to(now, link, &tlvs);
        }
    }

    /// Whether somebody waits for this number of `id`, who should have it at once.
    pub(super) fn is_awaited(&self, now: Instant, id: OriginatorId, seqno: SeqNo) -> bool {
        let asked = self.originators.get(&id).and_then(|it| it.asked);
        asked.is_some_and(|asked| now < asked.at + ANSWER_TIME && !asked.seqno.is_newer_than(seqno))
    }

    /// Tells the next hops of what lost its way where the traffic now goes: their links were
    /// idle, and may be dead without anybody knowing.
    pub(super) fn announce_moved_traffic(&mut self, now: Instant) {
        let moved = std::mem::take(&mut self.moved);
        let limit = PathCheck::HOP_LIMIT;
        self.send_path_checks(now, moved, None, limit);
    }

    pub(super) fn receive_path_check(&mut self, now: Instant, from: LinkId, check: &PathCheck) {
        if let Some(hop_limit) = check.hop_limit.checked_sub(1) {
            let ids = check.originators.iter().copied();
            self.send_path_checks(now, ids, Some(from), hop_limit);
        }
    }

    /// Watches the next hops to these originators, and has them do the same, but for the one it
    /// came `from`.
    fn send_path_checks(
        &mut self,
        now: Instant,
        originators: impl IntoIterator<Item = OriginatorId>,
        from: Option<LinkId>,
        hop_limit: u8,
    ) {
        let mut by_link: BTreeMap<LinkId, Vec<OriginatorId>> = BTreeMap::new();
        for id in originators {
            let next = self.originators.get(&id).and_then(|it| it.selected);
            if let Some(link) = next.filter(|link| Some(*link) != from) {
                by_link.entry(link).or_default().push(id);
            }
        }
        for (link, mut originators) in by_link {
            if let Some(neighbor) = self.neighbors.get_mut(&link) {
                neighbor.liveness.carry(now);
            }
            self.watch_neighbor(now, link);
            originators.retain(|id| *id != link.neighbor);
            originators.truncate(PathCheck::MAX_ORIGINATORS);
            if !originators.is_empty() {
                let check = PathCheck {
                    hop_limit,
                    originators,
                };
                self.send_to(now, link, &[Tlv::PathCheck(check)]);
            }
        }
    }

    /// A node does not answer: tells everybody near, once.
    pub(super) fn suspect(&mut self, now: Instant, node: OriginatorId, hop_limit: u8) {
        self.suspected
            .retain(|_, at| now.duration_since(*at) < SUSPICION_INTERVAL);
        let enough = self.suspected.len() >= MAX_SUSPECTED;
        if hop_limit == 0 || enough || self.suspected.contains_key(&node) {
            return;
        }
        self.suspected.insert(node, now);
        let suspicion = Tlv::Suspicion(Suspicion { hop_limit, node });
        let interfaces: Vec<_> = self.interfaces.keys().copied().collect();
        for ifindex in interfaces {
            self.transmit(now, ifindex, None, std::slice::from_ref(&suspicion));
        }
    }

    pub(super) fn receive_suspicion(&mut self, now: Instant, suspicion: Suspicion) {
        let Suspicion { hop_limit, node } = suspicion;
        if !self.originators.contains_key(&node) {
            return;
        }
        let hop_limit = hop_limit.min(Suspicion::HOP_LIMIT);
        self.suspect(now, node, hop_limit.saturating_sub(1));
        let links = self.neighbors.keys().filter(|link| link.neighbor == node);
        for link in links.copied().collect::<Vec<_>>() {
            if let Some(neighbor) = self.neighbors.get_mut(&link) {
                neighbor.liveness.doubt(now);
            }
            self.watch_neighbor(now, link);
        }
    }

    /// Does what the watch over a link asks for.
    pub(super) fn watch_neighbor(&mut self, now: Instant, link: LinkId) {
        let Some(neighbor) = self.neighbors.get_mut(&link) else {
            return;
        };
        let confirmed = neighbor.liveness.is_confirmed();
        match neighbor.watch(now) {
            Watch::Wait => {}
            Watch::Lost => self.lose_neighbor(now, link),
            Watch::Probe {
                nonce,
                traffic,
                long,
            } => {
                self.counters.sent_probes += 1;
                if neighbor.liveness.has_just_missed_one() {
                    self.event(Event::NeighborSilent(link));
                }
                let max_len = self.max_packet_len(link.ifindex);
                let padding = if long {
                    Probe::full_padding(max_len)
                } else {
                    0
                };
                let mut tlvs = vec![Tlv::Probe(Probe {
                    nonce,
                    traffic,
                    padding,
                })];
                if !confirmed {
                    // Who has not heard us yet would not answer.
                    let hello: Hello = self.last_hello(link.ifindex);
                    tlvs.insert(0, Tlv::Hello(hello));
                }
                self.send_to(now, link, &tlvs);
            }
        }
    }

    pub(super) fn answer_probe(&mut self, now: Instant, link: LinkId, probe: Probe) {
        let room = Probe::full_padding(self.max_packet_len(link.ifindex));
        let Some(neighbor) = self.neighbors.get_mut(&link) else {
            return;
        };
        let answer = ProbeAnswer {
            nonce: probe.nonce,
            quality: neighbor.rx_quality(now),
            padding: probe.padding.min(room),
        };
        if probe.traffic {
            neighbor.liveness.carry_along(now);
        }
        self.send_to(now, link, &[Tlv::ProbeAnswer(answer)]);
    }
}

fn request(originator: OriginatorId, seqno: SeqNo, hop_limit: u8) -> Tlv {
    Tlv::SeqnoRequest(SeqnoRequest {
        originator,
        seqno,
        hop_limit,
    })
}
