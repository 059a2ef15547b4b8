//! When a link dies: who takes another way, how fast, and who is asked for one.

use std::time::Duration;

use super::net::{INTERFACE, Net, address, ms};
use crate::router::{Event, StationReport};
use crate::wire::{KeyKind, SeqnoRequest, Tlv};
use crate::{Metric, SeqNo};

fn is_request(tlv: &Tlv) -> bool {
    matches!(tlv, Tlv::SeqnoRequest(_))
}

/// Two ways from 0 to 3: over 1 and over 2.
fn diamond() -> Net {
    let mut net = Net::new(4);
    for (a, b) in [(0, 1), (0, 2), (1, 3), (2, 3)] {
        net.link(a, b);
    }
    net.run(ms(30_000));
    net
}

/// The next hop of 0 to 3, and the other.
fn ways(net: &Net) -> (usize, usize) {
    let used = net.next_hop(0, 3).unwrap();
    (used, 3 - used)
}

#[test]
fn a_feasible_successor_is_used_at_once() {
    let mut net = diamond();
    let (used, other) = ways(&net);
    let three = net.id(3);
    let backup = net.routers[0].originator(three).unwrap().backup;
    assert_eq!(backup, Some(net.link_id(other)));
    net.lose(|_, _, _| true);
    net.give_up(0, used);
    assert_eq!(net.next_hop(0, 3), Some(other), "without a word");
}

/// 0 and 6 lose their link, over which they were nearest. In a circle, what is left is infeasible
/// for some.
#[test]
fn who_is_starved_has_a_route_in_a_tenth_of_a_second() {
    let mut net = Net::ring(7);
    net.sent.clear();
    net.give_up(0, 6);
    assert!(!net.is_whole());
    let requests = |net: &Net| (0..7).map(|n| net.count_sent(n, is_request)).sum::<usize>();
    let time = net.run_until(ms(100), Net::is_whole);
    assert!(requests(&net) > 0, "{time:?}");
    assert_eq!(net.next_hop(0, 6), Some(1));
}

#[test]
fn a_request_is_passed_on_once_and_no_further_than_its_limit() {
    let mut net = Net::line(4);
    let (originator, three) = (net.id(3), net.id(3));
    let seqno = net.routers[1].originator(three).unwrap().seqno.unwrap();
    let request = |seqno, hop_limit| {
        Tlv::SeqnoRequest(SeqnoRequest {
            originator,
            seqno,
            hop_limit,
        })
    };
    net.lose(|_, _, _| true);
    net.sent.clear();
    for passed_on in [1, 1] {
        net.inject(1, 0, KeyKind::Pair, &[request(seqno.next(), 2)]);
        assert_eq!(net.count_sent(1, is_request), passed_on);
    }
    net.run(ms(1000));
    net.inject(1, 0, KeyKind::Pair, &[request(seqno.next(), 2)]);
    assert_eq!(net.count_sent(1, is_request), 2, "asked for once more");
    let late = SeqNo::new(seqno.value() + 2);
    net.inject(1, 0, KeyKind::Pair, &[request(late, 0)]);
    net.inject(1, 0, KeyKind::Pair, &[request(seqno, 9)]);
    assert_eq!(net.count_sent(1, is_request), 2, "the end, and no need");
}

/// Nobody has a proof of numbers that were never used: who asks for them is mistaken or lies.
#[test]
fn a_request_does_not_make_us_skip_numbers() {
    let mut net = Net::line(2);
    let originator = net.id(0);
    let before = net.routers[0].seqno;
    for (ahead, seqno_after) in [(9, before), (1 << 30, before), (0, before)] {
        let seqno = SeqNo::new(before.value() + ahead);
        let hop_limit = 9;
        let request = Tlv::SeqnoRequest(SeqnoRequest {
            originator,
            seqno,
            hop_limit,
        });
        net.inject(0, 1, KeyKind::Pair, &[request]);
        assert_eq!(net.routers[0].seqno, seqno_after, "{ahead}");
    }
}

/// The link between two routers has this speed now.
fn set_speed(net: &mut Net, a: usize, b: usize, bps: u64) {
    for (here, there) in [(a, b), (b, a)] {
        let report = StationReport {
            expected_throughput_bps: Some(bps),
            ..StationReport::default()
        };
        let now = net.now;
        net.routers[here].handle_station(now, INTERFACE, address(there), report);
        net.drain(here);
    }
}

