//! A node's books: the ledger of receipts, fed as the daemon feeds it, and the disk it writes to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use ed25519_dalek::SigningKey;
use receipts::log::{Header, Record, SegmentHeader, Writer, recover};
use receipts::{
    AccountView, Amount, Event, Ledger, LedgerConfig, Output, Party, Price, Role, State, Totals,
    Usage,
};

use crate::scenario::Inheritance;

/// Whose service is counted: with whom, on which side, and on the way to which gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service {
    /// The neighbor.
    pub peer: Party,
    /// This node's side.
    pub role: Role,
    /// The gateway.
    pub gateway: Party,
}

/// Bytes in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Towards the gateway.
    pub up: u64,
    /// From it.
    pub down: u64,
}

impl Bytes {
    /// Both directions.
    pub const fn sum(self) -> u64 {
        self.up + self.down
    }
}

/// The newest receipt of an epoch, as the log of one side has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The gateway.
    pub gateway: Party,
    /// Of the epoch.
    pub price: Price,
    /// What was carried in it.
    pub totals: Totals,
    /// What that costs.
    pub amount: Amount,
}

/// An epoch of an account: with whom, on which side this node is, and its number.
pub type Epoch = (Party, Role, u64);

/// The books of one node.
#[derive(Debug)]
pub struct Books {
    key: SigningKey,
    config: LedgerConfig,
    /// While its daemon runs.
    running: Option<Running>,
    /// What its kernel has counted since it was last read.
    counted: BTreeMap<Service, Bytes>,
    /// What the last daemon left to the next one, where a loss of power takes it.
    unsettled: Vec<Usage>,
    /// The file.
    log: Vec<u8>,
    /// So much of the file is there after a loss of power.
    synced: usize,
    /// Whom its kernel does not carry anything for.
    held: BTreeSet<Party>,
    /// Its kernel sends nothing of its own to the Internet.
    throttled: bool,
    /// Contradictions that it saw of others.
    equivocations: u64,
    /// Bytes that consumers did not confirm.
    disputed: u128,
}

#[derive(Debug)]
struct Running {
    ledger: Ledger,
    writer: Writer,
}

impl Books {
    /// Empty ones, of the node with this key.
    pub(crate) const fn new(key: SigningKey, config: LedgerConfig) -> Self {
        Self {
            key,
            config,
            running: None,
            counted: BTreeMap::new(),
            unsettled: Vec::new(),
            log: Vec::new(),
            synced: 0,
            held: BTreeSet::new(),
            throttled: false,
            equivocations: 0,
            disputed: 0,
        }
    }

    /// The node.
    pub fn party(&self) -> Party {
        Party::of(&self.key)
    }

    /// That of its log, which is one segment.
    fn header(&self) -> SegmentHeader {
        SegmentHeader::first(Header {
            network: self.config.network,
            owner: self.party(),
        })
    }

    /// The daemon starts, and reads what its disk has; it pays at most so much.
    pub(crate) fn start(&mut self, now: Instant, most: Option<mesh_proto::Price>) {
        let most = most.map(|most| Price::new(most.atto_smt_per_mib()));
        self.config.max_price = most.unwrap_or(Price::MAX);
        let header = self.header();
        let Ok(recovered) = recover(&self.log, &header) else {
            return;
        };
        self.log.truncate(recovered.valid_len);
        let mut writer = recovered.writer;
        if self.log.is_empty() {
            (writer, self.log) = Writer::create(&header);
        }
        let mut state = State::new(header.log);
        for record in recovered.records.iter().chain(&recovered.salvaged) {
            if state.apply(record).is_err() {
                return;
            }
        }
        let ledger = Ledger::new(self.config.clone(), self.key.clone(), state);
        self.running = ledger.ok().map(|ledger| Running { ledger, writer });
        // A new table of the kernel holds nobody.
        self.held.clear();
        self.throttled = false;
        for usage in std::mem::take(&mut self.unsettled) {
            self.count(now, usage);
        }
    }

    /// The daemon ends. Without power, so does the kernel, with all that it counted, and what was
    /// not synced is lost.
    pub(crate) fn stop(&mut self, how: Inheritance) {
        if let Some(Running { ledger, .. }) = self.running.take() {
            self.unsettled = ledger.unsettled().collect();
        }
        if how != Inheritance::Warm {
            self.unsettled.clear();
            self.counted.clear();
            self.log.truncate(self.synced);
        }
        if how == Inheritance::Lost {
            self.log.clear();
            self.synced = 0;
        }
    }

    /// The kernel carried something.
    pub(crate) fn carry(&mut self, service: Service, bytes: Bytes) {
        let counted = self.counted.entry(service).or_default();
        counted.up += bytes.up;
        counted.down += bytes.down;
    }

