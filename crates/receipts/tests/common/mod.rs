//! Two or more ledgers in virtual time, with a network between them that can lose messages and
//! with logs that can be cut.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use ed25519_dalek::{Signer, SigningKey};
use receipts::log::{Header, Heads, Record, Recovered, SegmentHeader, Writer, recover, verify};
use receipts::{
    AccountView, ContentHash, Event, Ledger, LedgerConfig, Message, NetworkId, Offer, Output,
    Party, Position, Price, Receipt, Role, State, Terms, Totals, Usage,
};

pub const MIB: u64 = receipts::MIB;

pub fn network() -> NetworkId {
    NetworkId::from_name("village")
}

/// Pays whatever others announce.
pub fn buyer() -> LedgerConfig {
    LedgerConfig {
        max_price: Price::MAX,
        ..LedgerConfig::new(network())
    }
}

pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub fn party(seed: u8) -> Party {
    Party::of(&key(seed))
}

/// The gateway of every account, unless a test says otherwise.
pub fn gateway() -> Party {
    party(9)
}

pub fn totals(up_bytes: u64, down_bytes: u64, seconds: u32) -> Totals {
    Totals {
        up_bytes,
        down_bytes,
        seconds,
    }
}

/// The way to [`gateway`] with 8 MiB of credit, and nothing before.
pub fn terms(price: Price) -> Terms {
    Terms {
        gateway: gateway(),
        price,
        credit_bytes: 8 * MIB,
        previous: ContentHash::NONE,
    }
}

pub fn offer_of(provider: u8, consumer: u8, epoch: u64, price: Price) -> Offer {
    let consumer = party(consumer);
    Offer::sign(&key(provider), network(), consumer, epoch, terms(price))
}

/// Provider 1 offers epoch 7 to consumer 2 at 1000 atto-SMT per MiB.
pub fn offer() -> Offer {
    offer_of(1, 2, 7, Price::new(1000))
}

/// `count` receipts of one MiB down each, under [`offer`].
pub fn receipts(count: u32) -> Vec<Receipt> {
    let mut chain: Vec<Receipt> = Vec::new();
    for n in 1..=count {
        let total = totals(u64::from(n) * 1000, u64::from(n) * MIB, n * 3);
        chain.push(Receipt::sign(&key(2), &offer(), chain.last(), total).unwrap());
    }
    chain
}

/// A receipt with other content, signed all the same by the owner of key `seed`.
pub fn resigned(receipt: &Receipt, seed: u8, change: impl FnOnce(&mut [u8])) -> Receipt {
    let mut bytes = receipt.to_bytes();
    let (content, signature) = bytes.split_at_mut(192);
    change(content);
    signature.copy_from_slice(&key(seed).sign(content).to_bytes());
    Receipt::parse(&bytes).unwrap()
}

/// A receipt with a signature that is not valid.
pub fn forged(receipt: &Receipt) -> Receipt {
    let mut bytes = receipt.to_bytes();
    *bytes.last_mut().unwrap() ^= 1;
    Receipt::parse(&bytes).unwrap()
}

/// An arbitrary beginning of virtual time.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made in another way"
)]
fn beginning() -> Instant {
    Instant::now()
}

/// Makes a damaged segment sound; what it returns goes on with it.
pub fn repair(segment: &mut Vec<u8>, recovered: &Recovered) -> Writer {
    segment.truncate(recovered.valid_len);
    if segment.is_empty() {
        segment.extend(recovered.header.to_bytes());
    }
    let mut writer = recovered.writer.clone();
    for record in &recovered.salvaged {
        segment.extend(writer.append(record));
    }
    writer
}

pub fn state_of<'a>(header: Header, records: impl IntoIterator<Item = &'a Record>) -> State {
    let mut state = State::new(header);
    for record in records {
        state.apply(record).unwrap();
    }
    state
}