#[test]
fn a_better_way_is_taken_when_it_was_better_for_five_seconds() {
    let mut net = diamond();
    let (used, other) = ways(&net);
    set_speed(&mut net, 0, other, 1_000_000_000);
    net.run(ms(4900));
    assert_eq!(net.next_hop(0, 3), Some(used));
    net.run(ms(1500));
    assert_eq!(net.next_hop(0, 3), Some(other));
    assert_eq!(net.routers[0].counters().switches, 1);
}

#[test]
fn a_way_that_is_better_for_a_moment_is_not_taken() {
    let mut net = diamond();
    let (used, other) = ways(&net);
    for _ in 0..5 {
        set_speed(&mut net, 0, other, 1_000_000_000);
        net.run(ms(3000));
        set_speed(&mut net, 0, other, 24_000_000);
        net.run(ms(3000));
    }
    assert_eq!(net.next_hop(0, 3), Some(used));
    assert_eq!(net.routers[0].counters().switches, 0);
}

/// 0 - 1 - 4 is in use, 0 - 2 - 3 - 4 is longer. When 1 dies, traffic moves to links that were
/// idle, and which may be dead without anybody knowing.
#[test]
fn where_traffic_moves_the_links_are_watched() {
    let mut net = Net::new(5);
    for (a, b) in [(0, 1), (1, 4), (0, 2), (2, 3), (3, 4)] {
        net.link(a, b);
    }
    net.run(ms(30_000));
    net.run_with_traffic(ms(3000), &[(0, 4)]);
    let watches = |net: &Net, here: usize, there: usize| {
        let link = net.link_id(there);
        let mut all = net.routers[here].neighbors(net.now);
        all.any(|it| it.link == link && it.watched)
    };
    assert!(!watches(&net, 2, 3) && !watches(&net, 3, 4));
    net.cut(0, 1);
    net.cut(1, 4);
    net.run_until(ms(450), |net| net.next_hop(0, 4) != Some(1));
    net.sent.clear();
    net.run_until(ms(120), |net| {
        let watched = [(0, 2), (2, 3), (3, 4)];
        net.next_hop(0, 4) == Some(2) && watched.iter().all(|(a, b)| watches(net, *a, *b))
    });
    net.run(ms(400));
    let probes = |tlv: &Tlv| matches!(tlv, Tlv::Probe(_));
    // One end asks, the other hears that it does.
    for (one, other) in [(2, 3), (3, 4)] {
        let asked = net.count_sent(one, probes) + net.count_sent(other, probes);
        assert!(asked > 0, "{one} or {other} probes");
    }
}

/// The same, where the second hop of the new way is dead: it is found out as fast as the first.
#[test]
fn a_dead_link_on_the_new_way_costs_another_half_second() {
    let mut net = Net::new(6);
    for (a, b) in [(0, 1), (1, 5), (0, 2), (2, 5), (2, 3), (3, 4), (4, 5)] {
        net.link(a, b);
    }
    net.run(ms(30_000));
    let used = net.next_hop(0, 5).unwrap();
    let flows = [(0, 5)];
    net.run_with_traffic(ms(3000), &flows);
    if used == 1 {
        net.cut(2, 5);
        net.cut(0, 1);
    } else {
        net.cut(2, 5);
    }
    let arrives = |net: &Net| {
        let mut here = 0;
        while let Some(next) = net.next_hop(here, 5) {
            let dead = [(0, 1), (2, 5)].contains(&(here.min(next), here.max(next)));
            if dead && (used == 1 || next == 5) {
                return false;
            }
            here = next;
        }
        here == 5
    };
    let time = net.run_until(ms(1200), arrives);
    assert!(time <= ms(1000), "{time:?}");
}

/// What the driver of 0 says of the radio of 1.
fn hear_radio(net: &mut Net, inactive: Duration) {
    report_on_radio(
        net,
        StationReport {
            inactive: Some(inactive),
            ..StationReport::default()
        },
    );
}

fn report_on_radio(net: &mut Net, report: StationReport) {
    let now = net.now;
    net.routers[0].handle_station(now, INTERFACE, address(1), report);
    net.drain(0);
}

fn is_probe(tlv: &Tlv) -> bool {
    matches!(tlv, Tlv::Probe(_))
}

