//! The map of the mesh: that every node comes to have it, how little is said for it, and what is refused.

use std::time::Duration;

use super::net::{Net, key, network};
use crate::OriginatorId;
use crate::map::{MapEntry, MapLink, Position};
use crate::router::DropReason;
use crate::wire::{KeyKind, MapRequest, Tlv};

const MINUTE: Duration = Duration::from_secs(60);
/// Enough for an entry to settle, and to go around.
const SOON: Duration = Duration::from_secs(40);

/// The links that a node has on its map, from whose entry and to whom.
fn links(net: &Net, at: usize) -> Vec<(OriginatorId, OriginatorId)> {
    let entries = net.routers[at].map();
    let links = entries.flat_map(|(id, entry, _)| entry.links.iter().map(move |it| (id, it.to)));
    let mut links: Vec<_> = links.collect();
    links.sort();
    links
}

/// Both directions of every link of a ring.
fn ring(net: &Net, n: usize) -> Vec<(OriginatorId, OriginatorId)> {
    let pairs = (0..n).map(|it| (net.id(it), net.id((it + 1) % n)));
    let mut links: Vec<_> = pairs.flat_map(|(a, b)| [(a, b), (b, a)]).collect();
    links.sort();
    links
}

fn count(net: &Net, is_like: impl Fn(&Tlv) -> bool) -> usize {
    net.sent.iter().filter(|(_, tlv)| is_like(tlv)).count()
}

fn entries_sent(net: &Net) -> usize {
    count(net, |tlv| matches!(tlv, Tlv::MapEntry(_)))
}

fn entry_of(node: usize, seq: u32, links: Vec<MapLink>) -> Tlv {
    let entry = MapEntry {
        epoch: 100,
        seq,
        position: None,
        links,
    };
    Tlv::MapEntry(Box::new(entry.sign(&network(), &key(node))))
}

#[test]
fn every_node_of_a_ring_comes_to_have_the_whole_map() {
    let mut net = Net::ring(6);
    let here = Position::new(-1_286_389, 36_817_223);
    net.routers[3].set_position(here);
    net.run(SOON);
    for node in 0..6 {
        assert_eq!(links(&net, node), ring(&net, 6), "{node}");
        let mut entries = net.routers[node].map();
        let third = entries.find(|(id, ..)| *id == net.id(3)).unwrap();
        assert_eq!(third.1.position, here);
        assert!(third.1.links.iter().all(|link| link.quality == 255));
    }
}

#[test]
fn a_mesh_in_which_nothing_changes_says_each_entry_once_on_each_link() {
    let mut net = Net::ring(6);
    net.run(SOON);
    net.sent.clear();
    net.run(MINUTE * 60);
    assert_eq!(entries_sent(&net), 0);
    let requests = count(&net, |tlv| matches!(tlv, Tlv::MapRequest(_)));
    assert_eq!(requests, 0);
}

#[test]
fn a_node_that_comes_later_asks_for_the_map() {
    let mut net = Net::line(4);
    net.cut(2, 3);
    net.run(MINUTE);
    assert_eq!(links(&net, 3).len(), 0);
    net.sent.clear();
    net.link(2, 3);
    net.run(MINUTE * 2);
    assert_eq!(links(&net, 3), links(&net, 0));
    assert_eq!(links(&net, 0).len(), 6);
    assert!(count(&net, |tlv| matches!(tlv, Tlv::MapRequest(_))) > 0);
}

#[test]
fn a_node_that_is_gone_leaves_the_map() {
    let mut net = Net::line(4);
    net.run(SOON);
    assert!(net.routers[0].map().any(|(id, ..)| id == net.id(3)));
    net.cut(2, 3);
    net.run(MINUTE);
    assert!(!net.routers[0].map().any(|(id, ..)| id == net.id(3)));
    net.run(MINUTE * 2);
    let to_it = links(&net, 0)
        .into_iter()
        .filter(|(_, to)| *to == net.id(3));
    assert_eq!(to_it.count(), 0, "its neighbor says so");
}

#[test]
fn a_flapping_link_makes_an_entry_a_minute_at_most() {
    let mut net = Net::ring(4);
    net.run(SOON);
    net.sent.clear();
    for _ in 0..30 {
        net.toggle(0, 1);
        net.run(Duration::from_secs(20));
    }
    for node in [0, 1] {
        let own = net.id(node);
        let own = net.count_sent(
            node,
            |tlv| matches!(tlv, Tlv::MapEntry(entry) if entry.originator() == own),
        );
        assert!((1..=11).contains(&own), "{own} entries in ten minutes");
    }
}

