//! Routes: set, replaced, removed, refused, restored.

use std::collections::BTreeSet;

use mesh_proto::{IfIndex, Route, RouteChange, Table, Target};
use meshd::kernel::{KernelEvent, KernelRequest, NewFlows, TableChange, Uplink, Uplinks};
use serde_json::Value;

use crate::Test;
use crate::lab::{Namespace, Port, base, eventually, id, mesh_ipv4, node, setup, vxlan};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        (
            "routes_are_set_replaced_and_removed",
            set_replaced_and_removed,
        ),
        ("a_route_is_replaced_without_a_gap", replaced_without_a_gap),
        ("a_refused_route_is_reported_and_spoils_no_other", refused),
        ("tunnel_routes_come_with_their_neighbors", tunnel_routes),
        ("routes_lost_with_an_interface_come_back_with_it", restored),
        ("what_others_remove_of_ours_is_put_back", put_back),
        ("routes_do_not_wait_for_nft", before_nft),
        ("a_new_gateway_is_counted_first", after_gateways),
        ("routes_follow_a_new_mesh_address", new_mesh_address),
        ("an_uplink_route_is_copied_with_its_mtu", copied),
        ("an_uplink_is_one_of_several_next_hops", several_hops),
    ]
}

fn next_hop(prefix: &str, via: &str, ifindex: IfIndex) -> Route {
    Route {
        table: Table::Mesh,
        prefix: prefix.parse().expect("a prefix"),
        target: Target::NextHop {
            via: via.parse().expect("an address"),
            ifindex,
        },
        backup: None,
    }
}

fn tunnel(prefix: &str, peer: u8) -> Route {
    Route {
        table: Table::Tunnel,
        prefix: prefix.parse().expect("a prefix"),
        target: vxlan(peer),
        backup: None,
    }
}

fn list(namespace: &Namespace, family: &str, table: u32) -> Vec<Value> {
    let found = namespace.json(&format!("ip -j {family} route show table {table}"));
    found.as_array().expect("a list").clone()
}

/// What was asked for before routes, and needs nft, is done after them and all at once.
fn before_nft() {
    let (node, _other) = node();
    let mut port = Port::start(&node, setup(1));
    port.configure(&base(1));
    let mesh0 = node.ifindex("mesh0");
    let route = next_hop("100.64.0.9/32", "fe80::2", mesh0);
    let marks = NewFlows::default();
    port.hold(|| {
        port.request(KernelRequest::Table(TableChange::Throttle(true)));
        port.request(KernelRequest::Table(TableChange::NewFlows(marks)));
        port.request(KernelRequest::Routes(vec![RouteChange::Set(route)]));
    });
    let mut applied = 0;
    port.wait("the table to be changed", |event| {
        applied += usize::from(matches!(event, KernelEvent::RoutesApplied { .. }));
        matches!(event, KernelEvent::TableChanged).then_some(())
    });
    assert_eq!(applied, 1, "routes come first");
    let throttled = node.run("nft list chain inet meshd throttled");
    assert!(throttled.contains("limit rate over"), "{throttled}");
    port.wait("routes", |event| {
        matches!(event, KernelEvent::RoutesApplied { .. }).then_some(())
    });
    port.counters();
    assert!(!port.saw(|event| matches!(event, KernelEvent::TableChanged)));
}

/// Packets to a new gateway are counted from the first one on.
fn after_gateways() {
    let (node, _other) = node();
    let mut port = Port::start(&node, setup(1));
    port.configure(&base(1));
    let mesh0 = node.ifindex("mesh0");
    let route = next_hop("100.64.0.9/32", "fe80::2", mesh0);
    let gateways = TableChange::Gateways(BTreeSet::from([setup(2).mesh_ipv6()]));
    port.hold(|| {
        port.request(KernelRequest::Table(gateways));
        port.request(KernelRequest::Routes(vec![RouteChange::Set(route)]));
    });
    let mut is_counted = false;
    port.wait("routes", |event| {
        is_counted |= matches!(event, KernelEvent::TableChanged);
        matches!(event, KernelEvent::RoutesApplied { .. }).then_some(())
    });
    assert!(is_counted, "the gateway comes first");
}

