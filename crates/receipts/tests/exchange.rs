//! Providers and consumers in virtual time: the ordinary course, lost messages, restarts, lost
//! logs, new terms.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

mod common;

use std::time::Duration;

use common::{MIB, World, assert_logs_verify, at};
use common::{buyer, gateway, network, party, totals};
use receipts::log::Record;
use receipts::{
    Amount, CompactReceipt, Credit, Event, LedgerConfig, Message, Party, Price, RefusalReason,
    Role, Usage,
};

fn count_sent(world: &World, wanted: fn(&Message) -> bool) -> usize {
    world
        .sent
        .iter()
        .filter(|(_, _, message)| wanted(message))
        .count()
}

/// What consumer 2 has signed for in all, by both sides' books.
fn paid(world: &mut World) -> u128 {
    let [provider, consumer] = [world.provided(1, 2), world.consumed(1, 2)]
        .map(|account| account.amount.atto_smt() + account.earlier_amount.atto_smt());
    assert_eq!(provider, consumer);
    provider
}

#[test]
fn traffic_ends_in_a_receipt_on_both_sides() {
    let mut world = World::pair(1000);
    world.traffic(1, 2, MIB, 2 * MIB);
    let (provider, consumer) = (world.provided(1, 2), world.consumed(1, 2));
    assert_eq!(provider.position, at(1, 1));
    assert_eq!(provider.signed, totals(MIB, 2 * MIB, 0));
    assert_eq!(provider.amount, Amount::new(3000));
    assert_eq!((provider.unsigned_bytes, provider.disputed_bytes), (0, 0));
    assert_eq!(consumer.signed, provider.signed);
    assert_eq!(consumer.last_hash, provider.last_hash);
    assert_logs_verify(&world);
}

#[test]
fn little_traffic_is_signed_when_its_time_has_come() {
    let mut world = World::pair(1000);
    world.traffic(1, 2, 1, 1);
    assert_eq!(world.provided(1, 2).position, at(1, 1), "it was a stranger");
    world.traffic(1, 2, 1, 1);
    world.seconds(59);
    assert_eq!(world.provided(1, 2).unsigned_bytes, 2);
    world.seconds(2);
    assert_eq!(world.provided(1, 2).position, at(1, 2));
    assert_eq!(world.provided(1, 2).amount, Amount::ZERO, "rounded down");
    let sent = world.sent.len();
    world.seconds(3600);
    assert_eq!(world.sent.len(), sent, "no traffic, no messages");
}

#[test]
fn community_mode_writes_receipts_for_nothing() {
    let mut world = World::pair(0);
    world.traffic(1, 2, 0, 5 * MIB);
    let account = world.provided(1, 2);
    assert_eq!(
        (account.amount, account.signed),
        (Amount::ZERO, totals(0, 5 * MIB, 0))
    );
}

#[test]
fn who_has_not_said_what_it_pays_signs_only_what_is_free() {
    for (price, signed) in [(0, 5 * MIB), (1, 0)] {
        let mut world = World::new();
        world.add(1, price, buyer());
        world.add(2, 0, LedgerConfig::new(network()));
        for _ in 0..5 {
            world.traffic(1, 2, 0, MIB);
            world.seconds(1);
        }
        let account = world.consumed(1, 2);
        assert_eq!(account.signed.bytes(), u128::from(signed), "price {price}");
        assert_eq!(account.amount, Amount::ZERO);
        let refused = (price > 0).then_some(RefusalReason::Price);
        assert_eq!(account.last_refusal, refused);
        assert!(!world.node(2).throttled, "for what others sent it");
    }
}

#[test]
fn seconds_of_service_are_counted_while_there_is_traffic() {
    let mut world = World::pair(0);
    for _ in 0..30 {
        world.traffic(1, 2, 0, MIB);
        world.seconds(1);
    }
    world.seconds(3600);
    world.traffic(1, 2, 0, 3 * MIB);
    // 29 intervals of one second, then a pause of which 10 seconds count.
    assert_eq!(world.provided(1, 2).signed, totals(0, 33 * MIB, 39));
}

