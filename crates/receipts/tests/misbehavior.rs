//! Neighbors who do not play fair, and figures that are out of range.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

mod common;

use common::{MIB, World, assert_logs_verify, at, forged, gateway, key, network, offer_of, party};
use common::{resigned, terms, totals};
use receipts::log::{Header, Record};
use receipts::message::Head;
use receipts::{
    CompactReceipt, Credit, Event, Ledger, LedgerConfig, LedgerError, Message, MessageError, Offer,
    Position, Price, Receipt, Refusal, RefusalReason, Request, Role, Standing, State, Usage,
    UsageError,
};

/// Node 2 has signed one receipt; returns it and the offer.
fn one_receipt(world: &mut World) -> (Offer, Receipt) {
    world.traffic(1, 2, 0, 3 * MIB);
    let records = world.node(1).records();
    let mut offers = records.iter().filter_map(|record| match record {
        Record::OfferMade(offer) => Some(offer.clone()),
        _ => None,
    });
    let mut receipts = records.iter().filter_map(|record| match record {
        Record::ReceiptReceived(receipt) => Some(receipt.clone()),
        _ => None,
    });
    (offers.next().unwrap(), receipts.next().unwrap())
}

#[test]
fn a_stranger_is_allowed_nothing_after_a_restart() {
    let mut world = World::pair(1000);
    world.restart(2, |_| {});
    world.count(1, party(2), Role::Provider, 0, 2 * MIB);
    world.seconds(30);
    assert_eq!(world.provided(1, 2).disputed_bytes, u128::from(2 * MIB));
    assert_eq!(world.consumed(1, 2).signed, totals(0, 0, 0));
}

#[test]
fn a_price_above_the_limit_is_refused_and_said_once() {
    let mut world = World::pair(1000);
    let now = world.now;
    let most = Price::new(999);
    world.node(2).ledger.set_terms(now, Credit::new(), most);
    world.traffic(1, 2, 0, 3 * MIB);
    world.seconds(3600);
    let refused = |event: &&Event| matches!(event, Event::Refused { .. });
    assert_eq!(world.consumed(1, 2).position, at(1, 0));
    assert_eq!(world.node(2).records(), []);
    for seed in [1, 2] {
        let told = world.node(seed).events.iter().filter(refused).count();
        assert_eq!(told, 1, "node {seed}");
    }
    // It is judged again with each request.
    let now = world.now;
    world
        .node(2)
        .ledger
        .set_terms(now, Credit::new(), Price::MAX);
    world.seconds(300);
    assert_eq!(world.consumed(1, 2).position, at(1, 1));
}

#[test]
fn a_price_above_the_announced_one_is_refused() {
    let mut world = World::pair(1000);
    world.count(2, party(1), Role::Consumer, 0, 3 * MIB);
    world.node(1).price = Price::new(1001);
    world.count(1, party(2), Role::Provider, 0, 3 * MIB);
    let account = world.provided(1, 2);
    assert_eq!(account.last_refusal, Some(RefusalReason::Price));
    assert_eq!(account.position, at(1, 0));
    // The announcement arrives.
    world.count(2, party(1), Role::Consumer, 0, 1);
    world.seconds(10);
    assert_eq!(world.provided(1, 2).position, at(1, 1));
}

#[test]
fn an_epoch_that_became_too_dear_is_signed_for_until_a_window_was_counted() {
    let mut world = World::pair(1000);
    world.traffic(1, 2, 0, 3 * MIB);
    // The provider announces less and goes on in the old epoch.
    let counted = |world: &mut World, bytes| {
        let now = world.now;
        let usage = |role, peer, price| Usage {
            peer: party(peer),
            role,
            gateway: gateway(),
            price: Some(Price::new(price)),
            up_bytes: 0,
            down_bytes: bytes,
        };
        let consumed = usage(Role::Consumer, 1, 100);
        world.node(2).ledger.handle_usage(now, consumed).unwrap();
        let provided = usage(Role::Provider, 2, 1000);
        world.node(1).ledger.handle_usage(now, provided).unwrap();
        world.settle();
    };
    for _ in 0..4 {
        counted(&mut world, 2 * MIB);
    }
    assert_eq!(world.provided(1, 2).position, at(1, 5));
    counted(&mut world, 2 * MIB);
    let account = world.provided(1, 2);
    assert_eq!(account.position, at(1, 5));
    assert_eq!(account.last_refusal, Some(RefusalReason::Price));
}

