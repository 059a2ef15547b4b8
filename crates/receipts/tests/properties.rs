//! What holds whatever happens: lost messages, restarts, power cuts, changing prices, a cheat.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "tests"
)]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{MIB, Random, World, assert_logs_verify, assert_nobody_accused, gateway, key};
use common::{buyer, party, totals};
use proptest::prelude::*;
use receipts::log::{Record, verify};
use receipts::{
    CompactReceipt, Event, Message, MessageError, Party, Position, Price, Receipt, Role, Totals,
};

/// What can happen to provider 1 and consumer 2, but for the messages that are lost.
fn strike(world: &mut World, random: &mut Random) {
    let node = 1 + u8::try_from(random.below(2)).unwrap();
    match random.below(12) {
        0 => world.hand_over(node),
        1 => world.restart(node, |_| {}),
        2 => world.power_cut(node, usize::try_from(random.below(101)).unwrap()),
        3 => world.node(1).price = Price::new(500 + random.below(1000)),
        _ => {}
    }
}

/// Bytes carried from one of two gateways, and what was carried in all.
fn chaos(seed: u64, rounds: usize, mut observe: impl FnMut(&mut World)) -> (World, u64) {
    let mut random = Random(seed);
    let mut world = World::pair(1000);
    let gateways = [gateway(), party(8)];
    let mut carried = 0;
    for _ in 0..rounds {
        let loss = random.below(3) * 30;
        let mut drops = Random(random.next());
        world.lose(move |_| drops.below(100) < loss);
        let bytes = random.below(3 * MIB);
        carried += bytes;
        let to = gateways[usize::try_from(random.below(2)).unwrap()];
        world.traffic_to(to, 1, 2, (bytes / 3, bytes - bytes / 3));
        world.pass(Duration::from_millis(random.below(20_000)));
        strike(&mut world, &mut random);
        observe(&mut world);
    }
    world.lose(|_| false);
    for _ in 0..2 {
        for to in gateways {
            world.traffic_to(to, 1, 2, (0, 3 * MIB));
            carried += 3 * MIB;
        }
        world.seconds(1200);
        observe(&mut world);
    }
    (world, carried)
}

/// Both sides agree in the end, nothing is signed for twice, and nobody has a proof against
/// anybody.
fn agree(seed: u64) {
    let (mut world, carried) = chaos(seed, 40, |_| {});
    let provided = world.node(1).accounts(party(2), Role::Provider);
    let consumed = world.node(2).accounts(party(1), Role::Consumer);
    for (provider, consumer) in provided.iter().zip(&consumed) {
        assert_eq!(provider.last_hash, consumer.last_hash, "seed {seed}");
        assert_eq!(provider.unsigned_bytes, 0, "seed {seed}");
    }
    let report = verify(&world.node(1).log).unwrap();
    let newest = report.newest.values();
    let signed: u128 = newest.map(|last| last.totals().bytes()).sum();
    assert!(
        signed <= u128::from(carried),
        "seed {seed}: {signed} of {carried} carried"
    );
    assert_logs_verify(&world);
}

/// Of each account, receipts come in order, and none says less than the one before in its epoch.
fn rise(seed: u64) {
    let mut last: BTreeMap<(u8, Party), (Position, Totals)> = BTreeMap::new();
    chaos(seed, 40, |world| {
        for seed in [1, 2] {
            for event in std::mem::take(&mut world.node(seed).events) {
                let (Event::ReceiptReceived {
                    gateway,
                    position,
                    totals,
                    ..
                }
                | Event::ReceiptGiven {
                    gateway,
                    position,
                    totals,
                    ..
                }) = event
                else {
                    continue;
                };
                let known = last.insert((seed, gateway), (position, totals));
                // A loss of power takes receipts that come again, as they were, from the neighbor.
                let Some((before, signed)) = known else {
                    continue;
                };
                if position > before && position.epoch == before.epoch {
                    assert!(totals.covers(&signed), "{totals:?} after {signed:?}");
                }
            }
        }
    });
}

