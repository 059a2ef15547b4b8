//! Counting on a kernel that behaves, and on one that does not.

use super::*;
use crate::kernel::{Counted, Neighbor};

const NODE: NodeId = NodeId::from_bytes([7; 32]);
const ADDRESS: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 7);
const GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const GATEWAY_NODE: NodeId = NodeId::from_bytes([1; 32]);
/// Where deltas of the node are.
const ACCOUNT: (NodeId, NodeId) = (NODE, GATEWAY_NODE);

fn sample(flow: Flow, bytes: u64) -> CounterSample {
    CounterSample {
        key: CounterKey {
            flow,
            ifindex: IfIndex(3),
            neighbor: Neighbor::LinkLocal(ADDRESS),
            gateway: GATEWAY,
        },
        address: Some(ADDRESS),
        all: Counted { bytes, packets: 1 },
        merged: [Counted::default(); 2],
    }
}

fn reading(generation: u64, samples: &[CounterSample]) -> Counters {
    Counters {
        generation,
        from_zero: true,
        frame: 1500,
        samples: samples.to_vec(),
        ..Counters::default()
    }
}

fn usage() -> Usage {
    let mut usage = Usage::default();
    usage.note_nodes([((IfIndex(3), ADDRESS), NODE)]);
    usage.note_gateways([(GATEWAY, GATEWAY_NODE)]);
    usage
}

#[test]
fn each_flow_counts_for_the_one_who_carried_it() {
    let mut usage = usage();
    let samples = [
        sample(Flow::UpRx, 1),
        sample(Flow::DownTx, 20),
        sample(Flow::UpTx, 300),
        sample(Flow::DownRx, 4000),
    ];
    let delta = usage.handle_counters(&reading(1, &samples))[&ACCOUNT];
    assert_eq!(
        delta.provided,
        Carried {
            up_bytes: 1,
            down_bytes: 20
        }
    );
    assert_eq!(
        delta.consumed,
        Carried {
            up_bytes: 300,
            down_bytes: 4000
        }
    );
    assert_eq!(
        usage.total(IfIndex(3), ADDRESS),
        Carried {
            up_bytes: 301,
            down_bytes: 4020
        }
    );
    assert_eq!(
        usage.handle_counters(&reading(1, &samples))[&ACCOUNT],
        Delta::default()
    );
}

#[test]
fn a_counter_that_began_anew_never_loses_or_doubles_bytes() {
    let mut usage = usage();
    usage.handle_counters(&reading(1, &[sample(Flow::UpRx, 1000)]));
    let delta = usage.handle_counters(&reading(1, &[sample(Flow::UpRx, 60)]))[&ACCOUNT];
    assert_eq!(delta.provided.up_bytes, 60);
    let delta = usage.handle_counters(&reading(1, &[sample(Flow::UpRx, 100)]))[&ACCOUNT];
    assert_eq!(delta.provided.up_bytes, 40);
    let delta = usage.handle_counters(&reading(2, &[sample(Flow::UpRx, 500)]))[&ACCOUNT];
    assert_eq!(delta.provided.up_bytes, 500, "a new table counts from zero");
}

/// Counters that an earlier run made, or that somebody restored.
fn found(generation: u64, samples: &[CounterSample]) -> Counters {
    Counters {
        from_zero: false,
        ..reading(generation, samples)
    }
}

#[test]
fn what_was_counted_before_is_not_counted_again() {
    let mut usage = usage();
    let first = usage.handle_counters(&found(1, &[sample(Flow::UpRx, 1000)]));
    assert_eq!(first[&ACCOUNT], Delta::default());
    let later = [sample(Flow::UpRx, 1500), sample(Flow::UpTx, 9)];
    let delta = usage.handle_counters(&found(1, &later));
    assert_eq!(delta[&ACCOUNT].provided.up_bytes, 500);
    assert_eq!(
        delta[&ACCOUNT].consumed.up_bytes, 9,
        "a new counter began at zero"
    );
}