#[test]
fn a_provider_that_claims_more_gets_what_was_counted() {
    let mut world = World::pair(1000);
    for _ in 0..20 {
        world.count(2, party(1), Role::Consumer, MIB, 2 * MIB);
        world.count(1, party(2), Role::Provider, MIB, 3 * MIB);
        world.seconds(30);
    }
    let counted = 20 * 3 * MIB;
    let account = world.provided(1, 2);
    let signed = account.signed.bytes();
    assert!(
        signed <= u128::from(counted + counted / 100 + 65536),
        "{signed}"
    );
    assert!(signed >= u128::from(counted), "{signed}");
    assert_eq!(
        signed + account.disputed_bytes + account.unsigned_bytes,
        u128::from(20 * 4 * MIB)
    );
    let reason = |event: &Event| match event {
        Event::Refused { refusal, .. } => Some(refusal.reason),
        _ => None,
    };
    for seed in [1, 2] {
        let reasons: Vec<_> = world.node(seed).events.iter().filter_map(reason).collect();
        assert!(
            reasons.contains(&RefusalReason::Unconfirmed),
            "node {seed} says why"
        );
    }
    assert_logs_verify(&world);
}

#[test]
fn a_consumer_that_lowers_every_request_is_asked_at_the_pace_of_retries() {
    let mut world = World::pair(1000);
    world.lose(|_| true);
    world.count(1, party(2), Role::Provider, 0, 3 * MIB);
    for byte in 1..=100 {
        let refusal = Refusal {
            position: Position { epoch: 1, seq: 1 },
            confirmed: totals(0, 3 * MIB - byte, 0),
            reason: RefusalReason::Unconfirmed,
        };
        let _ = world.inject(2, 1, &Message::Refusal(refusal));
    }
    let asked = world
        .sent
        .iter()
        .filter(|(_, _, m)| matches!(m, Message::Request(_)))
        .count();
    assert!(asked <= 5, "{asked} requests while no time passed");
}

#[test]
fn the_allowance_after_a_restart_is_the_smaller_of_two_limits() {
    for (credit, allowed) in [(MIB, MIB), (1000 * MIB, 8 * MIB)] {
        let mut world = World::pair(1000);
        let now = world.now;
        let terms = Credit {
            known_bytes: credit,
            stranger_bytes: credit,
        };
        world.node(1).ledger.set_terms(now, terms, Price::MAX);
        world.traffic(1, 2, 0, 3 * MIB);
        world.seconds(10);
        world.restart(2, |_| {});
        world.count(1, party(2), Role::Provider, 0, allowed);
        world.seconds(61);
        assert_eq!(
            world.provided(1, 2).position,
            at(2, 1),
            "within, credit {credit}"
        );
        world.count(1, party(2), Role::Provider, 0, 2 * MIB);
        world.seconds(30);
        assert_eq!(
            world.provided(1, 2).position,
            at(2, 1),
            "beyond, credit {credit}"
        );
    }
}

#[test]
fn the_allowance_after_a_restart_is_one_for_all_gateways() {
    let mut world = World::pair(1000);
    let gateways = [party(7), party(8)];
    for gateway in gateways {
        world.traffic_to(gateway, 1, 2, (0, 3 * MIB));
    }
    world.power_cut(2, 100);
    for gateway in gateways {
        world.count_to(gateway, 1, party(2), Role::Provider, (0, 6 * MIB));
    }
    world.seconds(120);
    let accounts = world.node(2).accounts(party(1), Role::Consumer);
    let signed: u64 = accounts
        .iter()
        .map(|account| account.signed.down_bytes)
        .sum();
    assert_eq!(signed, 6 * MIB, "in one account, and nothing in the other");
}

#[test]
fn a_gateway_through_which_nothing_was_counted_brings_no_tolerance() {
    let mut world = World::pair(1000);
    world.traffic(1, 2, 0, 3 * MIB);
    world.count_to(party(8), 1, party(2), Role::Provider, (0, 1000));
    world.seconds(120);
    let accounts = world.node(2).accounts(party(1), Role::Consumer);
    let signed: u64 = accounts
        .iter()
        .map(|account| account.signed.down_bytes)
        .sum();
    assert_eq!(signed, 3 * MIB);
}