/// Consumer 2 signs as asked, and now and then another content for a place that it has used.
fn cheat(seed: u64) {
    let mut random = Random(seed);
    let mut world = World::pair(1000);
    let mut given: BTreeMap<Position, Receipt> = BTreeMap::new();
    let mut proven = false;
    for _ in 0..40 {
        // A new run remembers the last receipt only, and opens an epoch with its first traffic.
        if random.below(10) == 0 {
            world.hand_over(1 + u8::try_from(random.below(2)).unwrap());
        }
        world.traffic(1, 2, MIB, 2 * MIB);
        world.seconds(10);
        let records = world.node(1).records();
        let offers = records.iter().filter_map(|record| match record {
            Record::OfferMade(offer) => Some((offer.epoch(), offer.clone())),
            _ => None,
        });
        let offers: BTreeMap<_, _> = offers.collect();
        given.extend(records.iter().filter_map(|record| match record {
            Record::ReceiptReceived(receipt) => Some((receipt.position(), receipt.clone())),
            _ => None,
        }));
        // One of the last places of the newest epoch.
        let epoch = *offers.keys().last().unwrap();
        let places: Vec<_> = given.keys().filter(|place| place.epoch == epoch).collect();
        if places.is_empty() || random.below(4) > 0 {
            continue;
        }
        let back = usize::try_from(random.below(16))
            .unwrap()
            .min(places.len() - 1);
        let place = *places[places.len() - 1 - back];
        let before = given.range(..place).next_back().map(|(_, receipt)| receipt);
        let before = before.filter(|receipt| receipt.position().epoch == epoch);
        let figures = totals(1 << 40, 1 << 40, u32::MAX);
        let other = Receipt::sign(&key(2), &offers[&epoch], before, figures).unwrap();
        let message = Message::Receipt(CompactReceipt::from(&other));
        let result = world.inject(2, 1, &message);
        assert_eq!(result, Err(MessageError::Contradiction), "{place}");
        proven = true;
    }
    let proofs = world.node(1).records().into_iter();
    let proofs: Vec<_> = proofs
        .filter_map(|record| match record {
            Record::Equivocation(proof) => Some(proof),
            _ => None,
        })
        .collect();
    assert_eq!(proofs.len(), usize::from(proven), "seed {seed}");
    for proof in proofs {
        let (first, second) = proof.receipts();
        assert_eq!(given[&first.position()], *first, "the one that was taken");
        assert_eq!(
            (first.position(), proof.verify()),
            (second.position(), Ok(()))
        );
    }
}

/// Traffic in slices, each counted by both at its own time, costs what it costs in one piece.
fn slices(price: u64, slices: &[u64]) {
    let mut world = World::pair(price);
    let mut all = 0;
    for bytes in slices {
        world.traffic(1, 2, bytes / 2, bytes - bytes / 2);
        world.seconds(3);
        all += bytes;
    }
    world.seconds(600);
    let account = world.provided(1, 2);
    assert_eq!(account.position.map(|place| place.epoch), Some(1));
    let exact = u128::from(price) * u128::from(all) / u128::from(MIB);
    assert_eq!(account.amount.atto_smt(), exact);
    assert_eq!(world.consumed(1, 2).amount, account.amount);
}

/// Gateways 1 and 5 behind relays 2 and 3; node 4 is at the end of the chain.
struct Chain {
    world: World,
    fees: BTreeMap<u8, u64>,
    /// Bytes that passed through a relay, by gateway.
    passed: BTreeMap<(u8, u8), u64>,
}

impl Chain {
    fn new(random: &mut Random) -> Self {
        let mut world = World::new();
        let seeds = [1, 5, 2, 3, 4];
        let fees: BTreeMap<u8, u64> = seeds.map(|seed| (seed, random.below(1 << 40))).into();
        for (seed, fee) in &fees {
            world.add(*seed, *fee, buyer());
        }
        for gateway in [1, 5] {
            let at_2 = fees[&gateway] + fees[&2];
            for (relay, price) in [(2, at_2), (3, at_2 + fees[&3])] {
                let prices = &mut world.node(relay).prices;
                prices.insert(party(gateway), Price::new(price));
            }
        }
        let passed = BTreeMap::new();
        Self {
            world,
            fees,
            passed,
        }
    }

    /// Traffic between a node of the chain and a gateway, hop by hop.
    fn carry(&mut self, from: u8, gateway: u8, bytes: (u64, u64)) {
        let hops = [(3, 4), (2, 3), (gateway, 2)];
        let hops = hops.iter().skip_while(|(_, consumer)| *consumer != from);
        for &(provider, consumer) in hops {
            self.world
                .traffic_to(party(gateway), provider, consumer, bytes);
            *self.passed.entry((provider, gateway)).or_default() += bytes.0 + bytes.1;
        }
    }