fn set_replaced_and_removed() {
    let (node, _other) = node();
    let mut port = Port::start(&node, setup(1));
    port.configure(&base(1));
    let mesh0 = node.ifindex("mesh0");
    let own_ipv6 = setup(1).mesh_ipv6().to_string();
    for via in ["fe80::2", "fe80::3"] {
        port.set(&[
            next_hop("100.64.0.9/32", via, mesh0),
            next_hop("fd12::9/128", via, mesh0),
        ]);

        let v4 = list(&node, "-4", 5525);
        assert_eq!(v4.len(), 1, "{v4:?}");
        assert_eq!(v4[0]["dst"], "100.64.0.9");
        assert_eq!(v4[0]["via"]["host"], via);
        assert_eq!(v4[0]["dev"], "mesh0");
        assert_eq!(v4[0]["protocol"], "155");
        assert_eq!(v4[0]["prefsrc"], mesh_ipv4(1).to_string());
        let v6 = list(&node, "-6", 5525);
        assert_eq!(v6.len(), 1, "{v6:?}");
        assert_eq!(v6[0]["dst"], "fd12::9");
        assert_eq!(v6[0]["gateway"], via);
        assert_eq!(v6[0]["protocol"], "155");
        assert_eq!(v6[0]["prefsrc"], own_ipv6);
    }

    let remove = |prefix: &str| RouteChange::Remove {
        table: Table::Mesh,
        prefix: prefix.parse().expect("a prefix"),
    };
    // The second time there is nothing to remove, which is as good.
    for _ in 0..2 {
        let failed = port.change(vec![remove("100.64.0.9/32"), remove("fd12::9/128")]);
        assert!(failed.is_empty(), "{failed:?}");
        assert_eq!(list(&node, "-4", 5525), [] as [Value; 0]);
        assert_eq!(list(&node, "-6", 5525), [] as [Value; 0]);
    }
}

fn replaced_without_a_gap() {
    let (node, _other) = node();
    let mut port = Port::start(&node, setup(1));
    port.configure(&base(1));
    let mesh0 = node.ifindex("mesh0");
    let routes = |via: &str| {
        [
            next_hop("100.64.0.9/32", via, mesh0),
            next_hop("fd12::9/128", via, mesh0),
            Route {
                ..tunnel("0.0.0.0/0", via.len().try_into().expect("a short text"))
            },
            Route {
                ..tunnel("::/0", via.len().try_into().expect("a short text"))
            },
        ]
    };
    port.set(&routes("fe80::1"));
    let log = tempfile::NamedTempFile::new().expect("a file");
    let path = log.path().display();
    let monitor = node.run(&format!("ip -ts monitor route > {path} 2>&1 & echo $!"));
    // A mark in the log shows that the monitor listens.
    eventually("the monitor", || {
        node.run("ip route add 192.0.2.1/32 dev lo; ip route del 192.0.2.1/32");
        std::fs::read_to_string(log.path())
            .expect("the log")
            .contains("192.0.2.1")
            .then_some(())
    });
    for _ in 0..20 {
        port.set(&routes("fe80::22"));
        port.set(&routes("fe80::1"));
    }
    node.run("ip route add 192.0.2.2/32 dev lo");
    let text = eventually("the last change", || {
        let text = std::fs::read_to_string(log.path()).expect("the log");
        text.contains("192.0.2.2").then_some(text)
    });
    node.run(&format!("kill {}", monitor.trim()));
    assert!(text.matches("fe80::22").count() >= 40, "{text}");
    let deleted = text
        .lines()
        .filter(|line| line.contains("Deleted") && !line.contains("192.0.2"));
    assert_eq!(deleted.count(), 0, "{text}");
    for (family, table) in [("-4", 5525), ("-6", 5525), ("-4", 5526), ("-6", 5526)] {
        assert_eq!(list(&node, family, table).len(), 1);
    }
}

