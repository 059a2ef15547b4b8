//! Packets that have no effect, and payloads.

use std::net::Ipv6Addr;

use super::net::{INTERFACE, Net, address, ms, network, packet};
use crate::router::{DropReason, Event};
use crate::wire::{Hello, LinkReport, ParseError, Payload, Sender, Tlv};
use crate::{IfIndex, Network, OriginatorId};

fn stranger() -> Sender {
    Sender {
        id: OriginatorId::from_bytes([7; 10]),
        epoch: 1,
        warm: false,
    }
}

fn hello() -> Tlv {
    Tlv::Hello(Hello {
        seqno: 1,
        interval_ms: 500,
        version: 0,
    })
}

#[test]
fn what_cannot_be_used_is_counted_and_has_no_effect() {
    let mut net = Net::new(1);
    let mut damaged = packet(&network(), stranger(), address(5), &[hello()]);
    *damaged.last_mut().unwrap() ^= 1;
    let mut version_2 = damaged.clone();
    version_2[1] = 2;
    let other = Network::new("other village");
    let foreign = packet(&other, stranger(), address(5), &[hello()]);
    let secret = Network::with_secret("village", b"long and random");
    let unauthorized = packet(&secret, stranger(), address(5), &[hello()]);
    let own = net.routers[0].sender;
    let own = packet(&network(), own, address(5), &[hello()]);
    let unknown = packet(&network(), stranger(), address(5), &[hello()]);
    let reasons = [
        (damaged, DropReason::Parse(ParseError::BadMac)),
        (version_2, DropReason::Parse(ParseError::UnknownVersion)),
        (foreign, DropReason::Parse(ParseError::ForeignNetwork)),
        (vec![0x6d, 3, 0], DropReason::Parse(ParseError::Truncated)),
        (own, DropReason::Own),
        (unknown, DropReason::UnknownSender),
    ];
    for (bytes, reason) in reasons {
        net.receive(0, address(5), &bytes);
        assert_eq!(net.drops(0, reason), 1, "{}", reason.name());
    }
    net.receive(0, address(5), &unauthorized);
    assert_eq!(net.drops(0, DropReason::Parse(ParseError::BadMac)), 2);
    assert_eq!(net.routers[0].neighbors(net.now).count(), 0);
    assert_eq!(net.routers[0].originators().count(), 0);
    assert_eq!(net.routers[0].counters().received_packets, 7);
}

#[test]
fn packets_from_elsewhere_than_the_link_are_counted() {
    let mut net = Net::line(2);
    net.cut(0, 1);
    let sender = net.routers[1].sender;
    let bytes = packet(&network(), sender, address(1), &[hello()]);
    let global: Ipv6Addr = "2001:db8::1".parse().unwrap();
    net.receive(0, global, &bytes);
    let unknown = IfIndex(99);
    net.routers[0].handle_packet(net.now, unknown, address(1), &bytes);
    assert_eq!(net.drops(0, DropReason::NotFromLink), 2);
    net.routers[0].handle_packet(net.now, INTERFACE, address(1), &bytes);
    assert_eq!(net.drops(0, DropReason::NotFromLink), 2, "as it should be");
}

/// The record is known, so its packets are believed, but it has not introduced itself.
#[test]
fn parts_that_presume_a_hello_are_counted() {
    let mut net = Net::line(3);
    net.cut(1, 2);
    let entries = Vec::new();
    let report = Tlv::LinkReport(LinkReport { entries });
    net.inject(0, 2, crate::wire::KeyKind::Network, &[report]);
    assert_eq!(net.drops(0, DropReason::UnknownNeighbor), 1);
    assert_eq!(net.routers[0].neighbors(net.now).count(), 1);
}

#[test]
fn a_payload_reaches_its_receiver_and_nobody_else() {
    let mut net = Net::ring(3);
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
