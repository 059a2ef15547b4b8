//! What a start must respect of the life before it.

use ipnet::IpNet;

use super::net::{INTERFACE, Net, address, host, key, ms, network, route};
use crate::router::{Announcement, Event, Start};
use crate::wire::{KeyKind, Reminder, Tlv};
use crate::{Metric, RouteChange, Router, RouterConfig, SeqNo, Table};

/// A node without a clock and with a worn-out card: it counts its lives from the beginning.
#[test]
fn a_node_that_lost_its_count_is_back_in_three_seconds() {
    for warm in [false, true] {
        let mut net = Net::line(4);
        let before = net.routers[3].epoch();
        net.restart_in_epoch(3, warm, Some(1));
        net.events[3].clear();
        net.run_until(ms(3000), |net| {
            let said = net.events[3].contains(&Event::EpochBegun(before + 1));
            let view = net.routers[0].originator(net.id(3)).unwrap();
            let newest = view.seqno.is_some_and(|it| it.value() >> 16 > before);
            said && newest && net.is_whole()
        });
        assert_eq!(net.routers[3].epoch(), before + 1);
    }
}

/// It counts again from where it was: an installation that cannot write counts every start as its
/// first.
#[test]
fn a_node_that_did_not_count_its_start_is_back_in_three_seconds() {
    for warm in [false, true] {
        let mut net = Net::line(4);
        let before = net.routers[3].epoch();
        net.restart_in_epoch(3, warm, Some(before));
        net.run_until(ms(3000), |net| {
            let view = net.routers[0].originator(net.id(3)).unwrap();
            let newest = view.seqno.is_some_and(|it| it.value() >> 16 > before);
            newest && net.is_whole()
        });
        assert!(net.events[3].contains(&Event::EpochBegun(before + 1)));
    }
}

/// The same where its only neighbor has forgotten what the others remember.
#[test]
fn a_node_that_did_not_count_its_start_is_told_from_afar() {
    let mut net = Net::line(4);
    let before = net.routers[3].epoch();
    net.restart_in_epoch(3, false, Some(before));
    net.restart(2, false);
    net.run_until(ms(3000), |net| {
        net.routers[3].epoch() == before + 1 && net.is_whole()
    });
}

/// The same where each of the others remembers another of its lives.
#[test]
fn a_node_of_which_everybody_remembers_another_life_is_back_in_three_seconds() {
    let mut net = Net::new(5);
    for other in 1..5 {
        (1..5).for_each(|it| net.cut(0, it));
        net.restart(0, false);
        net.run(ms(8000));
        net.link(0, other);
        net.run(ms(5000));
    }
    let last = net.routers[0].epoch();
    net.restart_in_epoch(0, false, Some(1));
    (1..4).for_each(|it| net.link(0, it));
    net.run_until(ms(3000), |net| {
        net.routers[0].epoch() > last && net.is_whole()
    });
    assert!(!net.events[0].contains(&Event::DuplicateIdentity));
}

/// The same where it hears nobody for a while, and is known by its record alone.
#[test]
fn a_node_that_lost_its_count_and_moved_is_back_in_three_seconds() {
    let mut net = Net::line(4);
    let before = net.routers[3].epoch();
    net.cut(2, 3);
    net.restart_in_epoch(3, false, Some(1));
    net.run(ms(5000));
    net.link(0, 3);
    net.run_until(ms(3000), |net| {
        net.routers[3].epoch() == before + 1 && net.is_whole()
    });
}

#[test]
fn after_a_start_in_a_new_epoch_its_record_replaces_the_old_one() {
    let mut net = Net::line(3);
    let two = net.id(2);
    for name in ["one", "two", "three"] {
        net.restart(2, false);
        let named = Announcement {
            name: name.to_owned(),
            ..Announcement::default()
        };
        net.routers[2].announce(net.now, named);
        net.run(ms(3000));
        let record = net.routers[0].record(two).unwrap().record();
        assert_eq!(record.name, name);
    }
}

#[test]
fn after_a_cold_restart_neighbors_forget_at_once_what_led_through_us() {
    let mut net = Net::line(3);
    net.restart(1, false);
    net.run_until(ms(100), |net| net.next_hop(0, 2).is_none());
    net.run_until(ms(1500), Net::is_whole);
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
    let view = net.routers[1].originator(net.id(2)).unwrap();
    assert_eq!(view.metric, Metric::from_us(600), "confirmed");
}

#[test]
fn what_a_warm_neighbor_does_not_confirm_is_given_up_after_ten_seconds() {
    let mut net = Net::line(3);
    net.cut(1, 2);
    net.restart(1, true);
    net.run(ms(9000));
    assert_eq!(net.next_hop(0, 2), Some(1), "it may come back");
    net.run(ms(8000));
    assert_eq!(net.next_hop(0, 2), None);
}

#[test]
fn adopted_routes_that_nobody_confirms_are_removed_after_ten_seconds() {
    let mut net = Net::line(2);
    let stale: IpNet = "fd00::1/128".parse().unwrap();
    let unknown: IpNet = "fd00::2/128".parse().unwrap();
    let confirmed = host(net.id(1));
    let start = Start::Warm(vec![
        route(stale, 8),
        route(unknown, 1),
        route(confirmed, 1),
    ]);
    let config = RouterConfig::new(network(), start, 99, 1);
    net.routers[0] = Router::new(config, key(0), Announcement::default(), net.now);
    net.routers[0].handle_interface_up(net.now, INTERFACE, address(0), 1500);
    net.fibs[0].insert((Table::Mesh, stale), route(stale, 8).target);
    net.fibs[0].insert((Table::Mesh, unknown), route(unknown, 1).target);
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
    assert_eq!(
        touched(&net, unknown),
        1,
        "its neighbor knows nothing of it"
    );
    net.run(ms(1200));
    assert_eq!(net.fibs[0].get(&(Table::Mesh, stale)), None);
    assert_eq!(touched(&net, confirmed), 0, "never touched");
}

