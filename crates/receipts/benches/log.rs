//! How fast the log is written, read after a start, and compacted, without a disk.
//!
//! `cargo bench -p receipts --bench log`
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures"
)]

use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use receipts::log::{Header, Heads, Record, SegmentHeader, Writer, recover};
use receipts::{ContentHash, NetworkId, Offer, Party, Price, Receipt, State, Terms, Totals};

/// As many records as a segment of 256 KiB has.
const RECORDS: usize = 880;
/// Receipts in each epoch.
const RECEIPTS: usize = 10;
/// How long each thing is done.
const TIME: Duration = Duration::from_secs(2);

fn main() {
    let header = Header {
        network: NetworkId::from_name("village"),
        owner: Party::of(&key(1)),
    };
    let records = records(header.network);
    let segment = written(header, &records);
    println!("{} records, {} bytes", records.len(), segment.len());
    report("append", records.len(), || {
        written(header, &records);
    });
    report("recover, and take accounts from it", records.len(), || {
        let recovered = recover(&segment, &SegmentHeader::first(header)).unwrap();
        let mut state = State::new(header);
        for record in &recovered.records {
            state.apply(record).unwrap();
        }
    });
    report("compact", records.len(), || {
        let recovered = recover(&segment, &SegmentHeader::first(header)).unwrap();
        let mut heads = Heads::default();
        for (offset, record) in recovered.into_records() {
            heads.note(&record, offset);
        }
        let (mut writer, _) = Writer::create(&SegmentHeader::first(header));
        for offset in heads.to_keep().at {
            writer.append(&Record::read(segment.split_at(offset).1).unwrap());
        }
    });
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn records(network: NetworkId) -> Vec<Record> {
    let mut records = Vec::new();
    for epoch in 1.. {
        let terms = Terms {
            gateway: Party::of(&key(1)),
            price: Price::new(1000),
            credit_bytes: 8 << 20,
            previous: ContentHash::NONE,
        };
        let offer = Offer::sign(&key(1), network, Party::of(&key(2)), epoch, terms);
        records.push(Record::OfferMade(offer.clone()));
        let mut last: Option<Receipt> = None;
        for up_bytes in (1..).map(|n| n << 21).take(RECEIPTS) {
            let totals = Totals {
                up_bytes,
                down_bytes: 0,
                seconds: 1,
            };
            let receipt = Receipt::sign(&key(2), &offer, last.as_ref(), totals).unwrap();
            records.push(Record::ReceiptReceived(receipt.clone()));
            last = Some(receipt);
        }
        if records.len() >= RECORDS {
            break;
        }
    }
    records
}

fn written(header: Header, records: &[Record]) -> Vec<u8> {
    let (mut writer, mut segment) = Writer::create(&SegmentHeader::first(header));
    for record in records {
        segment.extend(writer.append(record));
    }
    segment
}

/// Does something to all records again and again.
fn report(what: &str, records: usize, mut work: impl FnMut()) {
    let start = Instant::now();
    let mut rounds = 0;
    while start.elapsed() < TIME {
        work();
        rounds += 1;
    }
    let each = start.elapsed() / rounds / u32::try_from(records).unwrap();
    let per_second = 1.0 / each.as_secs_f64();
    println!("{what:36} {per_second:>9.0} records/s");
}