pub struct Node {
    seed: u8,
    pub config: LedgerConfig,
    /// What it announces on its way to every gateway …
    pub price: Price,
    /// … but these.
    pub prices: BTreeMap<Party, Price>,
    pub ledger: Ledger,
    pub log: Vec<u8>,
    /// As much of the log as survives a loss of power; what follows waits in memory.
    pub synced: usize,
    pub events: Vec<Event>,
    /// Neighbors it slows down.
    pub held: BTreeSet<Party>,
    /// Whether it slows itself down.
    pub throttled: bool,
    pub disk_full: bool,
    /// What could not be saved; nothing else is done until it is.
    unsaved: Option<Record>,
    writer: Writer,
}

impl Node {
    /// Starts a node on whatever its log holds, as the daemon does.
    pub fn start(seed: u8, config: LedgerConfig, price: Price, mut log: Vec<u8>) -> Self {
        let header = Header {
            network: config.network,
            owner: party(seed),
        };
        let recovered = recover(&log, &SegmentHeader::first(header)).unwrap();
        let writer = repair(&mut log, &recovered);
        let state = state_of(header, recovered.records.iter().chain(&recovered.salvaged));
        let ledger = Ledger::new(config.clone(), key(seed), state).unwrap();
        Self {
            seed,
            config,
            price,
            prices: BTreeMap::new(),
            ledger,
            synced: log.len(),
            log,
            events: Vec::new(),
            held: BTreeSet::new(),
            throttled: false,
            disk_full: false,
            unsaved: None,
            writer,
        }
    }

    pub fn price_to(&self, gateway: Party) -> Price {
        *self.prices.get(&gateway).unwrap_or(&self.price)
    }

    fn drain(&mut self) -> Vec<(Party, Vec<u8>)> {
        let mut sent = Vec::new();
        loop {
            let unsaved = self.unsaved.take().map(Output::Persist);
            let Some(output) = unsaved.or_else(|| self.ledger.poll_output()) else {
                break;
            };
            match output {
                Output::Persist(record) if self.disk_full => {
                    self.unsaved = Some(record);
                    break;
                }
                Output::Persist(record) => self.append(&record),
                Output::Send { to, payload } => sent.push((to, payload)),
                Output::Hold { peer, held } => {
                    let changed = match held {
                        true => self.held.insert(peer),
                        false => self.held.remove(&peer),
                    };
                    assert!(changed, "said twice");
                }
                Output::Throttle(throttled) => {
                    let before = std::mem::replace(&mut self.throttled, throttled);
                    assert_ne!(before, throttled, "said twice");
                }
                Output::Event(event) => self.events.push(event),
            }
        }
        sent
    }

    fn append(&mut self, record: &Record) {
        self.log.extend(self.writer.append(record));
        if record.is_urgent() {
            self.synced = self.log.len();
        }
    }

    /// Writes the log anew while the node runs on.
    pub fn compact(&mut self) {
        let header = Header {
            network: self.config.network,
            owner: party(self.seed),
        };
        let records = self.records();
        let mut heads = Heads::default();
        for (at, record) in records.iter().enumerate() {
            heads.note(record, at);
        }
        (self.writer, self.log) = Writer::create(&SegmentHeader::first(header));
        for record in heads.to_keep().at.iter().filter_map(|at| records.get(*at)) {
            self.log.extend(self.writer.append(record));
        }
        self.synced = self.log.len();
    }

    pub fn accounts(&self, peer: Party, role: Role) -> Vec<AccountView> {
        let accounts = self.ledger.accounts();
        accounts
            .filter(|view| view.peer == peer && view.role == role)
            .collect()
    }

    pub fn account(&self, peer: Party, role: Role) -> AccountView {
        let accounts = self.accounts(peer, role);
        *accounts
            .iter()
            .find(|view| view.gateway == gateway())
            .unwrap()
    }

    pub fn records(&self) -> Vec<Record> {
        let header = Header {
            network: self.config.network,
            owner: party(self.seed),
        };
        recover(&self.log, &SegmentHeader::first(header))
            .unwrap()
            .records
    }
}

pub fn at(epoch: u64, seq: u32) -> Option<Position> {
    Some(Position { epoch, seq })
}