fn refused() {
    let (node, _other) = node();
    let mut port = Port::start(&node, setup(1));
    let mesh0 = node.ifindex("mesh0");
    let good = next_hop("fd12::9/128", "fe80::2", mesh0);
    let bad = next_hop("fd12::a/128", "fe80::2", IfIndex(999));

    let failed = port.change(vec![RouteChange::Set(good)]);
    assert!(
        failed[0].1.to_string().contains("nothing is configured"),
        "{failed:?}"
    );
    port.configure(&base(1));
    let failed = port.change(vec![RouteChange::Set(bad), RouteChange::Set(good)]);
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].0, RouteChange::Set(bad));
    let error = failed[0].1.to_string();
    assert!(error.contains("fd12::a/128 in table 5525"), "{error}");
    assert_eq!(list(&node, "-6", 5525).len(), 1);
}

fn tunnel_routes() {
    let (node, _other) = node();
    let mut port = Port::start(&node, setup(1));
    port.configure(&base(1));
    port.set(&[
        tunnel("0.0.0.0/0", 2),
        tunnel("::/0", 2),
        tunnel("100.64.0.3/32", 3),
    ]);

    let routes = list(&node, "-4", 5526);
    let route = routes.iter().find(|route| {
        route
            .to_string()
            .contains(&id(2).tunnel_next_hop().to_string())
    });
    let route = route.expect("a route to node 2");
    assert_eq!(route["encap"], "ip6");
    assert_eq!(route["id"], 7);
    let text = node.run("ip -4 route show table 5526 default");
    let ends = format!("src {} dst {}", setup(1).mesh_ipv6(), setup(2).mesh_ipv6());
    assert!(
        text.contains(&ends) && text.contains("hoplimit 64"),
        "{text}"
    );
    let next_hop = id(2).tunnel_next_hop().to_string();
    assert_eq!(route["via"]["host"], next_hop);
    assert_eq!(route["dev"], "meshd0");
    let neighbors = || node.run("ip neigh show dev meshd0 nud permanent");
    assert!(
        neighbors().contains(&format!("{next_hop} lladdr 02:02:01:02:03:04")),
        "{}",
        neighbors()
    );

    // Both families left, then one, then none: the neighbor goes with the last.
    port.set(&[tunnel("0.0.0.0/0", 3)]);
    assert!(neighbors().contains(&next_hop));
    port.set(&[tunnel("::/0", 3)]);
    assert!(!neighbors().contains(&next_hop));
    assert!(neighbors().contains(&id(3).tunnel_next_hop().to_string()));
}

fn restored() {
    let (node, _other) = node();
    let mut port = Port::start(&node, setup(1));
    port.configure(&base(1));
    let mesh0 = node.ifindex("mesh0");
    port.set(&[
        next_hop("100.64.0.9/32", "fe80::2", mesh0),
        next_hop("fd12::9/128", "fe80::2", mesh0),
        tunnel("0.0.0.0/0", 2),
    ]);
    let before = node.snapshot();
    node.run("ip link set mesh0 down");
    let left = [list(&node, "-4", 5525), list(&node, "-6", 5525)].concat();
    assert_eq!(left, [] as [Value; 0]);
    node.run("ip link set mesh0 up");
    eventually("routes as before", || {
        (node.snapshot() == before).then_some(())
    });
}

