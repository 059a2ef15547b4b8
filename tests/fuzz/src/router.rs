//! A router between two neighbors whose keys are known, so that what they say reaches what lies
//! behind the authentication.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use mesh_proto::gateway_policy::Policy;
use mesh_proto::hash_chain::{Chain, Link};
use mesh_proto::identity::MacKey;
use mesh_proto::router::{Announcement, RouterConfig, Start, StationReport, Transmit};
use mesh_proto::wire::reader::Reader;
use mesh_proto::wire::{
    Binding, Hello, KeyKind, Ogm, OgmIndex, PacketBuilder, ProbeAnswer, Sealed, Sender, Tlv, Update,
};
use mesh_proto::{
    IfIndex, MapEntry, MapLink, Metric, Network, NodeId, NodeRecord, OriginatorId, Output,
    Position, Price, RouteChange, Router, SeqNo, Target,
};

const INTERFACE: IfIndex = IfIndex(1);
/// More time than this passes in no run.
const LONGEST: Duration = Duration::from_secs(3600);

/// A sequence of what happens to a router; each begins with a byte that says what. No timer may
/// spin, what it sends can be read, and its routes lead to neighbors.
pub fn router(data: &[u8]) {
    let mut world = World::new();
    let mut input = Reader::new(data);
    while world.happens(&mut input).is_some() {}
    world.run(Duration::from_secs(10));
}

/// What stays the same of a neighbor, and takes long to compute.
struct Secrets {
    key: SigningKey,
    pair: MacKey,
    chain: Chain,
}

static SECRETS: LazyLock<Vec<Secrets>> = LazyLock::new(|| (2..5).map(Secrets::new).collect());

/// A neighbor, made of what it is asked for and of what the input lets it say.
struct Peer {
    secrets: &'static Secrets,
    sender: Sender,
    sent: u64,
    hellos: u16,
    /// How much it has said of originators.
    version: u32,
    answers: bool,
}

struct World {
    start: Instant,
    now: Instant,
    router: Router,
    network: Network,
    peers: Vec<Peer>,
    fib: BTreeMap<mesh_proto::rib::RouteKey, Target>,
    to_deliver: Vec<Transmit>,
}

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32])
}

fn address(peer: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, peer as u16 + 1)
}

fn network() -> Network {
    Network::new("village")
}

impl Secrets {
    fn new(number: u8) -> Self {
        let key = key(number);
        let ours = NodeId::from_bytes(self::key(1).verifying_key().to_bytes());
        let pair = network().pair_key(&key, ours).expect("keys are points");
        let id = Self::id(&key);
        let chain = Chain::new(id, SeqNo::new(1 << 16), &[number; 32]);
        Self { key, pair, chain }
    }

    fn id(key: &SigningKey) -> OriginatorId {
        NodeId::from_bytes(key.verifying_key().to_bytes()).originator_id()
    }
}

impl Peer {
    fn new(secrets: &'static Secrets) -> Self {
        Self {
            sender: Sender {
                id: Secrets::id(&secrets.key),
                epoch: 1,
                warm: false,
            },
            secrets,
            sent: 0,
            hellos: 0,
            version: 0,
            answers: true,
        }
    }

    fn record(&self, network: &Network, seq: u32, with: &[u8]) -> Tlv {
        let name = String::from_utf8_lossy(with);
        let record = NodeRecord {
            epoch: self.sender.epoch,
            seq: SeqNo::new((1 << 16) + 1 + seq),
            anchor: self.secrets.chain.anchor(),
            ipv4: [100, 64, 1, with.first().copied().unwrap_or(9)].into(),
            prefixes: with
                .chunks_exact(2)
                .filter_map(|two| format!("10.{}.{}.0/24", two[0], two[1]).parse().ok())
                .collect(),
            ..NodeRecord::new(&name.replace(char::is_control, " "))
        };
        Tlv::Record(Box::new(record.sign(network, &self.secrets.key)))
    }

    fn map_entry(&self, network: &Network, seq: u32, links: u8) -> Tlv {
        let links = (0..links).map(|byte| MapLink {
            to: OriginatorId::from_bytes([byte; 10]),
            quality: byte,
        });
        let entry = MapEntry {
            epoch: self.sender.epoch,
            seq,
            position: Position::new(i32::from(seq as u16) * 1000, 0),
            links: links.collect(),
        };
        Tlv::MapEntry(Box::new(entry.sign(network, &self.secrets.key)))
    }

    fn hello(&mut self, interval_ms: u16) -> Tlv {
        self.hellos = self.hellos.wrapping_add(1);
        Tlv::Hello(Hello {
            seqno: self.hellos,
            interval_ms,
            version: self.version,
        })
    }

