//! Nodes that speak another version of the protocol.

use super::net::{INTERFACE, Net, address, ms};
use crate::router::{DropReason, OtherVersion};
use crate::wire::ParseError;

fn seen(net: &Net) -> Vec<OtherVersion> {
    net.routers[0].other_versions(net.now).copied().collect()
}

#[test]
fn other_versions_are_told_of_for_a_minute_and_change_nothing() {
    let mut net = Net::line(2);
    for (node, packet) in [
        (5, &[0x6d, 2, 0, 9][..]),
        (6, &[0x6d, 4]),
        (5, &[0x6d, 2]),
        // Neither are these of another version, nor is that a packet of ours.
        (7, &[0x6d, 3, 0]),
        (8, &[0x6e, 2, 0, 9]),
        (9, &[0x6d]),
    ] {
        net.receive(0, address(node), packet);
    }
    let found: Vec<_> = seen(&net);
    let found = found
        .iter()
        .map(|it| (it.ifindex, it.address, it.version, it.packets));
    let expected = [(INTERFACE, address(5), 2, 2), (INTERFACE, address(6), 4, 1)];
    assert_eq!(found.collect::<Vec<_>>(), expected);
    assert_eq!(
        net.drops(0, DropReason::Parse(ParseError::UnknownVersion)),
        3
    );
    assert_eq!(net.routers[0].neighbors(net.now).count(), 1);
    net.run(ms(59_000));
    net.receive(0, address(6), &[0x6d, 4]);
    net.run(ms(2_000));
    let left: Vec<_> = seen(&net).iter().map(|it| it.address).collect();
    assert_eq!(left, [address(6)]);
}

#[test]
fn there_is_room_for_some_and_not_for_all() {
    let mut net = Net::line(2);
    for node in 100..300 {
        net.receive(0, address(node), &[0x6d, 4]);
    }
    assert_eq!(seen(&net).len(), 64);
    net.receive(0, address(100), &[0x6d, 4]);
    assert_eq!(seen(&net)[0].packets, 2);
    // Those that were there first are forgotten like all others.
    net.run(ms(61_000));
    net.receive(0, address(299), &[0x6d, 4]);
    assert_eq!(seen(&net).len(), 1);
}