fn put_back() {
    let (node, _other) = node();
    let mut port = Port::start(&node, setup(1));
    port.configure(&base(1));
    let mesh0 = node.ifindex("mesh0");
    port.set(&[
        next_hop("100.64.0.9/32", "fe80::2", mesh0),
        next_hop("fd12::9/128", "fe80::2", mesh0),
        tunnel("0.0.0.0/0", 2),
        tunnel("::/0", 2),
    ]);
    // The device comes again under another index.
    let lines = || {
        let text = node.run(
            "ip route show table 5525; ip route show table 5526; ip -6 route show table 5525
             ip -6 route show table 5526; ip rule; ip -6 rule; ip neigh show nud permanent
             ip -o addr show dev meshd0 scope global",
        );
        text.lines()
            .map(|line| line.trim_start_matches(char::is_numeric).to_owned())
            .collect()
    };
    let before: Vec<String> = lines();
    for loss in [
        // `ip route flush` can't remove routes that refer to next hop objects.
        "ip route del 100.64.0.9/32 table 5525; ip -6 route del fd12::9/128 table 5525",
        "ip nexthop flush proto 155",
        "ip route flush table 5526; ip -6 route flush table 5526",
        "ip rule del pref 31010; ip -6 rule del pref 32800",
        "ip addr flush dev meshd0 scope global",
        "ip link del meshd0",
    ] {
        node.run(loss);
        eventually(loss, || {
            let (ok, _) = node.try_run("ip link show meshd0");
            (ok && lines() == before).then_some(())
        });
    }
    // What the driver removed is not put back.
    let remove = |prefix: &str| RouteChange::Remove {
        table: Table::Mesh,
        prefix: prefix.parse().expect("a prefix"),
    };
    let failed = port.change(vec![remove("100.64.0.9/32")]);
    assert!(failed.is_empty(), "{failed:?}");
    node.run("ip -6 route del fd12::9/128 table 5525");
    eventually("the other route", || {
        (list(&node, "-6", 5525).len() == 1).then_some(())
    });
    assert_eq!(list(&node, "-4", 5525), [] as [Value; 0]);
}

fn new_mesh_address() {
    let (node, _other) = node();
    let mut port = Port::start(&node, setup(1));
    port.configure(&base(1));
    let mesh0 = node.ifindex("mesh0");
    port.set(&[
        next_hop("100.64.0.9/32", "fe80::2", mesh0),
        tunnel("0.0.0.0/0", 2),
    ]);
    port.configure(&base(77));
    for table in [5525, 5526] {
        let routes = list(&node, "-4", table);
        assert_eq!(routes.len(), 1, "{routes:?}");
        assert_eq!(routes[0]["prefsrc"], mesh_ipv4(77).to_string());
    }
    let addresses = node.run("ip -4 addr show dev meshd0");
    assert!(
        !addresses.contains(&mesh_ipv4(1).to_string()),
        "{addresses}"
    );
}

