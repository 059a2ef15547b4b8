//! Floods of neighbors and figures: what is kept is bounded, and the rest is counted.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use common::{
    MIB, World, assert_logs_verify, buyer, gateway, key, network, offer_of, party, resigned,
    state_of, terms, totals,
};
use ed25519_dalek::SigningKey;
use receipts::log::{Header, Record};
use receipts::{
    Equivocation, Ledger, LedgerConfig, Message, MessageError, Offer, Party, Price, Receipt, Role,
    Standing, Terms, Usage, UsageError,
};

#[test]
fn offers_of_strangers_reach_neither_the_log_nor_the_end_of_memory() {
    let mut world = World::new();
    world.add(2, 0, buyer());
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
    world.add(1, 1000, buyer());
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

/// Someone whom nobody has seen before.
fn stranger(n: u16) -> SigningKey {
    let mut seed = [9; 32];
    seed[..2].copy_from_slice(&n.to_le_bytes());
    SigningKey::from_bytes(&seed)
}

fn header(owner: u8) -> Header {
    Header {
        network: network(),
        owner: party(owner),
    }
}

fn restarted(owner: u8, records: &[Record]) -> Ledger {
    let state = state_of(header(owner), records);
    Ledger::new(LedgerConfig::new(network()), key(owner), state).unwrap()
}

#[test]
fn no_account_gives_way_to_an_offer_that_nobody_signed() {
    let mut world = World::new();
    world.add(2, 0, buyer());
    for n in 0..1024 {
        let from = Party::of(&stranger(n));
        world.count(2, from, Role::Consumer, 1, 1);
    }
    world.seconds(600);
    let peers = |world: &mut World| -> Vec<Party> {
        let accounts = world.node(2).ledger.accounts();
        accounts.map(|account| account.peer).collect()
    };
    let before = peers(&mut world);
    let newcomer = stranger(1024);
    let offer = Offer::sign(&newcomer, network(), party(2), 1, terms(Price::FREE));
    let mut payload = Message::Offer(offer).to_bytes();
    let good = payload.clone();
    *payload.last_mut().unwrap() ^= 1;
    let (now, from) = (world.now, Party::of(&newcomer));

    let result = world.node(2).ledger.handle_message(now, from, &payload);
    assert!(
        matches!(result, Err(MessageError::Signature(_))),
        "{result:?}"
    );
    assert_eq!(peers(&mut world), before);

    let result = world.node(2).ledger.handle_message(now, from, &good);
    assert_eq!(result, Ok(()));
    assert!(
        peers(&mut world).contains(&from),
        "there was room to be made"
    );
}

#[test]
fn no_more_accounts_are_recovered_than_there_may_be() {
    let mut records = Vec::new();
    let made = |consumer: Party, gateway: Party, epoch| {
        let terms = Terms {
            gateway,
            ..terms(Price::new(1000))
        };
        Offer::sign(&key(1), network(), consumer, epoch, terms)
    };
    // Somebody who has signed, for more gateways than there are accounts with one neighbor …
    for epoch in 1..=20 {
        let offer = made(party(2), party(epoch), epoch.into());
        records.push(Record::OfferMade(offer.clone()));
        let receipt = Receipt::sign(&key(2), &offer, None, totals(0, MIB, 1)).unwrap();
        records.push(Record::ReceiptReceived(receipt));
    }
    // … and strangers, who have had more epochs.
    for n in 0..1100 {
        let offer = made(Party::of(&stranger(n)), gateway(), 100 + u64::from(n));
        records.push(Record::OfferMade(offer));
    }

    let ledger = restarted(1, &records);

    let accounts: Vec<_> = ledger.accounts().collect();
    assert_eq!(accounts.len(), 1024);
    let mut known: Vec<u64> = accounts
        .iter()
        .filter(|account| account.peer == party(2))
        .map(|account| account.position.unwrap().epoch)
        .collect();
    known.sort_unstable();
    assert_eq!(known, (5..=20).collect::<Vec<_>>(), "the newest sixteen");
    let strangers = accounts
        .iter()
        .filter(|it| it.standing == Standing::Stranger);
    let oldest = strangers.map(|it| it.position.unwrap().epoch).min();
    assert_eq!(oldest, Some(100 + 1100 - (1024 - 16)));
}

#[test]
fn an_epoch_in_which_this_node_may_have_signed_outlives_its_account() {
    // Power failed between an offer and the first receipt under it.
    let old = offer_of(1, 2, 7, Price::FREE);
    let mut records = vec![Record::OfferAccepted(old.clone())];
    for n in 0..1024 {
        let offer = Offer::sign(&stranger(n), network(), party(2), 8, terms(Price::FREE));
        records.push(Record::OfferAccepted(offer));
    }
    let mut world = World::new();
    world.add(2, 0, buyer());
    world.node(2).ledger = restarted(2, &records);
    assert_eq!(world.node(2).ledger.accounts().count(), 1024);
    assert_eq!(world.node(2).accounts(party(1), Role::Consumer), []);

    let payload = Message::Offer(old).to_bytes();
    for _ in 0..2 {
        let now = world.now;
        let result = world.node(2).ledger.handle_message(now, party(1), &payload);
        assert_eq!(result, Err(MessageError::Stale));
        world.seconds(60);
    }
}

#[test]
fn a_cheat_is_one_even_if_only_the_proof_is_left() {
    let [one] = common::receipts(1).try_into().unwrap();
    let other = resigned(&one, 2, |content| content[104] ^= 1);
    let proof = Equivocation::between(&one, &other).unwrap();
    let mut world = World::new();
    world.add(1, 1000, LedgerConfig::new(network()));
    world.node(1).ledger = restarted(1, &[Record::Equivocation(Box::new(proof))]);
    world.count(1, party(2), Role::Provider, 1, 1);
    assert_eq!(world.provided(1, 2).standing, Standing::Cheat);
}

/// Two gateways' first requests of a stranger are signed, but the receipts do not arrive.
fn unanswered() -> World {
    let mut world = World::pair(1000);
    world.lose(|message| matches!(message, Message::Receipt(_)));
    world.traffic(1, 2, 0, MIB / 4);
    world.traffic_to(party(8), 1, 2, (0, MIB / 4));
    world.seconds(5);
    assert_eq!(world.node(1).records().len(), 2, "both offers");
    world
}

#[test]
fn a_stranger_that_signs_after_a_compaction_has_its_offers_in_the_log() {
    let mut world = unanswered();
    world.node(1).compact();
    assert_eq!(world.node(1).records(), []);

    world.lose(|_| false);
    world.seconds(10);
    world.traffic(1, 2, 0, 3 * MIB);
    world.seconds(60);

    let records = world.node(1).records();
    let is_offer = |record: &&Record| matches!(record, Record::OfferMade(_));
    assert_eq!(records.iter().filter(is_offer).count(), 2, "{records:?}");
    let received = world.node(1).accounts(party(2), Role::Provider);
    assert!(
        received.iter().all(|it| it.signed.bytes() > 0),
        "{received:?}"
    );
    assert_logs_verify(&world);
}

#[test]
fn receipts_that_come_to_light_after_a_compaction_have_their_offers_in_the_log() {
    let mut world = unanswered();
    world.restart(1, |_| {});
    world.node(1).compact();
    assert_eq!(world.node(1).records(), []);

    // It offers the next epochs, and is shown what was signed.
    world.lose(|_| false);
    world.traffic(1, 2, 0, MIB / 4);
    world.traffic_to(party(8), 1, 2, (0, MIB / 4));
    world.seconds(120);

    let mut epochs: Vec<u64> = Vec::new();
    for record in world.node(1).records() {
        if let Record::ReceiptReceived(receipt) = record {
            epochs.push(receipt.position().epoch);
        }
    }
    epochs.sort_unstable();
    assert_eq!(epochs[..2], [1, 2]);
    assert_logs_verify(&world);
}

#[test]
fn a_provider_that_forgot_what_it_offered_a_stranger_is_told_what_that_signed() {
    let mut world = unanswered();
    world.node(1).compact();
    world.restart(1, |_| {});
    world.lose(|_| false);
    world.traffic(1, 2, 0, MIB / 2);
    world.traffic_to(party(8), 1, 2, (0, MIB / 2));
    world.seconds(120);

    assert_logs_verify(&world);
    let owed = |role, seed, peer| {
        let accounts = world.nodes[&party(seed)].accounts(party(peer), role);
        accounts.iter().map(|it| it.last_hash).collect::<Vec<_>>()
    };
    let given = owed(Role::Consumer, 2, 1);
    assert_eq!(owed(Role::Provider, 1, 2), given);
    assert!(given.iter().all(Option::is_some));
}
