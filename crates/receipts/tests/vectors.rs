//! Test vectors for other implementations: `vectors.json` beside this file.
//!
//! With `UPDATE_VECTORS=1` the file is written, without it is compared with what this
//! implementation makes, and what is in it is read back.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod common;

use std::path::Path;

use common::{MIB, forged, gateway, key, network, offer, offer_of, receipts, resigned, totals};
use receipts::message::Head;
use receipts::{
    CompactReceipt, Equivocation, Message, Offer, Position, Price, Receipt, Refusal, RefusalReason,
    Request, Terms, Totals,
};
use serde_json::{Value, json};

fn hex_of(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(bytes)
}

fn figures(totals: &Totals) -> Value {
    // Decimal strings: a reader of JSON may not hold 64 bits in a number.
    json!({
        "seconds": totals.seconds,
        "bytes_up": totals.up_bytes.to_string(),
        "bytes_down": totals.down_bytes.to_string(),
    })
}

fn offer_vector(name: &str, offer: &Offer) -> Value {
    let bytes = offer.to_bytes();
    json!({
        "name": name,
        "epoch": offer.epoch().to_string(),
        "gateway": hex_of(offer.gateway().as_bytes()),
        "price": offer.price().atto_smt_per_mib().to_string(),
        "credit": offer.credit_bytes().to_string(),
        "previous": hex_of(offer.terms().previous.as_bytes()),
        "content": hex_of(&bytes[..Offer::LEN - 64]),
        "hash": hex_of(offer.hash().as_bytes()),
        "bytes": hex_of(&bytes),
    })
}

fn receipt_vector(name: &str, receipt: &Receipt) -> Value {
    let bytes = receipt.to_bytes();
    let compact = Message::Receipt(CompactReceipt::from(receipt)).to_bytes();
    json!({
        "name": name,
        "epoch": receipt.position().epoch.to_string(),
        "seq": receipt.position().seq,
        "totals": figures(receipt.totals()),
        "amount": receipt.amount().atto_smt().to_string(),
        "offer_hash": hex_of(receipt.offer_hash().as_bytes()),
        "previous": hex_of(receipt.previous_hash().as_bytes()),
        "content": hex_of(&bytes[..Receipt::LEN - 64]),
        "hash": hex_of(receipt.hash().as_bytes()),
        "bytes": hex_of(&bytes),
        "compact": hex_of(&compact[2..]),
    })
}

/// The offer of the epoch after [`offer`], closed by `last`.
fn next_offer(last: &Receipt) -> Offer {
    let terms = Terms {
        gateway: gateway(),
        price: Price::new(u64::MAX),
        credit_bytes: MIB,
        previous: last.hash(),
    };
    Offer::sign(&key(1), network(), common::party(2), 8, terms)
}

/// 2 GiB less a byte at the highest price, and a single byte more.
fn dear(last: &Receipt) -> Vec<Receipt> {
    let offer = next_offer(last);
    let first = Receipt::sign(&key(2), &offer, None, totals(0, (2 << 30) - 1, 1)).unwrap();
    let second = totals(1, (2 << 30) - 1, 1);
    let second = Receipt::sign(&key(2), &offer, Some(&first), second).unwrap();
    vec![first, second]
}

fn proof(chain: &[Receipt]) -> Equivocation {
    let other = totals(2000, 3 * MIB, 6);
    let other = Receipt::sign(&key(2), &offer(), Some(&chain[0]), other).unwrap();
    Equivocation::between(&chain[1], &other).unwrap()
}

fn messages(chain: &[Receipt]) -> Vec<(&'static str, Message)> {
    let position = Position { epoch: 7, seq: 3 };
    let request = Request {
        position,
        totals: totals(3000, 3 * MIB, 9),
        offer: offer().hash().short(),
    };
    let refusal = |reason| {
        Message::Refusal(Refusal {
            position,
            confirmed: totals(2500, 2 * MIB + 7, 8),
            reason,
        })
    };
    let head = |receipt: Option<&Receipt>| {
        Message::Head(Box::new(Head::new(offer(), receipt.cloned()).unwrap()))
    };
    vec![
        ("offer", Message::Offer(offer())),
        ("request", Message::Request(request)),
        ("receipt", Message::Receipt(CompactReceipt::from(&chain[1]))),
        (
            "refusal: unknown offer",
            refusal(RefusalReason::UnknownOffer),
        ),
        ("refusal: ended", refusal(RefusalReason::Ended)),
        ("refusal: unconfirmed", refusal(RefusalReason::Unconfirmed)),
        ("refusal: nothing new", refusal(RefusalReason::NothingNew)),
        ("refusal: price", refusal(RefusalReason::Price)),
        ("head", head(Some(&chain[1]))),
        ("head of an epoch without a receipt", head(None)),
    ]
}

