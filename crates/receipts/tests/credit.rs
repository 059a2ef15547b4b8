//! Windows: who does not sign is held, who signs is not; and a consumer slows itself down first.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "tests"
)]

mod common;

use std::time::Duration;

use common::{MIB, Random, World, assert_nobody_accused, buyer, gateway, key, party, totals};
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use receipts::{
    CompactReceipt, Event, Message, Offer, Party, Price, Receipt, Refusal, RefusalReason, Request,
    Role, Standing, Usage,
};

/// How often counters are read.
const POLL: Duration = Duration::from_millis(500);

/// What passes in this time at 40 Mbit/s …
const LINE: u64 = 5 * MIB / 2;

/// … and at the free rate, 256 kbit/s.
const FREE: u64 = 16 << 10;

const WINDOW: u64 = 8 * MIB;
const STRANGER: u64 = MIB;

/// A neighbor of provider 1 with a key of the test's, that answers as it likes.
struct Bad {
    key: SigningKey,
    offer: Option<Offer>,
    last: Option<Receipt>,
}

impl Bad {
    fn new(seed: [u8; 32]) -> Self {
        Self {
            key: SigningKey::from_bytes(&seed),
            offer: None,
            last: None,
        }
    }

    fn party(&self) -> Party {
        Party::of(&self.key)
    }

    /// Takes the offer; gives the request, if the message is one.
    fn read(&mut self, message: &Message) -> Option<Request> {
        match message {
            Message::Offer(offer) => {
                self.offer = Some(offer.clone());
                self.last = None;
                None
            }
            Message::Request(request) => Some(*request),
            _ => None,
        }
    }

    /// Signs as asked.
    fn sign(&mut self, request: &Request) -> Message {
        let offer = self.offer.as_ref().unwrap();
        let receipt = Receipt::sign(&self.key, offer, self.last.as_ref(), request.totals).unwrap();
        let message = Message::Receipt(CompactReceipt::from(&receipt));
        self.last = Some(receipt);
        message
    }
}

/// Provider 1 carries for the bad neighbor and for consumer 3 at the rate of the line, and for who
/// is held at the free rate. Gives the most that the bad one ever owed, without what it got while
/// it was held.
fn carry(
    bad: &mut Bad,
    seconds: u64,
    mut answer: impl FnMut(&mut Bad, &Request) -> Vec<Message>,
) -> (World, u128) {
    let mut world = World::new();
    world.add(1, 1000, buyer());
    world.add(3, 0, buyer());
    let (mut most, mut drip) = (0, 0);
    for _ in 0..seconds * 2 {
        world.traffic(1, 3, LINE / 10, LINE);
        step(&mut world, bad, &mut drip, &mut answer);
        let owed = world.node(1).account(bad.party(), Role::Provider);
        most = most.max(owed.exposure_bytes.saturating_sub(drip));
        world.pass(POLL);
    }
    (world, most)
}

fn step(
    world: &mut World,
    bad: &mut Bad,
    drip: &mut u128,
    answer: &mut impl FnMut(&mut Bad, &Request) -> Vec<Message>,
) {
    let peer = bad.party();
    let held = world.node(1).held.contains(&peer);
    let bytes = if held { FREE } else { LINE };
    *drip = if held { *drip + u128::from(FREE) } else { 0 };
    let now = world.now;
    let usage = Usage {
        peer,
        role: Role::Provider,
        gateway: gateway(),
        price: Some(Price::new(1000)),
        up_bytes: 0,
        down_bytes: bytes,
    };
    world.node(1).ledger.handle_usage(now, usage).unwrap();
    world.settle();
    for _ in 0..10 {
        let sent = std::mem::take(&mut world.sent);
        let sent = sent.iter().filter(|(_, to, _)| *to == peer);
        let requests = sent.filter_map(|(_, _, message)| bad.read(message));
        for request in requests.collect::<Vec<_>>() {
            for message in answer(bad, &request) {
                let bytes = message.to_bytes();
                let _ = world.node(1).ledger.handle_message(now, peer, &bytes);
                world.settle();
            }
        }
    }
}