#[test]
fn each_direction_and_their_sum_must_be_confirmed() {
    // Counted: 10 MiB each way; 1 % and 64 KiB of that is 170,393 bytes.
    let counted = 10 * MIB;
    for (up, down, confirmed) in [
        (counted + 170_000, counted, true),
        (counted + 171_000, counted - 171_000, false),
        (counted - 171_000, counted + 171_000, false),
        // 1 % of the sum and 64 KiB once: 275,251.
        (counted + 150_000, counted + 120_000, true),
        (counted + 150_000, counted + 130_000, false),
    ] {
        let mut world = World::pair(1000);
        world.count(2, party(1), Role::Consumer, counted, counted);
        world.count(1, party(2), Role::Provider, up, down);
        let signed = world.provided(1, 2).position == at(1, 1);
        assert_eq!(signed, confirmed, "up {up} down {down}");
    }
}

#[test]
fn the_tolerance_is_one_percent_and_64_kib_once() {
    let mut world = World::pair(1000);
    let slack = MIB / 10 + 65536; // 1 % of 10 MiB and 64 KiB
    world.count(2, party(1), Role::Consumer, 0, 10 * MIB);
    world.count(1, party(2), Role::Provider, 0, 10 * MIB + slack);
    assert_eq!(
        world.provided(1, 2).signed.down_bytes,
        10 * MIB + slack,
        "within"
    );

    world.count(1, party(2), Role::Provider, 0, 2 * MIB);
    world.seconds(30);
    assert_eq!(
        world.provided(1, 2).signed.down_bytes,
        10 * MIB + slack,
        "not a second time"
    );

    let mut world = World::pair(1000);
    world.count(2, party(1), Role::Consumer, 0, 10 * MIB);
    world.count(1, party(2), Role::Provider, 0, 10 * MIB + slack + 1);
    assert_eq!(world.provided(1, 2).signed.down_bytes, 0, "a byte too many");
    world.seconds(30);
    assert_eq!(
        world.provided(1, 2).signed.down_bytes,
        10 * MIB,
        "then exactly what was counted"
    );
}

#[test]
fn two_receipts_for_one_place_become_a_proof() {
    let mut world = World::pair(1000);
    let (offer, receipt) = one_receipt(&mut world);
    let other = Receipt::sign(&key(2), &offer, None, totals(0, 1, 0)).unwrap();
    let message = Message::Receipt(CompactReceipt::from(&other));
    for _ in 0..3 {
        assert_eq!(
            world.inject(2, 1, &message),
            Err(MessageError::Contradiction)
        );
    }
    let proofs: Vec<_> = world
        .node(1)
        .records()
        .into_iter()
        .filter_map(|record| match record {
            Record::Equivocation(proof) => Some(proof),
            _ => None,
        })
        .collect();
    assert_eq!(proofs.len(), 1, "one proof is enough");
    assert_eq!(proofs[0].receipts(), (&receipt, &other));
    assert_eq!(world.provided(1, 2).standing, Standing::Cheat);
    assert!(world.node(1).held.contains(&party(2)), "no window any more");
    assert_eq!(
        world.provided(1, 2).signed,
        *receipt.totals(),
        "the first stays"
    );
    world.restart(1, |_| {});
    assert_eq!(world.provided(1, 2).standing, Standing::Cheat);
    world.traffic(1, 2, 0, 1);
    assert!(
        world.node(1).held.contains(&party(2)),
        "also after a restart"
    );
}

#[test]
fn a_forged_contradiction_is_no_proof() {
    let mut world = World::pair(1000);
    let (offer, _) = one_receipt(&mut world);
    let other = Receipt::sign(&key(2), &offer, None, totals(0, 1, 0)).unwrap();
    let mut bytes = Message::Receipt(CompactReceipt::from(&other)).to_bytes();
    *bytes.last_mut().unwrap() ^= 1;
    let forged = Message::parse(&bytes).unwrap();
    let result = world.inject(2, 1, &forged);
    assert!(
        matches!(result, Err(MessageError::Signature(_))),
        "{result:?}"
    );
    assert_eq!(world.provided(1, 2).standing, Standing::Known);
}

