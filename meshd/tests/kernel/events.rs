//! What the port reports of its own accord.

use std::net::Ipv6Addr;

use mesh_proto::Family;
use meshd::kernel::{DefaultRoute, KernelEvent, Link};

use crate::Test;
use crate::lab::{Port, base, eventually, node, setup};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        ("links_are_reported_as_they_come_change_and_go", links),
        ("link_local_addresses_are_reported_once_usable", link_locals),
        ("default_routes_of_others_are_reported", default_routes),
        ("default_routes_in_parts_count_when_they_are_whole", parts),
        ("lost_notifications_are_made_good_for", overrun),
    ]
}

fn link(port: &mut Port, what: &str, is_it: impl Fn(&Link) -> bool) -> Link {
    port.wait(what, |event| match event {
        KernelEvent::LinkChanged(link) if is_it(link) => Some(link.clone()),
        _ => None,
    })
}

fn links() {
    let (node, other) = node();
    let mut port = Port::start(&node, setup(1));
    let mesh0 = link(&mut port, "mesh0", |link| link.name == "mesh0");
    assert_eq!(mesh0.ifindex, node.ifindex("mesh0"));
    assert!(
        mesh0.up && mesh0.carrier && mesh0.mtu == 1500 && mesh0.mac.is_some(),
        "{mesh0:?}"
    );
    // What the kernel says of virtual cables.
    assert_eq!(mesh0.speed_mbps, Some(10_000));
    let lo = link(&mut port, "lo", |link| link.name == "lo");
    assert_eq!(lo.speed_mbps, None);

    other.run("ip link set mesh0 down");
    let lost = link(&mut port, "loss of carrier", |link| {
        link.name == "mesh0" && link.up && !link.carrier
    });
    assert_eq!(lost.speed_mbps, None);
    other.run("ip link set mesh0 up");
    let back = link(&mut port, "carrier", |link| {
        link.name == "mesh0" && link.carrier
    });
    assert_eq!(back.speed_mbps, Some(10_000));
    node.run("ip link set mesh0 mtu 1400");
    link(&mut port, "another MTU", |link| link.mtu == 1400);
    node.run("ip link set mesh0 down");
    link(&mut port, "switching off", |link| !link.up && !link.carrier);
    node.run("ip link set mesh0 name mesh7");
    link(&mut port, "another name", |link| link.name == "mesh7");
    // A port leaving its bridge is no interface that is gone.
    node.run("ip link add br0 type bridge; ip link set mesh7 master br0");
    node.run("ip link set mesh7 nomaster; ip link set mesh7 mtu 1300");
    link(&mut port, "one more MTU", |link| link.mtu == 1300);
    assert!(!port.saw(|event| matches!(event, KernelEvent::LinkRemoved { .. })));
    node.run("ip link del mesh7");
    let (ifindex, name) = port.wait("removal", |event| match event {
        KernelEvent::LinkRemoved { ifindex, name } => Some((*ifindex, name.clone())),
        _ => None,
    });
    assert_eq!((ifindex, name.as_str()), (mesh0.ifindex, "mesh7"));
}

fn link_local(port: &mut Port, what: &str) -> Option<Ipv6Addr> {
    port.wait(what, |event| match event {
        KernelEvent::LinkLocalChanged { address, .. } => Some(*address),
        _ => None,
    })
}

fn link_locals() {
    let (node, _other) = node();
    let expected = node.link_local("mesh0");
    node.run(
        "ip link set mesh0 down; cd /proc/sys/net/ipv6/conf/mesh0
         echo 1 > accept_dad; echo 3 > dad_transmits",
    );
    let is_tentative = || node.run("ip -6 addr show dev mesh0").contains("tentative");
    // Whether the address is there when the port starts, or comes later: it is reported when
    // duplicate address detection is through, here after three seconds.
    node.run("ip link set mesh0 up");
    eventually("the address", || is_tentative().then_some(()));
    let mut port = Port::start(&node, setup(1));
    assert_eq!(link_local(&mut port, "an address"), Some(expected));
    assert!(!is_tentative());
    node.run("ip link set mesh0 down");
    assert_eq!(link_local(&mut port, "its loss"), None);
    node.run("ip link set mesh0 up");
    assert_eq!(link_local(&mut port, "the address again"), Some(expected));
    assert!(!is_tentative());
    node.run("ip addr add fe80::1/64 dev mesh0 nodad");
    assert_eq!(
        link_local(&mut port, "a lower address"),
        Some("fe80::1".parse().expect("one"))
    );
    node.run("ip addr del fe80::1/64 dev mesh0");
    assert_eq!(link_local(&mut port, "the other address"), Some(expected));
    node.run("ip link set mesh0 down");
    assert_eq!(link_local(&mut port, "its loss"), None);
}

