//! Who may say what: forged, recorded and redirected packets have no effect.

use super::net::{INTERFACE, Net, address, ms, network};
use crate::hash_chain::Link;
use crate::router::{DropReason, Event};
use crate::wire::{
    Binding, Hello, KeyKind, Ogm, OgmIndex, PacketBuilder, ParseError, PathCheck, Payload, Probe,
    ProbeAnswer, Reminder, Sender, SeqnoRequest, Suspicion, SyncRequest, Tlv,
};
use crate::{Metric, OriginatorId, Price, SeqNo};

fn payload() -> Tlv {
    let bytes = b"receipt".to_vec();
    Tlv::Payload(Payload { channel: 4, bytes })
}

fn payloads(net: &Net, node: usize) -> usize {
    let events = net.events[node].iter();
    events
        .filter(|e| matches!(e, Event::Payload { .. }))
        .count()
}

/// What is said to one node alone.
fn unicast_parts(id: OriginatorId) -> Vec<Tlv> {
    let (nonce, seqno) = (1, SeqNo::new(1));
    vec![
        Tlv::Probe(Probe {
            nonce,
            traffic: true,
            padding: 0,
        }),
        Tlv::ProbeAnswer(ProbeAnswer {
            nonce,
            quality: 1,
            padding: 0,
        }),
        Tlv::SyncRequest(SyncRequest { since: 0 }),
        Tlv::Reminder(Reminder {
            entries: Vec::new(),
        }),
        Tlv::SeqnoRequest(SeqnoRequest {
            originator: id,
            seqno,
            hop_limit: 9,
        }),
        Tlv::PathCheck(PathCheck {
            hop_limit: 9,
            originators: vec![id],
        }),
        payload(),
    ]
}

#[test]
fn what_is_said_to_one_node_needs_the_key_of_the_pair() {
    let mut net = Net::line(3);
    let parts = unicast_parts(net.id(2));
    net.sent.clear();
    net.inject(1, 0, KeyKind::Network, &parts);
    assert_eq!(net.drops(1, DropReason::WrongKey), parts.len() as u64);
    assert_eq!(net.count_sent(1, |_| true), 0, "{:?}", net.sent);
    assert_eq!(payloads(&net, 1), 0);
    net.inject(1, 0, KeyKind::Pair, &parts);
    assert_eq!(net.drops(1, DropReason::WrongKey), parts.len() as u64);
    assert_eq!(payloads(&net, 1), 1);
}

#[test]
fn a_stranger_has_no_key_with_us() {
    let mut net = Net::line(3);
    net.inject(0, 2, KeyKind::Pair, &[payload()]);
    assert_eq!(net.drops(0, DropReason::NoKey), 1);
    assert_eq!(payloads(&net, 0), 0);
}

#[test]
fn what_is_said_to_another_has_no_effect_on_us() {
    let mut net = Net::ring(3);
    let receiver = net.id(1);
    assert!(net.routers[0].send_payload(net.now, receiver, 4, Vec::new()));
    net.drain(0);
    let overheard = net.in_flight.last().unwrap().bytes.clone();
    net.receive(2, address(0), &overheard);
    assert_eq!(net.drops(2, DropReason::Parse(ParseError::BadMac)), 1);
    assert_eq!(payloads(&net, 2), 0);
}

#[test]
fn a_recorded_packet_counts_no_second_time_and_from_no_other_address() {
    let mut net = Net::line(2);
    let receiver = net.id(1);
    assert!(net.routers[0].send_payload(net.now, receiver, 4, Vec::new()));
    net.drain(0);
    net.run(ms(5));
    let recorded = net.tape.last().unwrap().clone();
    assert_eq!((recorded.to, payloads(&net, 1)), (1, 1));
    net.deliver(recorded.clone());
    assert_eq!(net.drops(1, DropReason::Replayed), 1);
    net.receive(1, address(5), &recorded.bytes);
    assert_eq!(net.drops(1, DropReason::Parse(ParseError::BadMac)), 1);
    assert_eq!(payloads(&net, 1), 1);
    let neighbor = net.routers[1].neighbors(net.now).next().unwrap();
    assert_eq!(neighbor.address, address(0));
}

/// The network's key does not help to keep a dead neighbor alive, or to speak for it.
#[test]
fn what_was_recorded_before_our_restart_has_no_effect() {
    let mut net = Net::line(3);
    net.run(ms(120_000));
    net.cut(0, 1);
    net.restart(0, false);
    let recorded: Vec<_> = net.tape.iter().filter(|it| it.to == 0).cloned().collect();
    assert!(recorded.len() > 50, "{}", recorded.len());
    for packet in recorded {
        net.deliver(packet);
        net.run(ms(10));
    }
    assert_eq!(net.routers[0].originators().count(), 0);
    assert_eq!((net.next_hop(0, 1), net.next_hop(0, 2)), (None, None));
}

#[test]
fn a_packet_of_an_earlier_life_is_stale() {
    let mut net = Net::line(2);
    net.restart(1, true);
    net.run(ms(3000));
    let now = net.routers[1].sender;
    net.routers[1].sender = Sender { epoch: 2, ..now };
    net.inject(0, 1, KeyKind::Pair, &[payload()]);
    net.routers[1].sender = now;
    assert_eq!(net.drops(0, DropReason::Stale), 1);
    assert_eq!(payloads(&net, 0), 0);
}

