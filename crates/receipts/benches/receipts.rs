//! What money costs in time: `cargo bench -p receipts`.
//!
//! With `-- exchange N`, N receipts are exchanged and nothing else is done. So the difference
//! between two runs under a tool that counts allocations (`valgrind`) is that of the receipts.
//!
//! Batch verification of Ed25519 is measured and not used: it decides by another equation than
//! `verify_strict`, on which two verifiers could disagree. It could spare work where what it refuses, and
//! what it takes, is judged once more; what is verified in bulk today is a log.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and prints"
)]

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::{Duration, Instant};

use ed25519_dalek::{Signature, SigningKey, VerifyingKey, verify_batch};
use receipts::log::{Header, Heads, Record, SegmentHeader, Writer, recover, verify};
use receipts::{
    ContentHash, Ledger, LedgerConfig, MIB, NetworkId, Offer, Output, Party, Price, Receipt, Role,
    State, Terms, Totals, Usage,
};

/// Each figure is the best of several rounds of this length: what the machine can do, not what
/// else it was doing.
const ROUND: Duration = Duration::from_millis(300);
const ROUNDS: usize = 5;
/// Receipts of a batch.
const BATCH: u32 = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let position = arguments.iter().position(|argument| argument == "exchange");
    if let Some(count) = position.and_then(|at| arguments.get(at + 1)) {
        let mut exchange = Exchange::new();
        (0..count.parse().unwrap()).for_each(|_| exchange.receipt());
        return;
    }
    objects();
    batches();
    exchange();
    log();
}

/// Of a receipt, what is signed; the rest is the signature.
const CONTENT_LEN: usize = Receipt::LEN - 64;

/// How often `work` can be done in a second.
fn measure(name: &str, unit: &str, per_call: u32, mut work: impl FnMut()) {
    let mut best = 0.0_f64;
    for _ in 0..ROUNDS {
        let (start, mut calls) = (Instant::now(), 0_u32);
        while start.elapsed() < ROUND {
            work();
            calls += per_call;
        }
        best = best.max(f64::from(calls) / start.elapsed().as_secs_f64());
    }
    let each = 1e6 / best;
    println!("{name:<28} {best:>12.0} {unit}/s {each:>10.2} us each");
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn party(seed: u8) -> Party {
    Party::of(&key(seed))
}

fn network() -> NetworkId {
    NetworkId::from_name("village")
}

fn offer() -> Offer {
    let terms = Terms {
        gateway: party(9),
        price: Price::new(1000),
        credit_bytes: 8 * MIB,
        previous: ContentHash::NONE,
    };
    Offer::sign(&key(1), network(), party(2), 1, terms)
}

fn chain(count: u32) -> Vec<Receipt> {
    let offer = offer();
    let mut chain: Vec<Receipt> = Vec::new();
    for n in 1..=count {
        let totals = Totals {
            up_bytes: 0,
            down_bytes: u64::from(n) * 2 * MIB,
            seconds: n,
        };
        chain.push(Receipt::sign(&key(2), &offer, chain.last(), totals).unwrap());
    }
    chain
}

fn objects() {
    let (offer, key) = (offer(), key(2));
    let chain = chain(2);
    let [first, second] = chain.as_slice() else {
        return;
    };
    let totals = *second.totals();
    measure("receipt: sign", "receipts", 1, || {
        black_box(Receipt::sign(&key, &offer, Some(first), totals)).unwrap();
    });
    measure("receipt: verify (strict)", "receipts", 1, || {
        black_box(second.verify()).unwrap();
    });
    let bytes = second.to_bytes();
    measure("receipt: parse and emit", "receipts", 1, || {
        black_box(Receipt::parse(&bytes).unwrap().to_bytes());
    });
}

/// The same receipts, one by one and all at once: of one consumer, as in a log, and each of another.
fn batches() {
    let of_one = chain(BATCH);
    let of_many: Vec<Receipt> = (0..BATCH).map(|n| first_receipt(n as u8 + 100)).collect();
    for (whose, receipts) in [("one consumer", of_one), ("64 consumers", of_many)] {
        measure(&format!("64 of {whose}: strict"), "receipts", BATCH, || {
            for receipt in &receipts {
                black_box(receipt.verify()).unwrap();
            }
        });
        let stored: Vec<Vec<u8>> = receipts.iter().map(Receipt::to_bytes).collect();
        let contents: Vec<&[u8]> = stored.iter().map(|bytes| &bytes[..CONTENT_LEN]).collect();
        let signatures: Vec<Signature> = stored
            .iter()
            .map(|bytes| Signature::from_slice(&bytes[CONTENT_LEN..]).unwrap())
            .collect();
        measure(&format!("64 of {whose}: batch"), "receipts", BATCH, || {
            // To find the points of the keys is part of it, as it is above.
            let keys: Vec<VerifyingKey> = receipts.iter().map(key_of).collect();
            black_box(verify_batch(&contents, &signatures, &keys)).unwrap();
        });
    }
}

fn first_receipt(consumer: u8) -> Receipt {
    let terms = *offer().terms();
    let offer = Offer::sign(&key(1), network(), party(consumer), 1, terms);
    let totals = Totals {
        up_bytes: 0,
        down_bytes: 2 * MIB,
        seconds: 1,
    };
    Receipt::sign(&key(consumer), &offer, None, totals).unwrap()
}

fn key_of(receipt: &Receipt) -> VerifyingKey {
    VerifyingKey::from_bytes(receipt.heading().consumer.as_bytes()).unwrap()
}

/// A provider and a consumer, and what passes between them.
struct Exchange {
    now: Instant,
    nodes: [(Ledger, Party); 2],
    flight: VecDeque<(usize, Vec<u8>)>,
    messages: u64,
    bytes: u64,
}

impl Exchange {
    fn new() -> Self {
        let node = |seed| {
            let header = Header {
                network: network(),
                owner: party(seed),
            };
            let config = LedgerConfig {
                max_price: Price::MAX,
                ..LedgerConfig::new(network())
            };
            let ledger = Ledger::new(config, key(seed), State::new(header)).unwrap();
            (ledger, party(seed))
        };
        Self {
            now: Instant::now(),
            nodes: [node(1), node(2)],
            flight: VecDeque::new(),
            messages: 0,
            bytes: 0,
        }
    }

    /// 2 MiB are carried, asked for and signed for.
    fn receipt(&mut self) {
        self.now += Duration::from_secs(2);
        for (node, role) in [(1, Role::Consumer), (0, Role::Provider)] {
            let usage = Usage {
                peer: self.nodes[1 - node].1,
                role,
                gateway: party_of_gateway(),
                price: Some(Price::new(1000)),
                up_bytes: MIB / 4,
                down_bytes: 2 * MIB - MIB / 4,
            };
            self.nodes[node].0.handle_usage(self.now, usage).unwrap();
            self.drain(node);
        }
        while let Some((to, payload)) = self.flight.pop_front() {
            let from = self.nodes[1 - to].1;
            let ledger = &mut self.nodes[to].0;
            ledger.handle_message(self.now, from, &payload).unwrap();
            self.drain(to);
        }
    }

    fn drain(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].0.poll_output() {
            if let Output::Send { payload, .. } = output {
                self.messages += 1;
                self.bytes += payload.len() as u64;
                self.flight.push_back((1 - node, payload));
            }
        }
    }
}