/// Every receipt given or received, by place: no place may have two contents.
pub fn assert_one_content_per_place(world: &World) {
    let mut seen: BTreeMap<_, ContentHash> = BTreeMap::new();
    for record in world.nodes.values().flat_map(Node::records) {
        let (Record::ReceiptGiven(receipt) | Record::ReceiptReceived(receipt)) = record else {
            continue;
        };
        let heading = receipt.heading();
        let place = (heading.provider, heading.consumer, heading.position);
        let known = *seen.entry(place).or_insert(receipt.hash());
        assert_eq!(known, receipt.hash(), "two contents at {place:?}");
    }
}

/// Nobody has a proof against anybody.
pub fn assert_nobody_accused(world: &World) {
    for node in world.nodes.values() {
        let proof = |event: &Event| matches!(event, Event::Equivocation(_));
        assert!(!node.events.iter().any(proof), "{:?}", node.events);
        let proof = |record: &Record| matches!(record, Record::Equivocation(_));
        assert!(!node.records().iter().any(proof));
    }
}

pub fn assert_logs_verify(world: &World) {
    for node in world.nodes.values() {
        verify(&node.log).unwrap();
    }
    assert_one_content_per_place(world);
    assert_nobody_accused(world);
}

type Filter = Box<dyn FnMut(&Message) -> bool>;

pub struct World {
    pub now: Instant,
    pub nodes: BTreeMap<Party, Node>,
    pub sent: Vec<(Party, Party, Message)>,
    flight: VecDeque<(Party, Party, Vec<u8>)>,
    loses: Filter,
}

impl World {
    pub fn new() -> Self {
        Self {
            now: beginning(),
            nodes: BTreeMap::new(),
            sent: Vec::new(),
            flight: VecDeque::new(),
            loses: Box::new(|_| false),
        }
    }

    /// Provider 1 at this price and consumer 2.
    pub fn pair(price: u64) -> Self {
        let mut world = Self::new();
        world.add(1, price, buyer());
        world.add(2, 0, buyer());
        world
    }

    pub fn add(&mut self, seed: u8, price: u64, config: LedgerConfig) {
        let node = Node::start(seed, config, Price::new(price), Vec::new());
        self.nodes.insert(party(seed), node);
    }

    pub fn node(&mut self, seed: u8) -> &mut Node {
        self.nodes.get_mut(&party(seed)).unwrap()
    }

    /// Messages for which `filter` says true are lost from now on.
    pub fn lose(&mut self, filter: impl FnMut(&Message) -> bool + 'static) {
        self.loses = Box::new(filter);
    }

    /// Kills a node and starts it again on its log as `damage` leaves it; what it had counted is
    /// lost.
    pub fn restart(&mut self, seed: u8, damage: impl FnOnce(&mut Vec<u8>)) {
        let node = self.nodes.remove(&party(seed)).unwrap();
        let mut log = node.log;
        damage(&mut log);
        let prices = node.prices;
        let mut node = Node::start(seed, node.config, node.price, log);
        node.prices = prices;
        self.nodes.insert(party(seed), node);
    }

    /// Ends a node and starts it again with what it had counted.
    pub fn hand_over(&mut self, seed: u8) {
        let unsettled: Vec<Usage> = self.node(seed).ledger.unsettled().collect();
        self.restart(seed, |_| {});
        let now = self.now;
        self.node(seed).ledger.resume(now, unsettled);
        self.settle();
    }

    /// Kills the process of a node while the machine runs on: what waits to be written is lost, but for
    /// what was handed over in time.
    pub fn crash(&mut self, seed: u8) {
        let node = self.node(seed);
        let unsettled: Vec<Usage> = node.ledger.unsettled().collect();
        let heads: Vec<Record> = node.ledger.heads().collect();
        let synced = node.synced;
        self.restart(seed, |log| {
            log.truncate(synced);
            let header = SegmentHeader::first(Header {
                network: network(),
                owner: party(seed),
            });
            let mut writer = recover(log, &header).unwrap().writer;
            log.extend(heads.iter().flat_map(|record| writer.append(record)));
        });
        let now = self.now;
        self.node(seed).ledger.resume(now, unsettled);
        self.settle();
    }

    /// A loss of power: of what waits in memory, the first `percent` hundredths were on disk by
    /// chance.
    pub fn power_cut(&mut self, seed: u8, percent: usize) {
        let node = self.node(seed);
        let waiting = node.log.len() - node.synced;
        let len = node.synced + waiting * percent / 100;
        self.restart(seed, |log| log.truncate(len));
    }

