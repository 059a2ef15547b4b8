//! What is said of originators, and that everybody hears it although packets get lost.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::net::{INTERFACE, Net, address, ms};
use crate::router::StationReport;
use crate::wire::{KeyKind, Ogm, SeqnoRequest, Tlv, Update};
use crate::{Metric, OriginatorId, SeqNo};

/// A request for what was missed comes within two hellos that follow on news, and the answer at
/// once.
const HEALING_TIME: Duration = Duration::from_millis(300);

fn updates(tlvs: &[Tlv]) -> impl Iterator<Item = &Update> {
    tlvs.iter().filter_map(|tlv| {
        let Tlv::Update(update) = tlv else {
            return None;
        };
        Some(update)
    })
}

/// Loses the first broadcast updates of `node` with an OGM like this. Returns how many were.
fn lose_first(
    net: &mut Net,
    node: usize,
    many: u32,
    is_like: impl Fn(&Ogm) -> bool + 'static,
) -> Rc<Cell<u32>> {
    let lost = Rc::new(Cell::new(0));
    let count = lost.clone();
    net.lose(move |from, _, tlvs| {
        let like = updates(tlvs).any(|update| update.ogms.iter().any(&is_like));
        let loses = from == node && like && count.get() < many;
        count.set(count.get() + u32::from(loses));
        loses
    });
    lost
}

#[test]
fn a_lost_update_is_asked_for() {
    let mut net = Net::line(3);
    let lost = lose_first(&mut net, 1, 1, |ogm| !ogm.metric.is_finite());
    net.give_up(1, 2);
    net.run_until(HEALING_TIME, |net| net.next_hop(0, 2).is_none());
    assert_eq!(lost.get(), 1);
    let requests = |tlv: &Tlv| matches!(tlv, Tlv::SyncRequest(_));
    net.run(ms(10_000));
    net.sent.clear();
    net.run(ms(10_000));
    assert_eq!(net.count_sent(0, requests), 0, "once it knows");
}

#[test]
fn an_update_whose_answers_get_lost_is_asked_for_again() {
    let mut net = Net::line(3);
    let lost = lose_first(&mut net, 1, 3, |ogm| !ogm.metric.is_finite());
    net.give_up(1, 2);
    net.run_until(ms(1000), |net| net.next_hop(0, 2).is_none());
    assert_eq!(lost.get(), 3);
}

#[test]
fn a_retraction_crosses_four_hops_in_twenty_milliseconds() {
    for _ in 0..5 {
        let mut net = Net::line(6);
        net.give_up(4, 5);
        net.run_until(ms(21), |net| net.next_hop(0, 5).is_none());
    }
}

#[test]
fn an_update_that_was_overtaken_changes_nothing() {
    let mut net = Net::line(3);
    let link = net.link_id(1);
    let known = net.routers[0].neighbors[&link].feed.since();
    let late = net.routers[1].updates(0, 1400);
    net.changes[0].clear();
    net.inject(0, 1, KeyKind::Network, &late);
    assert_eq!(net.routers[0].neighbors[&link].feed.since(), known);
    assert_eq!(net.changes[0], []);
}

#[test]
fn an_idle_mesh_repeats_nothing() {
    let mut net = Net::line(5);
    net.sent.clear();
    let before = net.routers[2].book.version();
    net.run(ms(60_000));
    let versions = net.routers[2].book.version() - before;
    let is_update = |tlv: &Tlv| matches!(tlv, Tlv::Update(_));
    let sent = net.count_sent(2, is_update);
    // The five originators' own numbers rise every nine to ten seconds.
    assert!((30..=35).contains(&versions), "{versions}");
    assert!(sent <= versions as usize, "{sent}");
}

fn ogms_of(net: &Net, node: usize, originator: OriginatorId) -> Vec<(SeqNo, Metric)> {
    let book = net.routers[node].said(originator);
    book.map(|said| (said.advertised.link.seqno, said.advertised.metric))
        .into_iter()
        .collect()
}