/// The kernel prefers wan0, and wan1 is to be used.
fn copied() {
    let (node, other) = node();
    for wan in ["wan0", "wan1"] {
        node.connect(wan, &other, wan);
    }
    node.run(
        "ip addr add 198.51.100.2/30 dev wan0; ip addr add 198.51.100.6/30 dev wan1
         ip route add default via 198.51.100.1
         ip route add default via 198.51.100.5 metric 100 mtu lock 1400 advmss 1300",
    );
    let mut port = Port::start(&node, setup(1));
    let mut base = base(1);
    base.uplinks = Uplinks::over("wan1");
    port.configure(&base);
    let copied = |wanted: &str| {
        let what = format!("a default route with {wanted}");
        eventually(&what, || {
            let text = node.run("ip route show table 5527");
            let is_it = text.contains("via 198.51.100.5 dev wan1") && text.contains(wanted);
            (is_it && text.lines().count() == 1).then_some(())
        });
    };
    copied("mtu lock 1400 advmss 1300");
    node.run("ip route replace default via 198.51.100.5 metric 100 mtu 1300");
    copied("mtu 1300");
    let way = node.run("ip route get 9.9.9.9");
    assert!(way.contains("dev wan1"), "the router's own: {way}");
    // The kernel prefers what is longer: as it leads where it should, nothing is copied.
    node.run("ip route add 0.0.0.0/1 via 198.51.100.5; ip route add 128.0.0.0/1 dev wan1");
    eventually("an empty table", || {
        let text = node.run("ip route show table 5527");
        text.is_empty().then_some(())
    });
    // Nor is the Internet attached to it.
    port.configure(&base);
    let table = node.run("nft list table inet meshd");
    assert!(
        table.contains("198.51.100.4/30") && !table.contains("128.0.0.0/1"),
        "{table}"
    );
    base.uplinks = Uplinks::over("wan0");
    port.configure(&base);
    assert_eq!(
        node.run("ip route show table 5527").trim(),
        "default via 198.51.100.1 dev wan0 proto 155"
    );
    // What is the router's own stays with what is no uplink.
    let own = "9.9.9.9";
    let others = "9.9.9.9 from 100.64.0.9 iif mesh0";
    // Also if it was one before.
    base.outside = ["wan0", "wan1"].map(str::to_owned).into();
    for (uplinks, of_own) in [(["wan0"].as_slice(), "wan1"), (&["wan0", "wan1"], "wan0")] {
        base.uplinks.all = uplinks.iter().map(|&name| name.to_owned()).collect();
        port.configure(&base);
        for (what, wan) in [(own, of_own), (others, "wan0")] {
            let way = node.run(&format!("ip route get {what}"));
            assert!(way.contains(&format!("dev {wan}")), "{what}: {way}");
        }
    }
    // Nothing leads it into the tunnel while the uplink is dead, but for what it passes on.
    let dead = |all: &[&str]| Uplinks {
        ipv4: Uplink::Dead,
        ipv6: Uplink::Dead,
        all: all.iter().map(|&name| name.to_owned()).collect(),
        ..Uplinks::default()
    };
    for (all, is_kept) in [(["wan0"].as_slice(), true), (&["wan0", "wan1"], false)] {
        base.uplinks = dead(all);
        port.configure(&base);
        let rules = node.run("ip rule show pref 31250");
        assert_eq!(rules.contains("not from all iif lo"), is_kept, "{rules}");
    }
    // Nothing is changed that is as it should be.
    let before = node.run("ip rule");
    port.configure(&base);
    assert_eq!(node.run("ip rule"), before);
}

/// Default routes with two next hops, between which the kernel would choose for each flow: an ordinary one, and
/// by a group of next hop objects.
fn several_hops() {
    let (node, other) = node();
    for wan in ["wan0", "wan1"] {
        node.connect(wan, &other, wan);
    }
    node.run(
        "ip addr add 198.51.100.2/30 dev wan0; ip addr add 198.51.100.6/30 dev wan1
         ip -6 addr add 2001:db8:0:1::2/64 dev wan0 nodad
         ip -6 addr add 2001:db8:0:2::2/64 dev wan1 nodad
         ip nexthop add id 1 via 198.51.100.1 dev wan0; ip nexthop add id 2 via 198.51.100.5 dev wan1
         ip nexthop add id 3 group 1/2
         ip -6 route add default nexthop via 2001:db8:0:1::1 nexthop via 2001:db8:0:2::1",
    );
    let mut port = Port::start(&node, setup(1));
    let mut base = base(1);
    for way in [
        "nexthop via 198.51.100.1 dev wan0 nexthop via 198.51.100.5 dev wan1",
        "nhid 3",
    ] {
        node.run(&format!("ip route replace default {way}"));
        for (uplink, hop) in [("wan0", 1), ("wan1", 2)] {
            base.uplinks = Uplinks::over(uplink);
            port.configure(&base);
            let v4 = format!("via 198.51.100.{} dev {uplink}", 4 * hop - 3);
            let v6 = format!("via 2001:db8:0:{hop}::1 dev {uplink}");
            for (family, way) in [("-4", v4), ("-6", v6)] {
                let text = node.run(&format!("ip {family} route show table 5527"));
                assert!(text.contains(&way), "{way}: {text}");
                assert_eq!(text.lines().count(), 1, "{text}");
            }
        }
    }
    let seen = port.wait("all hops", |event| match event {
        KernelEvent::DefaultRoutesChanged { routes, .. } if routes.len() == 2 => {
            Some(routes.iter().map(|it| it.name.clone()).collect::<Vec<_>>())
        }
        _ => None,
    });
    assert_eq!(seen, ["wan0", "wan1"]);
}