/// What must not be taken, with what has to notice it.
fn invalid(chain: &[Receipt]) -> Vec<Value> {
    let edit = |bytes: Vec<u8>, at: usize, to: u8| {
        let mut bytes = bytes;
        bytes[at] = to;
        hex_of(bytes)
    };
    let (offer, last) = (offer(), &chain[1]);
    let case = |kind: &str, reason: &str, bytes: String| json!({ "kind": kind, "reason": reason, "bytes": bytes });
    let dearer = resigned(last, 2, |content| content[120] += 1);
    let rootless = resigned(&chain[0], 2, |content| content[164] = 1);
    let small_order = {
        let identity = [[1].as_slice(), &[0; 31]].concat();
        let mut bytes = offer.to_bytes();
        bytes[24..56].copy_from_slice(&identity);
        bytes[176..208].copy_from_slice(&identity);
        bytes[208..].fill(0);
        hex_of(bytes)
    };
    let request = messages(chain)[1].1.to_bytes();
    let twice = [last.to_bytes(), last.to_bytes()].concat();
    let misfit = [
        b"\x02\x05".as_slice(),
        &offer_of(1, 2, 8, Price::new(1000)).to_bytes(),
        &last.to_bytes(),
    ]
    .concat();
    vec![
        case("offer", "parse: tag", edit(offer.to_bytes(), 0, b'm')),
        case("offer", "parse: kind", edit(offer.to_bytes(), 7, 2)),
        case(
            "offer",
            "parse: seq of an offer is 0",
            edit(offer.to_bytes(), 96, 1),
        ),
        case(
            "offer",
            "parse: truncated",
            hex_of(&offer.to_bytes()[..239]),
        ),
        case(
            "offer",
            "signature: another gateway",
            edit(offer.to_bytes(), 100, 0),
        ),
        case("offer", "signature: key and R of small order", small_order),
        case(
            "receipt",
            "parse: seq of a receipt is not 0",
            edit(last.to_bytes(), 96, 0),
        ),
        case(
            "receipt",
            "signature: one bit of s",
            hex_of(forged(last).to_bytes()),
        ),
        case(
            "receipt",
            "offer: the amount does not follow from the price",
            hex_of(dearer.to_bytes()),
        ),
        case(
            "receipt",
            "first: seq 1 has no predecessor",
            hex_of(rootless.to_bytes()),
        ),
        case(
            "equivocation",
            "parse: twice the same content",
            hex_of(twice),
        ),
        case("message", "parse: version", edit(request.clone(), 0, 1)),
        case("message", "parse: type", edit(request.clone(), 1, 6)),
        case(
            "message",
            "parse: seq is not 0",
            edit(request.clone(), 10, 0),
        ),
        case(
            "message",
            "parse: a byte too many",
            hex_of([request.as_slice(), &[0]].concat()),
        ),
        case(
            "message",
            "parse: the receipt of a head fits its offer",
            hex_of(misfit),
        ),
    ]
}