/// A receipt that the provider has asked for and not got.
fn asked_receipt(world: &mut World) -> (Offer, Receipt, Receipt) {
    let (offer, receipt) = one_receipt(world);
    world.lose(|message| matches!(message, Message::Receipt(_)));
    world.traffic(1, 2, 0, 3 * MIB);
    world.lose(|_| false);
    let next = Receipt::sign(&key(2), &offer, Some(&receipt), totals(0, 6 * MIB, 0)).unwrap();
    (offer, receipt, next)
}

#[test]
fn a_forged_receipt_is_not_believed() {
    let mut world = World::pair(1000);
    let (_, _, next) = asked_receipt(&mut world);
    let compact = |receipt: &Receipt| Message::Receipt(CompactReceipt::from(receipt));
    let result = world.inject(2, 1, &compact(&forged(&next)));
    assert!(
        matches!(result, Err(MessageError::Signature(_))),
        "{result:?}"
    );
    assert_eq!(world.inject(2, 1, &compact(&next)), Ok(()));
}

#[test]
fn who_sends_bad_signatures_is_not_listened_to_for_a_while() {
    let mut world = World::pair(1000);
    let (_, _, next) = asked_receipt(&mut world);
    let bad = Message::Receipt(CompactReceipt::from(&forged(&next)));
    let good = Message::Receipt(CompactReceipt::from(&next));
    for _ in 0..16 {
        let result = world.inject(2, 1, &bad);
        assert!(matches!(result, Err(MessageError::Signature(_))));
    }
    assert_eq!(world.inject(2, 1, &good), Err(MessageError::Busy));
    assert_eq!(world.node(1).ledger.counters().busy, 1);
    world.traffic(1, 2, 0, MIB);
    world.pass(std::time::Duration::from_millis(1500));
    assert_eq!(world.inject(2, 1, &good), Ok(()), "one a second");
}

#[test]
fn a_first_receipt_with_a_predecessor_is_dropped() {
    let mut world = World::pair(1000);
    world.lose(|message| matches!(message, Message::Receipt(_)));
    world.traffic(1, 2, 0, 3 * MIB);
    let given = world
        .node(2)
        .records()
        .into_iter()
        .find_map(|record| match record {
            Record::ReceiptGiven(receipt) => Some(receipt),
            _ => None,
        });
    let odd = resigned(&given.unwrap(), 2, |content| {
        content.iter_mut().skip(164).for_each(|b| *b = 1)
    });
    let result = world.inject(2, 1, &Message::Receipt(CompactReceipt::from(&odd)));
    assert!(
        matches!(result, Err(MessageError::Receipt(_))),
        "{result:?}"
    );
}

#[test]
fn a_forged_head_is_not_adopted() {
    let mut world = World::pair(1000);
    let (offer, receipt) = one_receipt(&mut world);
    let next = Receipt::sign(&key(2), &offer, Some(&receipt), totals(0, 4 * MIB, 0)).unwrap();
    let head = |offer: &Offer, receipt: &Receipt| {
        Message::Head(Box::new(
            Head::new(offer.clone(), Some(receipt.clone())).unwrap(),
        ))
    };
    let is_forgery = |result| matches!(result, Err(MessageError::Signature(_)));

    // To the provider: a receipt nobody signed, and one under an offer the provider never made.
    assert!(is_forgery(world.inject(
        2,
        1,
        &head(&offer, &forged(&next))
    )));
    let mut bytes = offer_of(1, 2, 9, Price::MAX).to_bytes();
    *bytes.last_mut().unwrap() ^= 1;
    let dear = Offer::parse(&bytes).unwrap();
    let owed = Receipt::sign(&key(2), &dear, None, totals(0, 1, 0)).unwrap();
    assert!(is_forgery(world.inject(2, 1, &head(&dear, &owed))));

    // To the consumer: the same two.
    let dear = offer_of(1, 2, 9, Price::MAX);
    let owed = Receipt::sign(&key(2), &dear, None, totals(0, 1, 0)).unwrap();
    assert!(is_forgery(world.inject(1, 2, &head(&dear, &forged(&owed)))));
    let unmade = Offer::parse(&bytes).unwrap();
    assert!(is_forgery(world.inject(1, 2, &head(&unmade, &owed))));

    assert_eq!(world.provided(1, 2).position, at(1, 1));
    assert_eq!(world.consumed(1, 2).position, at(1, 1));
    assert_eq!(
        world.inject(2, 1, &head(&offer, &next)),
        Ok(()),
        "the true one is"
    );
}

