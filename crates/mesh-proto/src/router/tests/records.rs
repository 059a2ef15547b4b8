//! Node records: how they spread, what is refused, and who keeps an address that two have.

use ipnet::IpNet;

use super::net::{INTERFACE, Net, address, host, key, ms, network};
use crate::hash_chain::{ChainValue, Link};
use crate::router::{Announcement, DropReason, Event};
use crate::wire::{Binding, KeyKind, Ogm, OgmIndex, Tlv};
use crate::{Metric, Network, NodeRecord, Price, Router, SeqNo, Table};

fn named(name: &str, prefix: &str) -> Announcement {
    Announcement {
        name: name.to_owned(),
        prefixes: vec![prefix.parse().unwrap()],
        ..Announcement::default()
    }
}

fn name_of(net: &Net, at: usize, node: usize) -> Option<String> {
    let record = net.routers[at].record(net.id(node))?;
    Some(record.record().name.clone())
}

#[test]
fn a_changed_record_reaches_everybody_and_so_do_its_prefixes() {
    let mut net = Net::line(3);
    let prefix: IpNet = "10.1.2.0/24".parse().unwrap();
    net.routers[2].announce(net.now, named("new name", "10.1.2.0/24"));
    net.run(ms(100));
    assert_eq!(name_of(&net, 0, 2).as_deref(), Some("new name"));
    let target = net.fibs[0].get(&(Table::Mesh, prefix));
    assert!(target.is_some());
    assert_eq!(target, net.fibs[0].get(&(Table::Mesh, host(net.id(2)))));
    net.routers[2].announce(net.now, Announcement::default());
    net.run(ms(100));
    assert_eq!(net.fibs[0].get(&(Table::Mesh, prefix)), None, "withdrawn");
}

#[test]
fn a_record_that_was_lost_is_asked_for() {
    let mut net = Net::line(2);
    let mut lost = 0;
    net.lose(move |_, to, tlvs| {
        let loses = to == 0 && lost < 2 && tlvs.iter().any(|tlv| matches!(tlv, Tlv::Record(_)));
        lost += u32::from(loses);
        loses
    });
    net.sent.clear();
    net.routers[1].announce(net.now, named("new name", "10.1.2.0/24"));
    net.run(ms(1500));
    let asks = |(from, tlv): &&(usize, Tlv)| *from == 0 && matches!(tlv, Tlv::RecordRequest(_));
    assert_eq!(net.sent.iter().filter(asks).count(), 2);
    assert_eq!(name_of(&net, 0, 1).as_deref(), Some("new name"));
}

/// An OGM of a node nobody knows, whose sender has this record of it.
fn rumor(record_seq: u32) -> Ogm {
    let binding = Binding {
        originator: crate::OriginatorId::from_bytes([9; 10]),
        record_seq: SeqNo::new(record_seq),
    };
    let fresh = Link {
        seqno: SeqNo::new(4),
        value: ChainValue::default(),
    };
    Ogm {
        index: OgmIndex::new(77).unwrap(),
        binding: Some(binding),
        fresh: Some(fresh),
        metric: Metric::from_us(600),
        hops: 1,
        price: Price::FREE,
    }
}

#[test]
fn a_record_nobody_has_is_not_asked_for() {
    let asks = |tlv: &Tlv| matches!(tlv, Tlv::RecordRequest(_));
    for (record_seq, is_asked_for) in [(0, false), (1, true)] {
        let mut net = Net::line(2);
        net.sent.clear();
        net.say(0, 1, &[rumor(record_seq)]);
        net.run(ms(2000));
        assert_eq!(net.count_sent(0, asks) > 0, is_asked_for);
        assert_eq!(net.routers[0].originators().count(), 1);
    }
}

#[test]
fn a_record_with_a_wrong_signature_is_counted_and_refused() {
    let mut net = Net::line(2);
    let forged = NodeRecord {
        seq: SeqNo::new(1 << 24),
        ..NodeRecord::new("forged")
    };
    let forged = forged.sign(&Network::new("other village"), &key(1));
    net.inject(0, 1, KeyKind::Network, &[Tlv::Record(Box::new(forged))]);
    let counters = net.routers[0].counters();
    assert_eq!(counters.drops.get(&DropReason::BadSignature), Some(&1));
    assert_eq!(name_of(&net, 0, 1).as_deref(), Some(""));
}

#[test]
fn an_older_record_does_not_replace_a_newer_one() {
    let mut net = Net::line(2);
    net.routers[1].announce(net.now, named("new name", "10.1.2.0/24"));
    net.run(ms(100));
    let old = NodeRecord {
        seq: SeqNo::new(1),
        ..NodeRecord::new("old name")
    };
    let old = old.sign(&network(), &key(1));
    net.inject(0, 1, KeyKind::Network, &[Tlv::Record(Box::new(old))]);
    assert_eq!(name_of(&net, 0, 1).as_deref(), Some("new name"));
}

/// Gives `lower` the IPv4 address of `higher`, or the other way round.
fn collide(net: &mut Net, victim: usize, rival: usize) {
    let ipv4 = net.routers[victim]
        .record(net.id(victim))
        .unwrap()
        .record()
        .ipv4;
    let now = net.routers[rival].record(net.id(rival)).unwrap().record();
    let record = NodeRecord {
        seq: now.seq.next(),
        ipv4,
        ..now.clone()
    };
    let record = record.sign(&network(), &key(rival));
    net.inject(
        victim,
        rival,
        KeyKind::Network,
        &[Tlv::Record(Box::new(record))],
    );
}

#[test]
fn of_two_nodes_with_one_ipv4_address_the_higher_id_moves() {
    let mut net = Net::line(2);
    let (lower, higher) = net.by_id(0, 1);
    let before = net.routers[higher]
        .record(net.id(higher))
        .unwrap()
        .record()
        .clone();
    collide(&mut net, higher, lower);
    let after = net.routers[higher]
        .record(net.id(higher))
        .unwrap()
        .record()
        .clone();
    assert_ne!(after.ipv4, before.ipv4);
    assert!(after.seq.is_newer_than(before.seq));
    assert_eq!(
        net.events[higher].last(),
        Some(&Event::Ipv4Moved(after.ipv4))
    );
    let contested = IpNet::from(std::net::IpAddr::V4(before.ipv4));
    let route = net.fibs[higher].get(&(Table::Mesh, contested));
    assert!(route.is_some(), "the address is the other's now");
}

#[test]
fn of_two_nodes_with_one_ipv4_address_the_lower_id_stays() {
    let mut net = Net::line(2);
    let (lower, higher) = net.by_id(0, 1);
    let before = net.routers[lower].record(net.id(lower)).unwrap().clone();
    collide(&mut net, lower, higher);
    assert_eq!(net.routers[lower].record(net.id(lower)), Some(&before));
    let own = IpNet::from(std::net::IpAddr::V4(before.record().ipv4));
    assert_eq!(net.fibs[lower].get(&(Table::Mesh, own)), None);
}

#[test]
fn everybody_knows_the_smallest_mtu_of_the_mesh() {
    let mut net = Net::line(3);
    let all = |net: &Net| net.routers.iter().map(Router::mesh_mtu).collect::<Vec<_>>();
    assert_eq!(all(&net), [1500; 3]);
    for (mtu, expected) in [(1400, 1400), (100, 1280), (9000, 1500)] {
        net.routers[2].handle_interface_up(net.now, INTERFACE, address(2), mtu);
        net.drain(2);
        net.run(ms(5_000));
        assert_eq!(all(&net), [expected; 3]);
    }
}
