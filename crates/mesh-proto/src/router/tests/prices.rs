//! Prices: what is paid along a route, and what is too dear.

use super::net::{INTERFACE, Net, address, ms};
use crate::gateway_policy::{Policy, Refusal};
use crate::gateway_selection::Verdict;
use crate::router::{Announcement, StationReport};
use crate::wire::{Ogm, Tlv};
use crate::{GatewayOffer, Metric, NodeId, Price};

fn node(net: &Net, node: usize) -> NodeId {
    net.routers[node].record(net.id(node)).unwrap().node()
}

/// A node asks for this fee from now on; `gateway` offers an uplink as well.
fn announce(net: &mut Net, node: usize, fee: u64, gateway: bool) {
    let offer = GatewayOffer {
        down_bps: 20_000_000,
        up_bps: 5_000_000,
        ipv4: true,
        ipv6: false,
        dns: Vec::new(),
    };
    let announcement = Announcement {
        gateway: gateway.then_some(offer),
        fee: Price::new(fee),
        ..Announcement::default()
    };
    net.routers[node].announce(net.now, announcement);
    net.drain(node);
}

fn set_maximum(net: &mut Net, node: usize, most: u64) {
    set_limit(net, node, Some(Price::new(most)));
}

/// Whoever was started pays nothing until it is told to.
fn everybody_pays(net: &mut Net) {
    (0..net.routers.len()).for_each(|node| set_limit(net, node, None));
}

fn set_limit(net: &mut Net, node: usize, maximum_price: Option<Price>) {
    let policy = Policy {
        maximum_price,
        ..Policy::default()
    };
    net.routers[node].set_gateway_policy(net.now, policy);
    net.drain(node);
}

/// What `at` takes for carrying to `gateway`.
fn price_to(net: &Net, at: usize, gateway: usize) -> Option<u64> {
    let price = net.routers[at].price_to(node(net, gateway));
    price.map(Price::atto_smt_per_mib)
}

/// What `at` pays `via` for carrying to `gateway`.
fn price_via(net: &Net, at: usize, via: usize, gateway: usize) -> Option<u64> {
    let price = net.routers[at].price_via(node(net, via), node(net, gateway));
    price.map(Price::atto_smt_per_mib)
}

/// What a node sees of the only gateway: what the way to it costs, and why it is used or not.
fn seen(net: &Net, at: usize) -> (Option<u64>, Verdict) {
    let views = net.routers[at].gateways();
    assert_eq!(views.len(), 1);
    (
        views[0].price.map(Price::atto_smt_per_mib),
        views[0].verdict,
    )
}

const TOO_DEAR: (Option<u64>, Verdict) = (None, Verdict::Refused(Refusal::TooDear));

fn ogms(net: &Net) -> impl Iterator<Item = &Ogm> {
    let updates = net.sent.iter().filter_map(|(_, tlv)| {
        let Tlv::Update(update) = tlv else {
            return None;
        };
        Some(update)
    });
    updates.flat_map(|update| &update.ogms)
}

/// Nodes in a row, the last of them the gateway, with these fees.
fn line(fees: &[u64]) -> Net {
    let mut net = Net::line(fees.len());
    everybody_pays(&mut net);
    for (node, fee) in fees.iter().enumerate() {
        announce(&mut net, node, *fee, node + 1 == fees.len());
    }
    net.run(ms(5000));
    net
}

/// A short way from 0 over 1 to the gateway 2, and a longer one over 3 and 4, which not even in its
/// first hop is shorter than the short one. Who pays nobody more than 5 is 0.
fn two_ways() -> Net {
    let mut net = Net::new(5);
    for (a, b) in [(0, 1), (1, 2), (0, 3), (3, 4), (4, 2)] {
        net.link(a, b);
    }
    net.run(ms(30_000));
    everybody_pays(&mut net);
    announce(&mut net, 2, 1, true);
    set_maximum(&mut net, 0, 5);
    net.run(ms(1000));
    assert_eq!(
        (net.next_hop(0, 2), seen(&net, 0)),
        (Some(1), (Some(1), Verdict::Best))
    );
    net
}

#[test]
fn the_price_of_a_route_is_the_sum_of_the_fees_along_it() {
    let net = line(&[1, 20, 300, 4000, 50_000]);
    let sums = [54_321, 54_320, 54_300, 54_000, 50_000];
    for (at, sum) in sums.into_iter().enumerate() {
        assert_eq!(price_to(&net, at, 4), Some(sum), "{at}");
        assert_eq!(price_to(&net, at, 2), None, "no gateway");
    }
    for at in 0..4 {
        let pays = Some(sums[at + 1]);
        assert_eq!(price_via(&net, at, at + 1, 4), pays, "what it takes");
        assert_eq!(seen(&net, at), (pays, Verdict::Best));
    }
    assert_eq!(price_via(&net, 2, 0, 4), None, "no neighbor");
}