    /// What it says of the next peer, or itself.
    fn ogm(&self, of: &Self, seqno: u32, metric: u32) -> Option<Ogm> {
        let seqno = SeqNo::new((1 << 16) + seqno);
        let link = Link {
            seqno,
            value: of.secrets.chain.value(seqno)?,
        };
        Some(Ogm {
            index: OgmIndex::new(u16::from(of.secrets.key.to_bytes()[0]))?,
            binding: Some(Binding {
                originator: of.sender.id,
                record_seq: SeqNo::new((1 << 16) + 1),
            }),
            fresh: Some(link),
            metric: Metric::from_us(metric),
            hops: 1,
            price: Price::new(u64::from(metric % 4)),
        })
    }
}

impl World {
    fn new() -> Self {
        let network = network();
        let now = Instant::now();
        let config = RouterConfig::new(network.clone(), Start::Cold, 1, 1);
        let mut router = Router::new(config, key(1), Announcement::default(), now);
        // Of the prices that are said, 0 to 3, some are too dear.
        let policy = Policy {
            maximum_price: Some(Price::new(2)),
            ..Policy::default()
        };
        router.set_gateway_policy(now, policy);
        router.handle_interface_up(now, INTERFACE, address(0), 1500);
        let peers = SECRETS.iter().map(Peer::new).collect();
        let mut world = Self {
            start: now,
            now,
            router,
            network,
            peers,
            fib: BTreeMap::new(),
            to_deliver: Vec::new(),
        };
        // The third is known by hearsay alone.
        for peer in 0..2 {
            let record = world.peers[peer].record(&world.network, 0, &[]);
            let hello = world.peers[peer].hello(2000);
            world.say(peer, KeyKind::Network, &[record, hello]);
        }
        world.run(Duration::from_millis(500));
        let mut neighbors = world.router.neighbors(world.now);
        assert!(neighbors.by_ref().take(2).all(|it| it.cost.is_finite()));
        drop(neighbors);
        world
    }

    /// What the input says happens next; `None` at its end.
    fn happens(&mut self, input: &mut Reader<'_>) -> Option<()> {
        let what = input.u8().ok()?;
        let peer = usize::from(what >> 4) % self.peers.len();
        match what & 0x0f {
            0 => self.run(Duration::from_millis(input.u16().ok()?.into())),
            1 => self.jump(Duration::from_millis(input.u16().ok()?.into())),
            2 | 3 => {
                let len = usize::from(input.u16().ok()?) % 1200;
                let tlvs = super::wire::parts(input.take(len).ok()?);
                let kinds = [KeyKind::Network, KeyKind::Pair];
                self.say(peer, kinds[usize::from(what & 1)], &tlvs);
            }
            4 => {
                let len = usize::from(input.u16().ok()?) % 1500;
                self.receive(peer, input.take(len).ok()?);
            }
            5 => {
                let hello = self.peers[peer].hello(u16::from(input.u8().ok()?).max(1) * 7);
                self.say(peer, KeyKind::Network, &[hello]);
            }
            6 => {
                let (seq, len) = (input.u8().ok()?, usize::from(input.u8().ok()? % 16));
                let with = input.take(len).ok()?;
                let record = self.peers[peer].record(&self.network, seq.into(), with);
                self.say(peer, KeyKind::Network, &[record]);
            }
            7 => self.tell(peer, input.u8().ok()?, input.u16().ok()?, input.u24().ok()?),
            8 => self.peers[peer].answers ^= true,
            9 => {
                let now = self.now;
                self.router
                    .handle_carrying(now, INTERFACE, address(peer + 1));
            }
            10 => self.interface(input.u8().ok()?),
            11 => {
                let number = u64::from(input.u32().ok()?);
                let report = StationReport {
                    expected_throughput_bps: Some(number).filter(|it| it % 2 == 0),
                    tx_bitrate_bps: Some(number),
                    tx_frames: Some(number / 7),
                    tx_failed: Some(number % 256),
                    inactive: Some(Duration::from_millis(input.u8().ok()?.into())),
                };
                let address = address(peer + 1);
                self.router
                    .handle_station(self.now, INTERFACE, address, report);
            }
            12 => self.restart_peer(peer, input.u8().ok()?),
            13 => {
                let (seq, links) = (input.u8().ok()?, input.u8().ok()?);
                let entry = self.peers[peer].map_entry(&self.network, seq.into(), links);
                self.say(peer, KeyKind::Network, &[entry]);
            }
            _ => {}
        }
        self.drain();
        Some(())
    }

