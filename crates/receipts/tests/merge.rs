//! Reports of several files: what covers what.

#![allow(clippy::unwrap_used, reason = "tests")]

use ed25519_dalek::SigningKey;
use receipts::log::{Header, Record, Report, SegmentHeader, Writer, verify};
use receipts::{
    ContentHash, Equivocation, MIB, NetworkId, Offer, Party, Price, Receipt, Terms, Totals,
};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn report(records: &[Record]) -> Report {
    let (mut writer, mut log) = Writer::create(&SegmentHeader::first(Header {
        network: NetworkId::from_name("village"),
        owner: Party::of(&key(1)),
    }));
    log.extend(records.iter().flat_map(|record| writer.append(record)));
    verify(&log).unwrap()
}

fn offer(epoch: u64) -> Offer {
    let terms = Terms {
        gateway: Party::of(&key(9)),
        price: Price::new(1000),
        credit_bytes: 8 * MIB,
        previous: ContentHash::NONE,
    };
    let network = NetworkId::from_name("village");
    Offer::sign(&key(1), network, Party::of(&key(2)), epoch, terms)
}

fn receipt(epoch: u64, previous: Option<&Receipt>, down_bytes: u64) -> Receipt {
    let totals = Totals {
        down_bytes,
        ..Totals::ZERO
    };
    Receipt::sign(&key(2), &offer(epoch), previous, totals).unwrap()
}

fn log_with(epoch: u64, receipt: Receipt) -> Vec<Record> {
    vec![
        Record::OfferMade(offer(epoch)),
        Record::ReceiptReceived(receipt),
    ]
}

#[test]
fn a_report_covers_what_it_has_in_the_same_or_a_newer_place() {
    let first = receipt(1, None, MIB);
    let second = receipt(1, Some(&first), 2 * MIB);
    let older = report(&log_with(1, first.clone()));
    let newer = report(&log_with(1, second.clone()));
    let other = report(&log_with(2, receipt(2, None, MIB)));
    let both = report(&[log_with(1, second), log_with(2, receipt(2, None, MIB))].concat());

    assert!(older.covers(&older));
    assert!(newer.covers(&older) && !older.covers(&newer));
    assert!(!newer.covers(&other) && !other.covers(&newer));
    assert!(both.covers(&newer) && both.covers(&other) && both.covers(&older));
    assert!(older.covers(&report(&[])) && !report(&[]).covers(&older));
}

#[test]
fn a_contradiction_and_a_missing_proof_are_not_covered() {
    let (one, another) = (receipt(1, None, MIB), receipt(1, None, 2 * MIB));
    let proof = Equivocation::between(&one, &another).unwrap();
    let [plain, contradicting] = [one, another].map(|receipt| report(&log_with(1, receipt)));
    let mut records = vec![Record::Equivocation(Box::new(proof))];
    records.extend(log_with(1, receipt(1, None, MIB)));
    let proving = report(&records);

    assert!(!plain.covers(&contradicting) && !contradicting.covers(&plain));
    assert!(proving.covers(&plain) && !plain.covers(&proving));
}