#[test]
fn a_head_that_contradicts_the_account_is_not_adopted() {
    let mut world = World::pair(1000);
    let (offer, _) = one_receipt(&mut world);
    let fork = Receipt::sign(&key(2), &offer, None, totals(0, 1, 0)).unwrap();
    let on_fork = Receipt::sign(&key(2), &offer, Some(&fork), totals(0, 9 * MIB, 0)).unwrap();
    let head = Head::new(offer, Some(on_fork)).unwrap();
    let message = Message::Head(Box::new(head));
    let to_provider = world.inject(2, 1, &message);
    assert!(
        matches!(to_provider, Err(MessageError::Receipt(_))),
        "{to_provider:?}"
    );
    let to_consumer = world.inject(1, 2, &message);
    assert!(
        matches!(to_consumer, Err(MessageError::Receipt(_))),
        "{to_consumer:?}"
    );
}

#[test]
fn a_repeated_receipt_changes_nothing() {
    let mut world = World::pair(1000);
    let (_, receipt) = one_receipt(&mut world);
    let before = world.node(1).log.clone();
    let message = Message::Receipt(CompactReceipt::from(&receipt));
    assert_eq!(world.inject(2, 1, &message), Ok(()));
    assert_eq!(world.node(1).log, before);
}

#[test]
fn receipts_that_were_not_asked_for_are_dropped() {
    let mut world = World::pair(1000);
    let (offer, receipt, second) = asked_receipt(&mut world);
    let sign = |previous: Option<&Receipt>, bytes| {
        Receipt::sign(&key(2), &offer, previous, totals(0, bytes, 0)).unwrap()
    };
    let third = sign(Some(&second), 7 * MIB);
    let less = sign(Some(&receipt), 5 * MIB);
    let on_fork = sign(Some(&sign(None, 1)), 6 * MIB);
    let mut inject =
        |receipt: &Receipt| world.inject(2, 1, &Message::Receipt(CompactReceipt::from(receipt)));
    assert_eq!(inject(&third), Err(MessageError::Unexpected), "a gap");
    assert_eq!(inject(&less), Err(MessageError::Unexpected), "less");
    assert!(
        matches!(inject(&on_fork), Err(MessageError::Receipt(_))),
        "another predecessor"
    );
    assert_eq!(inject(&second), Ok(()));
    assert_eq!(inject(&receipt), Ok(()), "known");
}

#[test]
fn another_content_at_an_older_place_is_a_proof_too() {
    let mut world = World::pair(1000);
    let (offer, receipt) = one_receipt(&mut world);
    for _ in 0..10 {
        world.traffic(1, 2, 0, 3 * MIB);
    }
    assert_eq!(world.provided(1, 2).position, at(1, 11));
    let other = Receipt::sign(&key(2), &offer, None, totals(0, 1, 0)).unwrap();
    let message = Message::Receipt(CompactReceipt::from(&other));
    assert_eq!(
        world.inject(2, 1, &message),
        Err(MessageError::Contradiction)
    );
    let records = world.node(1).records();
    let proof = records.iter().find_map(|record| match record {
        Record::Equivocation(proof) => Some(proof),
        _ => None,
    });
    assert_eq!(proof.unwrap().receipts(), (&receipt, &other));
}

#[test]
fn receipts_for_nothing_new_cost_no_record_and_no_question() {
    let mut world = World::pair(1000);
    let (offer, receipt) = one_receipt(&mut world);
    let again = Receipt::sign(&key(2), &offer, Some(&receipt), *receipt.totals()).unwrap();
    let before = world.node(1).log.clone();
    let message = Message::Receipt(CompactReceipt::from(&again));
    assert_eq!(world.inject(2, 1, &message), Err(MessageError::Unexpected));
    assert_eq!(world.node(1).log, before);
}