#[test]
fn bytes_of_a_node_that_is_named_later_are_not_lost() {
    let mut usage = Usage::default();
    usage.note_gateways([(GATEWAY, GATEWAY_NODE)]);
    assert!(
        usage
            .handle_counters(&reading(1, &[sample(Flow::UpRx, 700)]))
            .is_empty()
    );
    usage.note_nodes([((IfIndex(3), ADDRESS), NODE)]);
    let delta = usage.handle_counters(&reading(1, &[sample(Flow::UpRx, 1000)]))[&ACCOUNT];
    assert_eq!(delta.provided.up_bytes, 1000);
}

#[test]
fn what_somebody_restored_is_not_counted_again() {
    let mut usage = usage();
    usage.handle_counters(&reading(1, &[sample(Flow::UpRx, 1000)]));
    let restored = usage.handle_counters(&found(2, &[sample(Flow::UpRx, 1000)]));
    assert_eq!(restored[&ACCOUNT], Delta::default());
    let delta = usage.handle_counters(&found(2, &[sample(Flow::UpRx, 1100)]))[&ACCOUNT];
    assert_eq!(delta.provided.up_bytes, 100);
}

#[test]
fn another_name_of_a_neighbor_counts_nothing_again() {
    const OTHER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 8);
    let received = |bytes, address| CounterSample {
        key: CounterKey {
            neighbor: Neighbor::Mac([2; 6]),
            ..sample(Flow::DownRx, 0).key
        },
        address,
        ..sample(Flow::DownRx, bytes)
    };
    let mut usage = usage();
    usage.note_nodes([((IfIndex(3), OTHER), NODE)]);
    // Found before the kernel knew whose address it is.
    usage.handle_counters(&found(1, &[received(1000, None)]));
    let delta = usage.handle_counters(&found(1, &[received(1200, Some(ADDRESS))]))[&ACCOUNT];
    assert_eq!(delta.consumed.down_bytes, 200);
    let delta = usage.handle_counters(&found(1, &[received(1300, Some(OTHER))]))[&ACCOUNT];
    assert_eq!(delta.consumed.down_bytes, 100);
}

#[test]
fn an_address_that_two_nodes_claim_stays_with_the_first() {
    const RIVAL: NodeId = NodeId::from_bytes([9; 32]);
    let link = (IfIndex(3), ADDRESS);
    let mut usage = usage();
    usage.note_nodes([(link, RIVAL), (link, NODE)]);
    let deltas = usage.handle_counters(&reading(1, &[sample(Flow::UpRx, 1000)]));
    assert_eq!(deltas.keys().collect::<Vec<_>>(), [&ACCOUNT]);
}

#[test]
fn the_same_neighbor_has_an_account_for_each_gateway() {
    const OTHER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
    const OTHER_NODE: NodeId = NodeId::from_bytes([2; 32]);
    let mut usage = usage();
    usage.note_gateways([(GATEWAY, GATEWAY_NODE), (OTHER, OTHER_NODE)]);
    let mut other = sample(Flow::UpRx, 30);
    other.key.gateway = OTHER;
    let deltas = usage.handle_counters(&reading(1, &[sample(Flow::UpRx, 4), other]));
    assert_eq!(deltas[&ACCOUNT].provided.up_bytes, 4);
    assert_eq!(deltas[&(NODE, OTHER_NODE)].provided.up_bytes, 30);
    assert_eq!(usage.total(IfIndex(3), ADDRESS).up_bytes, 34);
}

