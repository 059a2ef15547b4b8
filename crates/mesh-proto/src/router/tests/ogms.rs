//! OGMs: what is said of others, and what is said again.

use std::collections::BTreeMap;

use super::net::{Net, ms};
use crate::OriginatorId;
use crate::wire::{Ogm, Tlv};

/// The OGMs of `originator` that `node` sent so far.
fn said(net: &Net, node: usize, originator: OriginatorId) -> Vec<Ogm> {
    let by_node = net.sent.iter().filter(|(from, _)| *from == node);
    let ogms = by_node.filter_map(|(_, tlv)| {
        let Tlv::Ogm(ogm) = tlv else { return None };
        Some(*ogm)
    });
    ogms.filter(|ogm| ogm.originator == originator).collect()
}

fn has_ogm(tlvs: &[Tlv], originator: OriginatorId, finite: bool) -> bool {
    tlvs.iter().any(|tlv| {
        matches!(tlv, Tlv::Ogm(o) if o.originator == originator && o.metric.is_finite() == finite)
    })
}

#[test]
fn a_lost_retraction_is_made_up_for() {
    let mut net = Net::line(3);
    let two = net.id(2);
    let mut lost = 0;
    net.lose(move |from, _, tlvs| {
        let loses = from == 1 && lost < 2 && has_ogm(tlvs, two, false);
        lost += u32::from(loses);
        loses
    });
    net.cut(1, 2);
    net.run(ms(3500));
    assert_eq!(net.next_hop(0, 2), None);
}

#[test]
fn a_route_is_confirmed_although_nothing_new_is_heard() {
    let mut net = Net::line(3);
    let two = net.id(2);
    net.lose(move |from, _, tlvs| from == 2 && has_ogm(tlvs, two, true));
    net.run(ms(100));
    net.sent.clear();
    net.run(ms(5000));
    assert!(said(&net, 1, two).len() >= 2);
    assert_eq!(net.next_hop(0, 2), Some(1));
}

/// Neighbors would find it infeasible, and be left without a route that works.
#[test]
fn within_a_seqno_a_route_is_never_said_to_be_longer() {
    let mut net = Net::line(3);
    let two = net.id(2);
    let mut packets = 0;
    net.lose(move |from, to, _| {
        packets += 1;
        (from, to) == (2, 1) && packets % 3 == 0
    });
    net.sent.clear();
    net.run(ms(30_000));
    let mut best = BTreeMap::new();
    let mut repeated = 0;
    for ogm in said(&net, 1, two) {
        let known = best.entry(ogm.seqno.value()).or_insert(ogm.metric);
        assert!(ogm.metric <= *known, "{ogm:?} after {known}");
        repeated += u32::from(ogm.metric == *known);
        *known = ogm.metric;
    }
    assert!(repeated > best.len() as u32, "some were said again");
}