#[test]
fn a_request_for_anything_but_the_next_place_is_not_signed() {
    let mut world = World::pair(1000);
    let (offer, receipt) = one_receipt(&mut world);
    world.count(2, party(1), Role::Consumer, 0, 100 * MIB);
    let request = |epoch, seq, total, offer| {
        let position = Position { epoch, seq };
        Message::Request(Request {
            position,
            totals: total,
            offer,
        })
    };
    let (fair, offer) = (totals(0, 4 * MIB, 0), offer.hash().short());
    let other = receipt.hash().short();
    let wrong = [
        (request(1, 3, fair, offer), RefusalReason::Ended),
        (request(1, 1, fair, offer), RefusalReason::Ended),
        (request(0, 1, fair, offer), RefusalReason::Ended),
        (request(2, 1, fair, offer), RefusalReason::UnknownOffer),
        (request(1, 2, fair, other), RefusalReason::Ended),
        (
            request(1, 2, *receipt.totals(), offer),
            RefusalReason::NothingNew,
        ),
        (
            request(1, 2, totals(0, MIB, 0), offer),
            RefusalReason::NothingNew,
        ),
    ];
    for (message, reason) in wrong {
        world.sent.clear();
        world.inject(1, 2, &message).unwrap();
        let (_, _, answer) = world.sent.first().unwrap();
        let Message::Refusal(refusal) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(refusal.reason, reason, "{message:?}");
    }
    // The same request as the last one that was signed: the same receipt.
    world.sent.clear();
    world
        .inject(1, 2, &request(1, 1, *receipt.totals(), offer))
        .unwrap();
    let stored = Message::Receipt(CompactReceipt::from(&receipt));
    assert_eq!(world.sent, [(party(2), party(1), stored)]);
    assert_eq!(
        world.consumed(1, 2).position,
        at(1, 1),
        "nothing was signed"
    );
}

#[test]
fn nothing_is_signed_in_an_epoch_of_an_earlier_run() {
    let mut world = World::pair(1000);
    let (offer, _) = one_receipt(&mut world);
    // The receipt itself is lost.
    world.power_cut(2, 0);
    world.count(2, party(1), Role::Consumer, 0, 100 * MIB);
    // Not even if it is offered again, as a provider would that wants two receipts for one place.
    let offered = world.inject(1, 2, &Message::Offer(offer.clone()));
    assert_eq!(offered, Err(MessageError::Stale));
    for seq in [1, 2] {
        let request = Message::Request(Request {
            position: Position { epoch: 1, seq },
            totals: totals(0, 4 * MIB, 0),
            offer: offer.hash().short(),
        });
        world.inject(1, 2, &request).unwrap();
    }
    assert_eq!(world.consumed(1, 2).last_hash, None);
}

#[test]
fn what_was_handed_over_needs_no_allowance() {
    let mut world = World::pair(1000);
    one_receipt(&mut world);
    // The log is lost, so that what was signed comes from the provider's head.
    world.restart(2, Vec::clear);
    let now = world.now;
    world.node(2).ledger.resume(now, []);
    world.count(1, party(2), Role::Provider, 0, 3 * MIB);
    world.seconds(60);
    assert_eq!(world.consumed(1, 2).earlier_amount.atto_smt(), 3000);
    assert_eq!(world.provided(1, 2).disputed_bytes, u128::from(3 * MIB));
}

#[test]
fn a_consumer_that_ends_every_epoch_gets_new_ones_at_the_pace_of_retries() {
    let mut world = World::pair(1000);
    world.lose(|_| true);
    world.count(1, party(2), Role::Provider, 0, 3 * MIB);
    for _ in 0..3600 {
        let position = world.provided(1, 2).position.unwrap();
        let refusal = Refusal {
            position: Position { seq: 1, ..position },
            confirmed: totals(0, 0, 0),
            reason: RefusalReason::Ended,
        };
        let _ = world.inject(2, 1, &Message::Refusal(refusal));
        world.seconds(1);
    }
    let epoch = world.provided(1, 2).position.unwrap().epoch;
    assert!((10..=20).contains(&epoch), "{epoch} epochs in an hour");
    assert!(world.node(1).held.contains(&party(2)));
}