#[test]
fn an_entry_of_nobody_is_dropped_and_counted() {
    let mut net = Net::line(2);
    net.run(SOON);
    net.inject(0, 1, KeyKind::Network, &[entry_of(9, 1, Vec::new())]);
    assert_eq!(net.drops(0, DropReason::UnknownNode), 1);
    assert_eq!(net.routers[0].map().count(), 2);
}

#[test]
fn nobody_says_where_another_one_is() {
    let mut net = Net::line(3);
    net.run(SOON);
    let before = links(&net, 0);
    let Tlv::MapEntry(forged) = entry_of(9, 1, Vec::new()) else {
        unreachable!();
    };
    let mut bytes = Vec::new();
    forged.emit(&mut bytes);
    bytes[..10].copy_from_slice(net.id(2).as_bytes());
    let mut reader = crate::wire::reader::Reader::new(&bytes);
    let forged = crate::map::SignedMapEntry::parse(&mut reader).unwrap();
    net.inject(0, 1, KeyKind::Network, &[Tlv::MapEntry(Box::new(forged))]);
    assert_eq!(net.drops(0, DropReason::BadSignature), 1);
    assert_eq!(links(&net, 0), before);
}

#[test]
fn an_older_entry_does_not_replace_a_newer_one() {
    let mut net = Net::line(3);
    net.run(SOON);
    let to = |byte| MapLink {
        to: OriginatorId::from_bytes([byte; 10]),
        quality: 1,
    };
    for (seq, byte) in [(5, 5), (4, 4), (5, 6)] {
        net.inject(0, 1, KeyKind::Network, &[entry_of(2, seq, vec![to(byte)])]);
    }
    let mut entries = net.routers[0].map();
    let entry = entries.find(|(id, ..)| *id == net.id(2)).unwrap().1;
    assert_eq!(entry.links, [to(5)]);
}

#[test]
fn who_finds_a_newer_entry_of_its_own_goes_on_above_it() {
    let mut net = Net::line(2);
    net.run(SOON);
    let epoch = net.routers[0].epoch();
    let entry = MapEntry {
        epoch,
        seq: 70,
        ..MapEntry::default()
    };
    let forgotten = Tlv::MapEntry(Box::new(entry.sign(&network(), &key(0))));
    net.inject(0, 1, KeyKind::Network, &[forgotten]);
    net.run(MINUTE * 2);
    let mut entries = net.routers[1].map();
    let entry = entries.find(|(id, ..)| *id == net.id(0)).unwrap().1;
    assert_eq!((entry.stamp(), entry.links.len()), ((epoch, 71), 1));
}

#[test]
fn ranges_of_a_request_answer_only_for_what_is_in_them() {
    let mut net = Net::line(4);
    net.run(SOON);
    let mut ids: Vec<OriginatorId> = (0..4).map(|node| net.id(node)).collect();
    ids.sort();
    net.sent.clear();
    let known = vec![(ids[1], (0, 0)), (ids[2], (u32::MAX, 0))];
    let request = MapRequest {
        first: ids[0],
        last: ids[2],
        known,
    };
    net.inject(0, 1, KeyKind::Pair, &[Tlv::MapRequest(request)]);
    let sent = net.sent.iter().filter_map(|(from, tlv)| {
        let Tlv::MapEntry(entry) = tlv else {
            return None;
        };
        (*from == 0).then(|| entry.originator())
    });
    assert_eq!(sent.collect::<Vec<_>>(), [ids[1]]);
}

#[test]
fn only_a_neighbor_with_the_pair_s_key_is_answered() {
    let mut net = Net::line(2);
    net.run(SOON);
    let request = MapRequest {
        first: OriginatorId::from_bytes([0; 10]),
        last: OriginatorId::from_bytes([0xff; 10]),
        known: Vec::new(),
    };
    net.inject(0, 1, KeyKind::Network, &[Tlv::MapRequest(request)]);
    assert_eq!(net.drops(0, DropReason::WrongKey), 1);
}

/// The most that a node with many neighbors names, and the same ones as long as none is much better.
#[test]
fn a_node_with_many_neighbors_names_sixteen() {
    let mut net = Net::new(20);
    (1..20).for_each(|other| net.link(0, other));
    net.run(MINUTE * 2);
    let own = net.routers[0].map().next().unwrap().1.clone();
    assert_eq!(own.links.len(), 16);
    net.run(MINUTE * 30);
    assert_eq!(net.routers[0].map().next().unwrap().1, &own);
}