fn vectors() -> Value {
    let chain = receipts(2);
    let dear = dear(&chain[1]);
    let receipt = |(name, receipt): (&str, &Receipt)| receipt_vector(name, receipt);
    let receipts = [
        ("first of epoch 7", &chain[0]),
        ("second of epoch 7", &chain[1]),
        ("first of epoch 8: rounded down", &dear[0]),
        ("second of epoch 8: exact", &dear[1]),
    ];
    let message = |(name, message): &(&str, Message)| json!({ "name": name, "bytes": hex_of(message.to_bytes()) });
    json!({
        "message_version": 2,
        "network": { "name": "village", "id": hex_of(network().as_bytes()) },
        "keys": {
            "provider": { "seed": hex_of([1; 32]), "public": hex_of(common::party(1).as_bytes()) },
            "consumer": { "seed": hex_of([2; 32]), "public": hex_of(common::party(2).as_bytes()) },
            "gateway": { "seed": hex_of([9; 32]), "public": hex_of(gateway().as_bytes()) },
        },
        "offers": [
            offer_vector("epoch 7: the first of its account", &offer()),
            offer_vector("epoch 8: names the last receipt of epoch 7", &next_offer(&chain[1])),
        ],
        "receipts": receipts.map(receipt),
        "equivocation": hex_of(proof(&chain).to_bytes()),
        "messages": messages(&chain).iter().map(message).collect::<Vec<_>>(),
        "invalid": invalid(&chain),
    })
}

fn file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors.json")
}

fn bytes_of(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

#[test]
fn vectors_are_what_this_implementation_makes() {
    let mut made = serde_json::to_string_pretty(&vectors()).unwrap();
    made.push('\n');
    if std::env::var("UPDATE_VECTORS").is_ok_and(|update| update == "1") {
        std::fs::write(file(), &made).unwrap();
    }
    let known = std::fs::read_to_string(file()).unwrap();
    assert_eq!(known, made, "UPDATE_VECTORS=1 writes the file anew");
}

#[test]
fn valid_vectors_are_read_and_verified() {
    let vectors: Value = serde_json::from_slice(&std::fs::read(file()).unwrap()).unwrap();
    let mut offers = Vec::new();
    for vector in vectors["offers"].as_array().unwrap() {
        let offer = Offer::parse(&bytes_of(&vector["bytes"])).unwrap();
        assert_eq!(offer.verify(), Ok(()), "{}", vector["name"]);
        offers.push(offer);
    }
    for vector in vectors["receipts"].as_array().unwrap() {
        let receipt = Receipt::parse(&bytes_of(&vector["bytes"])).unwrap();
        assert_eq!(receipt.verify(), Ok(()), "{}", vector["name"]);
        let mut offers = offers.iter();
        let offer = offers.find(|offer| offer.epoch() == receipt.position().epoch);
        assert_eq!(receipt.check_offer(offer.unwrap()), Ok(()));
        let compact = [b"\x02\x03".as_slice(), &bytes_of(&vector["compact"])].concat();
        let Message::Receipt(compact) = Message::parse(&compact).unwrap() else {
            panic!("{}", vector["name"])
        };
        assert_eq!(compact.complete(offer.unwrap()), Ok(receipt));
    }
    let proof = Equivocation::parse(&bytes_of(&vectors["equivocation"])).unwrap();
    assert_eq!(proof.verify(), Ok(()));
    for vector in vectors["messages"].as_array().unwrap() {
        let bytes = bytes_of(&vector["bytes"]);
        assert_eq!(Message::parse(&bytes).unwrap().to_bytes(), bytes);
    }
}

#[test]
fn invalid_vectors_are_refused_where_they_say() {
    let vectors: Value = serde_json::from_slice(&std::fs::read(file()).unwrap()).unwrap();
    for vector in vectors["invalid"].as_array().unwrap() {
        let bytes = bytes_of(&vector["bytes"]);
        let stage = match vector["kind"].as_str().unwrap() {
            "offer" => {
                Offer::parse(&bytes).map(|offer| offer.verify().is_err().then_some("signature"))
            }
            "receipt" => Receipt::parse(&bytes).map(|receipt| refused_receipt(&receipt)),
            "equivocation" => Equivocation::parse(&bytes).map(|_| None),
            _ => Message::parse(&bytes).map(|_| None),
        };
        let stage = stage.map_or(Some("parse"), |stage| stage);
        let (expected, _) = vector["reason"].as_str().unwrap().split_once(": ").unwrap();
        assert_eq!(stage, Some(expected), "{vector}");
    }
}

fn refused_receipt(receipt: &Receipt) -> Option<&'static str> {
    if receipt.verify().is_err() {
        Some("signature")
    } else if receipt.check_offer(&offer()).is_err() {
        Some("offer")
    } else {
        receipt.check_first().is_err().then_some("first")
    }
}
