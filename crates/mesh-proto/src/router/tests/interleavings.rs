//! Whatever the medium does to packets, next hops never lead in a circle; whatever nodes and
//! links do while packets arrive, neither. Every change of a route is checked, no timer may spin,
//! and when everything calms down all reach each other.
//!
//! One thing is left out on purpose. A neighbor that did not hear of a restart, because the link was
//! down for just that moment, believes what the node said in its life before: until the next hello
//! there can be a loop. How likely real loss and real power cuts are to do that, the simulator
//! tells.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::net::{InFlight, Net, ms};

/// What the medium, or time, does next.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// A packet arrives, not necessarily the oldest.
    Deliver(usize),
    /// A packet arrives, and will arrive again.
    Duplicate(usize),
    /// A packet is lost.
    Lose(usize),
    /// Everything on its way arrives, in order.
    DeliverAll,
    /// Time passes, ms.
    Wait(u64),
    /// A link comes or goes.
    Link(usize),
    /// Traffic flows.
    Carry(usize, usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => any::<usize>().prop_map(Act::Deliver),
        2 => any::<usize>().prop_map(Act::Duplicate),
        4 => any::<usize>().prop_map(Act::Lose),
        6 => Just(Act::DeliverAll),
        8 => (1_u64..60).prop_map(Act::Wait),
        4 => (60_u64..900).prop_map(Act::Wait),
        1 => (900_u64..200_000).prop_map(Act::Wait),
        1 => (0_usize..6).prop_map(Act::Link),
        1 => (0_usize..4, 0_usize..4).prop_map(|(a, b)| Act::Carry(a, b)),
    ]
}

/// Which of the six links between four nodes there are.
fn links(mask: u8) -> impl Iterator<Item = (usize, usize)> {
    let all = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)];
    let chosen = all.into_iter().enumerate();
    chosen
        .filter(move |(bit, _)| mask & (1 << bit) != 0)
        .map(|(_, link)| link)
}

/// Packets do not stay on the way for longer.
const LONGEST_WAY_MS: u64 = 5000;

fn take(net: &mut Net, index: usize) -> Option<InFlight> {
    let len = net.in_flight.len();
    (len > 0).then(|| net.in_flight.remove(index % len))
}

fn perform(net: &mut Net, act: Act) {
    match act {
        Act::Deliver(index) => {
            if let Some(packet) = take(net, index) {
                net.deliver(packet);
            }
        }
        Act::Duplicate(index) => {
            if let Some(packet) = take(net, index) {
                net.in_flight.push(packet.clone());
                net.deliver(packet);
            }
        }
        Act::Lose(index) => {
            take(net, index);
        }
        Act::DeliverAll => {
            for packet in std::mem::take(&mut net.in_flight) {
                net.deliver(packet);
            }
        }
        Act::Wait(time) => wait(net, time),
        Act::Link(index) => links(1 << index).for_each(|(a, b)| net.toggle(a, b)),
        Act::Carry(a, b) => net.carry(a, b),
    }
}

/// Time jumps, and those who should have done something by then do it.
fn wait(net: &mut Net, time: u64) {
    net.now += ms(time);
    for node in 0..net.routers.len() {
        if net.routers[node].poll_timeout() <= net.now {
            net.run_timer(node);
        }
    }
    let now = net.now;
    net.in_flight
        .retain(|packet| now < packet.due + ms(LONGEST_WAY_MS));
}

/// What nodes and links do next.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Link(usize),
    Cut(usize),
    /// `lost` is whether it forgot how often it was started.
    Restart {
        node: usize,
        warm: bool,
        lost: bool,
        /// Another that is restarted in the same moment, as when the power fails; and whether it
        /// is warm.
        other: Option<(usize, bool)>,
    },
    Wait(u64),
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        4 => (0_usize..6).prop_map(Turn::Link),
        2 => (0_usize..6).prop_map(Turn::Cut),
        2 => (0_usize..4, any::<bool>(), any::<bool>(), any::<Option<bool>>(), 1_usize..4)
            .prop_map(|(node, warm, lost, other, distance)| {
                let other = other.map(|warm| ((node + distance) % 4, warm));
                Turn::Restart { node, warm, lost, other }
            }),
        4 => (1_u64..100).prop_map(Turn::Wait),
        4 => (100_u64..3000).prop_map(Turn::Wait),
        1 => (3000_u64..100_000).prop_map(Turn::Wait),
    ]
}

/// Between two restarts: adopted routes are confirmed or gone by then.
const APART: Duration = Duration::from_secs(11);
/// Whoever cannot hear of a restart has given the link up by then, and may have it again.
const NOTICED: Duration = Duration::from_secs(5);

/// Takes a turn; `restarted` is when there was a restart last.
fn take_turn(net: &mut Net, restarted: &mut Instant, turn: Turn) {
    match turn {
        Turn::Link(index) => {
            net.run((*restarted + NOTICED).saturating_duration_since(net.now));
            links(1 << index).for_each(|(a, b)| net.link(a, b));
        }
        Turn::Cut(index) => links(1 << index).for_each(|(a, b)| net.cut(a, b)),
        Turn::Restart {
            node,
            warm,
            lost,
            other,
        } => {
            net.run(APART);
            net.restart_in_epoch(node, warm, lost.then_some(1));
            if let Some((other, warm)) = other {
                net.restart(other, warm);
            }
            *restarted = net.now;
        }
        Turn::Wait(time) => net.run(ms(time)),
    }
}

/// Everything is well again: all links are up and nothing gets lost.
fn assert_heals(net: &mut Net) {
    links(63).for_each(|(a, b)| net.link(a, b));
    net.run(ms(60_000));
    assert!(net.is_whole(), "not healed");
}

/// A node that loses count next to one that forgets it, where others remember.
#[test]
fn a_lost_count_heals_wherever_it_is_remembered() {
    let mut net = Net::new(4);
    links(60).for_each(|(a, b)| net.link(a, b));
    net.run(ms(2000));
    net.restart_in_epoch(0, false, Some(1));
    net.restart(3, false);
    assert_heals(&mut net);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_interleaving_makes_a_loop(
        mask in 1_u8..64,
        acts in prop::collection::vec(act(), 50..400),
        changed in 0_u8..64,
        more in prop::collection::vec(act(), 50..200),
    ) {
        let mut net = Net::new(4);
        links(mask).for_each(|(a, b)| net.link(a, b));
        acts.into_iter().for_each(|act| perform(&mut net, act));
        links(63).for_each(|(a, b)| net.cut(a, b));
        links(changed).for_each(|(a, b)| net.link(a, b));
        more.into_iter().for_each(|act| perform(&mut net, act));
        assert_heals(&mut net);
    }

    #[test]
    fn no_restart_or_cut_makes_a_loop(
        mask in 1_u8..64,
        turns in prop::collection::vec(turn(), 1..40),
    ) {
        let mut net = Net::new(4);
        links(mask).for_each(|(a, b)| net.link(a, b));
        net.run(ms(2000));
        let mut restarted = net.now;
        turns.into_iter().for_each(|turn| take_turn(&mut net, &mut restarted, turn));
        net.run(NOTICED);
        assert_heals(&mut net);
    }
}
