//! Questions to nodes that are no neighbors, and what strangers get for theirs.

use std::net::Ipv6Addr;

use super::net::{INTERFACE, Net, ms, network};
use crate::router::{DropReason, Event, Output};
use crate::wire::throughput::{Direction, Token, Verdict};
use crate::wire::{
    Echo, EchoReply, Hello, NextHop, PacketBuilder, ParseError, ThroughputAnswer,
    ThroughputRequest, Tlv,
};
use crate::{Network, NodeId};

const NONCE: u64 = 0x0102_0304_0506_0708;

fn mesh_address(net: &Net, node: usize) -> Ipv6Addr {
    network().mesh_ipv6(net.id(node))
}

/// What a router has sent to another one's mesh address, and what it says happened; all else gets lost.
fn drain(net: &mut Net, node: usize, to: usize) -> (Vec<Vec<u8>>, Vec<Event>) {
    let address = mesh_address(net, to);
    let (mut packets, mut events) = (Vec::new(), Vec::new());
    while let Some(output) = net.routers[node].poll_output() {
        match output {
            Output::Transmit(transmit) if transmit.to == Some(address) => {
                packets.push(transmit.bytes);
            }
            Output::Event(event) => events.push(event),
            Output::Transmit(_) | Output::Route(_) => {}
        }
    }
    (packets, events)
}

fn deliver(net: &mut Net, from: usize, to: usize, bytes: &[u8]) {
    let source = mesh_address(net, from);
    net.routers[to].handle_packet(net.now, INTERFACE, source, bytes);
}

/// Asks, and returns what comes back.
fn ask(net: &mut Net, from: usize, to: usize, towards: usize) -> Vec<Event> {
    let (id, towards) = (net.id(to), net.id(towards));
    assert!(net.routers[from].send_echo(net.now, id, NONCE, towards));
    let (questions, _) = drain(net, from, to);
    questions.iter().for_each(|it| deliver(net, from, to, it));
    let (answers, _) = drain(net, to, from);
    answers.iter().for_each(|it| deliver(net, to, from, it));
    drain(net, from, to).1
}

fn reply(net: &Net, from: usize, next_hop: Option<NextHop>) -> Event {
    Event::EchoReply {
        from: net.id(from),
        reply: EchoReply {
            nonce: NONCE,
            next_hop,
        },
    }
}

#[test]
fn a_node_behind_another_answers_and_each_says_where_it_would_send() {
    let mut net = Net::line(3);
    let good = NextHop {
        node: net.id(2),
        rx_quality: 255,
        tx_quality: 255,
    };
    assert_eq!(ask(&mut net, 0, 2, 2), [reply(&net, 2, None)]);
    assert_eq!(ask(&mut net, 0, 1, 2), [reply(&net, 1, Some(good))]);
    let back = NextHop {
        node: net.id(1),
        ..good
    };
    assert_eq!(ask(&mut net, 0, 2, 0), [reply(&net, 2, Some(back))]);
}

#[test]
fn nobody_is_asked_without_a_way() {
    let mut net = Net::line(3);
    net.give_up(1, 2);
    net.run(ms(1_000));
    let (id, now) = (net.id(2), net.now);
    assert!(!net.routers[0].send_echo(now, id, NONCE, id));
    assert_eq!(net.routers[0].next_hop_towards(now, id), None);
}

#[test]
fn answers_are_bounded_for_each_node_and_for_all() {
    let mut net = Net::line(3);
    let asked = |net: &mut Net, from: usize, times: usize| {
        (0..times)
            .map(|_| ask(net, from, 1, 1).len())
            .sum::<usize>()
    };
    assert_eq!(asked(&mut net, 0, 30), 20);
    assert_eq!(net.drops(1, DropReason::TooMany), 10);
    // Another one does not suffer for it.
    assert_eq!(asked(&mut net, 2, 5), 5);
    net.now += ms(1_000);
    assert_eq!(asked(&mut net, 0, 30), 10);
}

#[test]
fn all_together_get_a_hundred_answers_at_once() {
    let mut net = Net::new(8);
    for node in 1..8 {
        net.link(0, node);
    }
    net.run(ms(20_000));
    let answers = (1..8).map(|node| {
        (0..20)
            .map(|_| ask(&mut net, node, 0, 0).len())
            .sum::<usize>()
    });
    let answers: Vec<usize> = answers.collect();
    assert_eq!(answers.iter().sum::<usize>(), 100, "{answers:?}");
}

