//! Floods of neighbors and figures: what is kept is bounded, and the rest is counted.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use common::{MIB, World, assert_logs_verify, buyer, gateway, network, party, terms};
use ed25519_dalek::SigningKey;
use receipts::{LedgerConfig, Message, MessageError, Offer, Party, Price, Role, Usage, UsageError};

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

#[test]
fn no_account_gives_way_to_an_offer_that_nobody_signed() {
    let mut world = World::new();
    world.add(2, 0, LedgerConfig::new(network()));
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