#[test]
fn one_exchange_of_two_mebibytes_stays_within_its_budget() {
    let mut world = World::pair(1000);
    for _ in 0..100 {
        world.traffic(1, 2, MIB, MIB);
    }
    let bytes: usize = world
        .sent
        .iter()
        .map(|(_, _, message)| message.to_bytes().len())
        .sum();
    // 0.02 % of the traffic, packet headers of 96 bytes for each message included.
    assert!(
        bytes + world.sent.len() * 96 < 200 * 1024 * 1024 / 5000,
        "{bytes} bytes"
    );
    assert_eq!(
        world.sent.len(),
        1 + 200,
        "an offer, then request and receipt"
    );
}

#[test]
fn a_consumer_that_counts_later_signs_when_its_count_has_caught_up() {
    let mut world = World::pair(1000);
    world.count(1, party(2), Role::Provider, 0, 4 * MIB);
    assert_eq!(world.provided(1, 2).position, at(1, 0), "held, not refused");
    world.seconds(2);
    world.count(2, party(1), Role::Consumer, 0, 4 * MIB);
    assert_eq!(world.provided(1, 2).position, at(1, 1));
    assert_eq!(count_sent(&world, |m| matches!(m, Message::Refusal(_))), 0);
}

#[test]
fn lost_messages_are_sent_again_with_the_same_content() {
    for lost in 0..3 {
        let mut world = World::pair(1000);
        let mut number = 0;
        world.lose(move |_| {
            number += 1;
            number == lost + 1
        });
        world.traffic(1, 2, 0, 3 * MIB);
        world.seconds(30);
        let (provider, consumer) = (world.provided(1, 2), world.consumed(1, 2));
        assert_eq!(provider.position, at(1, 1), "message {lost} lost");
        assert_eq!(consumer.last_hash, provider.last_hash);
        assert_logs_verify(&world);
    }
}

#[test]
fn a_lost_receipt_is_repeated_and_not_signed_again() {
    let mut world = World::pair(1000);
    world.lose(|message| matches!(message, Message::Receipt(_)));
    world.traffic(1, 2, 0, 3 * MIB);
    world.traffic(1, 2, 0, 3 * MIB);
    world.lose(|_| false);
    world.seconds(10);
    let given = |record: &Record| matches!(record, Record::ReceiptGiven(_));
    let given_bytes = world.node(2).records().into_iter().filter(given).count();
    assert_eq!(
        given_bytes, 2,
        "one for the first request, one for what came since"
    );
    assert_eq!(world.provided(1, 2).signed, totals(0, 6 * MIB, 0));
    assert_logs_verify(&world);
}

#[test]
fn a_provider_opens_an_epoch_with_the_first_traffic_of_a_run() {
    let mut world = World::pair(1000);
    world.traffic(1, 2, 0, 3 * MIB);
    world.restart(1, |_| {});
    world.seconds(600);
    assert_eq!(world.provided(1, 2).position, at(1, 1));
    world.traffic(1, 2, 0, 3 * MIB);
    let account = world.provided(1, 2);
    assert_eq!(account.position, at(2, 1));
    assert_eq!(account.signed, totals(0, 3 * MIB, 0));
    assert_eq!(account.earlier_amount, Amount::new(3000));
    assert_eq!(count_sent(&world, |m| matches!(m, Message::Head(_))), 0);
    assert_logs_verify(&world);
}

#[test]
fn what_a_lost_receipt_was_for_is_not_signed_again_after_a_restart() {
    let mut world = World::pair(1000);
    world.traffic(1, 2, 0, 3 * MIB);
    world.lose(|message| matches!(message, Message::Receipt(_)));
    world.traffic(1, 2, 0, 3 * MIB);
    world.restart(2, |_| {});
    world.lose(|_| false);
    world.seconds(30);
    // The receipt comes to light with the next offer, which does not name it.
    let (provider, consumer) = (world.provided(1, 2), world.consumed(1, 2));
    assert_eq!(provider.last_hash, consumer.last_hash);
    assert_eq!(provider.unsigned_bytes, 0);
    world.traffic(1, 2, 0, 2 * MIB);
    world.seconds(30);
    assert_eq!(paid(&mut world), 8000);
    assert_logs_verify(&world);
}

