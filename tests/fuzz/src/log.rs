//! Receipts: messages between neighbors, and the log of a node whatever happened to its file.

use std::sync::LazyLock;

use ed25519_dalek::SigningKey;
use receipts::log::{Header, Record, Writer, recover, verify};
use receipts::{ContentHash, Message, NetworkId, Offer, Party, Price, Receipt, Terms, Totals};

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
    let (mut writer, mut log) = Writer::create(&header);
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

/// A log: any bytes, or a sound log with damages, each of five bytes: what, where (2), how far (2).
/// Whatever is wrong, what recovery leaves is sound, and nothing is lost twice.
pub fn log(data: &[u8]) {
    let damaged = match data.split_first() {
        Some((0, bytes)) => bytes.to_vec(),
        Some((_, edits)) => damage(edits),
        None => return,
    };
    let _ = verify(&damaged);
    let Ok(recovered) = recover(&damaged, &header()) else {
        return;
    };
    assert!(recovered.valid_len <= damaged.len());
    let mut repaired = damaged[..recovered.valid_len].to_vec();
    repaired.extend(&recovered.repair);
    let again = recover(&repaired, &header()).expect("what was recovered is a log");
    assert!(again.cut.is_none(), "{:?}", again.cut);
    assert_eq!(again.valid_len, repaired.len());
    assert_eq!(again.records, recovered.records);
    assert_eq!(again.state, recovered.state);
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