#[test]
fn a_radio_that_falls_silent_is_reason_to_ask() {
    let mut net = Net::line(2);
    net.run(ms(30_000));
    net.sent.clear();
    hear_radio(&mut net, ms(1000));
    assert_eq!(net.count_sent(0, is_probe), 0, "between two beacons");
    hear_radio(&mut net, ms(1300));
    assert_eq!(net.count_sent(0, is_probe), 1);
    net.run(ms(1000));
    assert_eq!(net.next_hop(0, 1), Some(1), "the answer was enough");
    net.lose(|from, _, _| from == 1);
    hear_radio(&mut net, ms(1300));
    let time = net.run_until(ms(1000), |net| net.next_hop(0, 1).is_none());
    assert!(time < ms(500), "{time:?}");
}

/// The radio of a node whose daemon is dead acknowledges and sends beacons as before.
#[test]
fn a_radio_without_a_daemon_is_given_up_nevertheless() {
    let mut net = Net::line(2);
    net.run(ms(30_000));
    net.lose(|from, _, _| from == 1);
    for _ in 0..60 {
        let now = net.now;
        net.routers[0].handle_carrying(now, INTERFACE, address(1));
        hear_radio(&mut net, ms(10));
        net.run(ms(100));
    }
    assert_eq!(net.next_hop(0, 1), None);
}

/// 1 dies while traffic flows to it. When a probe is missed, the driver says how many frames it has
/// given up by then.
fn time_to_loss(failed: u64) -> Duration {
    let mut net = Net::line(2);
    net.run(ms(30_000));
    net.run_with_traffic(ms(3000), &[(0, 1)]);
    let report = |inactive, failed| StationReport {
        inactive: Some(inactive),
        tx_failed: Some(failed),
        ..StationReport::default()
    };
    report_on_radio(&mut net, report(ms(10), 7));
    net.cut(0, 1);
    let died = net.now;
    let is_silent = |event: &Event| matches!(event, Event::NeighborSilent(_));
    net.events[0].clear();
    net.run_until(ms(400), |net| net.events[0].iter().any(is_silent));
    let inactive = net.now - died;
    report_on_radio(&mut net, report(inactive, failed));
    net.run_until(ms(1000), |net| net.next_hop(0, 1).is_none());
    net.now - died
}

#[test]
fn frames_that_a_radio_gave_up_confirm_that_a_neighbor_is_gone() {
    let (unconfirmed, confirmed) = (time_to_loss(7), time_to_loss(8));
    assert!(
        unconfirmed > confirmed + ms(70),
        "{unconfirmed:?}, {confirmed:?}"
    );
}

/// Others may have got the first frames of an answer, or the daemon behind the radio is busy.
#[test]
fn a_radio_that_gives_up_frames_is_not_gone_while_it_answers() {
    let mut net = Net::line(2);
    net.run(ms(30_000));
    for failed in 0..100 {
        report_on_radio(
            &mut net,
            StationReport {
                inactive: Some(ms(1300)),
                tx_failed: Some(failed * 50),
                ..StationReport::default()
            },
        );
        net.run(ms(200));
    }
    assert_eq!(net.next_hop(0, 1), Some(1));
}

/// It may say the lowest rate of all before anything was sent.
#[test]
fn a_rate_counts_when_there_is_traffic() {
    let mut net = Net::line(2);
    net.run(ms(30_000));
    let cost = |net: &Net| net.routers[0].neighbors(net.now).next().unwrap().cost;
    let assumed = cost(&net);
    let report = |tx_frames, mbit: u64| StationReport {
        tx_bitrate_bps: Some(mbit * 1_000_000),
        tx_frames: Some(tx_frames),
        ..StationReport::default()
    };
    (0..9).for_each(|round| report_on_radio(&mut net, report(round, 6)));
    assert_eq!(cost(&net), assumed);
    (1..4).for_each(|round| report_on_radio(&mut net, report(round * 1000, 150)));
    // 1500 bytes at 50 Mbit/s.
    assert_eq!(cost(&net), Metric::HOP.plus(Metric::from_us(240)));
    (4..9).for_each(|round| report_on_radio(&mut net, report(3000 + round, 6)));
    assert_eq!(cost(&net), Metric::HOP.plus(Metric::from_us(240)));
}

#[test]
fn a_driver_that_no_longer_knows_a_speed_leaves_the_assumed_one() {
    let mut net = Net::line(2);
    net.run(ms(30_000));
    let cost = |net: &Net| net.routers[0].neighbors(net.now).next().unwrap().cost;
    let assumed = cost(&net);
    set_speed(&mut net, 0, 1, 6_000_000);
    assert!(cost(&net) > assumed);
    hear_radio(&mut net, ms(10));
    assert_eq!(cost(&net), assumed);
    set_speed(&mut net, 0, 1, 0);
    assert_eq!(cost(&net), assumed, "0 is no speed");
}