#[test]
fn after_a_loss_of_power_the_consumer_allows_for_one_credit_window() {
    let mut world = World::pair(1000);
    world.traffic(1, 2, 0, 3 * MIB);
    // 8 MiB that the consumer's kernel counted and that nobody knows of any more.
    world.lose(|message| matches!(message, Message::Request(_)));
    world.traffic(1, 2, 0, 8 * MIB);
    world.power_cut(2, 0);
    world.lose(|_| false);
    world.seconds(30);
    assert_eq!(world.provided(1, 2).signed, totals(0, 8 * MIB, 0));
    assert_eq!(paid(&mut world), 11_000);

    // The same again without a restart is not confirmed.
    world.count(1, party(2), Role::Provider, 0, 8 * MIB);
    world.seconds(30);
    assert_eq!(paid(&mut world), 11_000);
    assert_eq!(world.provided(1, 2).disputed_bytes, u128::from(8 * MIB));
}

#[test]
fn what_was_counted_is_handed_over_at_a_restart() {
    for seed in [1, 2] {
        let mut world = World::pair(1000);
        world.traffic(1, 2, 0, 3 * MIB);
        world.lose(|message| matches!(message, Message::Request(_)));
        world.traffic(1, 2, 0, 20 * MIB);
        world.hand_over(seed);
        world.lose(|_| false);
        world.seconds(60);
        assert_eq!(paid(&mut world), 23_000, "node {seed}");
        assert_eq!(world.provided(1, 2).disputed_bytes, 0);
        assert_logs_verify(&world);
    }
}

#[test]
fn whoever_reads_its_counters_late_is_waited_for() {
    let mut world = World::pair(1000);
    world.traffic(1, 2, 0, MIB);
    world.count(1, party(2), Role::Provider, 0, 3 * MIB);
    world.now += Duration::from_secs(60);
    let now = world.now;
    assert_eq!(world.node(2).ledger.poll_timeout(), None, "nothing to do");
    world.node(2).ledger.handle_timeout(now);
    world.settle();
    assert_eq!(count_sent(&world, |m| matches!(m, Message::Refusal(_))), 0);
    world.count(2, party(1), Role::Consumer, 0, 3 * MIB);
    assert_eq!(paid(&mut world), 4000);
    assert_eq!(world.provided(1, 2).disputed_bytes, 0);
}

#[test]
fn a_crash_of_the_process_loses_neither_receipts_nor_counts() {
    for (seed, receipts) in [(1, 1), (1, 3), (2, 1), (2, 3)] {
        let mut world = World::pair(1000);
        for _ in 0..receipts {
            world.traffic(1, 2, 0, 3 * MIB);
        }
        world.traffic(1, 2, 0, MIB);
        world.crash(seed);
        world.traffic(1, 2, 0, 5 * MIB);
        world.seconds(120);
        assert_eq!(
            paid(&mut world),
            6000 + 3000 * receipts,
            "node {seed}, {receipts} receipts"
        );
        let provider = world.provided(1, 2);
        assert_eq!((provider.unsigned_bytes, provider.disputed_bytes), (0, 0));
        assert_logs_verify(&world);
    }
}

#[test]
fn a_provider_without_its_log_is_told_where_the_account_stands() {
    for price in [1000, 2000] {
        let mut world = World::pair(1000);
        for _ in 0..5 {
            world.traffic(1, 2, 0, 3 * MIB);
        }
        let before = world.provided(1, 2);
        world.node(1).price = Price::new(price);
        world.restart(1, Vec::clear);
        world.traffic(1, 2, 0, 3 * MIB);
        world.seconds(60);
        assert_eq!(before.position, at(1, 5));
        let after = world.provided(1, 2);
        assert_eq!(after.earlier_amount, before.amount, "what was signed");
        assert_eq!(after.signed, totals(0, 3 * MIB, 0), "and counted since");
        assert_eq!(after.amount, Amount::new(3 * u128::from(price)));
        assert_eq!(world.consumed(1, 2).last_hash, after.last_hash);
        let adopted = |event: &Event| matches!(event, Event::Adopted { .. });
        assert!(world.node(1).events.iter().any(adopted));
        assert_logs_verify(&world);
    }
}

