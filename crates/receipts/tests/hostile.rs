//! Neighbors that want more than they are owed: providers that ask too much, consumers whose word spoils
//! what others signed.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "tests"
)]

mod common;

use common::{World, gateway, key, network, offer_of, party, resigned, terms, totals};
use receipts::log::{Record, verify};
use receipts::message::Head;
use receipts::{MIB, Message, Offer, Position, Price, Receipt, Request, Role, Terms, Usage};

/// Node 2 counts bytes from the gateway that node 1 has carried for it.
fn carried(world: &mut World, price: Option<u64>, down_bytes: u64) {
    let usage = Usage {
        peer: party(1),
        role: Role::Consumer,
        gateway: gateway(),
        price: price.map(Price::new),
        up_bytes: 0,
        down_bytes,
    };
    let now = world.now;
    world.node(2).ledger.handle_usage(now, usage).unwrap();
    world.settle();
}

/// Node 1 asks node 2 for a receipt.
fn ask(world: &mut World, offer: &Offer, seq: u32, down_bytes: u64) {
    let request = Request {
        position: Position {
            epoch: offer.epoch(),
            seq,
        },
        totals: totals(0, down_bytes, 0),
        offer: offer.hash().short(),
    };
    // Whether it is taken is seen in what is signed.
    let _ = world.inject(1, 2, &Message::Request(request));
}

#[test]
fn nothing_is_paid_to_who_announced_no_price() {
    let mut world = World::pair(0);
    carried(&mut world, None, 100 * MIB);
    let offer = offer_of(1, 2, 1, Price::new(1));
    let _ = world.inject(1, 2, &Message::Offer(offer.clone()));
    ask(&mut world, &offer, 1, 100 * MIB);
    let records = world.node(2).records();
    let given = records
        .iter()
        .filter(|it| matches!(it, Record::ReceiptGiven(_)));
    assert_eq!(given.count(), 0);
}

#[test]
fn no_credit_makes_an_old_price_last() {
    let mut world = World::pair(0);
    carried(&mut world, Some(1_000_000), 100);
    let terms = Terms {
        credit_bytes: u64::MAX,
        ..terms(Price::new(1_000_000))
    };
    let offer = Offer::sign(&key(1), network(), party(2), 1, terms);
    let _ = world.inject(1, 2, &Message::Offer(offer.clone()));
    ask(&mut world, &offer, 1, 100);
    let mut sum = 100;
    for seq in 2..20 {
        carried(&mut world, Some(0), 3 * MIB);
        sum += 3 * MIB;
        ask(&mut world, &offer, seq, sum);
    }
    let signed = world.consumed(1, 2).signed.down_bytes;
    assert!(signed > 100, "the old price holds while the epoch closes");
    assert!(signed <= 100 + 11 * MIB, "{signed} bytes at the old price");
}

/// The last offer that node 1 made.
fn made(world: &mut World) -> Offer {
    let records = world.node(1).records();
    let offers = records.into_iter().rev().filter_map(|it| match it {
        Record::OfferMade(offer) => Some(offer),
        _ => None,
    });
    offers.into_iter().next().unwrap()
}

/// Node 2 shows node 1 a head with a receipt that nobody asked for.
fn show(world: &mut World, offer: Offer, receipt: Receipt) {
    let head = Head::new(offer, Some(receipt)).unwrap();
    let _ = world.inject(2, 1, &Message::Head(Box::new(head)));
}

#[test]
fn no_head_makes_a_log_that_does_not_verify() {
    let mut world = World::pair(1000);
    world.count(1, party(2), Role::Provider, 0, MIB);
    let offer = made(&mut world);
    let good = Receipt::sign(&key(2), &offer, None, totals(0, 1, 0)).unwrap();
    let bad = resigned(&good, 2, |content| content[164] = 7);
    show(&mut world, offer, bad);
    world.seconds(3600);
    verify(&world.node(1).log).unwrap();
}

#[test]
fn no_figures_of_one_consumer_spoil_a_file_for_others() {
    let mut world = World::pair(0);
    world.count(1, party(2), Role::Provider, 0, MIB);
    let offer = made(&mut world);
    let huge = totals(0, 1, u32::MAX);
    let bad = Receipt::sign(&key(2), &offer, None, huge).unwrap();
    show(&mut world, offer, bad);
    for price in [1, 2, 3] {
        world.node(1).price = Price::new(price);
        for _ in 0..3 {
            world.seconds(5);
            world.traffic(1, 2, 0, 3 * MIB);
        }
        world.seconds(65);
    }
    let pairs = verify(&world.node(1).log).unwrap().pairs().unwrap();
    assert_eq!(pairs.len(), 1);
    assert!(pairs[0].epochs > 1, "{pairs:?}");
}