    /// The daemon reads the kernel's counters. Returns what they had.
    pub(crate) fn read(
        &mut self,
        now: Instant,
        price: impl Fn(Service) -> Option<Price>,
    ) -> BTreeMap<Service, Bytes> {
        if self.running.is_none() {
            return BTreeMap::new();
        }
        let counted = std::mem::take(&mut self.counted);
        for (service, bytes) in &counted {
            let usage = Usage {
                peer: service.peer,
                role: service.role,
                gateway: service.gateway,
                price: price(*service),
                up_bytes: bytes.up,
                down_bytes: bytes.down,
            };
            self.count(now, usage);
        }
        if let Some(running) = &mut self.running {
            running.ledger.handle_reading(now, now);
            running.ledger.handle_timeout(now);
        }
        counted
    }

    fn count(&mut self, now: Instant, usage: Usage) {
        if let Some(running) = &mut self.running {
            // What it cannot take it counts itself.
            let _ = running.ledger.handle_usage(now, usage);
        }
    }

    /// A neighbor says something.
    pub(crate) fn hear(&mut self, now: Instant, from: Party, payload: &[u8]) {
        if let Some(running) = &mut self.running {
            // What it drops it counts itself.
            let _ = running.ledger.handle_message(now, from, payload);
        }
    }

    /// Writes what is to be written. Returns the next message to send, and to whom.
    pub(crate) fn next_message(&mut self) -> Option<(Party, Vec<u8>)> {
        while let Some(output) = self.running.as_mut()?.ledger.poll_output() {
            match output {
                Output::Persist(record) => self.write(&record),
                Output::Send { to, payload } => return Some((to, payload)),
                Output::Hold { peer, held: true } => _ = self.held.insert(peer),
                Output::Hold { peer, held: false } => _ = self.held.remove(&peer),
                Output::Throttle(throttled) => self.throttled = throttled,
                Output::Event(event) => self.note(&event),
            }
        }
        None
    }

    fn write(&mut self, record: &Record) {
        if let Some(running) = &mut self.running {
            self.log.extend(running.writer.append(record));
        }
        if record.is_urgent() {
            self.synced = self.log.len();
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Equivocation(_) => self.equivocations += 1,
            Event::Disputed { bytes, .. } => self.disputed += bytes,
            Event::OfferMade { .. }
            | Event::OfferAccepted { .. }
            | Event::ReceiptReceived { .. }
            | Event::ReceiptGiven { .. }
            | Event::Refused { .. }
            | Event::Adopted { .. }
            | Event::Held { .. }
            | Event::Released { .. } => {}
        }
    }

    /// Whether the kernel carries for a neighbor.
    pub(crate) fn serves(&self, peer: Party) -> bool {
        !self.held.contains(&peer)
    }

    /// Whether the kernel sends traffic of its own to the Internet.
    pub(crate) const fn may_consume(&self) -> bool {
        !self.throttled
    }

    /// Its accounts, while its daemon runs.
    pub fn accounts(&self) -> impl Iterator<Item = AccountView> + '_ {
        let running = self.running.iter();
        running.flat_map(|running| running.ledger.accounts())
    }

    /// How much `peer` may owe at this moment, in bytes.
    pub fn window(&self, account: &AccountView) -> u64 {
        self.config.credit.window(account.standing)
    }

    /// Contradictions that it saw of others.
    pub const fn equivocations(&self) -> u64 {
        self.equivocations
    }

    /// Bytes that its consumers did not confirm.
    pub const fn disputed(&self) -> u128 {
        self.disputed
    }

    /// The log, as anybody can read it.
    pub fn log(&self) -> &[u8] {
        &self.log
    }

    /// The newest receipt of each epoch in the log.
    pub fn signed(&self) -> BTreeMap<Epoch, Signed> {
        let recovered = recover(&self.log, &self.header());
        let (mut offers, mut signed) = (BTreeMap::new(), BTreeMap::new());
        for record in recovered.into_iter().flat_map(|it| it.records) {
            let role = match &record {
                Record::OfferMade(_) | Record::ReceiptReceived(_) => Role::Provider,
                Record::OfferAccepted(_) | Record::ReceiptGiven(_) => Role::Consumer,
                Record::Equivocation(_) => continue,
            };
            let peer = record.peer();
            match record {
                Record::OfferMade(offer) | Record::OfferAccepted(offer) => {
                    let terms = (offer.gateway(), offer.price());
                    offers.insert((peer, role, offer.epoch()), terms);
                }
                Record::ReceiptReceived(receipt) | Record::ReceiptGiven(receipt) => {
                    let epoch = (peer, role, receipt.position().epoch);
                    let Some((gateway, price)) = offers.get(&epoch).copied() else {
                        continue;
                    };
                    let newest = Signed {
                        gateway,
                        price,
                        totals: *receipt.totals(),
                        amount: receipt.amount(),
                    };
                    signed.insert(epoch, newest);
                }
                Record::Equivocation(_) => {}
            }
        }
        signed
    }
}
