//! Tables that take many packets.

use ed25519_dalek::SigningKey;

use super::net::{Net, ms, network};
use crate::hash_chain::{Chain, Link};
use crate::wire::{Binding, KeyKind, Ogm, OgmIndex, Tlv};
use crate::{Metric, NodeRecord, Price, SeqNo, SignedRecord};

const CROWD: u16 = 300;

/// A node behind another: its record, and what the other says of it.
fn member(number: u16) -> (SignedRecord, Ogm) {
    let mut secret = [0xcc; 32];
    secret[..2].copy_from_slice(&number.to_be_bytes());
    let key = SigningKey::from_bytes(&secret);
    let name = format!("node-{number}");
    let originator = NodeRecord::new(&name).sign(&network(), &key).originator();
    let base = SeqNo::new(1 << 16);
    let chain = Chain::new(originator, base, &secret);
    let record = NodeRecord {
        epoch: 1,
        seq: base.next(),
        anchor: chain.anchor(),
        ipv4: std::net::Ipv4Addr::from(0x6440_0000 + u32::from(number)),
        ..NodeRecord::new(&name)
    };
    let seqno = base.next();
    let value = chain.value(seqno).unwrap();
    let ogm = Ogm {
        index: OgmIndex::new(1000 + number).unwrap(),
        binding: Some(Binding {
            originator,
            record_seq: record.seq,
        }),
        fresh: Some(Link { seqno, value }),
        metric: Metric::from_us(600),
        hops: 1,
        price: Price::FREE,
    };
    (record.sign(&network(), &key), ogm)
}

/// 1 - 0 - 2, where 0 has heard of a crowd from 1, and 2 comes later.
fn crowd() -> Net {
    let mut net = Net::new(3);
    net.link(0, 1);
    net.run(ms(5000));
    // Or it would hear of the crowd, and say itself who leads there.
    net.cut(0, 1);
    let (records, ogms): (Vec<_>, Vec<_>) = (0..CROWD).map(member).unzip();
    net.say(0, 1, &ogms);
    let records = records.into_iter().map(Box::new).map(Tlv::Record);
    let records: Vec<_> = records.collect();
    net.inject(0, 1, KeyKind::Network, &records);
    assert_eq!(reachable(&net, 0), usize::from(CROWD) + 1);
    net
}

fn reachable(net: &Net, node: usize) -> usize {
    let all = net.routers[node].originators();
    all.filter(|it| it.metric.is_finite()).count()
}

fn learns_all(net: &Net) -> bool {
    // Those, and the two neighbors.
    let named = net.routers[2].originators().filter(|it| {
        let record = net.routers[2].record(it.id);
        record.is_some_and(|record| record.verify(&network()))
    });
    reachable(net, 2) == usize::from(CROWD) + 2 && named.count() == reachable(net, 2)
}

#[test]
fn a_table_of_three_hundred_is_learned_in_several_packets() {
    let mut net = crowd();
    net.link(0, 2);
    net.run_until(ms(1500), learns_all);
    let is_update = |tlv: &Tlv| matches!(tlv, Tlv::Update(it) if it.ogms.len() > 10);
    assert!(net.count_sent(0, is_update) >= 8);
}

#[test]
fn a_table_of_three_hundred_is_learned_over_a_bad_link() {
    for seed in 1..=3 {
        let mut net = crowd();
        net.link(0, 2);
        net.set_radio(seed, 0.3);
        println!("seed {seed}");
        net.run_until(ms(10_000), learns_all);
    }
}