fn default_routes() {
    let (node, other) = node();
    node.connect("wan0", &other, "wan0");
    node.connect("wan1", &other, "wan1");
    node.run("ip addr add 192.0.2.1/24 dev wan0; ip addr add 198.51.100.1/24 dev wan1");
    let mut port = Port::start(&node, setup(1));
    let mut next = |family| default_routes_of(&mut port, family);
    let route = |name: &str, metric: u32| (name.to_owned(), metric);
    assert_eq!(next(Family::Ipv4), []);
    assert_eq!(next(Family::Ipv6), []);
    node.run("ip route add default via 192.0.2.2 metric 100");
    assert_eq!(next(Family::Ipv4), [route("wan0", 100)]);
    node.run("ip route add default via 198.51.100.2 metric 50");
    assert_eq!(next(Family::Ipv4), [route("wan1", 50), route("wan0", 100)]);
    node.run("ip -6 route add default via fe80::1 dev wan0");
    assert_eq!(next(Family::Ipv6), [route("wan0", 1024)]);
    // The kernel removes IPv4 routes of an interface without saying so.
    node.run("ip link set wan1 down");
    assert_eq!(next(Family::Ipv4), [route("wan0", 100)]);
    node.run("ip link del wan0");
    assert_eq!(next(Family::Ipv4), []);
    assert_eq!(next(Family::Ipv6), []);
    // Not a way out, ours, or into the mesh: none of these counts. Those of other tables come last.
    port.configure(&base(1));
    node.run(
        "ip link set wan1 up; ip route add default dev wan1 table 7
         ip route add unreachable default metric 9
         ip route add default dev wan1 proto 155 metric 8
         ip route add default dev mesh0 metric 7
         ip route add default dev wan1 metric 6
         ip -6 route add unreachable default metric 9
         ip -6 route add default via fe80::1 dev wan1 metric 500",
    );
    assert_eq!(
        default_routes_when(&mut port, Family::Ipv4, 2),
        [route("wan1", 6), route("wan1", 0)]
    );
    assert_eq!(
        default_routes_of(&mut port, Family::Ipv6),
        [route("wan1", 500)]
    );
}

/// As OpenVPN sets them.
fn parts() {
    let (node, other) = node();
    for interface in ["wan0", "tun0"] {
        node.connect(interface, &other, interface);
    }
    node.run("ip addr add 192.0.2.1/24 dev wan0; ip addr add 10.8.0.2/24 dev tun0");
    let mut port = Port::start(&node, setup(1));
    let mut next = |family| default_routes_of(&mut port, family);
    let route = |name: &str, metric: u32| (name.to_owned(), metric);
    assert_eq!([next(Family::Ipv4), next(Family::Ipv6)], [[], []]);
    node.run("ip route add default via 192.0.2.2 metric 9");
    assert_eq!(next(Family::Ipv4), [route("wan0", 9)]);
    // A half leads somewhere, but not everywhere.
    node.run(
        "ip route add 0.0.0.0/1 via 10.8.0.1 metric 10
         ip route add 128.0.0.0/1 via 192.0.2.3
         ip route add 128.0.0.0/1 via 10.8.0.1 metric 11",
    );
    let both = [route("tun0", 10), route("wan0", 9)];
    assert_eq!(next(Family::Ipv4), both);
    node.run("ip route del 0.0.0.0/1");
    assert_eq!(next(Family::Ipv4), [route("wan0", 9)]);
    node.run(
        "ip -6 route add ::/3 dev tun0 metric 5
         ip -6 route add 2000::/4 dev tun0 metric 5
         ip -6 route add 3000::/4 dev tun0 metric 5",
    );
    assert_eq!(next(Family::Ipv6), [route("tun0", 5)]);
}

/// The next report of default routes: their interfaces and metrics.
fn default_routes_of(port: &mut Port, family: Family) -> Vec<(String, u32)> {
    port.wait("default routes", |event| match event {
        KernelEvent::DefaultRoutesChanged {
            family: changed,
            routes,
        } if *changed == family => {
            let route = |route: &DefaultRoute| (route.name.clone(), route.metric);
            Some(routes.iter().map(route).collect())
        }
        _ => None,
    })
}

/// The first report of so many default routes.
fn default_routes_when(port: &mut Port, family: Family, count: usize) -> Vec<(String, u32)> {
    loop {
        let routes = default_routes_of(port, family);
        if routes.len() >= count {
            return routes;
        }
    }
}

fn overrun() {
    let (node, other) = node();
    other.connect("x", &other, "y");
    let mut port = Port::start(&node, setup(1));
    link(&mut port, "mesh0", |link| link.name == "mesh0");
    // More than a socket's buffer holds (net.core.rmem_default, 208 KiB) while nobody reads.
    port.hold(|| {
        node.run(
            "ip link add gone0 type veth peer name gone1; ip link del gone0
             for i in $(seq 400); do echo link set mesh0 mtu $((1300 + i % 2)); done | ip -batch -
             ip link set mesh0 mtu 1420; ip link add last0 type veth peer name last1",
        );
    });
    link(&mut port, "the last MTU", |link| {
        link.name == "mesh0" && link.mtu == 1420
    });
    link(&mut port, "the last interface", |link| link.name == "last0");
    // What follows is reported as before.
    node.run("ip link del last0");
    port.wait("removal", |event| match event {
        KernelEvent::LinkRemoved { name, .. } if name == "last0" => Some(()),
        _ => None,
    });
}
