//! Providers and consumers in virtual time: the ordinary course, lost messages, restarts, lost
//! logs, new terms.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

mod common;

use std::time::Duration;

use common::{MIB, Random, World, assert_logs_verify, assert_one_content_per_place, at};
use common::{network, party, totals};
use proptest::prelude::*;
use receipts::log::Record;
use receipts::{Amount, CompactReceipt, Event, LedgerConfig, Message, Party, Price, Role, Usage};

fn count_sent(world: &World, wanted: fn(&Message) -> bool) -> usize {
    world
        .sent
        .iter()
        .filter(|(_, _, message)| wanted(message))
        .count()
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
    assert_eq!(world.provided(1, 2).position, at(1, 0));
    world.seconds(59);
    assert_eq!(world.provided(1, 2).unsigned_bytes, 2);
    world.seconds(2);
    assert_eq!(world.provided(1, 2).position, at(1, 1));
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
        2 + 200,
        "an offer twice, then request and receipt"
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
    for lost in 0..4 {
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
fn a_provider_goes_on_after_a_restart() {
    let mut world = World::pair(1000);
    world.traffic(1, 2, 0, 3 * MIB);
    world.restart(1, |_| {});
    assert_eq!(world.provided(1, 2).position, at(1, 1));
    world.traffic(1, 2, 0, 3 * MIB);
    assert_eq!(world.provided(1, 2).position, at(1, 2));
    assert_eq!(world.provided(1, 2).signed, totals(0, 6 * MIB, 0));
    assert_logs_verify(&world);
}

#[test]
fn a_consumer_that_restarts_repeats_its_last_receipt() {
    let mut world = World::pair(1000);
    world.lose(|message| matches!(message, Message::Receipt(_)));
    world.traffic(1, 2, 0, 3 * MIB);
    world.restart(2, |_| {});
    world.lose(|_| false);
    world.seconds(30);
    let given = world.node(2).records();
    let hash = given.iter().find_map(|record| match record {
        Record::ReceiptGiven(receipt) => Some(receipt.hash()),
        _ => None,
    });
    assert_eq!(world.provided(1, 2).last_hash, hash);
    assert_one_content_per_place(&world);
}

#[test]
fn after_a_restart_the_consumer_allows_for_one_credit_window() {
    let mut world = World::pair(1000);
    world.traffic(1, 2, 0, 3 * MIB);
    // 8 MiB that the consumer's kernel counted and its process forgot.
    world.lose(|message| matches!(message, Message::Request(_)));
    world.traffic(1, 2, 0, 8 * MIB);
    world.restart(2, |_| {});
    world.lose(|_| false);
    world.seconds(30);
    assert_eq!(world.provided(1, 2).signed, totals(0, 11 * MIB, 0));

    // The same again without a restart is not confirmed.
    world.count(1, party(2), Role::Provider, 0, 8 * MIB);
    world.seconds(30);
    let account = world.provided(1, 2);
    assert_eq!(account.signed, totals(0, 11 * MIB, 0));
    assert_eq!(account.disputed_bytes, u128::from(8 * MIB));
}

#[test]
fn a_provider_without_its_log_is_told_where_the_account_stands() {
    let mut world = World::pair(1000);
    for _ in 0..5 {
        world.traffic(1, 2, 0, 3 * MIB);
    }
    let before = world.provided(1, 2);
    world.restart(1, Vec::clear);
    world.traffic(1, 2, 0, 3 * MIB);
    world.seconds(60);
    let after = world.provided(1, 2);
    assert_eq!(before.position, at(1, 5));
    assert_eq!(after.position, at(1, 6), "goes on behind what was signed");
    assert_eq!(
        after.signed,
        totals(0, 18 * MIB, 0),
        "and keeps what it counted since"
    );
    assert!(
        world
            .node(1)
            .events
            .iter()
            .any(|event| matches!(event, Event::Adopted { .. }))
    );
    assert_logs_verify(&world);
}

#[test]
fn a_provider_without_its_log_and_with_a_new_price_opens_a_new_epoch() {
    let mut world = World::pair(1000);
    world.traffic(1, 2, 0, 3 * MIB);
    world.node(1).config.price = Price::new(2000);
    world.restart(1, Vec::clear);
    world.traffic(1, 2, 0, 3 * MIB);
    world.seconds(120);
    let account = world.provided(1, 2);
    assert_eq!(account.position, at(2, 0));
    assert_eq!(
        account.earlier_amount,
        Amount::new(6000),
        "so far at the price agreed on"
    );
    world.traffic(1, 2, 0, 3 * MIB);
    assert_eq!(world.provided(1, 2).amount, Amount::new(6000));
    assert_eq!(world.consumed(1, 2).earlier_amount, Amount::new(6000));
    assert_logs_verify(&world);
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
    assert_eq!(world.consumed(1, 2).position, at(1, 6));
    assert_eq!(world.consumed(1, 2).signed, totals(0, 18 * MIB, 0));
    assert_eq!(
        world.consumed(1, 2).last_hash,
        world.provided(1, 2).last_hash
    );
    let accepted = |record: &Record| matches!(record, Record::OfferAccepted(_));
    let offers = world.node(2).records().into_iter().filter(accepted).count();
    assert_eq!(offers, 1, "the offer is in the log once");
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
            assert_eq!(
                provider.signed,
                totals(0, 13 * MIB, 0),
                "log {seed} cut at {cut}"
            );
            assert_eq!(
                consumer.last_hash, provider.last_hash,
                "log {seed} cut at {cut}"
            );
            assert_logs_verify(&world);
        }
    }
}

