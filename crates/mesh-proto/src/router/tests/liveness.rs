//! Neighbors that carry traffic are given up fast when they fall silent, and only then.

use std::time::Duration;

use super::net::{Net, ms};
use crate::router::Event;
use crate::wire::Tlv;

/// Two routers, traffic between them, and then silence: how long until node 0 gives up.
fn time_to_give_up(loss: f64, seed: u64) -> Duration {
    let mut net = Net::new(2);
    net.link(0, 1);
    net.set_radio(seed, loss);
    net.run_with_traffic(ms(120_000), &[(0, 1)]);
    assert_eq!(net.next_hop(0, 1), Some(1));
    // Between two probes, wherever that is.
    net.run(ms(seed * 17 % 100));
    net.carry(0, 1);
    let last_heard = net.routers[0].neighbors(net.now).next().unwrap().last_heard;
    net.cut(0, 1);
    net.run_until(ms(5000), |net| {
        net.routers[0].neighbors(net.now).count() == 0
    });
    net.now - last_heard
}

#[test]
fn on_a_clean_link_silence_lasts_less_than_half_a_second() {
    for seed in 1..=5 {
        let time = time_to_give_up(0.0, seed);
        assert!(time <= ms(450), "seed {seed}: {time:?}");
        assert!(time >= ms(250), "seed {seed}: {time:?}");
    }
}

#[test]
fn on_a_link_of_much_loss_it_takes_longer() {
    for seed in 1..=5 {
        let time = time_to_give_up(0.3, seed);
        assert!(time > ms(500), "seed {seed}: {time:?}");
        assert!(time <= ms(1500), "seed {seed}: {time:?}");
    }
}

/// Whether it fills a packet.
fn is_long(tlv: &Tlv) -> bool {
    if let Tlv::Probe(probe) = tlv {
        probe.padding > 0
    } else if let Tlv::ProbeAnswer(answer) = tlv {
        answer.padding > 0
    } else {
        false
    }
}

#[test]
fn a_link_that_loses_long_packets_is_seen_and_not_used() {
    for loser in 0..2 {
        let mut net = Net::new(2);
        net.lose(move |from, _, tlvs| from == loser && tlvs.iter().any(is_long));
        net.link(0, 1);
        net.run(ms(10_000));
        assert_eq!(net.next_hop(0, 1), None);
        for node in 0..2 {
            let neighbor = net.routers[node].neighbors(net.now).next().unwrap();
            assert!(
                neighbor.narrow && !neighbor.cost.is_finite(),
                "{neighbor:?}"
            );
        }
        net.lose(|_, _, _| false);
        net.run(ms(4_000));
        assert_eq!(net.next_hop(0, 1), Some(1));
        let neighbor = net.routers[0].neighbors(net.now).next().unwrap();
        assert!(!neighbor.narrow, "{neighbor:?}");
    }
}

#[test]
fn a_long_probe_fills_a_packet() {
    let mut net = Net::line(2);
    net.restart(1, false);
    net.tape.clear();
    net.run(ms(5_000));
    let longest = net.tape.iter().map(|it| it.bytes.len()).max();
    // Without the headers of IPv6 and UDP.
    assert_eq!(longest, Some(1500 - 40 - 8));
}

#[test]
fn an_idle_link_is_not_probed() {
    let mut net = Net::line(3);
    net.sent.clear();
    net.run(ms(60_000));
    for node in 0..3 {
        let probes = |tlv: &Tlv| matches!(tlv, Tlv::Probe(_) | Tlv::ProbeAnswer(_));
        assert_eq!(net.count_sent(node, probes), 0);
    }
}

#[test]
fn when_traffic_ends_so_do_the_probes_of_both_ends() {
    let mut net = Net::line(2);
    net.run_with_traffic(ms(5000), &[(0, 1)]);
    net.run(ms(4000));
    net.sent.clear();
    net.run(ms(20_000));
    let probes = |tlv: &Tlv| matches!(tlv, Tlv::Probe(_));
    assert_eq!(net.count_sent(0, probes) + net.count_sent(1, probes), 0);
    assert!(net.routers[0].neighbors(net.now).all(|it| !it.watched));
}

/// Whatever is heard of each other counts: not both need to ask.
#[test]
fn of_two_who_watch_each_other_few_ask_twice() {
    let mut net = Net::line(2);
    net.run_with_traffic(ms(1000), &[(0, 1)]);
    net.sent.clear();
    net.run_with_traffic(ms(10_000), &[(0, 1)]);
    let probes = |tlv: &Tlv| matches!(tlv, Tlv::Probe(_));
    let sent = net.count_sent(0, probes) + net.count_sent(1, probes);
    assert!((70..=110).contains(&sent), "{sent} in ten seconds");
}

#[test]
fn the_other_end_notices_as_well() {
    let mut net = Net::line(2);
    for _ in 0..4 {
        // Only one of them says that it sends.
        let (now, to) = (net.now, super::net::address(1));
        net.routers[0].handle_carrying(now, super::net::INTERFACE, to);
        net.drain(0);
        net.run(ms(500));
    }
    net.cut(0, 1);
    net.run(ms(450));
    assert_eq!((net.next_hop(0, 1), net.next_hop(1, 0)), (None, None));
}

#[test]
fn no_link_of_thirty_percent_loss_is_given_up_in_ten_minutes() {
    for seed in 1..=6 {
        let mut net = Net::new(2);
        net.link(0, 1);
        net.set_radio(seed, 0.3);
        net.run(ms(5000));
        net.run_with_traffic(ms(600_000), &[(0, 1)]);
        let downs = |e: &&Event| matches!(e, Event::NeighborDown(_) | Event::OriginatorDown(_));
        let downs = net.events.iter().flatten().filter(downs).count();
        assert_eq!(downs, 0, "seed {seed}: {:?}", net.events);
    }
}

#[test]
fn no_idle_link_of_thirty_percent_loss_is_given_up_in_ten_minutes() {
    for seed in 1..=6 {
        let mut net = Net::new(2);
        net.link(0, 1);
        net.set_radio(seed, 0.3);
        net.run(ms(600_000));
        let downs = |e: &&Event| matches!(e, Event::NeighborDown(_));
        let downs = net.events.iter().flatten().filter(downs).count();
        assert_eq!(downs, 0, "seed {seed}: {:?}", net.events);
    }
}
