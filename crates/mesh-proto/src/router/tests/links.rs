//! Links: when they are used, and when they are given up.

use super::net::{INTERFACE, Net, address, key, ms, network};
use crate::router::{Announcement, DropReason, Event, Start};
use crate::wire::Tlv;
use crate::{IfIndex, Metric, Router, RouterConfig};

#[test]
fn a_link_is_used_once_it_works_in_both_directions() {
    let mut net = Net::new(2);
    net.link_one_way(0, 1);
    net.run(ms(10_000));
    assert!(net.drops(1, DropReason::UnknownSender) > 5);
    assert_eq!(net.routers[1].neighbors(net.now).count(), 0);
    assert_eq!(net.routers[0].neighbors(net.now).count(), 0);
    assert_eq!((net.next_hop(0, 1), net.next_hop(1, 0)), (None, None));
    assert_eq!(net.events, [[], []]);

    net.link_one_way(1, 0);
    net.run_until(ms(3000), Net::is_whole);
    net.run(ms(1000));
    let up = [
        Event::NeighborUp(net.link_id(1)),
        Event::OriginatorUp(net.id(1)),
        Event::NodeChanged(net.id(1)),
    ];
    assert_eq!(net.events[0].len(), up.len());
    assert!(up.iter().all(|event| net.events[0].contains(event)));
}

#[test]
fn a_link_that_turns_one_way_is_not_used_for_long() {
    let mut net = Net::line(2);
    net.cut_one_way(0, 1);
    net.run(ms(9500));
    assert_eq!((net.next_hop(0, 1), net.next_hop(1, 0)), (None, None));
    let heard = net.routers[0].neighbors(net.now).next().unwrap();
    assert_eq!(
        (heard.rx_quality, heard.tx_quality),
        (255, 0),
        "still heard"
    );
}

#[test]
fn a_silent_neighbor_is_given_up_after_one_hello_and_some_probes() {
    let mut net = Net::line(2);
    net.run(ms(30_000));
    net.cut(0, 1);
    let last_heard = net.routers[0].neighbors(net.now).next().unwrap().last_heard;
    net.run(last_heard + ms(4240) - net.now);
    assert_eq!(net.next_hop(0, 1), Some(1));
    net.run(ms(400));
    assert_eq!(net.next_hop(0, 1), None);
    assert_eq!(net.routers[0].neighbors(net.now).count(), 0);
    let down = &net.events[0][net.events[0].len() - 2..];
    let expected = [
        Event::NeighborDown(net.link_id(1)),
        Event::OriginatorDown(net.id(1)),
    ];
    assert_eq!(down, expected);
}

#[test]
fn every_third_hello_lost_does_not_bring_a_link_down() {
    let mut net = Net::new(2);
    net.link(0, 1);
    let mut hellos = [0, 0];
    net.lose(move |from, _, tlvs| {
        let is_hello = tlvs.iter().any(|tlv| matches!(tlv, Tlv::Hello(_)));
        hellos[from] += usize::from(is_hello);
        is_hello && hellos[from] % 3 == 0
    });
    net.run(ms(60_000));
    assert_eq!(net.next_hop(0, 1), Some(1));
    let downs = |e: &&Event| matches!(e, Event::NeighborDown(_) | Event::OriginatorDown(_));
    let events = net.events.iter().flatten();
    assert_eq!(events.filter(downs).count(), 0, "{:?}", net.events);
}

#[test]
fn an_interface_that_goes_down_takes_its_routes_along() {
    let mut net = Net::line(3);
    assert_eq!(net.next_hop(0, 2), Some(1));
    net.routers[0].handle_interface_down(net.now, INTERFACE);
    net.drain(0);
    assert_eq!(net.fibs[0].len(), 0, "{:?}", net.fibs[0]);
    assert_eq!(net.routers[0].neighbors(net.now).count(), 0);
    net.routers[0].handle_interface_up(net.now, INTERFACE, address(0), 1500);
    net.run(ms(1500));
    assert_eq!(net.next_hop(0, 2), Some(1), "it comes back");
}

#[test]
fn a_router_without_an_interface_waits_and_does_not_spin() {
    let mut net = Net::line(2);
    let router = &mut net.routers[0];
    router.handle_interface_down(net.now, INTERFACE);
    let named = Announcement {
        name: "renamed".to_owned(),
        ..Announcement::default()
    };
    router.announce(net.now, named);
    router.handle_timeout(net.now);
    assert!(router.poll_timeout() > net.now);
}

#[test]
fn what_was_offered_over_a_lost_link_is_void() {
    let mut net = Net::line(3);
    net.give_up(0, 1);
    let two = net.id(2);
    net.lose(move |from, _, tlvs| {
        let speaks = |tlv: &Tlv| matches!(tlv, Tlv::Update(_));
        from == 1 && tlvs.iter().any(speaks)
    });
    net.link(0, 1);
    net.run(ms(3000));
    let back = net.routers[0].neighbors(net.now).next().unwrap();
    assert!(back.cost.is_finite());
    assert!(net.routers[0].originator(two).unwrap().next_hop.is_none());
    net.lose(|_, _, _| false);
    net.run(ms(3000));
    assert_eq!(net.next_hop(0, 2), Some(1), "until it is offered anew");
}

