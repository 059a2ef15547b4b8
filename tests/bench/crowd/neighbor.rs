//! One neighbor of a router, played by the bench: it says hello, answers what it is asked, and
//! passes the OGMs of a crowd on.
//!
//! It sends no faster than the router reads, which is seen in the queue of the router's socket: so
//! nothing is lost, however slow a router is that an instrument counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ed25519_dalek::SigningKey;
use mesh_proto::hash_chain::ChainValue;
use mesh_proto::identity::MacKey;
use mesh_proto::wire::{
    Hello, KeyKind, LinkReport, PacketBuilder, ProbeAnswer, RecordRequest, ReportEntry, Sealed,
    Sender, Tlv, Update,
};
use mesh_proto::{Network, NodeId, OriginatorId};
use mesh_tests::daemon::NETWORK;
use mesh_tests::lab::Node;
use mesh_tests::routing_port::RoutingPort;

use super::inbox::Inbox;
use super::members::{self, Crowd};
use super::subject::Subject;

/// UDP payload of a packet on a link of 1500 bytes.
const MAX_PACKET: usize = 1500 - 40 - 8;
/// Hellos come a little sooner than promised.
const HELLO: Duration = Hello::LONGEST.saturating_sub(Duration::from_millis(200));
/// All that arrives here is heard.
const PERFECT: u8 = 255;
/// The router's queue takes four times as much before it loses anything (`net.core.rmem_default`).
const ROOM: u64 = 48 * 1024;
/// Records sent at a time: a packet of them.
const RECORDS: usize = 8;
/// How long a packet is waited for while there is something to send, so the least time between
/// two packets of OGMs: each wakes the router for itself, as those of different neighbors do.
const PACE: Duration = Duration::from_millis(2);
/// The same while there is nothing.
const IDLE: Duration = Duration::from_millis(50);

/// The neighbor, and what it knows of the router.
pub(super) struct Neighbor {
    network: Network,
    key: SigningKey,
    sender: Sender,
    crowd: Crowd,
    port: RoutingPort,
    inbox: Inbox,
    router: Option<Router>,
    /// The counter of the last packet.
    sent: u64,
    hellos: u16,
    next_hello: Instant,
    /// How much of what there is to say of the crowd has been said to everybody.
    told: u32,
    /// From where on the router is being told again what it has missed.
    behind: Option<u32>,
    /// Whose records it has asked for.
    owed: BTreeSet<OriginatorId>,
    /// Proofs of numbers that it has not passed on yet.
    awaited: BTreeSet<[u8; ChainValue::LEN]>,
}

struct Router {
    id: OriginatorId,
    address: Ipv6Addr,
    pair: MacKey,
}

/// Who is spoken to, and so with which key.
enum Whom {
    Everybody,
    /// Who does not know us yet.
    Stranger(Ipv6Addr),
    Router,
}

impl Neighbor {
    /// A neighbor of `router` in the place of the daemon of another node, and a crowd of `count`
    /// behind it.
    pub(super) fn new(place: &Node, router: &Node, count: u16) -> Result<Self> {
        let network = Network::new(NETWORK);
        let crowd = Crowd::new(&network, count)?;
        let key = members::key(0);
        let id = NodeId::from_bytes(key.verifying_key().to_bytes()).originator_id();
        Ok(Self {
            sender: Sender {
                id,
                epoch: members::EPOCH,
                warm: false,
            },
            network,
            key,
            // The router will ask for it.
            told: crowd.version(),
            awaited: crowd.proofs(),
            crowd,
            port: RoutingPort::open(place.namespace())?,
            inbox: Inbox::of(router)?,
            router: None,
            sent: 0,
            hellos: 0,
            next_hello: Instant::now(),
            behind: None,
            owed: BTreeSet::new(),
        })
    }

    /// Becomes a neighbor, and answers until the router has passed the whole crowd on.
    pub(super) fn teach(&mut self, subject: &mut Subject, bound: Duration) -> Result<()> {
        self.serve(subject, "r1 to learn the crowd", bound)
    }