    /// An OGM with its proof; now and then with a false one.
    fn tell(&mut self, peer: usize, of: u8, seqno: u16, metric: u32) {
        let of = &self.peers[usize::from(of) % self.peers.len()];
        let Some(ogm) = self.peers[peer].ogm(of, u32::from(seqno % 1025), metric) else {
            return;
        };
        let from = self.peers[peer].version;
        self.peers[peer].version += 1;
        let (to, ogms) = (from + 1, vec![ogm]);
        self.say(
            peer,
            KeyKind::Network,
            &[Tlv::Update(Update { from, to, ogms })],
        );
    }

    fn interface(&mut self, up: u8) {
        let now = self.now;
        match up & 1 {
            0 => self.router.handle_interface_down(now, INTERFACE),
            _ => {
                let mtu = 1280 + u32::from(up) * 8;
                self.router
                    .handle_interface_up(now, INTERFACE, address(0), mtu);
            }
        }
    }

    fn restart_peer(&mut self, peer: usize, how: u8) {
        let it = &mut self.peers[peer];
        it.sender.epoch += u32::from(how >> 1 & 1);
        it.sender.warm = how & 1 == 1;
        (it.sent, it.version) = (0, 0);
    }

    fn say(&mut self, peer: usize, key: KeyKind, tlvs: &[Tlv]) {
        let it = &self.peers[peer];
        let key = (key == KeyKind::Pair).then_some(&it.secrets.pair);
        let source = address(peer + 1);
        let mut builder = PacketBuilder::new(&self.network, key, it.sender, source, 1400, it.sent);
        tlvs.iter().for_each(|tlv| builder.push(tlv));
        let (packets, sent) = builder.finish();
        self.peers[peer].sent = sent;
        for packet in packets {
            self.receive(peer, &packet);
        }
    }

    fn receive(&mut self, peer: usize, bytes: &[u8]) {
        let source = address(peer + 1);
        self.router
            .handle_packet(self.now, INTERFACE, source, bytes);
        self.drain();
    }

    /// Lets time pass, timer by timer. The neighbors that answer do so at once.
    fn run(&mut self, time: Duration) {
        let end = (self.now + time).min(self.start + LONGEST);
        loop {
            for transmit in std::mem::take(&mut self.to_deliver) {
                self.answer(&transmit);
            }
            let next = self.router.poll_timeout();
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            self.time_out();
        }
    }

    /// Time is late: the machine slept.
    fn jump(&mut self, time: Duration) {
        self.now = (self.now + time).min(self.start + LONGEST);
        if self.router.poll_timeout() <= self.now {
            self.time_out();
        }
    }

    fn time_out(&mut self) {
        self.router.handle_timeout(self.now);
        assert!(self.router.poll_timeout() > self.now, "spins");
        self.drain();
    }

    fn answer(&mut self, transmit: &Transmit) {
        for peer in 0..self.peers.len() {
            let to = address(peer + 1);
            if transmit.to.is_none_or(|it| it == to) && self.peers[peer].answers {
                for tlv in self.open(peer, transmit) {
                    if let Tlv::Probe(probe) = tlv {
                        let answer = ProbeAnswer {
                            nonce: probe.nonce,
                            quality: 255,
                            padding: probe.padding,
                        };
                        self.say(peer, KeyKind::Pair, &[Tlv::ProbeAnswer(answer)]);
                    }
                }
            }
        }
    }

    /// What a packet of the router says; it can be read by whom it is for.
    fn open(&self, peer: usize, transmit: &Transmit) -> Vec<Tlv> {
        let sealed = Sealed::parse(&self.network, &transmit.bytes).expect("a packet");
        let key = match sealed.header().key {
            KeyKind::Network => self.network.key(),
            KeyKind::Pair => &self.peers[peer].secrets.pair,
        };
        sealed.open(key, address(0)).expect("sealed right")
    }

    fn drain(&mut self) {
        while let Some(output) = self.router.poll_output() {
            match output {
                Output::Transmit(transmit) => self.to_deliver.push(transmit),
                Output::Route(change) => self.change(change),
                Output::Event(_) => {}
            }
        }
        let expected = self.router.routes().map(|it| (it.key(), it.target));
        assert!(expected.eq(self.fib.iter().map(|(key, target)| (*key, *target))));
        if self.to_deliver.len() > 1000 {
            self.to_deliver.clear();
        }
    }

    fn change(&mut self, change: RouteChange) {
        match change {
            RouteChange::Set(route) => {
                if let Target::NextHop { via, .. } = route.target {
                    let mut peers = 1..=self.peers.len();
                    assert!(peers.any(|peer| via == address(peer)), "{via}");
                }
                self.fib.insert(route.key(), route.target);
            }
            RouteChange::Remove { table, prefix } => {
                let removed = self.fib.remove(&(table, prefix));
                assert!(removed.is_some(), "{prefix} is not there");
            }
        }
    }
}