/// A recording of hellos and answers of before is not enough, and neither is the network's key.
#[test]
fn a_link_whose_probes_are_not_answered_is_not_used() {
    let mut net = Net::new(2);
    net.link(0, 1);
    net.lose(|_, _, tlvs| tlvs.iter().any(|tlv| matches!(tlv, Tlv::ProbeAnswer(_))));
    net.run(ms(20_000));
    for node in 0..2 {
        let mut heard = net.routers[node].neighbors(net.now);
        assert!(heard.all(|it| it.cost == Metric::INFINITE && it.tx_quality > 0));
        let probes = |tlv: &Tlv| matches!(tlv, Tlv::Probe(_));
        let sent = net.count_sent(node, probes);
        assert!((8..20).contains(&sent), "{sent}: with patience");
    }
    let is_record = |event: &Event| matches!(event, Event::NodeChanged(_));
    assert!(net.events.iter().flatten().all(is_record));
}

/// Two routers that hear each other over two interfaces.
#[test]
fn a_neighbor_is_reached_over_the_other_interface_when_one_fails() {
    let other = IfIndex(2);
    let now = Net::new(0).now;
    let router = |node| {
        let config = RouterConfig::new(network(), Start::Cold, 1, node as u64);
        let mut router = Router::new(config, key(node), Announcement::default(), now);
        router.handle_interface_up(now, INTERFACE, address(node), 1500);
        router.handle_interface_up(now, other, address(node), 1500);
        router
    };
    let mut pair = [router(0), router(1)];
    let mut at = now;
    for _ in 0..300 {
        at += ms(10);
        exchange(&mut pair, at);
    }
    let view = |pair: &[Router; 2]| pair[0].originator(pair[1].id()).unwrap();
    assert_eq!(pair[0].neighbors(at).count(), 2);
    let used = view(&pair).next_hop.unwrap().ifindex;
    pair[0].handle_interface_down(at, used);
    let left = view(&pair).next_hop.unwrap().ifindex;
    assert!(left != used, "at once");
}

/// Two routers and what each has its packets come from, by interface.
struct Pair {
    routers: [Router; 2],
    now: std::time::Instant,
    place: fn(usize, IfIndex) -> std::net::Ipv6Addr,
    /// The last packet of router 1 to everybody on the first interface.
    recorded: Vec<u8>,
}

impl Pair {
    fn new(interfaces: &[IfIndex], place: fn(usize, IfIndex) -> std::net::Ipv6Addr) -> Self {
        let now = Net::new(0).now;
        let routers = [0, 1].map(|node| {
            let config = RouterConfig::new(network(), Start::Cold, 1, node as u64);
            let mut router = Router::new(config, key(node), Announcement::default(), now);
            for &ifindex in interfaces {
                router.handle_interface_up(now, ifindex, place(node, ifindex), 1500);
            }
            router
        });
        let recorded = Vec::new();
        Self {
            routers,
            now,
            place,
            recorded,
        }
    }

    fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.now += ms(10);
            (0..2).for_each(|from| self.speak(from));
        }
    }

    fn speak(&mut self, from: usize) {
        if self.routers[from].poll_timeout() <= self.now {
            self.routers[from].handle_timeout(self.now);
        }
        while let Some(output) = self.routers[from].poll_output() {
            let crate::Output::Transmit(t) = output else {
                continue;
            };
            let source = (self.place)(from, t.ifindex);
            self.routers[1 - from].handle_packet(self.now, t.ifindex, source, &t.bytes);
            if from == 1 && t.ifindex == INTERFACE && t.to.is_none() {
                self.recorded = t.bytes;
            }
        }
    }
}

/// What was recorded on one link and is sent on another says nothing about the other.
#[test]
fn a_packet_from_another_link_moves_no_route() {
    let other = IfIndex(2);
    let place = |node, ifindex| {
        address(if ifindex == INTERFACE {
            node
        } else {
            node + 50
        })
    };
    let mut pair = Pair::new(&[INTERFACE, other], place);
    pair.run(3000);
    let [receiver, _] = &mut pair.routers;
    let before: Vec<_> = receiver.routes().collect();
    assert!(!before.is_empty());
    receiver.handle_packet(pair.now, other, place(1, INTERFACE), &pair.recorded);
    let dropped = receiver.counters().drops.get(&DropReason::NotFromLink);
    assert_eq!(dropped, Some(&1));
    assert_eq!(receiver.routes().collect::<Vec<_>>(), before);
}

/// As when an interface gets another Ethernet address.
#[test]
fn a_neighbor_with_a_new_address_is_met_again() {
    let mut pair = Pair::new(&[INTERFACE], |node, _| address(node));
    pair.run(1000);
    pair.routers[1].handle_interface_down(pair.now, INTERFACE);
    pair.place = |node, _| address(if node == 1 { 40 } else { node });
    pair.routers[1].handle_interface_up(pair.now, INTERFACE, address(40), 1500);
    pair.run(1000);
    let mut all = pair.routers[0].neighbors(pair.now);
    assert!(all.any(|it| it.address == address(40) && it.cost.is_finite()));
}

fn exchange(pair: &mut [Router; 2], now: std::time::Instant) {
    for from in 0..2 {
        if pair[from].poll_timeout() <= now {
            pair[from].handle_timeout(now);
        }
        while let Some(output) = pair[from].poll_output() {
            if let crate::Output::Transmit(t) = output {
                pair[1 - from].handle_packet(now, t.ifindex, address(from), &t.bytes);
            }
        }
    }
}

#[test]
fn whoever_leaves_is_forgotten_at_once() {
    let mut net = Net::line(3);
    net.routers[2].leave(net.now);
    net.drain(2);
    net.routers[2].handle_interface_down(net.now, INTERFACE);
    net.drain(2);
    net.run(ms(100));
    assert_eq!((net.next_hop(1, 2), net.next_hop(0, 2)), (None, None));
    assert_eq!(net.next_hop(0, 1), Some(1));
}
