//! Beginning and end: adoption after a crash, and leaving.

use std::collections::BTreeSet;

use mesh_proto::{IfIndex, Route, RouteChange, Table, Target};
use meshd::kernel::{Base, Uplinks};

use crate::Test;
use crate::lab::{Namespace, Port, base, masqueraded, node, setup, vxlan};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        ("a_successor_adopts_what_a_killed_daemon_left", adoption),
        (
            "a_successor_of_another_identity_starts_anew",
            other_identity,
        ),
        ("shutting_down_leaves_nothing_of_ours", leaves_nothing),
        ("shutting_down_can_leave_everything", leaves_everything),
    ]
}

/// Things of others, as close to ours as can be.
const FOREIGN: &str = "
    ip route add 100.64.0.200/32 dev mesh0 table 5525 proto static
    ip -6 route add fd99::/64 dev mesh0 table 5526 proto 42
    ip route add 192.0.2.0/24 dev mesh0 proto static
    ip route add 192.0.2.9/32 dev mesh0 table 77 proto 155
    ip rule add pref 31100 iif mesh0 lookup 5525
    ip -6 rule add pref 32800 lookup 5526 proto 42
    ip neigh add fe80::77 lladdr 02:00:00:00:00:77 dev mesh0 nud permanent
    nft add table ip meshd
    nft add table inet other
    nft add set inet other gateways '{ type ipv6_addr; }'
    ip link set mesh0 alias 'meshd-radio/1 802.11s 2412 ht20 open 0 0 on radio: x'
    nft add chain inet other forward '{ type filter hook forward priority 0; }'";

fn full_base() -> Base {
    Base {
        lan: vec![masqueraded("lan0")],
        uplinks: Uplinks::over("wan0"),
        outside: BTreeSet::new(),
        ..base(1)
    }
}

fn routes(mesh0: IfIndex) -> Vec<Route> {
    let via = |text: &str| Target::NextHop {
        via: text.parse().expect("an address"),
        ifindex: mesh0,
    };
    let tunnel = vxlan(2);
    [
        (Table::Mesh, "100.64.0.2/32", via("fe80::2")),
        (Table::Mesh, "10.9.0.0/16", via("fe80::2")),
        (Table::Mesh, "fd12::2/128", via("fe80::2")),
        (Table::Mesh, "fd13::/64", via("fe80::3")),
        (Table::Tunnel, "0.0.0.0/0", tunnel),
        (Table::Tunnel, "::/0", tunnel),
        (Table::Tunnel, "100.64.0.3/32", vxlan(3)),
    ]
    .map(|(table, prefix, target)| Route {
        table,
        prefix: prefix.parse().expect("a prefix"),
        target,
        backup: None,
    })
    .to_vec()
}

/// A namespace with foreign things, and a port that did all it can do.
fn busy_node() -> (Namespace, Namespace, Vec<String>, Port) {
    let (node, other) = node();
    node.link_local("mesh0");
    node.run(FOREIGN);
    let before = node.snapshot();
    let mut port = Port::start(&node, setup(1));
    assert_eq!(port.adopted(), []);
    assert_eq!(node.snapshot(), before, "it is not ours to remove");
    let warnings = port.configure(&full_base());
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    port.set(&routes(node.ifindex("mesh0")));
    port.set_gateways(BTreeSet::from([setup(2).mesh_ipv6()]));
    (node, other, before, port)
}

fn adoption() {
    let (node, _other, _, port) = busy_node();
    let full = node.snapshot();
    port.kill();
    assert_eq!(node.snapshot(), full, "a killed daemon loses nothing");
    // Under our number in our tables, but nothing we would set.
    node.run(
        "ip route add blackhole 100.64.0.66/32 table 5525 proto 155
         ip -6 route add fd66::/64 dev mesh0 table 5525 proto 155
         ip -6 route add fd67::/64 via fe80::6 dev mesh0 metric 9 table 5526 proto 155",
    );

    let mut port = Port::start(&node, setup(1));
    let adopted: BTreeSet<Route> = port.adopted().into_iter().collect();
    assert_eq!(adopted, routes(node.ifindex("mesh0")).into_iter().collect());
    assert_eq!(
        node.snapshot(),
        full,
        "what we would not set is gone, all else is there"
    );
    let generation = port.counters().generation;
    port.configure(&full_base());
    let counters = port.counters();
    assert_eq!(counters.generation, generation);
    assert!(!counters.from_zero, "the predecessor has accounted for it");
    assert_eq!(node.snapshot(), full);
    // Adopted routes are its own: it can change and remove them.
    let gone = routes(node.ifindex("mesh0"))
        .into_iter()
        .map(|route| RouteChange::Remove {
            table: route.table,
            prefix: route.prefix,
        })
        .collect();
    assert!(port.change(gone).is_empty());
    let left = node.run("ip route show table all proto 155; ip -6 route show table all proto 155");
    assert_eq!(left.trim(), "192.0.2.9 dev mesh0 table 77 scope link");
    assert!(!node.run("ip neigh show nud permanent").contains("meshd0"));
}

fn other_identity() {
    let (node, _other, _, port) = busy_node();
    port.kill();
    let mut port = Port::start(&node, setup(9));
    // IPv4 routes carry an address that may be given anew; those of IPv6 and into tunnels carry
    // one that is another node's.
    let adopted = port.adopted();
    assert!(
        adopted
            .iter()
            .all(|route| route.prefix.to_string().contains('.')),
        "{adopted:?}"
    );
    assert!(
        adopted.iter().all(|route| route.table == Table::Mesh),
        "{adopted:?}"
    );
    port.configure(&base(9));
    let routes = node.run("ip route show table all; ip -6 route show table all; ip addr");
    assert!(
        !routes.contains(&setup(1).mesh_ipv6().to_string()),
        "{routes}"
    );
    assert!(!routes.contains("100.64.0.1/32"), "{routes}");
}

fn leaves_nothing() {
    let (node, _other, before, port) = busy_node();
    assert_ne!(node.snapshot(), before);
    let warnings = port.shut_down(false);
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(node.snapshot(), before);
    // Once more, with nothing there.
    let warnings = Port::start(&node, setup(1)).shut_down(false);
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(node.snapshot(), before);
}

fn leaves_everything() {
    let (node, _other, _, port) = busy_node();
    let full = node.snapshot();
    assert!(port.shut_down(true).is_empty());
    assert_eq!(node.snapshot(), full);
}