/// The honest neighbor was never held and has signed for what it got.
fn assert_unaffected(world: &mut World, seconds: u64) {
    let honest = world.provided(1, 3);
    let carried = u128::from((LINE + LINE / 10) * seconds * 2);
    let signed = honest.amount.atto_smt() + honest.earlier_amount.atto_smt();
    assert!(!world.node(1).held.contains(&party(3)));
    let paid_for = signed * u128::from(MIB) / 1000;
    assert!(carried - paid_for < u128::from(2 * MIB), "{honest:?}");
    // At its first reading it was still a stranger.
    let held = |event: &&Event| matches!(event, Event::Held { peer, .. } if *peer == party(3));
    assert!(world.node(1).events.iter().filter(held).count() <= 1);
    assert_eq!(honest.disputed_bytes, 0);
}

fn assert_held(world: &mut World, bad: &Bad, standing: Standing) {
    assert!(world.node(1).held.contains(&bad.party()));
    let account = world.node(1).account(bad.party(), Role::Provider);
    assert_eq!((account.standing, account.held), (standing, true));
}

#[test]
fn a_neighbor_that_refuses_to_sign_is_held_at_the_window_of_a_stranger() {
    for answers in [false, true] {
        let mut bad = Bad::new([2; 32]);
        let (mut world, most) = carry(&mut bad, 120, |_, request| {
            let refusal = Refusal {
                position: request.position,
                confirmed: totals(0, 0, 0),
                reason: RefusalReason::Unconfirmed,
            };
            answers
                .then_some(Message::Refusal(refusal))
                .into_iter()
                .collect()
        });
        assert!(most <= u128::from(STRANGER + LINE), "{most}");
        assert_held(&mut world, &bad, Standing::Stranger);
        assert_unaffected(&mut world, 120);
    }
}

#[test]
fn a_neighbor_that_stops_signing_is_held_at_its_window() {
    let mut bad = Bad::new([2; 32]);
    let (mut world, most) = carry(&mut bad, 120, |bad, request| {
        let signs = request.position.seq < 20;
        signs.then(|| bad.sign(request)).into_iter().collect()
    });
    assert!(most <= u128::from(WINDOW + LINE), "{most}");
    assert_held(&mut world, &bad, Standing::Known);
    assert_unaffected(&mut world, 120);
}

#[test]
fn a_neighbor_that_signs_less_is_held_at_its_window() {
    // By a receipt for less than was asked, or by confirming less and signing that.
    for confirms in [false, true] {
        let mut bad = Bad::new([2; 32]);
        let mut confirmed = None;
        let (mut world, most) = carry(&mut bad, 60, |bad, request| {
            let signed = bad.last.as_ref().map_or(0, |last| last.totals().down_bytes);
            let asked = request.totals.down_bytes;
            let seconds = request.totals.seconds;
            let less = totals(0, signed + (asked - signed) * 9 / 10, seconds);
            if request.position.seq < 5 || confirmed == Some(request.totals) {
                return vec![bad.sign(request)];
            }
            if confirms {
                confirmed = Some(less);
                return vec![Message::Refusal(Refusal {
                    position: request.position,
                    confirmed: less,
                    reason: RefusalReason::Unconfirmed,
                })];
            }
            let offer = bad.offer.as_ref().unwrap();
            let receipt = Receipt::sign(&bad.key, offer, bad.last.as_ref(), less).unwrap();
            vec![Message::Receipt(CompactReceipt::from(&receipt))]
        });
        assert!(most <= u128::from(WINDOW + LINE), "{most}");
        assert_held(&mut world, &bad, Standing::Known);
        assert_unaffected(&mut world, 60);
    }
}

#[test]
fn a_neighbor_that_replays_is_held_at_its_window() {
    let mut bad = Bad::new([2; 32]);
    let mut first = None;
    let (mut world, most) = carry(&mut bad, 120, |bad, request| {
        let first = first.get_or_insert_with(|| bad.sign(request));
        vec![first.clone()]
    });
    assert!(most <= u128::from(WINDOW + LINE), "{most}");
    assert_held(&mut world, &bad, Standing::Known);
    assert_unaffected(&mut world, 120);
}

#[test]
fn a_neighbor_that_equivocates_is_held_at_once_and_for_good() {
    let mut bad = Bad::new([2; 32]);
    let (mut world, most) = carry(&mut bad, 120, |bad, request| {
        let mut messages = vec![bad.sign(request)];
        if request.position.seq == 10 {
            let offer = bad.offer.as_ref().unwrap();
            let other = Receipt::sign(&bad.key, offer, None, totals(0, 1, 0)).unwrap();
            messages.push(Message::Receipt(CompactReceipt::from(&other)));
        }
        messages
    });
    assert!(most <= u128::from(WINDOW + LINE), "{most}");
    assert_held(&mut world, &bad, Standing::Cheat);
    assert_unaffected(&mut world, 120);
    let told = |event: &&Event| matches!(event, Event::Held { standing, .. } if *standing == Standing::Cheat);
    assert_eq!(world.node(1).events.iter().filter(told).count(), 1);
}

