//! Packets that have no effect, and payloads.

use std::net::Ipv6Addr;

use super::net::{INTERFACE, Net, address, ms, network, packet};
use crate::router::{DropReason, Event};
use crate::wire::{Hello, Ogm, ParseError, Payload, Tlv};
use crate::{IfIndex, Metric, Network, OriginatorId, SeqNo};

fn ogm(originator: OriginatorId) -> Tlv {
    Tlv::Ogm(Ogm {
        originator,
        seqno: SeqNo::new(1),
        metric: Metric::ZERO,
        record_seq: SeqNo::new(1),
        hops: 0,
    })
}

fn hello() -> Tlv {
    Tlv::Hello(Hello {
        seqno: 1,
        interval_ms: 500,
        boot: 9,
        warm: false,
    })
}

fn drops(net: &Net, node: usize, reason: DropReason) -> u64 {
    let counters = net.routers[node].counters();
    counters.drops.get(&reason).copied().unwrap_or_default()
}

#[test]
fn what_cannot_be_used_is_counted_and_has_no_effect() {
    let stranger = OriginatorId::from_bytes([7; 10]);
    let mut net = Net::new(1);
    let mut damaged = packet(&network(), stranger, address(5), &[hello()]);
    *damaged.last_mut().unwrap() ^= 1;
    let foreign = packet(
        &Network::new("other village"),
        stranger,
        address(5),
        &[hello()],
    );
    let own = packet(&network(), net.id(0), address(5), &[hello()]);
    let unheard = packet(&network(), stranger, address(5), &[ogm(stranger)]);
    for (bytes, reason) in [
        (damaged, DropReason::Parse(ParseError::BadMac)),
        (foreign, DropReason::Parse(ParseError::ForeignNetwork)),
        (vec![0x6d, 1, 0], DropReason::Parse(ParseError::Truncated)),
        (own, DropReason::Own),
        (unheard, DropReason::UnknownNeighbor),
    ] {
        net.receive(0, address(5), &bytes);
        assert_eq!(drops(&net, 0, reason), 1, "{}", reason.name());
    }
    assert_eq!(net.routers[0].neighbors(net.now).count(), 0);
    assert_eq!(net.routers[0].originators(net.now).count(), 0);
    assert_eq!(net.routers[0].counters().received_packets, 5);
}

#[test]
fn packets_from_elsewhere_than_the_link_are_counted() {
    let mut net = Net::new(1);
    let bytes = packet(
        &network(),
        OriginatorId::from_bytes([7; 10]),
        address(5),
        &[hello()],
    );
    let global: Ipv6Addr = "2001:db8::1".parse().unwrap();
    net.receive(0, global, &bytes);
    let unknown = IfIndex(99);
    net.routers[0].handle_packet(net.now, unknown, address(5), &bytes);
    assert_eq!(drops(&net, 0, DropReason::NotFromLink), 2);
    net.routers[0].handle_packet(net.now, INTERFACE, address(5), &bytes);
    assert_eq!(
        net.routers[0].neighbors(net.now).count(),
        1,
        "as it should be"
    );
}

#[test]
fn a_payload_reaches_its_receiver_and_nobody_else() {
    let mut net = Net::line(3);
    let receiver = net.id(1);
    assert!(net.routers[0].send_payload(net.now, receiver, 4, b"receipt".to_vec()));
    net.drain(0);
    net.run(ms(10));
    let expected = Event::Payload {
        from: net.id(0),
        channel: 4,
        bytes: b"receipt".to_vec(),
    };
    assert_eq!(net.events[1].last(), Some(&expected));

    let overheard = Tlv::Payload(Payload {
        receiver,
        channel: 4,
        bytes: b"receipt".to_vec(),
    });
    net.inject(2, 1, &[overheard]);
    assert_eq!(drops(&net, 2, DropReason::NotForUs), 1);
    let payloads = |e: &&Event| matches!(e, Event::Payload { .. });
    assert_eq!(net.events[2].iter().filter(payloads).count(), 0);
}

#[test]
fn a_payload_needs_a_working_link_and_has_a_limit() {
    let mut net = Net::line(3);
    let (one, two) = (net.id(1), net.id(2));
    let router = &mut net.routers[0];
    assert!(
        !router.send_payload(net.now, two, 4, Vec::new()),
        "no neighbor"
    );
    assert!(!router.send_payload(net.now, one, 4, vec![0; Payload::MAX_LEN + 1]));
    assert!(router.send_payload(net.now, one, 4, vec![0; Payload::MAX_LEN]));
}

#[test]
fn a_recorded_packet_sent_again_from_elsewhere_changes_nothing() {
    let mut net = Net::line(2);
    let recorded = packet(&network(), net.id(1), address(1), &[hello()]);
    let stranger = address(5);
    net.receive(0, stranger, &recorded);
    let bad = drops(&net, 0, DropReason::Parse(ParseError::BadMac));
    assert_eq!(bad, 1);
    let neighbor = net.routers[0].neighbors(net.now).next().unwrap();
    assert_eq!(neighbor.address, address(1));
}