/// Not computed from a key each time.
const fn party_of_gateway() -> Party {
    Party::new([9; 32])
}

fn exchange() {
    let mut exchange = Exchange::new();
    let mut count = 0_u64;
    measure("exchange: both sides", "receipts", 1, || {
        exchange.receipt();
        count += 1;
    });
    let per_receipt = |total: u64| total as f64 / count as f64;
    println!(
        "{:<28} {:>12.1} messages, {:.1} bytes",
        "exchange: for a receipt",
        per_receipt(exchange.messages),
        per_receipt(exchange.bytes),
    );
}

/// Epochs of one receipt.
fn short_epochs(first: &SegmentHeader, count: u64) -> Vec<u8> {
    let (mut writer, mut log) = Writer::create(first);
    for epoch in 1..=count {
        let offer = Offer::sign(&key(1), network(), party(2), epoch, *offer().terms());
        let totals = Totals {
            up_bytes: MIB,
            ..Totals::ZERO
        };
        let receipt = Receipt::sign(&key(2), &offer, None, totals).unwrap();
        log.extend(writer.append(&Record::OfferMade(offer)));
        log.extend(writer.append(&Record::ReceiptReceived(receipt)));
    }
    log
}

/// What it takes to write, read and compact a segment, without a disk.
fn log() {
    let header = Header {
        network: network(),
        owner: party(1),
    };
    let first = SegmentHeader::first(header);
    let offer = Record::OfferMade(offer());
    let receipts = chain(200).into_iter().map(Record::ReceiptReceived);
    let records: Vec<Record> = std::iter::once(offer).chain(receipts).collect();
    let (_, mut log) = Writer::create(&first);
    let mut writer = Writer::create(&first).0;
    log.extend(records.iter().flat_map(|record| writer.append(record)));
    measure("log: verify", "receipts", 200, || {
        black_box(verify(&log)).unwrap();
    });
    let short = short_epochs(&first, 200);
    measure("log: verify, an offer each", "receipts", 200, || {
        black_box(verify(&short)).unwrap();
    });
    let mut at = records.iter().cycle();
    measure("log: append", "records", 1, || {
        black_box(at.next().map(|record| writer.append(record)));
    });
    measure("log: recover and apply", "records", 201, || {
        let recovered = recover(&log, &first).unwrap();
        let mut state = State::new(header);
        for record in &recovered.records {
            state.apply(record).unwrap();
        }
        black_box(state);
    });
    measure("log: compact", "records", 201, || {
        let mut heads = Heads::default();
        for (offset, record) in recover(&log, &first).unwrap().into_records() {
            heads.note(&record, offset);
        }
        let mut writer = Writer::create(&first).0;
        for offset in heads.to_keep().at {
            let record = Record::read(&log[offset..]).unwrap();
            black_box(writer.append(&record));
        }
    });
}