fn set_speed(net: &mut Net, node: usize, neighbor: usize, bps: u64) {
    let report = StationReport {
        expected_throughput_bps: Some(bps),
        ..StationReport::default()
    };
    let now = net.now;
    net.routers[node].handle_station(now, INTERFACE, address(neighbor), report);
    net.drain(node);
}

/// Neighbors would find it infeasible, and be left without a route that works.
#[test]
fn a_longer_route_is_told_with_the_next_seqno_and_not_before() {
    let mut net = Net::line(3);
    let two = net.id(2);
    let before = ogms_of(&net, 1, two)[0];
    assert_eq!(before.1, Metric::from_us(600));
    net.sent.clear();
    set_speed(&mut net, 1, 2, 1_000_000);
    let longer = Metric::from_us(12_100);
    assert_eq!(net.routers[1].originator(two).unwrap().metric, longer);
    net.changes[0].clear();
    net.run_until(ms(500), |net| {
        let (seqno, metric) = ogms_of(net, 1, two)[0];
        assert_eq!(metric == before.1, seqno == before.0);
        metric == longer
    });
    let asks = |tlv: &Tlv| matches!(tlv, Tlv::SeqnoRequest(_));
    assert_eq!(net.count_sent(1, asks), 1, "it asked for one");
    net.run(ms(50));
    let far = net.routers[0].originator(two).unwrap().metric;
    assert_eq!(far, longer.plus(Metric::from_us(600)));
    assert_eq!(net.changes[0], [], "and nobody was without a route");
}

/// The same where something else makes it say all it knows of the originator, and nobody answers its
/// requests.
#[test]
fn a_longer_route_is_not_told_along_with_something_else() {
    let mut net = Net::line(3);
    let two = net.id(2);
    net.lose(|from, _, _| from == 2);
    set_speed(&mut net, 1, 2, 1_000_000);
    let before = ogms_of(&net, 1, two);
    let now = net.now;
    net.routers[1].pending_ogms.insert(two);
    net.routers[1].flush_by(now);
    net.run(ms(100));
    assert!(!net.routers[1].pending_ogms.contains(&two));
    assert_eq!(ogms_of(&net, 1, two), before);
}

#[test]
fn an_index_that_is_used_again_means_its_new_originator() {
    let mut net = Net::new(4);
    net.link(0, 1);
    net.link(1, 2);
    net.run(ms(30_000));
    let (two, three) = (net.id(2), net.id(3));
    let index = |net: &Net, id| net.routers[1].said(id).map(|it| it.ogm(id, 0).index);
    let first = index(&net, two);
    net.give_up(1, 2);
    net.run(ms(70_000));
    assert!(net.routers[1].originator(two).is_none(), "forgotten");
    // Who was not there when it was forgotten learns of it as well.
    net.link(1, 3);
    net.run(ms(5000));
    assert_eq!(index(&net, three), first);
    assert_eq!((net.next_hop(0, 3), net.next_hop(0, 2)), (Some(1), None));
    net.link(3, 2);
    net.run(ms(5000));
    assert!(net.is_whole());
}

#[test]
fn renewing_the_chain_costs_no_route() {
    let mut net = Net::line(3);
    let two = net.id(2);
    net.changes.iter_mut().for_each(Vec::clear);
    let anchor = |net: &Net| net.routers[0].record(two).unwrap().record().anchor;
    let (first, before) = (net.routers[2].seqno, anchor(&net));
    for _ in 0..150 {
        let seqno = SeqNo::new(net.routers[2].seqno.value() + 8);
        let hop_limit = 9;
        let request = Tlv::SeqnoRequest(SeqnoRequest {
            originator: two,
            seqno,
            hop_limit,
        });
        net.inject(2, 1, KeyKind::Pair, &[request]);
        net.run(ms(100));
    }
    net.run(ms(5000));
    let known = net.routers[0].originator(two).unwrap().seqno.unwrap();
    assert!(known.value() >= first.value() + 1200);
    assert_ne!(anchor(&net), before);
    assert_eq!(net.changes, [[], [], []]);
    assert!(net.is_whole());
}