    /// Raises all numbers by one, says so, and answers until the router has passed all of them
    /// on.
    pub(super) fn replay(&mut self, subject: &mut Subject, bound: Duration) -> Result<()> {
        self.crowd.raise()?;
        self.awaited = self.crowd.proofs();
        self.serve(subject, "r1 to pass a round on", bound)?;
        let dropped = self.inbox.dropped()?;
        ensure!(dropped == 0, "r1's socket dropped {dropped} packets");
        Ok(())
    }

    /// The newest sequence number of everybody who is spoken of.
    pub(super) fn newest(&self) -> BTreeMap<[u8; OriginatorId::LEN], u32> {
        self.crowd.newest()
    }

    fn serve(&mut self, subject: &mut Subject, what: &str, bound: Duration) -> Result<()> {
        let start = Instant::now();
        while !self.awaited.is_empty() {
            let waited = start.elapsed();
            ensure!(waited < bound, "waited {bound:?} for {what}; {self}");
            let turn = subject.check().and_then(|()| self.turn());
            turn.with_context(|| format!("while waiting for {what}"))?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        if Instant::now() >= self.next_hello {
            self.say_hello()?;
        }
        let has_more = self.told < self.crowd.version() || self.behind.is_some();
        let has_more = has_more || !self.owed.is_empty();
        if has_more && self.inbox.queued()? < ROOM {
            self.say_more()?;
        }
        self.listen(if has_more { PACE } else { IDLE })
    }

    fn say_hello(&mut self) -> Result<()> {
        self.hellos = self.hellos.wrapping_add(1);
        self.next_hello = Instant::now() + HELLO;
        let tlvs = match &self.router {
            None => self.introduction(),
            Some(router) => {
                let entries = vec![ReportEntry::new(router.id, PERFECT)];
                vec![self.hello(), Tlv::LinkReport(LinkReport { entries })]
            }
        };
        self.say(&Whom::Everybody, &tlvs)
    }

    fn hello(&self) -> Tlv {
        Tlv::Hello(Hello {
            seqno: self.hellos,
            interval_ms: u16::try_from(Hello::LONGEST.as_millis()).unwrap_or(u16::MAX),
            // Not what is still to be said, or it would be asked for.
            version: self.told,
        })
    }

    /// One packet of what there is to say.
    fn say_more(&mut self) -> Result<()> {
        if self.told < self.crowd.version() {
            let part = self.crowd.part(self.told, self.crowd.version(), MAX_PACKET);
            self.told = part.to;
            return self.say(&Whom::Everybody, &[Tlv::Update(part)]);
        }
        if let Some(since) = self.behind {
            let part = self.crowd.part(since, self.told, MAX_PACKET);
            self.behind = (part.to < self.told).then_some(part.to);
            return self.say(&Whom::Router, &[Tlv::Update(part)]);
        }
        let ids: Vec<_> = self.owed.iter().take(RECORDS).copied().collect();
        self.owed.retain(|id| !ids.contains(id));
        let records = ids.iter().filter_map(|id| self.crowd.record(*id));
        let records = records.cloned().map(Box::new).map(Tlv::Record);
        let tlvs: Vec<Tlv> = records.collect();
        self.say(&Whom::Router, &tlvs)
    }

    fn listen(&mut self, patience: Duration) -> Result<()> {
        let mut buffer = [0; 2048];
        let Some((bytes, source)) = self.port.receive(&mut buffer, patience)? else {
            return Ok(());
        };
        let sealed = Sealed::parse(&self.network, bytes).context("a packet of r1")?;
        let sender = sealed.header().sender.id;
        let key = match (sealed.header().key, &self.router) {
            (KeyKind::Network, _) => self.network.key(),
            (KeyKind::Pair, Some(router)) => &router.pair,
            (KeyKind::Pair, None) => return self.introduce(source, sender),
        };
        let tlvs = sealed.open(key, source).context("a packet of r1")?;
        self.get_to_know(source, sender, &tlvs)?;
        if self.router.is_none() {
            return self.introduce(source, sender);
        }
        tlvs.into_iter()
            .try_for_each(|tlv| self.answer(source, tlv))
    }

    /// Says who we are and asks who that is.
    fn introduce(&mut self, to: Ipv6Addr, whom: OriginatorId) -> Result<()> {
        let originators = vec![whom];
        let mut tlvs = self.introduction();
        tlvs.push(Tlv::RecordRequest(RecordRequest { originators }));
        self.say(&Whom::Stranger(to), &tlvs)
    }

    fn introduction(&self) -> Vec<Tlv> {
        let record = self.crowd.record(self.sender.id).cloned();
        let record = record.map(|record| Tlv::Record(Box::new(record)));
        [self.hello()].into_iter().chain(record).collect()
    }

    /// Takes the key of the pair from the record of who sent it.
    fn get_to_know(&mut self, address: Ipv6Addr, id: OriginatorId, tlvs: &[Tlv]) -> Result<()> {
        let records = tlvs.iter().filter_map(|tlv| {
            let Tlv::Record(record) = tlv else {
                return None;
            };
            Some(record)
        });
        for record in records.filter(|record| record.originator() == id) {
            let pair = self.network.pair_key(&self.key, record.node());
            let pair = pair.context("r1's key is no point")?;
            self.router = Some(Router { id, address, pair });
        }
        Ok(())
    }

    fn answer(&mut self, source: Ipv6Addr, tlv: Tlv) -> Result<()> {
        match tlv {
            Tlv::Probe(probe) => {
                let answer = ProbeAnswer {
                    nonce: probe.nonce,
                    quality: PERFECT,
                    padding: probe.padding,
                };
                self.say(&Whom::Router, &[Tlv::ProbeAnswer(answer)])?;
            }
            Tlv::RecordRequest(request) if request.originators.contains(&self.sender.id) => {
                self.say(&Whom::Stranger(source), &self.introduction())?;
            }
            Tlv::RecordRequest(request) => self.owed.extend(request.originators),
            Tlv::SyncRequest(request) if request.since > self.told => self.behind = Some(0),
            Tlv::SyncRequest(request) => self.behind = Some(request.since),
            Tlv::Update(update) => self.hear(&update),
            Tlv::Hello(_)
            | Tlv::LinkReport(_)
            | Tlv::Record(_)
            | Tlv::Payload(_)
            | Tlv::Reminder(_)
            | Tlv::ProbeAnswer(_)
            | Tlv::SeqnoRequest(_)
            | Tlv::PathCheck(_)
            | Tlv::Suspicion(_)
            | Tlv::Echo(_)
            | Tlv::EchoReply(_)
            | Tlv::MapEntry(_)
            | Tlv::MapDigest(_)
            | Tlv::MapRequest(_)
            | Tlv::ThroughputRequest(_)
            | Tlv::ThroughputAnswer(_) => {}
        }
        Ok(())
    }

    fn hear(&mut self, update: &Update) {
        for fresh in update.ogms.iter().filter_map(|ogm| ogm.fresh) {
            self.awaited.remove(&fresh.value.0);
        }
    }

    fn say(&mut self, whom: &Whom, tlvs: &[Tlv]) -> Result<()> {
        let router = self.router.as_ref();
        let (key, to) = match whom {
            Whom::Everybody => (None, None),
            Whom::Stranger(address) => (None, Some(*address)),
            Whom::Router => {
                let router = router.context("there is nobody to answer yet")?;
                (Some(&router.pair), Some(router.address))
            }
        };
        let own = self.port.address();
        let (sender, sent) = (self.sender, self.sent);
        let mut builder = PacketBuilder::new(&self.network, key, sender, own, MAX_PACKET, sent);
        tlvs.iter().for_each(|tlv| builder.push(tlv));
        let (packets, sent) = builder.finish();
        self.sent = sent;
        packets
            .iter()
            .try_for_each(|bytes| self.port.send(to, bytes))
    }
}

impl fmt::Display for Neighbor {
    /// How far it has come, for who waited too long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.crowd.newest().len();
        let passed_on = all - self.awaited.len();
        match self.router {
            Some(_) => write!(f, "{passed_on} of {all} OGMs were passed on"),
            None => write!(f, "nothing was heard of r1"),
        }
    }
}
