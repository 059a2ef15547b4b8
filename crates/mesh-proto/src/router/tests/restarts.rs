//! What a start must respect of the life before it.

use ipnet::IpNet;

use super::net::{Net, host, key, ms, network, route};
use crate::router::{Announcement, Start};
use crate::wire::{Hello, Ogm, Tlv};
use crate::{IfIndex, Metric, RouteChange, Router, RouterConfig, SeqNo, Table};

#[test]
fn our_own_past_makes_us_catch_up() {
    let mut net = Net::line(2);
    let echo = Ogm {
        originator: net.id(0),
        seqno: SeqNo::new(1000),
        metric: Metric::from_us(600),
        record_seq: SeqNo::new(50),
        hops: 1,
    };
    net.inject(0, 1, &[Tlv::Ogm(echo)]);
    net.run(ms(100));
    let view = net.routers[1].originator(net.now, net.id(0)).unwrap();
    assert_eq!(view.seqno, Some(SeqNo::new(1001)));
    let record = net.routers[1].record(net.id(0)).unwrap().record();
    assert!(record.seq.is_newer_than(SeqNo::new(50)));
}

/// The number of the new record may be that of the old one by chance.
#[test]
fn a_record_of_an_earlier_life_is_replaced_even_if_it_has_the_same_number() {
    let mut net = Net::line(2);
    let named = |name: &str| Announcement {
        name: name.to_owned(),
        ..Announcement::default()
    };
    let id = net.id(1);
    let restart = |net: &mut Net, boot, name| {
        let config = RouterConfig::new(network(), Start::Cold, boot, 1);
        net.routers[1] = Router::new(config, key(1), named(name), net.now);
        net.fibs[1].clear();
        net.routers[1].handle_interface_up(
            net.now,
            super::net::INTERFACE,
            super::net::address(1),
            1500,
        );
        net.run(ms(3000));
        let record = net.routers[0].record(id).unwrap().record();
        record.name.clone()
    };
    assert_eq!(restart(&mut net, 77, "one"), "one");
    assert_eq!(restart(&mut net, 78, "two"), "two");
    assert_eq!(restart(&mut net, 79, "three"), "three");
}

#[test]
fn after_a_cold_restart_neighbors_forget_at_once_what_led_through_us() {
    let mut net = Net::line(3);
    net.restart(1, false);
    net.run(ms(100));
    assert_eq!(net.next_hop(0, 2), None);
    net.run(ms(2900));
    assert_eq!(net.next_hop(0, 2), Some(1), "and learn it anew");
    assert_eq!(net.next_hop(1, 2), Some(2));
}

#[test]
fn after_a_warm_restart_nobody_changes_a_route() {
    let mut net = Net::line(3);
    net.changes.iter_mut().for_each(Vec::clear);
    net.restart(1, true);
    net.run(ms(15_000));
    assert_eq!(net.changes, [[], [], []]);
    assert_eq!(net.next_hop(0, 2), Some(1));
    assert_eq!(net.next_hop(1, 2), Some(2));
    let view = net.routers[1].originator(net.now, net.id(2)).unwrap();
    assert_eq!(view.metric, Metric::from_us(600), "confirmed");
}

#[test]
fn what_a_restarted_neighbor_says_counts_even_if_it_said_newer_before() {
    let mut net = Net::line(3);
    let two = net.id(2);
    let before = net.routers[0].originator(net.now, two).unwrap().seqno;
    let restarted = Tlv::Hello(Hello {
        seqno: 1,
        interval_ms: 500,
        boot: 99,
        warm: true,
    });
    let older = Ogm {
        originator: two,
        seqno: SeqNo::new(before.unwrap().value() - 1),
        metric: Metric::from_us(600),
        record_seq: SeqNo::new(1),
        hops: 1,
    };
    net.inject(0, 1, &[restarted]);
    assert_eq!(net.next_hop(0, 2), Some(1), "kept until it says otherwise");
    net.inject(0, 1, &[Tlv::Ogm(older)]);
    assert_eq!(net.next_hop(0, 2), None, "we may have said this ourselves");
}

