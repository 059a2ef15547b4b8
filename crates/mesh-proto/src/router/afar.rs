//! Questions of nodes that need not be neighbors, and answers to them: what `ping`, `traceroute` and `throughput`
//! are made of.
//!
//! They travel as data does, between two mesh addresses, with the key of the pair. An answer is hardly longer than its
//! question and goes to the address of the node that signed for it, so nobody gets one unasked; and there
//! are not more of them than [`Courtesy`] allows. They need no protection from being recorded: a question that
//! is sent again is answered again, to the same node, within the same limits, and an answer counts once.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use super::Router;
use super::counters::DropReason;
use super::{Event, originator::Originator};
use crate::OriginatorId;
use crate::wire::{
    Echo, EchoReply, KeyKind, NextHop, Sealed, ThroughputAnswer, ThroughputRequest, Tlv,
};

impl Router {
    /// Asks a node whether it is there, and where it would send what is for `towards`. Returns whether there
    /// is a way to it; an answer is not promised.
    pub fn send_echo(
        &mut self,
        now: Instant,
        to: OriginatorId,
        nonce: u64,
        towards: OriginatorId,
    ) -> bool {
        self.send_afar(now, to, &Tlv::Echo(Echo { nonce, towards }))
    }

    /// Asks a node to measure together what there is between us. Returns whether there is a way to it.
    pub fn request_throughput(
        &mut self,
        now: Instant,
        to: OriginatorId,
        request: ThroughputRequest,
    ) -> bool {
        self.send_afar(now, to, &Tlv::ThroughputRequest(request))
    }

    /// Answers an [`Event::ThroughputRequest`].
    pub fn answer_throughput(&mut self, now: Instant, to: OriginatorId, answer: ThroughputAnswer) {
        self.send_afar(now, to, &Tlv::ThroughputAnswer(answer));
    }

    /// The neighbor that gets what is for a node, and how well it is heard; `None` without a way, or if we
    /// are that node.
    pub fn next_hop_towards(&self, now: Instant, node: OriginatorId) -> Option<NextHop> {
        let link = self
            .originators
            .get(&node)
            .and_then(Originator::in_use)?
            .link;
        let neighbor = self.neighbors.get(&link)?;
        Some(NextHop {
            node: link.neighbor,
            rx_quality: neighbor.rx_quality(now),
            tx_quality: neighbor.tx_quality(now),
        })
    }

    fn send_afar(&mut self, now: Instant, to: OriginatorId, tlv: &Tlv) -> bool {
        let way = self.originators.get(&to).and_then(Originator::in_use);
        let Some(ifindex) = way.map(|route| route.link.ifindex) else {
            return false;
        };
        if !self.records.make_pair_key(to) {
            return false;
        }
        let address = self.config.network.mesh_ipv6(to);
        self.seal(
            now,
            ifindex,
            Some((address, Some(to))),
            std::slice::from_ref(tlv),
        );
        true
    }

    /// A packet came from an address that is not on the link.
    pub(super) fn receive_from_afar(
        &mut self,
        now: Instant,
        source: Ipv6Addr,
        bytes: &[u8],
    ) -> Result<(), DropReason> {
        if !self.config.network.prefix().contains(&source) {
            return Err(DropReason::NotFromLink);
        }
        let sealed = Sealed::parse(&self.config.network, bytes).map_err(DropReason::Parse)?;
        let sender = sealed.header().sender;
        if self.config.network.mesh_ipv6(sender.id) != source {
            return Err(DropReason::NotFromLink);
        }
        if sealed.header().key != KeyKind::Pair {
            return Err(DropReason::WrongKey);
        }
        match self.records.epoch(sender.id) {
            Some(epoch) if sender.epoch < epoch => return Err(DropReason::Stale),
            Some(epoch) if sender.epoch == epoch => {}
            Some(_) | None => return Err(DropReason::UnknownSender),
        }
        if !self.records.make_pair_key(sender.id) {
            return Err(DropReason::NoKey);
        }
        let key = self.records.pair_key(sender.id).ok_or(DropReason::NoKey)?;
        let tlvs = sealed.open(key, source).map_err(DropReason::Parse)?;
        for tlv in tlvs {
            if let Err(reason) = self.receive_tlv_from_afar(now, sender.id, &tlv) {
                self.counters.drop(reason);
            }
        }
        Ok(())
    }