#[test]
fn bytes_for_a_gateway_are_kept_until_it_has_a_name_and_while_it_is_counted_for() {
    let mut usage = Usage::default();
    usage.note_nodes([((IfIndex(3), ADDRESS), NODE)]);
    let first = usage.handle_counters(&reading(1, &[sample(Flow::UpRx, 700)]));
    assert!(first.is_empty());
    usage.note_gateways([(GATEWAY, GATEWAY_NODE)]);
    let deltas = usage.handle_counters(&reading(1, &[sample(Flow::UpRx, 1000)]));
    assert_eq!(deltas[&ACCOUNT].provided.up_bytes, 1000);
    usage.note_gateways([]);
    let deltas = usage.handle_counters(&reading(1, &[sample(Flow::UpRx, 1100)]));
    assert_eq!(deltas[&ACCOUNT].provided.up_bytes, 100);
}

#[test]
fn a_counter_that_was_removed_begins_at_zero() {
    let mut usage = usage();
    let mut counters = reading(1, &[sample(Flow::UpRx, 100)]);
    counters.removed.insert(sample(Flow::UpRx, 0).key);
    usage.handle_counters(&counters);
    let delta = usage.handle_counters(&reading(1, &[sample(Flow::UpRx, 130)]))[&ACCOUNT];
    assert_eq!(delta.provided.up_bytes, 130);
}

#[test]
fn names_of_nodes_that_are_gone_are_bounded() {
    let mut usage = usage();
    let counted = reading(1, &[sample(Flow::UpRx, 1)]);
    for number in 0..2 * u16::try_from(MANY_NODES).unwrap() {
        let address = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, number);
        usage.note_nodes([((IfIndex(3), address), NODE)]);
        usage.handle_counters(&counted);
    }
    assert!(usage.nodes.len() <= MANY_NODES + 1);
    let total = usage.total(IfIndex(3), ADDRESS);
    assert_eq!(total.up_bytes, 1, "whose counter is there is not forgotten");
}

#[test]
fn neighbors_are_who_they_were_last_and_where_they_are_now() {
    const OTHER: NodeId = NodeId::from_bytes([9; 32]);
    let (here, elsewhere) = ((IfIndex(3), ADDRESS), (IfIndex(4), ADDRESS));
    let mut usage = usage();
    usage.note_nodes([(here, NODE), (elsewhere, OTHER)]);
    let both = BTreeMap::from([
        (NODE, BTreeSet::from([here])),
        (OTHER, BTreeSet::from([elsewhere])),
    ]);
    assert_eq!(usage.neighbors(), both);
    // Who says it is where somebody else was says so for nothing while that one is there.
    usage.note_nodes([(here, NODE), (here, OTHER)]);
    let first = BTreeMap::from([(NODE, BTreeSet::from([here]))]);
    assert_eq!(usage.neighbors(), first);
    usage.note_nodes([(here, OTHER)]);
    assert_eq!(
        usage.neighbors().keys().copied().collect::<Vec<_>>(),
        [OTHER]
    );
    usage.note_nodes([]);
    assert!(usage.neighbors().is_empty());
}

#[test]
fn counters_of_this_run_are_not_taken_for_those_of_an_earlier_one() {
    let mut earlier = usage();
    earlier.handle_counters(&reading(1, &[sample(Flow::UpRx, 1000)]));
    let resumed = || {
        let mut usage = Usage::resume(earlier.metered());
        usage.note_nodes([((IfIndex(3), ADDRESS), NODE)]);
        usage.note_gateways([(GATEWAY, GATEWAY_NODE)]);
        usage
    };
    let now = [sample(Flow::UpRx, 1500)];
    let delta = resumed().handle_counters(&found(1, &now))[&ACCOUNT];
    assert_eq!(delta.provided.up_bytes, 500, "they go on");
    // In another network namespace, their life may be called the same.
    let delta = resumed().handle_counters(&reading(1, &now))[&ACCOUNT];
    assert_eq!(delta.provided.up_bytes, 1500, "these are new");
    let delta = resumed().handle_counters(&found(2, &now))[&ACCOUNT];
    assert_eq!(delta.provided.up_bytes, 0, "nobody knows what they hold");
}