#[test]
fn adopted_routes_that_nobody_confirms_are_removed_after_ten_seconds() {
    let mut net = Net::line(2);
    let stale: IpNet = "fd00::1/128".parse().unwrap();
    let confirmed = host(net.id(1));
    let start = Start::Warm(vec![route(stale, 1), route(confirmed, 1)]);
    let config = RouterConfig::new(network(), start, 99, 1);
    net.routers[0] = Router::new(config, key(0), Announcement::default(), net.now);
    net.routers[0].handle_interface_up(net.now, IfIndex(1), super::net::address(0), 1500);
    net.fibs[0].insert((Table::Mesh, stale), route(stale, 1).target);
    net.changes[0].clear();
    net.run(ms(9_900));
    let touched = |net: &Net, prefix: IpNet| {
        let changes = net.changes[0].iter();
        let prefixes = changes.map(|change| match change {
            RouteChange::Set(route) => route.prefix,
            RouteChange::Remove { prefix, .. } => *prefix,
        });
        prefixes.filter(|touched| *touched == prefix).count()
    };
    assert_eq!(touched(&net, stale), 0, "still there");
    net.run(ms(700));
    assert_eq!(net.fibs[0].get(&(Table::Mesh, stale)), None);
    assert_eq!(touched(&net, confirmed), 0, "never touched");
}

/// 0 - 1 - 2, where 2 reaches 0 through 1. Then 1 loses its state and the link to 0, and 2 does
/// not hear of it: what it offers 1 leads back to 1.
#[test]
fn a_neighbor_that_missed_our_restart_is_no_next_hop() {
    let mut net = Net::line(3);
    net.cut(0, 1);
    net.cut_one_way(1, 2);
    net.restart(1, false);
    for _ in 0..500 {
        net.run(ms(10));
        // It is heard, but what it says of us is about our earlier life.
        let heard = net.routers[1].neighbors(net.now).next();
        assert_eq!(heard.map_or(0, |neighbor| neighbor.tx_quality), 0);
    }
}

#[test]
fn only_direct_routes_are_used_in_the_first_half_second() {
    let mut net = Net::new(3);
    net.link(0, 1);
    net.link(1, 2);
    net.run(ms(500));
    assert_eq!((net.next_hop(0, 1), net.next_hop(0, 2)), (Some(1), None));
    net.run(ms(150));
    assert_eq!(net.next_hop(0, 2), Some(1));
}

/// 0 - 1 - 2: what 2 says of 0 is lost, so 1 knows what it said before only from the reminder.
#[test]
fn a_restarted_node_is_reminded_of_what_it_said() {
    let mut net = Net::line(3);
    let zero = net.id(0);
    let said = net.routers[2].originator(net.now, zero).unwrap().seqno;
    net.cut(0, 1);
    net.lose(move |from, _, tlvs| {
        let speaks_of_zero = |tlv: &Tlv| {
            matches!(tlv, Tlv::Ogm(ogm) if ogm.originator == zero && ogm.metric.is_finite())
        };
        from == 2 && tlvs.iter().any(speaks_of_zero)
    });
    net.restart(1, true);
    net.run(ms(2300));
    let feasibility = net.routers[1]
        .originator(net.now, zero)
        .unwrap()
        .feasibility;
    assert_eq!(feasibility.map(|distance| distance.seqno), said);
}

/// 0 - 1 - 2 - 3 and 3 - 1. Node 3 reaches 0 through 2, node 2 through 1. Node 1 restarts and
/// loses the link to 0; 3 hears of it, 2 does not.
#[test]
fn a_neighbor_whose_route_leads_back_over_another_is_no_next_hop() {
    for warm in [false, true] {
        let mut net = Net::line(4);
        net.link(1, 3);
        net.run(ms(3000));
        net.cut(0, 1);
        net.cut(1, 2);
        net.link_one_way(2, 1);
        net.cut_one_way(1, 3);
        net.restart(1, warm);
        net.link_one_way(1, 3);
        net.run(ms(6000));
    }
}