#[test]
fn a_provider_whose_last_receipts_were_not_on_disk_is_shown_the_newest() {
    let mut world = World::pair(1000);
    for _ in 0..5 {
        world.traffic(1, 2, 0, 3 * MIB);
    }
    world.power_cut(1, 50);
    assert_eq!(world.provided(1, 2).position, at(1, 2));
    world.traffic(1, 2, 0, 3 * MIB);
    world.seconds(60);
    assert_eq!(paid(&mut world), 18_000);
    assert_eq!(
        world.consumed(1, 2).last_hash,
        world.provided(1, 2).last_hash
    );
    assert_logs_verify(&world);
}

#[test]
fn a_consumer_whose_last_receipts_were_not_on_disk_signs_no_place_twice() {
    for percent in [0, 20, 50, 80, 100] {
        let mut world = World::pair(1000);
        for _ in 0..5 {
            world.traffic(1, 2, 0, 3 * MIB);
        }
        world.power_cut(2, percent);
        world.traffic(1, 2, 0, 3 * MIB);
        world.seconds(60);
        assert_eq!(world.consumed(1, 2).position, at(2, 1));
        assert_eq!(paid(&mut world), 18_000);
        let consumer = world.consumed(1, 2);
        assert_eq!(consumer.earlier_amount, Amount::new(15_000), "{percent}");
        assert_logs_verify(&world);
    }
}

#[test]
fn a_consumer_without_its_log_is_shown_what_it_signed() {
    let mut world = World::pair(1000);
    for _ in 0..5 {
        world.traffic(1, 2, 0, 3 * MIB);
    }
    world.restart(2, Vec::clear);
    world.traffic(1, 2, 0, 3 * MIB);
    world.seconds(60);
    let (provider, consumer) = (world.provided(1, 2), world.consumed(1, 2));
    assert_eq!(
        consumer.position,
        at(2, 1),
        "nothing more in the first epoch"
    );
    assert_eq!(consumer.earlier_amount, Amount::new(15_000));
    assert_eq!(consumer.last_hash, provider.last_hash);
    assert_logs_verify(&world);
}

#[test]
fn a_log_cut_at_any_byte_on_either_side_never_signs_two_contents() {
    for seed in [1, 2] {
        let mut lengths = World::pair(1000);
        for _ in 0..3 {
            lengths.traffic(1, 2, 0, 3 * MIB);
        }
        let full = lengths.node(seed).log.len();
        for cut in (0..=full).step_by(7) {
            let mut world = World::pair(1000);
            for _ in 0..3 {
                world.traffic(1, 2, 0, 3 * MIB);
            }
            world.restart(seed, |log| log.truncate(cut));
            world.traffic(1, 2, 0, 4 * MIB);
            world.seconds(60);
            let (provider, consumer) = (world.provided(1, 2), world.consumed(1, 2));
            assert_eq!(paid(&mut world), 13_000, "log {seed} cut at {cut}");
            assert_eq!(
                consumer.last_hash, provider.last_hash,
                "log {seed} cut at {cut}"
            );
            assert_logs_verify(&world);
        }
    }
}

/// A known consumer has had one MiB at the old price, then the price changes.
fn new_price(price: u64) -> World {
    let mut world = World::pair(1000);
    world.traffic(1, 2, 0, MIB);
    world.seconds(10);
    world.traffic(1, 2, 0, MIB);
    world.node(1).price = Price::new(price);
    world
}

#[test]
fn a_new_price_applies_to_new_bytes_only() {
    for price in [5000, 200] {
        let mut world = new_price(price);
        world.traffic(1, 2, 0, 2 * MIB);
        let account = world.provided(1, 2);
        assert_eq!(account.position, at(2, 1), "last receipt, then a new epoch");
        assert_eq!(account.earlier_amount, Amount::new(2000));
        assert_eq!(account.amount, Amount::new(2 * u128::from(price)));
        assert_logs_verify(&world);
    }
}