    /// Traffic that both ends count alike. The consumer's report comes first or second.
    pub fn traffic(&mut self, provider: u8, consumer: u8, up_bytes: u64, down_bytes: u64) {
        self.traffic_to(gateway(), provider, consumer, (up_bytes, down_bytes));
    }

    pub fn traffic_to(&mut self, to: Party, provider: u8, consumer: u8, bytes: (u64, u64)) {
        self.count_to(to, consumer, party(provider), Role::Consumer, bytes);
        self.count_to(to, provider, party(consumer), Role::Provider, bytes);
    }

    /// What one node counts.
    pub fn count(&mut self, seed: u8, peer: Party, role: Role, up_bytes: u64, down_bytes: u64) {
        self.count_to(gateway(), seed, peer, role, (up_bytes, down_bytes));
    }

    pub fn count_to(
        &mut self,
        gateway: Party,
        seed: u8,
        peer: Party,
        role: Role,
        (up_bytes, down_bytes): (u64, u64),
    ) {
        let now = self.now;
        let provider = match role {
            Role::Provider => party(seed),
            Role::Consumer => peer,
        };
        let usage = Usage {
            peer,
            role,
            gateway,
            price: self.nodes.get(&provider).map(|node| node.price_to(gateway)),
            up_bytes,
            down_bytes,
        };
        self.node(seed).ledger.handle_usage(now, usage).unwrap();
        self.settle();
    }

    /// Hands a message to a node as if `from` had sent it.
    pub fn inject(
        &mut self,
        from: u8,
        to: u8,
        message: &Message,
    ) -> Result<(), receipts::MessageError> {
        let now = self.now;
        let bytes = message.to_bytes();
        let result = self
            .node(to)
            .ledger
            .handle_message(now, party(from), &bytes);
        self.settle();
        result
    }

    /// Delivers until nothing is in flight.
    pub fn settle(&mut self) {
        for round in 0.. {
            assert!(
                round < 5000,
                "the nodes keep each other busy without time passing"
            );
            for (&from, node) in &mut self.nodes {
                self.flight.extend(
                    node.drain()
                        .into_iter()
                        .map(|(to, bytes)| (from, to, bytes)),
                );
            }
            let Some((from, to, bytes)) = self.flight.pop_front() else {
                return;
            };
            let message = Message::parse(&bytes).unwrap();
            self.sent.push((from, to, message.clone()));
            if (self.loses)(&message) {
                continue;
            }
            if let Some(node) = self.nodes.get_mut(&to) {
                let _ = node.ledger.handle_message(self.now, from, &bytes);
            }
        }
    }

    /// Everybody reads its counters, and has had them all reported.
    pub fn read_counters(&mut self) {
        for node in self.nodes.values_mut() {
            node.ledger.handle_reading(self.now, self.now);
        }
        self.settle();
    }

    /// Lets time pass, serving timeouts in their order, after everybody has read its counters.
    pub fn pass(&mut self, duration: Duration) {
        self.read_counters();
        let end = self.now + duration;
        for step in 0.. {
            assert!(step < 100_000, "a timeout that never goes away");
            let due = self
                .nodes
                .values()
                .filter_map(|node| node.ledger.poll_timeout())
                .min();
            let Some(due) = due.filter(|due| *due <= end) else {
                break;
            };
            self.now = self.now.max(due);
            for node in self.nodes.values_mut() {
                node.ledger.handle_timeout(self.now);
            }
            self.settle();
            self.read_counters();
        }
        self.now = end;
    }

    pub fn seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    /// The account between two nodes as the provider sees it.
    pub fn provided(&mut self, provider: u8, consumer: u8) -> AccountView {
        self.node(provider).account(party(consumer), Role::Provider)
    }

    /// The account between two nodes as the consumer sees it.
    pub fn consumed(&mut self, provider: u8, consumer: u8) -> AccountView {
        self.node(consumer).account(party(provider), Role::Consumer)
    }
}

/// A sequence of pseudo-random numbers (SplitMix64), the same for the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