    /// What a node has earned and paid for one gateway, by its own books, and in how many epochs.
    fn books(&self, seed: u8, gateway: u8) -> (u128, u128, u128) {
        let node = &self.world.nodes[&party(seed)];
        let (mut earned, mut paid, mut epochs) = (0, 0, 0);
        for account in node.ledger.accounts() {
            if account.gateway != party(gateway) {
                continue;
            }
            let amount = account.amount.atto_smt() + account.earlier_amount.atto_smt();
            match account.role {
                Role::Provider => earned += amount,
                Role::Consumer => paid += amount,
            }
            epochs += 1;
        }
        (earned, paid, epochs)
    }
}

fn conserve(seed: u64) {
    let mut random = Random(seed);
    let mut chain = Chain::new(&mut random);
    for _ in 0..60 {
        let from = 2 + u8::try_from(random.below(3)).unwrap();
        let gateway = [1, 5][usize::try_from(random.below(2)).unwrap()];
        chain.carry(from, gateway, (random.below(MIB), random.below(3 * MIB)));
        chain.world.pass(Duration::from_millis(random.below(3000)));
    }
    chain.world.seconds(300);
    for gateway in [1, 5] {
        let (mut earned_by_all, mut paid_by_all) = (0, 0);
        for seed in [1, 5, 2, 3, 4] {
            let (earned, paid, epochs) = chain.books(seed, gateway);
            earned_by_all += earned;
            paid_by_all += paid;
            if ![2, 3].contains(&seed) {
                continue;
            }
            // A relay keeps its fee for what it carried; for its own traffic it pays the next one.
            let own = chain.own_traffic(seed, gateway);
            let price = chain.fees[&gateway] + if seed == 3 { chain.fees[&2] } else { 0 };
            let bytes = chain.passed.get(&(seed, gateway)).copied().unwrap_or(0);
            let margin = u128::from(chain.fees[&seed]) * u128::from(bytes) / u128::from(MIB);
            let spent = u128::from(price) * u128::from(own) / u128::from(MIB);
            let kept = earned + spent;
            let expected = margin + paid;
            assert!(kept.abs_diff(expected) <= epochs + 2, "relay {seed}");
        }
        assert_eq!(earned_by_all, paid_by_all, "nothing is made or lost");
    }
    assert_nobody_accused(&chain.world);
}

impl Chain {
    /// What a relay had from a gateway for itself: what the next one carried for it, less what it
    /// carried on.
    fn own_traffic(&self, relay: u8, gateway: u8) -> u64 {
        let next = if relay == 3 { 2 } else { gateway };
        let passed = |node| self.passed.get(&(node, gateway)).copied().unwrap_or(0);
        passed(next) - passed(relay)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn honest_nodes_agree_sign_for_nothing_twice_and_are_never_accused(seed: u64) {
        agree(seed);
    }

    #[test]
    fn totals_only_rise(seed: u64) {
        rise(seed);
    }

    #[test]
    fn equal_place_implies_equal_hash_or_a_proof(seed: u64) {
        cheat(seed);
    }

    #[test]
    fn amounts_are_exact_under_any_slicing(
        price in 0_u64..1 << 60, sizes in proptest::collection::vec(1_u64..4 * MIB, 1..30),
    ) {
        slices(price, &sizes);
    }

    #[test]
    fn margins_and_payments_conserve(seed: u64) {
        conserve(seed);
    }

    #[test]
    fn a_handover_at_any_time_bills_what_was_counted(
        sizes in proptest::collection::vec((1_u64..4 * MIB, 0_u8..4), 1..30),
    ) {
        let mut world = World::pair(1 << 30);
        let mut all = 0;
        for (bytes, who) in sizes {
            world.traffic(1, 2, 0, bytes);
            all += bytes;
            match who {
                1 | 2 => world.hand_over(who),
                3 => world.lose(|message| matches!(message, Message::Receipt(_))),
                _ => world.lose(|_| false),
            }
            world.seconds(5);
        }
        world.lose(|_| false);
        world.seconds(600);
        let account = world.provided(1, 2);
        let report = verify(&world.node(1).log).unwrap();
        let signed: u128 = report.newest.values().map(|last| last.totals().bytes()).sum();
        prop_assert_eq!(signed + account.unsigned_bytes, u128::from(all));
        prop_assert_eq!(account.unsigned_bytes + account.disputed_bytes, 0);
        assert_logs_verify(&world);
    }
}