#[test]
fn a_new_price_applies_to_new_bytes_only() {
    let mut world = World::pair(1000);
    world.traffic(1, 2, 0, MIB);
    let now = world.now;
    world
        .node(1)
        .ledger
        .set_sharing(now, Price::new(5000), 8 * MIB);
    world.settle();
    assert_eq!(
        world.provided(1, 2).position,
        at(2, 0),
        "last receipt, then a new epoch"
    );
    world.traffic(1, 2, 0, 2 * MIB);
    let account = world.provided(1, 2);
    assert_eq!(account.position, at(2, 1));
    assert_eq!(account.earlier_amount, Amount::new(1000));
    assert_eq!(account.amount, Amount::new(10_000));
    assert_logs_verify(&world);
}

#[test]
fn bytes_carried_while_an_epoch_closes_belong_to_the_next() {
    let mut world = World::pair(1000);
    world.traffic(1, 2, 0, MIB);
    world.lose(|message| matches!(message, Message::Receipt(_)));
    let now = world.now;
    world
        .node(1)
        .ledger
        .set_sharing(now, Price::new(5000), 8 * MIB);
    world.settle();
    world.traffic(1, 2, 0, 3 * MIB);
    assert_eq!(world.provided(1, 2).position, at(1, 0));
    world.lose(|_| false);
    world.seconds(120);
    let account = world.provided(1, 2);
    assert_eq!(account.earlier_amount, Amount::new(1000));
    assert_eq!(
        (account.position, account.amount),
        (at(2, 1), Amount::new(15_000))
    );
    assert_logs_verify(&world);
}

#[test]
fn a_consumer_that_does_not_answer_cannot_stall_a_new_price() {
    let mut world = World::pair(1000);
    world.traffic(1, 2, 0, MIB);
    world.lose(|message| matches!(message, Message::Receipt(_) | Message::Refusal(_)));
    let now = world.now;
    world
        .node(1)
        .ledger
        .set_sharing(now, Price::new(5000), 8 * MIB);
    world.seconds(30 * 60);
    let account = world.provided(1, 2);
    assert_eq!(account.position, at(2, 0));
    assert_eq!(account.disputed_bytes, u128::from(MIB));
}

#[test]
fn the_same_terms_again_change_nothing() {
    let mut world = World::pair(1000);
    world.traffic(1, 2, 0, 3 * MIB);
    let now = world.now;
    world
        .node(1)
        .ledger
        .set_sharing(now, Price::new(1000), 8 * MIB);
    world.settle();
    assert_eq!(world.provided(1, 2).position, at(1, 1));
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
                receipts::Output::Event(_) => {}
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
        let price = Price::new(price);
        world.add(
            seed,
            LedgerConfig {
                price,
                ..LedgerConfig::new(network())
            },
        );
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

/// Whatever is lost, whoever crashes, wherever logs are cut: both sides end up agreeing.
fn chaos(seed: u64) {
    let mut random = Random(seed);
    let mut world = World::pair(1000);
    let mut dice = Random(seed ^ 0x5eed);
    let mut carried = 0;
    for _ in 0..60 {
        let loss = dice.below(3) * 30;
        let mut drops = Random(dice.next());
        world.lose(move |_| drops.below(100) < loss);
        let bytes = random.below(3 * MIB);
        carried += bytes;
        world.traffic(1, 2, bytes / 3, bytes - bytes / 3);
        world.pass(Duration::from_millis(random.below(20_000)));
        match random.below(12) {
            0 => world.restart(1, |_| {}),
            1 => world.restart(2, |_| {}),
            2 => {
                let torn = usize::try_from(random.below(300)).unwrap();
                let node = 1 + u8::try_from(random.below(2)).unwrap();
                world.restart(node, |log| log.truncate(log.len().saturating_sub(torn)));
            }
            _ => {}
        }
    }
    world.lose(|_| false);
    world.traffic(1, 2, 0, 3 * MIB);
    world.seconds(1200);
    world.traffic(1, 2, 0, 3 * MIB);
    world.seconds(1200);
    let (provider, consumer) = (world.provided(1, 2), world.consumed(1, 2));
    assert_eq!(provider.last_hash, consumer.last_hash, "seed {seed}");
    let signed = consumer.signed.bytes();
    let all = u128::from(carried + 6 * MIB);
    assert!(signed <= all, "seed {seed}: {signed} of {all} carried");
    assert_logs_verify(&world);
}

proptest! {
    #[test]
    fn whatever_happens_both_sides_end_up_agreeing(seed: u64) {
        chaos(seed);
    }
}
