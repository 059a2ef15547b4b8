//! Two nodes with one key: a copied card. Both say so, and the mesh stays calm.

use super::net::{Net, key, ms};
use crate::router::Event;

fn has_reported(net: &Net, node: usize) -> bool {
    net.events[node].contains(&Event::DuplicateIdentity)
}

/// Routers in a row, of which these two have one key.
fn line_with_doubles(n: usize, doubles: (usize, usize)) -> Net {
    let mut keys: Vec<_> = (0..n).map(key).collect();
    keys[doubles.1] = keys[doubles.0].clone();
    let mut net = Net::with_keys(keys);
    (1..n).for_each(|node| net.link(node - 1, node));
    net
}

/// The same where both were started as often: the card was copied just now.
#[test]
fn nodes_with_one_key_and_one_count_notice() {
    for n in [2, 3, 6] {
        let mut net = line_with_doubles(n, (0, n - 1));
        net.restart_in_epoch(0, false, Some(7));
        net.restart_in_epoch(n - 1, false, Some(7));
        net.run_until(ms(180_000), |net| {
            has_reported(net, 0) && has_reported(net, n - 1)
        });
        assert_calm(&mut net);
    }
}

/// The most packets that a node sends a second for long.
const CALM: usize = 10;

fn assert_calm(net: &mut Net) {
    let before: Vec<_> = net.routers.iter().map(packets).collect();
    net.run(ms(60_000));
    for (node, before) in before.iter().enumerate() {
        let sent = packets(&net.routers[node]) - before;
        assert!(sent < 60 * CALM as u64, "{node} sent {sent} in a minute");
    }
}

fn packets(router: &crate::Router) -> u64 {
    router.counters().sent_packets
}

#[test]
fn neighbors_with_one_key_notice_each_other() {
    let mut net = line_with_doubles(2, (0, 1));
    net.run(ms(5000));
    assert!(has_reported(&net, 0) && has_reported(&net, 1));
    assert!(net.routers[0].duplicate_identity().is_some());
    assert_calm(&mut net);
}

#[test]
fn nodes_with_one_key_far_from_each_other_notice() {
    for n in [3, 6] {
        let mut net = line_with_doubles(n, (0, n - 1));
        net.run_until(ms(180_000), |net| {
            has_reported(net, 0) && has_reported(net, n - 1)
        });
        assert_calm(&mut net);
        let between = net.next_hop(1, n - 2);
        assert!(n == 3 || between.is_some(), "the others reach each other");
    }
}

#[test]
fn whoever_was_restarted_without_its_state_is_no_double() {
    let mut net = Net::line(3);
    net.restart_in_epoch(2, false, Some(1));
    net.run(ms(120_000));
    assert!(!has_reported(&net, 2));
    assert!(net.is_whole());
}