#[test]
fn a_fee_that_changes_travels_at_once_and_without_records() {
    let mut net = line(&[0, 2, 30, 400, 5000]);
    assert_eq!(price_to(&net, 0, 4), Some(5432));
    for (changed, fee, sum) in [
        (2, 90, 5492),
        (4, 0, 492),
        (2, 0, 402),
        (3, 0, 2),
        (1, 0, 0),
    ] {
        net.sent.clear();
        announce(&mut net, changed, fee, changed == 4);
        net.run_until(ms(100), |net| price_to(net, 0, 4) == Some(sum));
        let records = net
            .sent
            .iter()
            .filter(|(_, it)| matches!(it, Tlv::Record(_)));
        assert_eq!(records.count(), 0);
        assert_eq!(net.next_hop(0, 4), Some(1));
    }
}

#[test]
fn a_mesh_without_a_gateway_or_without_fees_says_nothing_of_prices() {
    let mut net = Net::line(4);
    everybody_pays(&mut net);
    (0..4).for_each(|node| announce(&mut net, node, 7, false));
    net.run(ms(20_000));
    (0..4).for_each(|node| announce(&mut net, node, 0, node == 3));
    net.run(ms(20_000));
    assert_eq!(ogms(&net).find(|ogm| ogm.price != Price::FREE), None);
    assert_eq!(price_to(&net, 0, 3), Some(0));
    announce(&mut net, 1, 7, false);
    net.run(ms(100));
    assert_eq!(price_to(&net, 0, 3), Some(7));
    assert_eq!(ogms(&net).filter(|ogm| ogm.price != Price::FREE).count(), 2);
}

#[test]
fn a_node_that_becomes_a_gateway_or_ceases_to_be_one_is_priced_accordingly() {
    let mut net = Net::line(3);
    everybody_pays(&mut net);
    (0..3).for_each(|node| announce(&mut net, node, 7, false));
    for gateway in [true, false, true] {
        announce(&mut net, 2, 7, gateway);
        let prices = [21, 14, 7].map(|price| gateway.then_some(price));
        net.run_until(ms(200), |net| {
            [0, 1, 2].map(|at| price_to(net, at, 2)) == prices
        });
    }
}

#[test]
fn who_turns_too_dear_loses_the_traffic_to_the_internet() {
    let mut net = two_ways();
    net.changes[0].clear();
    announce(&mut net, 1, 5, false);
    net.run_until(ms(300), |net| net.next_hop(0, 2) == Some(3));
    assert_eq!(seen(&net, 0), (Some(1), Verdict::Best));
    net.run(ms(120_000));
    assert_eq!(net.next_hop(0, 2), Some(3), "for good");
    announce(&mut net, 1, 4, false);
    net.run_until(ms(20_000), |net| net.next_hop(0, 2) == Some(1));
}

#[test]
fn a_better_route_that_is_too_dear_loses_from_the_start() {
    for warm in [false, true] {
        let mut net = two_ways();
        announce(&mut net, 1, 5, false);
        net.run(ms(1000));
        net.restart(0, warm);
        set_maximum(&mut net, 0, 5);
        net.run_until(ms(20_000), |net| net.next_hop(0, 2) == Some(3));
        net.run(ms(120_000));
        assert_eq!((net.next_hop(0, 2), net.next_hop(0, 1)), (Some(3), Some(1)));
    }
}

/// The record says that there is a gateway, and comes when it was asked for.
#[test]
fn a_record_that_comes_after_the_price_makes_it_count() {
    let mut net = Net::ring(4);
    everybody_pays(&mut net);
    let two = net.id(2);
    let dear = net.next_hop(0, 2).unwrap();
    let other = 4 - dear;
    set_maximum(&mut net, 0, 5);
    announce(&mut net, dear, 5, false);
    net.lose(|_, to, tlvs| to == 0 && tlvs.iter().any(|tlv| matches!(tlv, Tlv::Update(_))));
    announce(&mut net, 2, 1, true);
    net.run(ms(50));
    assert!(net.routers[0].gateways().is_empty());
    for node in [dear, other] {
        let said = net.routers[node].said(two).unwrap().ogm(two, 0);
        net.say(0, node, &[said]);
    }
    assert_eq!(net.next_hop(0, 2), Some(dear));
    net.run(ms(5));
    assert_eq!(net.next_hop(0, 2), Some(other));
}

#[test]
fn a_route_that_is_too_dear_still_serves_what_stays_in_the_mesh() {
    let mut net = two_ways();
    net.cut(0, 3);
    announce(&mut net, 1, 5, false);
    net.run_until(ms(200), |net| seen(net, 0).1 == TOO_DEAR.1);
    assert_eq!(seen(&net, 0).0, Some(6));
    assert_eq!(net.routers[0].gateway(), None);
    assert_eq!(net.next_hop(0, 2), Some(1));
    // Nor does it sell what it does not buy, whatever others would pay.
    net.run(ms(50));
    assert_eq!(price_to(&net, 0, 2), None);
    net.link(0, 3);
    net.run_until(ms(30_000), |net| net.next_hop(0, 2) == Some(3));
    net.run(ms(50));
    assert_eq!(price_to(&net, 0, 2), Some(1));
}