#[test]
fn old_offers_are_answered_at_the_pace_of_retries() {
    let mut world = World::pair(1000);
    one_receipt(&mut world);
    world.sent.clear();
    for _ in 0..40 {
        for price in 0..10 {
            let old = offer_of(1, 2, 1, Price::new(price));
            let result = world.inject(1, 2, &Message::Offer(old));
            assert_eq!(result, Err(MessageError::Stale));
        }
        world.seconds(1);
    }
    let heads = world.sent.iter();
    let heads = heads.filter(|(from, _, _)| *from == party(2)).count();
    assert_eq!(heads, 10);
}

#[test]
fn seconds_beyond_the_time_that_passed_are_not_signed() {
    let mut world = World::pair(0);
    let (offer, _) = one_receipt(&mut world);
    world.count(2, party(1), Role::Consumer, 0, 10 * MIB);
    let claim = totals(0, 4 * MIB, 3600);
    let request = Message::Request(Request {
        position: Position { epoch: 1, seq: 2 },
        totals: claim,
        offer: offer.hash().short(),
    });
    world.inject(1, 2, &request).unwrap();
    world.seconds(10);
    assert_eq!(world.consumed(1, 2).position, at(1, 1));
    world.seconds(3600);
    world.inject(1, 2, &request).unwrap();
    assert_eq!(world.consumed(1, 2).position, at(1, 2));
}

#[test]
fn messages_about_others_are_dropped_and_counted() {
    let mut world = World::pair(1000);
    let (offer, receipt) = one_receipt(&mut world);
    let elsewhere = receipts::NetworkId::from_name("elsewhere");
    let foreign = [
        Offer::sign(&key(1), elsewhere, party(2), 9, terms(Price::FREE)),
        offer_of(1, 3, 9, Price::FREE),
        offer_of(3, 2, 9, Price::FREE),
    ];
    for offer in foreign {
        assert_eq!(
            world.inject(1, 2, &Message::Offer(offer)),
            Err(MessageError::Foreign)
        );
    }
    let unknown = Message::Receipt(CompactReceipt::from(&receipt));
    assert_eq!(world.inject(3, 1, &unknown), Err(MessageError::Unexpected));
    assert_eq!(world.inject(2, 2, &unknown), Err(MessageError::Foreign));
    let now = world.now;
    assert!(
        world
            .node(2)
            .ledger
            .handle_message(now, party(1), &[2, 9, 0])
            .is_err()
    );
    let mut bytes = offer_of(1, 2, 9, Price::FREE).to_bytes();
    bytes[230] ^= 1;
    let forged = Message::Offer(Offer::parse(&bytes).unwrap());
    assert!(matches!(
        world.inject(1, 2, &forged),
        Err(MessageError::Signature(_))
    ));

    let counters = *world.node(2).ledger.counters();
    assert_eq!(
        (counters.foreign, counters.malformed, counters.forged),
        (4, 1, 1)
    );
    assert_eq!(world.node(1).ledger.counters().stale, 1);
    assert_eq!(world.consumed(1, 2).price, Some(offer.price()));
}

#[test]
fn offers_of_strangers_reach_neither_the_log_nor_the_end_of_memory() {
    let mut world = World::new();
    world.add(2, 0, LedgerConfig::new(network()));
    for n in 0_u16..1500 {
        let mut seed = [9; 32];
        seed[..2].copy_from_slice(&n.to_le_bytes());
        let stranger = ed25519_dalek::SigningKey::from_bytes(&seed);
        let offer = Offer::sign(&stranger, network(), party(2), 1, terms(Price::FREE));
        let payload = Message::Offer(offer).to_bytes();
        let now = world.now;
        let from = receipts::Party::of(&stranger);
        world
            .node(2)
            .ledger
            .handle_message(now, from, &payload)
            .unwrap();
        world.settle();
    }
    assert_eq!(world.node(2).ledger.accounts().count(), 1024);
    assert_eq!(world.node(2).records(), []);
    world.count(2, party(1), Role::Consumer, 1, 1);
    assert_eq!(
        world.consumed(1, 2).unsigned_bytes,
        2,
        "who carries finds room"
    );
}

