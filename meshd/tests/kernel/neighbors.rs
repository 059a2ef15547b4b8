//! What the port reports of neighbors: which carry traffic, and which do not answer.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use mesh_proto::{IfIndex, Path, Route, Table, Target};
use meshd::kernel::KernelEvent;

use crate::Test;
use crate::lab::{Namespace, Port, base, eventually, mesh_ipv4, node, setup};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        ("neighbors_that_carry_traffic_are_reported", carrying),
        ("neighbors_that_do_not_answer_are_reported", failed),
    ]
}

/// What node 9 answers at: its mesh addresses, which lead through `target`.
fn routes_to_nine(target: Target) -> [Route; 2] {
    [
        format!("{}/32", mesh_ipv4(9)),
        format!("{}/128", setup(9).mesh_ipv6()),
    ]
    .map(|prefix| {
        let prefix = prefix.parse().expect("a prefix");
        Route::new((Table::Mesh, prefix), Path::from(target))
    })
}

/// Makes `namespace`, which is behind mesh0, node 9, with routes back to node 1.
fn become_nine(namespace: &Namespace, node: &Namespace) {
    let back = node.link_local("mesh0");
    let (ipv4, ipv6) = (mesh_ipv4(9), setup(9).mesh_ipv6());
    namespace.run(&format!(
        "ip addr add {ipv4}/32 dev lo; ip addr add {ipv6}/128 dev lo nodad
         ip route add {}/32 via inet6 {back} dev mesh0 src {ipv4}
         ip -6 route add {}/128 via {back} dev mesh0 src {ipv6}",
        mesh_ipv4(1),
        setup(1).mesh_ipv6(),
    ));
}

fn next_carrying(port: &mut Port) -> Vec<(IfIndex, Ipv6Addr)> {
    port.wait("neighbors that carry traffic", |event| match event {
        KernelEvent::Carrying { neighbors } => Some(neighbors.clone()),
        _ => None,
    })
}

/// Waits until the kernel has forgotten all traffic. Returns who was reported until then.
fn fall_silent(node: &Namespace, port: &mut Port) -> BTreeSet<(IfIndex, Ipv6Addr)> {
    eventually("silence", || {
        let sets = node.run("nft list set inet meshd heard; nft list set inet meshd sent");
        (!sets.contains("elements")).then_some(())
    });
    // What was told of the last packet is there once a later event is.
    let mtu = if node.run("ip link show lo").contains("mtu 65536") {
        65535
    } else {
        65536
    };
    node.run(&format!("ip link set lo mtu {mtu}"));
    port.wait("an event of lo", |event| match event {
        KernelEvent::LinkChanged(link) => (link.mtu == mtu).then_some(()),
        _ => None,
    });
    let mut reported = BTreeSet::new();
    while port.saw(is_carrying) {
        reported.extend(next_carrying(port));
    }
    reported
}

fn is_carrying(event: &KernelEvent) -> bool {
    matches!(event, KernelEvent::Carrying { .. })
}

fn carrying() {
    let (node, nine) = node();
    let idle = Namespace::new();
    node.connect("mesh1", &idle, "mesh0");
    become_nine(&nine, &node);
    let mut port = Port::start(&node, setup(1));
    let mut both = base(1);
    both.mesh.insert("mesh1".to_owned());
    port.configure(&both);
    let neighbor = (node.ifindex("mesh0"), nine.link_local("mesh0"));
    let (ifindex, via) = neighbor;
    port.set(&routes_to_nine(Target::NextHop { via, ifindex }));

    // What neighbors say to each other is no traffic.
    for (from, to) in [
        (&idle, "ff02::1%mesh0".to_owned()),
        (&idle, format!("{}%mesh0", node.link_local("mesh1"))),
        (&node, format!("{}%mesh1", idle.link_local("mesh0"))),
    ] {
        from.run(&format!("ping -n -c 4 -i 0.3 -W 5 {to}"));
    }
    assert_eq!(fall_silent(&node, &mut port), BTreeSet::new());
    for command in [
        format!("ping -n -c 4 -i 0.3 -W 5 {}", mesh_ipv4(9)),
        format!("ping -n -c 4 -i 0.3 -W 5 {}", setup(9).mesh_ipv6()),
        // Nobody answers: it is still sent to.
        format!(
            "echo x > /dev/udp/{}/9; echo x > /dev/udp/{}/9",
            setup(9).mesh_ipv6(),
            setup(9).mesh_ipv6()
        ),
    ] {
        if command.starts_with("echo") {
            nine.run(
                "nft add table inet mute
                 nft add chain inet mute out '{ type filter hook output priority 0; }'
                 nft add rule inet mute out icmpv6 type destination-unreachable drop",
            );
        }
        node.run(&format!("bash -c '{command}'"));
        assert_eq!(next_carrying(&mut port), [neighbor], "{command}");
        let it_alone = BTreeSet::from([neighbor]);
        assert!(fall_silent(&node, &mut port).is_subset(&it_alone));
    }
}

fn failed() {
    let (node, _other) = node();
    let lan = Namespace::new();
    node.connect("lan0", &lan, "eth0");
    let mut port = Port::start(&node, setup(1));
    port.configure(&base(1));
    node.run(
        "for name in lan0 mesh0; do echo 50 > /proc/sys/net/ipv6/neigh/$name/retrans_time_ms; done",
    );
    let asked_in_vain = |name: &str| {
        node.try_run(&format!("ping -n -c 1 -W 1 fe80::dead%{name}"));
        eventually("a neighbor that failed", || {
            let entry = node.run(&format!("ip neigh show dev {name}"));
            entry.contains("FAILED").then_some(())
        });
    };
    asked_in_vain("lan0");
    asked_in_vain("mesh0");
    let failed = port.wait("a neighbor that failed", |event| match event {
        KernelEvent::NeighborFailed { ifindex, address } => Some((*ifindex, *address)),
        _ => None,
    });
    let expected: Ipv6Addr = "fe80::dead".parse().expect("an address");
    assert_eq!(
        failed,
        (node.ifindex("mesh0"), expected),
        "on mesh interfaces only"
    );
}