    fn receive_tlv_from_afar(
        &mut self,
        now: Instant,
        from: OriginatorId,
        tlv: &Tlv,
    ) -> Result<(), DropReason> {
        match tlv {
            Tlv::Echo(echo) => self.answer_echo(now, from, *echo),
            Tlv::EchoReply(reply) => {
                self.event(Event::EchoReply {
                    from,
                    reply: *reply,
                });
                Ok(())
            }
            Tlv::ThroughputRequest(request) => {
                if !self.courtesy.take(now, from) {
                    return Err(DropReason::TooMany);
                }
                self.event(Event::ThroughputRequest {
                    from,
                    request: *request,
                });
                Ok(())
            }
            Tlv::ThroughputAnswer(answer) => {
                self.event(Event::ThroughputAnswer {
                    from,
                    answer: *answer,
                });
                Ok(())
            }
            // Everything else is for neighbors.
            Tlv::Hello(_)
            | Tlv::LinkReport(_)
            | Tlv::Update(_)
            | Tlv::Record(_)
            | Tlv::RecordRequest(_)
            | Tlv::Payload(_)
            | Tlv::SyncRequest(_)
            | Tlv::Reminder(_)
            | Tlv::Probe(_)
            | Tlv::ProbeAnswer(_)
            | Tlv::SeqnoRequest(_)
            | Tlv::PathCheck(_)
            | Tlv::Suspicion(_)
            | Tlv::MapEntry(_)
            | Tlv::MapDigest(_)
            | Tlv::MapRequest(_) => Err(DropReason::NotFromLink),
        }
    }

    fn answer_echo(
        &mut self,
        now: Instant,
        from: OriginatorId,
        echo: Echo,
    ) -> Result<(), DropReason> {
        if !self.courtesy.take(now, from) {
            return Err(DropReason::TooMany);
        }
        let reply = EchoReply {
            nonce: echo.nonce,
            next_hop: self.next_hop_towards(now, echo.towards),
        };
        self.send_afar(now, from, &Tlv::EchoReply(reply));
        Ok(())
    }
}

/// How many questions from afar are answered: bounded for each node and for all, whatever they ask.
#[derive(Debug)]
pub(super) struct Courtesy {
    all: Pace,
    /// Of those that have asked lately.
    each: BTreeMap<OriginatorId, Pace>,
}

impl Courtesy {
    /// One node gets ten answers a second, and twenty at once.
    const EACH: Limit = Limit {
        every: Duration::from_millis(100),
        burst: 20,
    };
    /// All together get 50, and 100 at once: 60 kbit/s at most.
    const ALL: Limit = Limit {
        every: Duration::from_millis(20),
        burst: 100,
    };

    pub(super) const fn new(now: Instant) -> Self {
        Self {
            all: Pace { paid_until: now },
            each: BTreeMap::new(),
        }
    }

    /// Whether `node` gets another answer. One that asks too often takes nothing away from others.
    fn take(&mut self, now: Instant, node: OriginatorId) -> bool {
        self.each.retain(|_, pace| pace.paid_until > now);
        let each = self.each.entry(node).or_insert(Pace { paid_until: now });
        each.has_room(now, Self::EACH) && self.all.has_room(now, Self::ALL) && {
            each.spend(now, Self::EACH);
            self.all.spend(now, Self::ALL);
            true
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    every: Duration,
    burst: u32,
}

/// A token bucket as one moment: that at which everything spent so far is earned again (the generic cell rate
/// algorithm of ITU-T I.371).
#[derive(Debug)]
struct Pace {
    paid_until: Instant,
}

impl Pace {
    fn has_room(&self, now: Instant, limit: Limit) -> bool {
        self.paid_until.saturating_duration_since(now) + limit.every <= limit.every * limit.burst
    }

    fn spend(&mut self, now: Instant, limit: Limit) {
        self.paid_until = self.paid_until.max(now) + limit.every;
    }
}