#[test]
fn consumers_that_were_idle_give_way_and_others_are_counted() {
    let mut world = World::new();
    world.add(1, 1000, LedgerConfig::new(network()));
    let usage = |world: &mut World, n: u16| {
        let mut bytes = [9; 32];
        bytes[..2].copy_from_slice(&n.to_le_bytes());
        let usage = Usage {
            peer: receipts::Party::new(bytes),
            role: Role::Provider,
            gateway: gateway(),
            price: Some(Price::new(1000)),
            up_bytes: 0,
            down_bytes: 1,
        };
        let now = world.now;
        let result = world.node(1).ledger.handle_usage(now, usage);
        world.settle();
        result
    };
    for n in 0..1024 {
        assert_eq!(usage(&mut world, n), Ok(()));
    }
    assert_eq!(usage(&mut world, 1024), Err(UsageError::TooManyAccounts));
    assert_eq!(world.node(1).ledger.counters().crowded, 1);
    world.seconds(600);
    assert_eq!(usage(&mut world, 1024), Ok(()));
    assert_eq!(world.node(1).ledger.accounts().count(), 1024);
}

#[test]
fn a_neighbor_has_sixteen_accounts_and_settled_ones_give_way() {
    let mut world = World::pair(1000);
    let usage = |world: &mut World, n: u8| {
        let usage = Usage {
            peer: party(2),
            role: Role::Provider,
            gateway: receipts::Party::new([n; 32]),
            price: Some(Price::new(1000)),
            up_bytes: 0,
            down_bytes: 3 * MIB,
        };
        let consumed = Usage {
            peer: party(1),
            role: Role::Consumer,
            ..usage
        };
        let now = world.now;
        let at_2 = world.node(2).ledger.handle_usage(now, consumed);
        let at_1 = world.node(1).ledger.handle_usage(now, usage);
        world.settle();
        (at_1, at_2)
    };
    for n in 0..16 {
        assert_eq!(usage(&mut world, n), (Ok(()), Ok(())));
    }
    let crowded = Err(UsageError::TooManyAccounts);
    assert_eq!(usage(&mut world, 16), (crowded, crowded));
    world.seconds(600);
    assert_eq!(usage(&mut world, 16), (Ok(()), Ok(())));
    world.seconds(60);
    // The one that gave way goes on, in a new epoch.
    assert_eq!(usage(&mut world, 0), (Ok(()), Ok(())));
    world.seconds(60);
    assert_logs_verify(&world);
}

#[test]
fn counts_out_of_range_are_disputed_and_nothing_is_signed() {
    let mut world = World::pair(u64::MAX);
    let usage = Usage {
        peer: party(2),
        role: Role::Provider,
        gateway: gateway(),
        price: Some(Price::MAX),
        up_bytes: u64::MAX,
        down_bytes: u64::MAX,
    };
    let now = world.now;
    world.node(1).ledger.handle_usage(now, usage).unwrap();
    world.settle();
    assert_eq!(
        world.provided(1, 2).disputed_bytes,
        2 * u128::from(u64::MAX)
    );
    assert_eq!(world.provided(1, 2).unsigned_bytes, 0);
    // The account is not stuck: another epoch goes on.
    world.seconds(10);
    world.traffic(1, 2, 0, 3 * MIB);
    world.seconds(60);
    assert_eq!(world.provided(1, 2).signed.bytes(), u128::from(3 * MIB));

    // A sum that no counter can have is not even added.
    world.lose(|_| true);
    let small = Usage {
        price: Some(Price::FREE),
        ..usage
    };
    let now = world.now;
    world.node(1).ledger.handle_usage(now, small).unwrap();
    let result = world.node(1).ledger.handle_usage(now, small);
    assert!(matches!(result, Err(UsageError::Overflow(_))), "{result:?}");
    assert_eq!(world.node(1).ledger.counters().uncountable, 1);
}

#[test]
fn the_state_of_another_node_is_refused() {
    let state = State::new(Header {
        network: network(),
        owner: party(2),
    });
    let result = Ledger::new(LedgerConfig::new(network()), key(1), state).map(|_| ());
    assert!(matches!(result, Err(LedgerError::ForeignState(_))));
}
