//! Whatever the medium does to packets, next hops never lead in a circle.

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
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => any::<usize>().prop_map(Act::Deliver),
        1 => any::<usize>().prop_map(Act::Duplicate),
        2 => any::<usize>().prop_map(Act::Lose),
        2 => Just(Act::DeliverAll),
        4 => (1_u64..60).prop_map(Act::Wait),
        1 => (60_u64..900).prop_map(Act::Wait),
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
                net.assert_no_loop();
            }
        }
        Act::Wait(time) => {
            net.now += ms(time);
            for node in 0..net.routers.len() {
                if net.routers[node].poll_timeout() <= net.now {
                    net.run_timer(node);
                    net.assert_no_loop();
                }
            }
            let now = net.now;
            net.in_flight
                .retain(|packet| now < packet.due + ms(LONGEST_WAY_MS));
        }
    }
    net.assert_no_loop();
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
    }
}
