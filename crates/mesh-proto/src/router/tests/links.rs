//! Links: when they are used, and when they are given up.

use super::net::{INTERFACE, Net, address, key, ms, network};
use crate::router::neighbor::LinkId;
use crate::router::{Announcement, Event, Start};
use crate::wire::{Hello, LinkReport, Ogm, ReportEntry, Tlv};
use crate::{IfIndex, Metric, Router, RouterConfig, SeqNo};

fn link_to(net: &Net, node: usize) -> LinkId {
    LinkId {
        ifindex: INTERFACE,
        neighbor: net.id(node),
    }
}

#[test]
fn a_link_is_used_once_it_works_in_both_directions() {
    let mut net = Net::new(2);
    net.link_one_way(0, 1);
    net.run(ms(10_000));
    let heard: Vec<_> = net.routers[1].neighbors(net.now).collect();
    assert_eq!((heard.len(), heard[0].cost), (1, Metric::INFINITE));
    assert_eq!((heard[0].rx_quality, heard[0].tx_quality), (255, 0));
    assert_eq!(net.routers[0].neighbors(net.now).count(), 0);
    assert_eq!((net.next_hop(0, 1), net.next_hop(1, 0)), (None, None));
    assert_eq!(net.events, [[], []]);

    net.link_one_way(1, 0);
    net.run(ms(1000));
    assert_eq!((net.next_hop(0, 1), net.next_hop(1, 0)), (Some(1), Some(0)));
    let up = [
        Event::NeighborUp(link_to(&net, 1)),
        Event::OriginatorUp(net.id(1)),
    ];
    assert_eq!(net.events[0].len(), 2);
    assert!(up.iter().all(|event| net.events[0].contains(event)));
}

#[test]
fn a_link_that_turns_one_way_is_not_used_for_long() {
    let mut net = Net::line(2);
    net.cut_one_way(0, 1);
    net.run(ms(4500));
    assert_eq!((net.next_hop(0, 1), net.next_hop(1, 0)), (None, None));
    let heard = net.routers[0].neighbors(net.now).next().unwrap();
    assert_eq!(
        (heard.rx_quality, heard.tx_quality),
        (255, 0),
        "still heard"
    );
}

#[test]
fn a_silent_neighbor_is_given_up_after_three_and_a_half_hellos() {
    let mut net = Net::line(2);
    net.run(ms(30_000));
    net.cut(0, 1);
    let last_heard = net.routers[0].neighbors(net.now).next().unwrap().last_heard;
    net.run(last_heard + ms(1749) - net.now);
    assert_eq!(net.next_hop(0, 1), Some(1));
    net.run(ms(2));
    assert_eq!(net.next_hop(0, 1), None);
    assert_eq!(net.routers[0].neighbors(net.now).count(), 0);
    let down = &net.events[0][net.events[0].len() - 2..];
    let expected = [
        Event::NeighborDown(link_to(&net, 1)),
        Event::OriginatorDown(net.id(1)),
    ];
    assert_eq!(down, expected);
}

#[test]
fn every_third_hello_lost_does_not_bring_a_link_down() {
    let mut net = Net::new(2);
    net.link(0, 1);
    let mut packets = 0;
    net.lose(move |_, _, _| {
        packets += 1;
        packets % 3 == 0
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
    net.cut(0, 1);
    net.run(ms(4000));
    let neighbor = Tlv::Hello(Hello {
        seqno: 1,
        interval_ms: 500,
        boot: 2,
        warm: false,
    });
    let report = Tlv::LinkReport(LinkReport {
        entries: vec![ReportEntry {
            neighbor: net.id(0),
            boot: 1,
            quality: 255,
        }],
    });
    net.inject(0, 1, &[neighbor, report]);
    let back = net.routers[0].neighbors(net.now).next().unwrap();
    assert!(back.cost.is_finite());
    assert_eq!(net.next_hop(0, 2), None, "until it is offered anew");
}

#[test]
fn an_ogm_that_was_overtaken_changes_nothing() {
    let mut net = Net::line(3);
    let (one, two) = (net.id(1), net.id(2));
    let before = net.routers[0].originator(net.now, two).unwrap();
    let seqno = SeqNo::new(before.seqno.unwrap().value() - 1);
    let late = Ogm {
        originator: two,
        seqno,
        metric: Metric::from_us(600),
        record_seq: SeqNo::new(1),
        hops: 1,
    };
    net.inject(0, 1, &[Tlv::Ogm(late)]);
    let after = net.routers[0].originator(net.now, two).unwrap();
    assert_eq!(after.seqno, before.seqno);
    assert_eq!(after.next_hop.map(|link| link.neighbor), Some(one));
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
    let view = |pair: &[Router; 2]| pair[0].originator(at, pair[1].id()).unwrap();
    assert_eq!(pair[0].neighbors(at).count(), 2);
    assert_eq!(view(&pair).next_hop.unwrap().ifindex, INTERFACE);
    pair[0].handle_interface_down(at, INTERFACE);
    assert_eq!(view(&pair).next_hop.unwrap().ifindex, other, "at once");
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