#[test]
fn only_direct_routes_are_used_while_listening() {
    let mut net = Net::new(3);
    net.link(0, 1);
    net.link(1, 2);
    net.run(ms(399));
    assert_eq!((net.next_hop(0, 1), net.next_hop(0, 2)), (Some(1), None));
    net.run_until(ms(100), Net::is_whole);
}

/// 0 - 1 - 2: what 2 says of 0 is lost, so 1 knows what it said before only from the reminder.
#[test]
fn a_restarted_node_is_reminded_of_what_it_said() {
    for warm in [false, true] {
        let mut net = Net::line(3);
        let zero = net.id(0);
        let said = net.routers[2].originator(zero).unwrap().seqno;
        net.cut(0, 1);
        net.lose(|from, _, tlvs| {
            let updates = |tlv: &Tlv| matches!(tlv, Tlv::Update(_));
            let reminds = |tlv: &Tlv| matches!(tlv, Tlv::Reminder(_));
            from == 2 && tlvs.iter().any(updates) && !tlvs.iter().any(reminds)
        });
        net.restart(1, warm);
        net.run(ms(2300));
        let past = net.routers[1].caution.past(zero);
        assert_eq!(past.map(|it| it.seqno), said, "warm: {warm}");
        let feasibility = net.routers[1].originator(zero);
        let feasibility = feasibility.and_then(|it| it.feasibility);
        assert!(feasibility.is_none_or(|it| Some(it.seqno) == said));
        assert_ne!(net.next_hop(1, 0), Some(2));
    }
}

/// What a neighbor claims that we said is taken for a while after the start only.
#[test]
fn reminders_come_with_a_start() {
    let mut net = Net::line(3);
    let two = net.id(2);
    let before = net.routers[0].originator(two).unwrap();
    let said = crate::route_selection::FeasibilityDistance {
        seqno: SeqNo::new(before.seqno.unwrap().value() + 5),
        metric: Metric::ZERO,
    };
    let reminder = Tlv::Reminder(Reminder {
        entries: vec![(two, said)],
    });
    net.inject(0, 1, KeyKind::Pair, std::slice::from_ref(&reminder));
    let after = net.routers[0].originator(two).unwrap();
    assert_eq!(after.feasibility, before.feasibility);
    assert_eq!(net.next_hop(0, 2), Some(1));
    net.restart(0, false);
    net.run(ms(1000));
    assert_eq!(net.next_hop(0, 2), Some(1));
    net.inject(0, 1, KeyKind::Pair, &[reminder]);
    assert_eq!(net.next_hop(0, 2), None, "we said it was nearer, and newer");
    net.run_until(ms(500), Net::is_whole);
}

/// 0 - 1 - 2, where 2 reaches 0 through 1. Then 1 loses its state and the link to 0, and 2 does
/// not hear of it: what it offers 1 leads back to 1.
#[test]
fn a_neighbor_that_missed_our_restart_is_no_next_hop() {
    let mut net = Net::line(3);
    net.cut(0, 1);
    net.cut_one_way(1, 2);
    net.restart(1, false);
    for _ in 0..800 {
        net.run(ms(10));
        // It is heard, but it does not answer.
        let mut heard = net.routers[1].neighbors(net.now);
        assert!(heard.all(|it| it.cost == Metric::INFINITE));
        assert_eq!(net.next_hop(1, 0), None);
    }
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
        net.run(ms(10_000));
    }
}

/// 0 - 2 - 3 - 1 is the way from 0 to 1. Then 3 loses its state and the link to 1, and finds 0
/// beside it, while 2 is restarted and goes on with its route through 3. What 2 and 3 told each
/// other both have forgotten.
#[test]
fn two_neighbors_that_restart_together_do_not_send_in_a_circle() {
    let mut net = Net::new(4);
    [0, 1, 2].into_iter().for_each(|it| net.link(it, 3));
    net.run(ms(2000));
    net.link(0, 2);
    net.cut(0, 3);
    net.run(ms(11_400));
    net.cut(1, 3);
    net.link(0, 3);
    net.restart(3, false);
    net.restart(2, true);
    net.run(ms(15_000));
}

/// After a week, or sooner if others keep asking for newer numbers, those of an epoch are used up.
#[test]
fn a_node_whose_epoch_is_used_up_goes_on_in_the_next_and_may_restart() {
    for warm in [false, true] {
        let mut net = Net::line(4);
        let epoch = net.routers[3].epoch();
        net.changes.iter_mut().for_each(Vec::clear);
        // Nobody can prove numbers far from the anchor, so it does not get there in one step.
        for ahead in (500..=65_500).step_by(500).chain([65_534, 65_535, 65_536]) {
            let now = net.now;
            net.routers[3].originate(now, SeqNo::new((epoch << 16) + ahead));
            net.routers[3].flush_by(now);
            net.run(ms(300));
        }
        assert!(net.events[3].contains(&Event::EpochBegun(epoch + 1)));
        net.run(ms(20_000));
        assert_eq!(net.changes, [[], [], [], []], "and nobody changes a route");
        let view = net.routers[0].originator(net.id(3)).unwrap();
        assert_eq!(view.seqno.map(|it| it.value() >> 16), Some(epoch + 1));
        net.restart(3, warm);
        net.run_until(ms(3000), Net::is_whole);
        net.run(ms(20_000));
        assert!(net.is_whole());
    }
}