#[test]
fn a_measurement_is_asked_for_and_answered_over_other_nodes() {
    let mut net = Net::line(3);
    let token = Token::from_bytes([7; 16]);
    let request = ThroughputRequest {
        token,
        direction: Direction::Up,
        seconds: 5,
    };
    let answer = ThroughputAnswer {
        token,
        verdict: Verdict::Busy,
    };
    let (now, here, there) = (net.now, net.id(0), net.id(2));
    let asked = Event::ThroughputRequest {
        from: here,
        request,
    };
    let answered = Event::ThroughputAnswer {
        from: there,
        answer,
    };
    assert!(net.routers[0].request_throughput(now, there, request));
    let (packets, _) = drain(&mut net, 0, 2);
    deliver(&mut net, 0, 2, &packets[0]);
    assert_eq!(drain(&mut net, 2, 0).1, std::slice::from_ref(&asked));
    net.routers[2].answer_throughput(now, here, answer);
    let (answers, _) = drain(&mut net, 2, 0);
    assert!(answers[0].len() < packets[0].len(), "nothing is amplified");
    deliver(&mut net, 2, 0, &answers[0]);
    assert_eq!(drain(&mut net, 0, 2).1, [answered]);
    // They are in the same bounds as echoes.
    for _ in 0..30 {
        deliver(&mut net, 0, 2, &packets[0]);
    }
    assert_eq!(drain(&mut net, 2, 0).1.len(), 19);
    assert_eq!(net.drops(2, DropReason::TooMany), 11);
}

/// Packets that node 1 would have said to node 0, if it had.
fn packet(net: &Net, network: &Network, is_pair: bool, source: Ipv6Addr, tlv: &Tlv) -> Vec<u8> {
    let theirs = super::net::key(0).verifying_key();
    let theirs = NodeId::from_bytes(theirs.to_bytes());
    let key = network.pair_key(&super::net::key(1), theirs).unwrap();
    let sender = net.routers[1].sender;
    let key = is_pair.then_some(&key);
    let mut builder = PacketBuilder::new(network, key, sender, source, 1200, 1 << 40);
    builder.push(tlv);
    builder.finish().0.remove(0)
}

#[test]
fn what_is_forged_gets_no_answer_and_is_counted() {
    let mut net = Net::line(3);
    let echo = Tlv::Echo(Echo {
        nonce: NONCE,
        towards: net.id(0),
    });
    let hello = Tlv::Hello(Hello {
        seqno: 1,
        interval_ms: 500,
        version: 0,
    });
    let (one, two) = (mesh_address(&net, 1), mesh_address(&net, 2));
    let elsewhere: Ipv6Addr = "2001:db8::1".parse().unwrap();
    let secret = Network::with_secret("village", b"long and random");
    let ours = network();
    let mut damaged = packet(&net, &ours, true, one, &echo);
    *damaged.last_mut().unwrap() ^= 1;
    let bad_mac = DropReason::Parse(ParseError::BadMac);
    let cases = [
        (
            packet(&net, &ours, true, one, &echo),
            elsewhere,
            DropReason::NotFromLink,
        ),
        (
            packet(&net, &ours, true, two, &echo),
            two,
            DropReason::NotFromLink,
        ),
        (
            packet(&net, &ours, false, one, &echo),
            one,
            DropReason::WrongKey,
        ),
        (packet(&net, &ours, true, two, &echo), one, bad_mac),
        (packet(&net, &secret, true, one, &echo), one, bad_mac),
        (damaged, one, bad_mac),
        (
            packet(&net, &ours, true, one, &hello),
            one,
            DropReason::NotFromLink,
        ),
    ];
    for (index, (bytes, source, reason)) in cases.into_iter().enumerate() {
        let before = net.drops(0, reason);
        net.routers[0].handle_packet(net.now, INTERFACE, source, &bytes);
        assert_eq!(net.drops(0, reason), before + 1, "case {index}");
        assert_eq!(drain(&mut net, 0, 1).0.len(), 0, "case {index}");
    }
    let genuine = packet(&net, &ours, true, one, &echo);
    net.routers[0].handle_packet(net.now, INTERFACE, one, &genuine);
    assert_eq!(drain(&mut net, 0, 1).0.len(), 1);
}