/// 0 pays anything, 1 and 2 have not said so. What costs something ends at 1, the first that would
/// have to pay for it.
#[test]
fn who_has_not_said_that_it_pays_neither_uses_nor_sells_what_costs() {
    let mut net = Net::line(3);
    set_limit(&mut net, 0, None);
    announce(&mut net, 2, 1, true);
    net.run(ms(5000));
    let refused = (Some(1), Verdict::Refused(Refusal::TooDear));
    assert_eq!(seen(&net, 1), refused);
    assert_eq!(net.routers[1].gateway(), None);
    assert_eq!(net.routers[1].too_dear(), Some((net.id(2), Price::new(1))));
    assert_eq!(price_to(&net, 1, 2), None);
    assert_eq!(price_via(&net, 0, 1, 2), None);
    assert_eq!(seen(&net, 0), TOO_DEAR);
    assert_eq!(net.routers[0].gateway(), None);
    assert_eq!(
        net.routers[0].too_dear(),
        Some((net.id(2), Price::TOO_DEAR))
    );
    // What it gets for nothing it may sell.
    announce(&mut net, 2, 0, true);
    announce(&mut net, 1, 3, false);
    net.run_until(ms(200), |net| seen(net, 0) == (Some(3), Verdict::Best));
    assert_eq!(seen(&net, 1), (Some(0), Verdict::Best));
    assert_eq!(net.routers[1].too_dear(), None);
}

#[test]
fn prices_keep_nobody_offline_who_has_an_uplink() {
    let mut net = Net::line(2);
    announce(&mut net, 0, 0, true);
    announce(&mut net, 1, 1, true);
    net.run(ms(5000));
    assert_eq!(seen(&net, 0).1, Verdict::Refused(Refusal::TooDear));
    assert_eq!(net.routers[0].too_dear(), None);
    announce(&mut net, 0, 0, false);
    assert_eq!(net.routers[0].too_dear(), Some((net.id(1), Price::new(1))));
}

#[test]
fn what_one_node_does_not_pay_is_not_for_sale_behind_it() {
    let mut net = line(&[0, 0, 3, 4]);
    assert_eq!(seen(&net, 0), (Some(7), Verdict::Best));
    set_maximum(&mut net, 1, 6);
    net.run_until(ms(200), |net| seen(net, 0) == TOO_DEAR);
    assert_eq!(net.next_hop(0, 3), Some(1));
    assert_eq!(price_via(&net, 0, 1, 3), None);
    set_maximum(&mut net, 1, 7);
    net.run_until(ms(200), |net| seen(net, 0) == (Some(7), Verdict::Best));
}

#[test]
fn a_sum_that_does_not_fit_is_too_dear() {
    let half = u64::MAX / 2;
    let net = line(&[0, 0, 2, half, half]);
    assert_eq!(seen(&net, 2), (Some(u64::MAX - 1), Verdict::Best));
    assert_eq!(price_to(&net, 2, 4), None);
    for at in 0..2 {
        assert_eq!(seen(&net, at), TOO_DEAR);
        assert_eq!(price_to(&net, at, 4), None);
        assert_eq!(price_via(&net, at, at + 1, 4), None);
        assert_eq!(net.next_hop(at, 4), Some(at + 1), "in the mesh");
    }
}

/// 1 pays 50 itself. Whatever it announces instead is what it gets.
#[test]
fn a_neighbor_is_paid_what_it_announces_and_not_what_it_pays() {
    let mut net = line(&[2, 3, 50]);
    let gateway = net.id(2);
    assert_eq!(price_via(&net, 0, 1, 2), Some(53));
    for lie in [7, 0, 90] {
        let truth = net.routers[1].said(gateway).unwrap().ogm(gateway, 0);
        let price = Price::new(lie);
        net.say(0, 1, &[Ogm { price, ..truth }]);
        assert_eq!(price_via(&net, 0, 1, 2), Some(lie));
        assert_eq!(seen(&net, 0).0, Some(lie));
        net.run_until(ms(50), |net| price_to(net, 0, 2) == Some(lie + 2));
    }
}

/// Its length has to wait for a newer sequence number, lest neighbors find it infeasible.
#[test]
fn the_price_of_a_route_that_became_longer_is_told_at_once() {
    let mut net = line(&[0, 3, 50]);
    let gateway = net.id(2);
    // Nobody answers what is asked for.
    net.lose(|from, _, _| from == 2);
    let said = |net: &Net| {
        let advertised = net.routers[1].said(gateway).unwrap().advertised;
        (advertised.metric, advertised.price)
    };
    let before = said(&net);
    let report = StationReport {
        expected_throughput_bps: Some(1_000_000),
        ..StationReport::default()
    };
    net.routers[1].handle_station(net.now, INTERFACE, address(2), report);
    net.drain(1);
    announce(&mut net, 1, 4, false);
    net.run(ms(100));
    assert_eq!(
        net.routers[1].originator(gateway).unwrap().metric,
        Metric::from_us(12_100)
    );
    assert_eq!(said(&net), (before.0, Price::new(54)));
    assert_eq!(price_via(&net, 0, 1, 2), Some(54));
}