#[test]
fn bytes_carried_while_an_epoch_closes_belong_to_the_next() {
    let mut world = new_price(5000);
    world.lose(|message| matches!(message, Message::Receipt(_)));
    world.traffic(1, 2, 0, 3 * MIB);
    world.traffic(1, 2, 0, 3 * MIB);
    assert_eq!(world.provided(1, 2).position, at(1, 1));
    world.lose(|_| false);
    world.seconds(120);
    let account = world.provided(1, 2);
    assert_eq!(account.earlier_amount, Amount::new(2000));
    assert_eq!(
        (account.position, account.amount),
        (at(2, 1), Amount::new(30_000))
    );
    assert_logs_verify(&world);
}

#[test]
fn what_an_epoch_that_could_not_be_closed_leaves_is_billed_at_the_lower_price() {
    for (price, amount) in [(5000, 1000 + 15_000), (200, 800)] {
        let mut world = new_price(price);
        world.lose(|message| matches!(message, Message::Request(_)));
        world.traffic(1, 2, 0, 3 * MIB);
        world.hand_over(2);
        world.lose(|_| false);
        world.seconds(120);
        assert_eq!(paid(&mut world), 1000 + amount);
        assert_eq!(world.provided(1, 2).disputed_bytes, 0);
        assert_logs_verify(&world);
    }
}

#[test]
fn a_consumer_that_does_not_answer_cannot_stall_a_new_price() {
    let mut world = new_price(5000);
    world.lose(|message| matches!(message, Message::Request(_)));
    world.traffic(1, 2, 0, MIB);
    world.seconds(30 * 60);
    let account = world.provided(1, 2);
    assert_eq!(account.position, at(2, 0));
    assert_eq!(account.disputed_bytes, u128::from(MIB));
}

#[test]
fn another_credit_is_another_epoch_and_the_same_is_not() {
    let mut world = World::pair(1000);
    world.traffic(1, 2, 0, 3 * MIB);
    world.seconds(10);
    for (known_bytes, position) in [(8 * MIB, at(1, 2)), (4 * MIB, at(2, 1))] {
        let credit = Credit {
            known_bytes,
            ..Credit::new()
        };
        let now = world.now;
        world.node(1).ledger.set_terms(now, credit, Price::MAX);
        world.settle();
        world.traffic(1, 2, 0, 3 * MIB);
        assert_eq!(world.provided(1, 2).position, position);
    }
    assert_eq!(world.consumed(1, 2).credit_bytes, Some(4 * MIB));
}

#[test]
fn two_gateways_are_two_accounts_and_one_count_of_epochs() {
    let mut world = World::pair(1000);
    let (near, far) = (party(8), party(7));
    world.traffic_to(near, 1, 2, (0, 3 * MIB));
    world.node(1).price = Price::new(5000);
    world.traffic_to(far, 1, 2, (MIB, 2 * MIB));
    let accounts = world.node(2).accounts(party(1), Role::Consumer);
    let of = |gateway| *accounts.iter().find(|a| a.gateway == gateway).unwrap();
    assert_eq!(accounts.len(), 2);
    assert_eq!(
        (of(near).position, of(near).amount),
        (at(1, 1), Amount::new(3000))
    );
    assert_eq!(
        (of(far).position, of(far).amount),
        (at(2, 1), Amount::new(15_000))
    );
    assert_logs_verify(&world);
}

#[test]
fn an_offer_that_another_one_has_overtaken_is_replaced() {
    let mut world = World::pair(1000);
    let (near, far) = (party(8), party(7));
    world.lose(|message| matches!(message, Message::Offer(offer) if offer.epoch() == 1));
    world.traffic_to(near, 1, 2, (0, 3 * MIB));
    world.traffic_to(far, 1, 2, (0, 3 * MIB));
    world.lose(|_| false);
    world.seconds(60);
    let accounts = world.node(1).accounts(party(2), Role::Provider);
    let positions: Vec<_> = accounts.iter().map(|account| account.position).collect();
    assert!(
        positions.contains(&at(2, 1)) && positions.contains(&at(3, 1)),
        "{positions:?}"
    );
    assert_logs_verify(&world);
}