/// A packet cannot start a life: the record does, which is signed.
#[test]
fn a_forged_epoch_does_not_shut_its_node_out() {
    let mut net = Net::line(2);
    let sender = Sender {
        epoch: u32::MAX,
        ..net.routers[1].sender
    };
    let hello = Tlv::Hello(Hello {
        seqno: 1,
        interval_ms: 500,
        version: u32::MAX,
    });
    let network = network();
    let mut forged = PacketBuilder::new(&network, None, sender, address(1), 1400, u64::MAX >> 17);
    forged.push(&hello);
    let before = net.drops(0, DropReason::UnknownSender);
    net.receive(0, address(1), &forged.finish().0[0]);
    assert_eq!(net.drops(0, DropReason::UnknownSender), before + 1);
    net.changes.iter_mut().for_each(Vec::clear);
    net.run(ms(10_000));
    assert_eq!(net.changes, [[], []]);
}

fn ogm_of(net: &Net, originator: usize, link: Link) -> Ogm {
    let binding = Binding {
        originator: net.id(originator),
        record_seq: SeqNo::new(1),
    };
    Ogm {
        index: OgmIndex::new(999).unwrap(),
        binding: Some(binding),
        fresh: Some(link),
        metric: Metric::ZERO,
        hops: 0,
        price: Price::FREE,
    }
}

#[test]
fn a_seqno_that_its_originator_has_not_revealed_is_not_believed() {
    let mut net = Net::line(4);
    let three = net.id(3);
    let before = net.routers[0].originator(three).unwrap();
    let seqno = net.routers[3].seqno;
    let (known, _) = net.routers[3].records.prove(seqno);
    let guessed = Link {
        seqno: seqno.next(),
        ..known
    };
    net.say(0, 1, &[ogm_of(&net, 3, guessed)]);
    assert_eq!(net.drops(0, DropReason::BadProof), 1);
    let after = net.routers[0].originator(three).unwrap();
    assert_eq!((after.seqno, after.metric), (before.seqno, before.metric));
    // The same with its proof is.
    let (proven, _) = net.routers[3].records.prove(seqno.next());
    net.say(0, 1, &[ogm_of(&net, 3, proven)]);
    let after = net.routers[0].originator(three).unwrap();
    assert_eq!(after.seqno, Some(seqno.next()));
}

/// A number far ahead may belong to a chain that a record announces which is still on its way.
#[test]
fn a_seqno_beyond_the_chain_waits_for_its_record() {
    let mut net = Net::line(3);
    let two = net.id(2);
    let before = net.routers[0].originator(two).unwrap().seqno;
    let seqno = SeqNo::new(before.unwrap().value() + 5000);
    let newest = net.routers[2].seqno;
    let (known, _) = net.routers[2].records.prove(newest);
    net.say(0, 1, &[ogm_of(&net, 2, Link { seqno, ..known })]);
    assert_eq!(net.routers[0].originator(two).unwrap().seqno, before);
    assert_eq!(net.next_hop(0, 2), Some(1));
}

/// Whoever has the network's key can speak in a neighbor's name to everybody, but not for long.
#[test]
fn a_forged_counter_shuts_nobody_out() {
    let mut net = Net::ring(4);
    net.run(ms(10_000));
    let network = network();
    let hello = Tlv::Hello(Hello {
        seqno: 1,
        interval_ms: 500,
        version: u32::MAX,
    });
    let (sender, counter) = (net.routers[1].sender, (1 << 48) - 2);
    let mut forged = PacketBuilder::new(&network, None, sender, address(1), 1400, counter);
    forged.push(&hello);
    net.receive(0, address(1), &forged.finish().0[0]);
    net.run(ms(20_000));
    assert_eq!(net.next_hop(0, 1), Some(1));
    net.sent.clear();
    net.run(ms(60_000));
    assert_eq!(net.next_hop(0, 1), Some(1));
    let asks = |tlv: &Tlv| matches!(tlv, Tlv::SyncRequest(_));
    assert_eq!(net.count_sent(0, asks), 0, "there is nothing to ask for");
}

/// An old packet of our own that comes back is no other node with our key.
#[test]
fn our_own_recorded_packets_are_no_double() {
    let mut net = Net::line(2);
    let own = net.tape.iter().rfind(|it| it.from == 0).unwrap().clone();
    net.routers[0].handle_interface_down(net.now, INTERFACE);
    net.routers[0].handle_interface_up(net.now, INTERFACE, address(40), 1500);
    net.drain(0);
    net.receive(0, address(0), &own.bytes);
    assert_eq!(net.drops(0, DropReason::Own), 1);
    assert!(!net.events[0].contains(&Event::DuplicateIdentity));
}

#[test]
fn suspicions_are_passed_on_near_and_few() {
    let mut net = Net::line(10);
    let suspicion = |node| {
        let hop_limit = u8::MAX;
        Tlv::Suspicion(Suspicion { hop_limit, node })
    };
    let sent = |net: &Net| {
        let count = |node| net.count_sent(node, |tlv| matches!(tlv, Tlv::Suspicion(_)));
        (0..10).map(count).collect::<Vec<_>>()
    };
    net.sent.clear();
    let unknown = (0..90).map(|it| suspicion(OriginatorId::from_bytes([it; 10])));
    net.inject(1, 0, KeyKind::Network, &unknown.collect::<Vec<_>>());
    net.inject(1, 0, KeyKind::Network, &[suspicion(net.id(9))]);
    net.run(ms(100));
    assert_eq!(sent(&net), [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]);
}