#[test]
fn a_neighbor_that_changes_its_key_gets_no_more_than_the_pool_of_strangers() {
    let mut world = World::new();
    world.add(1, 1000, buyer());
    world.add(3, 0, buyer());
    world.traffic(1, 3, 0, 3 * MIB);
    // Slow enough that a stranger is not held at its first reading.
    let reading = STRANGER / 8;
    let mut got = 0;
    for number in 10..210_u8 {
        let bad = Bad::new([number; 32]).party();
        while !world.node(1).held.contains(&bad) {
            world.count(1, bad, Role::Provider, 0, reading);
            got += reading;
        }
        world.traffic(1, 3, 0, MIB);
    }
    // A new key gets what passes until its first reading.
    let pool = 8 * STRANGER;
    assert!(got <= pool + 200 * reading, "{got}");
    let strangers = world.node(1).ledger.accounts();
    let strangers = strangers.filter(|account| account.standing == Standing::Stranger);
    let (held, all) = strangers.fold((0, 0), |(held, all), account| {
        (held + usize::from(account.held), all + 1)
    });
    assert_eq!((held, all), (200, 200));
    assert_eq!(world.node(1).ledger.strangers_credit_left(), 0);
    assert_eq!(world.node(1).ledger.standing(party(3)), Standing::Known);
    assert!(!world.node(1).held.contains(&party(3)));
}

#[test]
fn a_stranger_gets_out_of_an_exhausted_pool_by_its_first_receipt() {
    let mut world = World::new();
    world.add(1, 1000, buyer());
    world.add(3, 0, buyer());
    for number in 10..20 {
        world.count(1, party(number), Role::Provider, 0, 2 * MIB);
    }
    let events = world.node(1).events.len();
    world.traffic(1, 3, 0, 1000);
    let told = world.node(1).events.split_off(events);
    let windows = told.iter().filter_map(|event| match event {
        Event::Held { window, .. } | Event::Released { window, .. } => Some(*window),
        _ => None,
    });
    assert_eq!(windows.collect::<Vec<_>>(), [0, WINDOW]);
    assert_eq!(world.provided(1, 3).standing, Standing::Known);
}

#[test]
fn nobody_is_held_where_nothing_costs() {
    let mut world = World::new();
    world.add(1, 0, buyer());
    world.count(1, party(2), Role::Provider, 0, 100 * MIB);
    assert!(world.node(1).held.is_empty());
    world.node(1).price = Price::new(1);
    world.count(1, party(3), Role::Provider, 0, 100 * MIB);
    assert!(world.node(1).held.contains(&party(3)));
    // Nor is a stranger for whom no window is left.
    world.node(1).price = Price::FREE;
    world.count(1, party(4), Role::Provider, 0, 1);
    assert!(!world.node(1).held.contains(&party(4)));
}

