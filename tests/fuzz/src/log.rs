//! Receipts: messages between neighbors, and the log of a node whatever happened to its file.

use std::sync::LazyLock;

use ed25519_dalek::SigningKey;
use receipts::log::{Header, Heads, Record, SegmentHeader, Writer, recover, verify};
use receipts::{
    ContentHash, Message, NetworkId, Offer, Party, Price, Receipt, State, Terms, Totals,
};

/// A message: what parses is written as it was.
pub fn message(data: &[u8]) {
    if let Ok(message) = Message::parse(data) {
        assert_eq!(message.to_bytes(), data);
    }
}

static SOUND: LazyLock<Vec<u8>> = LazyLock::new(sound);

fn header() -> Header {
    Header {
        network: NetworkId::from_name("village"),
        owner: Party::of(&key(1)),
    }
}

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32])
}

/// A log of some offers and receipts, given and received.
fn sound() -> Vec<u8> {
    let header = header();
    let (mut writer, mut log) = Writer::create(&SegmentHeader::first(header));
    for epoch in 1..=2 {
        for (provider, consumer) in [(1, 2), (3, 1)] {
            let party = Party::of(&key(consumer));
            let terms = Terms {
                gateway: Party::of(&key(provider)),
                price: Price::new(1000),
                credit_bytes: 1 << 20,
                previous: ContentHash::NONE,
            };
            let offer = Offer::sign(&key(provider), header.network, party, epoch, terms);
            let ours = provider == 1;
            let opening = match ours {
                true => Record::OfferMade(offer.clone()),
                false => Record::OfferAccepted(offer.clone()),
            };
            log.extend(writer.append(&opening));
            let mut last: Option<Receipt> = None;
            for round in 1..=2 {
                let totals = Totals {
                    up_bytes: round << 20,
                    down_bytes: round << 22,
                    seconds: 60,
                };
                let receipt = Receipt::sign(&key(consumer), &offer, last.as_ref(), totals);
                let receipt = receipt.expect("totals rise");
                last = Some(receipt.clone());
                log.extend(writer.append(&match ours {
                    true => Record::ReceiptReceived(receipt),
                    false => Record::ReceiptGiven(receipt),
                }));
            }
        }
    }
    log
}

/// A segment: any bytes, or a sound one with damages, each of five bytes: what, where (2), how far
/// (2). Whatever is wrong, what recovery leaves is sound, and nothing is lost twice; and what is kept
/// of it says the same and verifies if it did.
pub fn log(data: &[u8]) {
    let damaged = match data.split_first() {
        Some((0, bytes)) => bytes.to_vec(),
        Some((_, edits)) => damage(edits),
        None => return,
    };
    let is_valid = verify(&damaged).is_ok();
    let first = SegmentHeader::first(header());
    let Ok(recovered) = recover(&damaged, &first) else {
        return;
    };
    assert!(recovered.valid_len <= damaged.len());
    let mut repaired = damaged[..recovered.valid_len].to_vec();
    if repaired.is_empty() {
        repaired.extend(recovered.header.to_bytes());
    }
    let mut writer = recovered.writer.clone();
    for record in &recovered.salvaged {
        repaired.extend(writer.append(record));
    }
    let again = recover(&repaired, &first).expect("what was recovered is a segment");
    assert!(again.cut.is_none(), "{:?}", again.cut);
    assert_eq!(again.valid_len, repaired.len());
    let records: Vec<Record> = recovered.into_records().map(|(_, record)| record).collect();
    assert_eq!(again.records, records);

    let kept = keep(&records);
    assert_eq!(state_of(&kept), state_of(&without_strangers(&records)));
    if is_valid {
        let (mut writer, mut log) = Writer::create(&first);
        log.extend(kept.iter().flat_map(|record| writer.append(record)));
        verify(&log).expect("what is kept of a valid log is valid");
    }
}

fn keep(records: &[Record]) -> Vec<Record> {
    let mut heads = Heads::default();
    records
        .iter()
        .enumerate()
        .for_each(|(at, record)| heads.note(record, at));
    let kept = heads.to_keep().at.into_iter();
    kept.filter_map(|at| records.get(at).cloned()).collect()
}

/// Without the offers made to those who never signed anything, which are not kept.
fn without_strangers(records: &[Record]) -> Vec<Record> {
    let pair = |record: &Record| (record.heading().provider, record.heading().consumer);
    let is_receipt =
        |it: &&Record| matches!(it, Record::ReceiptReceived(_) | Record::ReceiptGiven(_));
    let known: Vec<_> = records.iter().filter(is_receipt).map(pair).collect();
    let is_strange = |it: &Record| matches!(it, Record::OfferMade(_)) && !known.contains(&pair(it));
    let others = records.iter().filter(|record| !is_strange(record));
    others.cloned().collect()
}

fn state_of(records: &[Record]) -> State {
    let mut state = State::new(header());
    for record in records {
        state.apply(record).expect("the sums are small");
    }
    state
}

fn damage(edits: &[u8]) -> Vec<u8> {
    let mut log = SOUND.clone();
    for edit in edits.chunks_exact(5) {
        let &[what, a, b, c, d] = edit else { continue };
        let (at, far) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let at = usize::from(at).min(log.len());
        let end = (at + usize::from(far)).min(log.len());
        match what % 5 {
            0 => log.truncate(at),
            1 => drop(log.drain(at..end)),
            2 => log.extend_from_within(at..end),
            3 => log.get_mut(at).into_iter().for_each(|byte| *byte ^= d | 1),
            _ => log[at..end].fill(c),
        }
    }
    log
}