#[test]
fn a_link_that_loses_a_third_still_settles_what_arrived() {
    let mut world = World::pair(1000);
    for _ in 0..50 {
        world.count(2, party(1), Role::Consumer, 70_000, 700_000);
        world.count(1, party(2), Role::Provider, 70_000, 1_000_000);
        world.seconds(1);
    }
    world.seconds(300);
    let account = world.provided(1, 2);
    assert!(account.signed.down_bytes >= 35_000_000, "{account:?}");
    assert!(
        account.signed.down_bytes <= 35_000_000 + 350_000 + 65_536,
        "{account:?}"
    );
    assert_eq!(account.unsigned_bytes, 0);
    assert_logs_verify(&world);
}

#[test]
fn what_is_sent_was_persisted_before() {
    let mut world = World::pair(1000);
    let now = world.now;
    let (mut logged, mut checked) = (Vec::new(), 0);
    let usage = |role, peer| Usage {
        peer,
        role,
        gateway: gateway(),
        price: Some(Price::new(1000)),
        up_bytes: 0,
        down_bytes: 3 * MIB,
    };
    world
        .node(2)
        .ledger
        .handle_usage(now, usage(Role::Consumer, party(1)))
        .unwrap();
    world
        .node(1)
        .ledger
        .handle_usage(now, usage(Role::Provider, party(2)))
        .unwrap();
    let mut flight: Vec<(Party, Vec<u8>)> = Vec::new();
    for seed in [1, 2, 1] {
        for (from, payload) in std::mem::take(&mut flight) {
            world
                .node(seed)
                .ledger
                .handle_message(now, from, &payload)
                .unwrap();
        }
        while let Some(output) = world.node(seed).ledger.poll_output() {
            match output {
                receipts::Output::Persist(record) => logged.push(record),
                receipts::Output::Send { payload, .. } => {
                    match Message::parse(&payload).unwrap() {
                        Message::Offer(offer) => {
                            assert!(logged.contains(&Record::OfferMade(offer)));
                        }
                        Message::Receipt(compact) => {
                            assert!(logged.iter().any(|record| matches!(record,
                                Record::ReceiptGiven(r) if CompactReceipt::from(r) == compact)));
                            checked += 1;
                        }
                        Message::Request(_) | Message::Refusal(_) | Message::Head(_) => {}
                    }
                    flight.push((party(seed), payload));
                }
                receipts::Output::Hold { .. }
                | receipts::Output::Throttle(_)
                | receipts::Output::Event(_) => {}
            }
        }
    }
    assert_eq!(checked, 1);
    assert!(
        logged
            .iter()
            .any(|record| matches!(record, Record::ReceiptReceived(_)))
    );
}

#[test]
fn nothing_leaves_while_the_log_cannot_be_written() {
    let mut world = World::pair(1000);
    world.traffic(1, 2, 0, 3 * MIB);
    world.node(2).disk_full = true;
    world.sent.clear();
    world.traffic(1, 2, 0, 3 * MIB);
    world.seconds(3600);
    let receipt = |(from, _, _): &&(Party, Party, Message)| *from == party(2);
    assert_eq!(world.sent.iter().filter(receipt).count(), 0);

    // Neighbors repeat themselves; what waits here does not grow without end.
    let request = world.sent.last().unwrap().2.clone();
    for _ in 0..1000 {
        let _ = world.inject(1, 2, &request);
    }
    assert!(world.node(2).ledger.counters().busy > 0);

    world.node(2).disk_full = false;
    world.seconds(600);
    assert_eq!(world.provided(1, 2).signed.down_bytes, 6 * MIB);
    assert_logs_verify(&world);
}

#[test]
fn a_relay_is_provider_and_consumer_at_once() {
    let mut world = World::new();
    for (seed, price) in [(1, 700), (2, 1000), (3, 0)] {
        world.add(seed, price, buyer());
    }
    for _ in 0..10 {
        world.traffic(1, 2, MIB, MIB);
        world.traffic(2, 3, MIB, MIB);
    }
    let earned = world.provided(2, 3).amount.atto_smt();
    let paid = world.consumed(1, 2).amount.atto_smt();
    assert_eq!(
        (earned, paid),
        (20_000, 14_000),
        "its own fee is the difference"
    );
    assert_logs_verify(&world);
}