#[test]
fn a_consumer_that_signs_again_is_released() {
    let mut world = World::pair(1000);
    world.traffic(1, 2, 0, 3 * MIB);
    world.lose(|message| matches!(message, Message::Receipt(_)));
    world.traffic(1, 2, 0, 9 * MIB);
    assert!(world.node(1).held.contains(&party(2)));
    world.lose(|_| false);
    world.seconds(10);
    assert!(world.node(1).held.is_empty());
    let told = world.node(1).events.iter().filter_map(|event| match event {
        Event::Held { exposure, .. } => Some(*exposure),
        Event::Released { exposure, .. } => Some(*exposure),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    let [first, second] = [3, 9].map(|mib| u128::from(mib * MIB));
    assert_eq!(told, [first, 0, second, 0], "as a stranger, and now");
}

#[test]
fn a_consumer_slows_itself_down_before_it_is_held() {
    let mut world = World::pair(1000);
    world.traffic(1, 2, 0, 3 * MIB);
    world.lose(|message| matches!(message, Message::Request(_)));
    world.traffic(1, 2, 0, 5 * MIB);
    assert!(!world.node(2).throttled);
    world.traffic(1, 2, 0, MIB);
    assert!(world.node(2).throttled, "at three quarters of the credit");
    assert!(world.node(1).held.is_empty());
    assert!(world.consumed(1, 2).held);
    world.lose(|_| false);
    world.seconds(9);
    assert!(!world.node(2).throttled);
}

#[test]
fn a_provider_that_is_gone_does_not_slow_down_the_others() {
    let mut world = World::pair(1000);
    world.traffic(1, 2, 0, 3 * MIB);
    world.lose(|_| true);
    world.count(2, party(1), Role::Consumer, 0, 7 * MIB);
    assert!(world.node(2).throttled);
    world.seconds(10);
    assert!(!world.node(2).throttled);
}

#[test]
fn what_a_provider_does_not_ask_for_is_no_debt() {
    let mut world = World::pair(1000);
    // A radio that loses a third of what goes up: the provider never got it.
    for _ in 0..100 {
        world.count(2, party(1), Role::Consumer, MIB, 0);
        world.count(1, party(2), Role::Provider, MIB * 2 / 3, 0);
        world.pass(POLL);
    }
    assert!(!world.node(2).throttled);
    assert!(world.consumed(1, 2).exposure_bytes <= u128::from(4 * MIB));
}

#[test]
fn what_is_lost_on_the_way_up_slows_nobody_down() {
    let mut world = World::pair(1000);
    world.traffic(1, 2, 0, 3 * MIB);
    // The provider got nothing of it, has nothing to ask for, and never will.
    world.count(2, party(1), Role::Consumer, 100 * MIB, 0);
    assert!(!world.node(2).throttled);
    // What came down was carried for sure.
    world.count(2, party(1), Role::Consumer, 0, 7 * MIB);
    assert!(world.node(2).throttled);
}

/// Both sides at the rate of the line, with losses and restarts; who is held or throttled goes on
/// at the free rate or not at all.
fn exposure(seed: u64) {
    let mut random = Random(seed);
    let mut world = World::pair(1000);
    let line = MIB / 4 + random.below(4 * MIB);
    let free = if random.below(2) == 0 { 0 } else { FREE };
    // What a provider forgets is a debt all the same, for the consumer.
    let provider_forgets = random.below(2) == 0;
    let gateways = [gateway(), party(8)];
    let (mut drip, mut slow) = (0, false);
    for _ in 0..300 {
        if random.below(20) == 0 {
            let loss = [0, 0, 30, 100][usize::try_from(random.below(4)).unwrap()];
            let mut drops = Random(random.next());
            world.lose(move |_| drops.below(100) < loss);
        }
        let node = 1 + u8::try_from(random.below(2)).unwrap();
        match random.below(60) {
            0 => world.hand_over(node),
            1 if provider_forgets || node == 2 => world.restart(node, |_| {}),
            2 if provider_forgets || node == 2 => world.power_cut(node, 50),
            _ => {}
        }
        // What passes until the next reading is what was allowed at the last one.
        let bytes = if slow { free } else { line };
        drip = if slow { drip + u128::from(free) } else { 0 };
        let to = gateways[usize::try_from(random.below(2)).unwrap()];
        world.traffic_to(to, 1, 2, (bytes / 4, bytes - bytes / 4));
        slow = world.node(1).held.contains(&party(2)) || world.node(2).throttled;
        assert_provider_exposure(&mut world, u128::from(line) + drip);
        if !provider_forgets {
            assert_consumer_exposure(&mut world, u128::from(line) + drip);
        }
        world.pass(POLL);
    }
    assert_nobody_accused(&world);
}

fn assert_provider_exposure(world: &mut World, beyond: u128) {
    for account in world.node(1).accounts(party(2), Role::Provider) {
        let window = match account.standing {
            Standing::Known => WINDOW,
            _ => STRANGER,
        };
        assert!(
            account.exposure_bytes <= u128::from(window) + beyond,
            "{account:?}"
        );
    }
}

fn assert_consumer_exposure(world: &mut World, beyond: u128) {
    for account in world.node(2).accounts(party(1), Role::Consumer) {
        assert!(
            account.exposure_bytes <= u128::from(WINDOW) + beyond,
            "{account:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn exposure_never_exceeds_window_plus_one_interval_at_line_rate(seed: u64) {
        exposure(seed);
    }
}

#[test]
fn keys_of_this_test_are_those_of_the_world() {
    assert_eq!(Bad::new([2; 32]).party(), Party::of(&key(2)));
}
