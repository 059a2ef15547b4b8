//! Next hop objects: shared by routes, moved by one message, taken over, put back, removed.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};

use mesh_proto::{IfIndex, Path, Route, RouteChange, Table, Target};
use meshd::kernel::KernelEvent;
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::Test;
use crate::lab::{Namespace, Port, base, eventually, node, setup};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        ("one_message_moves_routes_of_both_families", moved_at_once),
        ("routes_that_part_are_moved_one_by_one", parted),
        ("a_successor_adopts_next_hop_objects", adopted),
        (
            "routes_without_objects_are_adopted_in_place",
            adopted_without,
        ),
        ("next_hop_objects_come_back_with_their_interface", put_back),
        ("next_hop_objects_of_others_are_left_alone", foreign),
        (
            "routes_move_off_an_interface_that_lost_its_carrier",
            carrier_lost,
        ),
    ]
}

/// A namespace with two mesh interfaces, and the other ends of their cables.
fn two_ways() -> (Namespace, Namespace) {
    let (node, other) = node();
    node.connect("mesh1", &other, "mesh1");
    (node, other)
}

fn target(ifindex: IfIndex, via: &str) -> Target {
    Target::NextHop {
        via: via.parse().expect("an address"),
        ifindex,
    }
}

/// Routes to `count` nodes, of both families.
fn routes(count: u16, path: Path) -> Vec<Route> {
    let prefixes = (0..count).flat_map(|number| {
        let (high, low) = (number / 256, number % 256);
        [
            format!("100.64.{}.{low}/32", high + 1),
            format!("fd12::{number:x}/128"),
        ]
    });
    let prefixes = prefixes.map(|text| text.parse().expect("a prefix"));
    prefixes
        .map(|prefix| Route::new((Table::Mesh, prefix), path))
        .collect()
}

fn objects(namespace: &Namespace) -> Vec<Value> {
    let found = namespace.json("ip -j nexthop");
    found.as_array().expect("a list").clone()
}

/// The routes of table 5525, one line each, as the kernel lists them with their objects.
fn listed(namespace: &Namespace) -> Vec<String> {
    let text = namespace.run("ip route show table 5525; ip -6 route show table 5525");
    text.lines().map(|line| line.trim().to_owned()).collect()
}

/// Routes and objects, in an order of their own.
fn all(namespace: &Namespace) -> (Vec<String>, Vec<Value>) {
    let mut lines = listed(namespace);
    lines.sort();
    (lines, objects(namespace))
}

/// `ip monitor`, while it writes into a file.
struct Monitor<'a> {
    namespace: &'a Namespace,
    log: NamedTempFile,
    child: Option<Child>,
}

impl<'a> Monitor<'a> {
    fn start(namespace: &'a Namespace) -> Self {
        let log = NamedTempFile::new().expect("a file");
        let output = log.reopen().expect("the file");
        let child = namespace.call(move || {
            Command::new("ip")
                .args(["monitor", "nexthop", "route"])
                .stdout(Stdio::from(output))
                .spawn()
                .expect("ip monitor")
        });
        let monitor = Self {
            namespace,
            log,
            child: Some(child),
        };
        monitor.mark("192.0.2.1");
        monitor
    }

    /// Waits until everything before this moment is in the log.
    fn mark(&self, address: &str) {
        eventually("the monitor", || {
            let script = format!("ip route add {address} dev lo; ip route del {address}");
            self.namespace.run(&script);
            self.text().contains(address).then_some(())
        });
    }

    fn text(&self) -> String {
        fs::read_to_string(self.log.path()).expect("the log")
    }

    /// What was seen since the start.
    fn lines(self) -> Vec<String> {
        self.mark("192.0.2.2");
        let text = self.text();
        let lines = text.lines().filter(|line| !line.contains("192.0.2."));
        lines.map(str::to_owned).collect()
    }
}

impl Drop for Monitor<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn moved_at_once() {
    let (node, _other) = two_ways();
    // Or the kernel tells of every route that an object moves.
    node.run("echo 0 > /proc/sys/net/ipv4/nexthop_compat_mode");
    let mut port = Port::start(&node, setup(1));
    port.configure(&base(1));
    let first = target(node.ifindex("mesh0"), "fe80::1");
    let second = target(node.ifindex("mesh1"), "fe80::2");
    let path = Path {
        target: first,
        backup: Some(second),
    };
    port.set(&routes(200, path));
    assert_eq!(listed(&node).len(), 400);
    let before = objects(&node);
    assert_eq!(before.len(), 1, "{before:?}");
    assert_eq!(before[0]["protocol"], "155");

    let monitor = Monitor::start(&node);
    port.set(&routes(200, second.into()));
    let seen = monitor.lines();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].contains("via fe80::2 dev mesh1"), "{seen:?}");
    let after = objects(&node);
    assert_eq!(after.len(), 1, "{after:?}");
    assert_eq!(after[0]["id"], before[0]["id"]);
    assert_eq!(listed(&node).len(), 400);

    // Another backup is nothing to the kernel.
    let monitor = Monitor::start(&node);
    let backed = Path {
        target: second,
        backup: Some(first),
    };
    port.set(&routes(200, backed));
    assert_eq!(monitor.lines(), [] as [&str; 0]);
}

fn parted() {
    let (node, _other) = two_ways();
    let mut port = Port::start(&node, setup(1));
    port.configure(&base(1));
    let first = target(node.ifindex("mesh0"), "fe80::1");
    let second = target(node.ifindex("mesh1"), "fe80::2");
    let third = target(node.ifindex("mesh1"), "fe80::3");
    port.set(&routes(10, first.into()));
    let mut parted = routes(10, second.into());
    for route in parted.iter_mut().take(8) {
        route.target = third;
    }
    port.set(&parted);
    let count = |via: &str| {
        let lines = listed(&node);
        lines.iter().filter(|line| line.contains(via)).count()
    };
    assert_eq!(
        (count("fe80::1"), count("fe80::2"), count("fe80::3")),
        (0, 12, 8)
    );
    assert_eq!(objects(&node).len(), 2);
    // All to one neighbor: an object for each path, and none that is not used.
    port.set(&routes(10, third.into()));
    assert_eq!(count("fe80::3"), 20);
    let left = objects(&node);
    assert_eq!(left.len(), 1, "{left:?}");
    let remove = |route: &Route| RouteChange::Remove {
        table: route.table,
        prefix: route.prefix,
    };
    let failed = port.change(parted.iter().map(remove).collect());
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(objects(&node), [] as [Value; 0]);
    assert_eq!(listed(&node), [] as [&str; 0]);
}

fn adopted() {
    for compatible in [1, 0] {
        let (node, _other) = two_ways();
        node.run(&format!(
            "echo {compatible} > /proc/sys/net/ipv4/nexthop_compat_mode"
        ));
        let mut port = Port::start(&node, setup(1));
        port.configure(&base(1));
        let first = target(node.ifindex("mesh0"), "fe80::1");
        let second = target(node.ifindex("mesh1"), "fe80::2");
        let path = Path {
            target: first,
            backup: Some(second),
        };
        let set = routes(20, path);
        port.set(&set);
        let before = all(&node);
        port.kill();
        assert_eq!(all(&node), before);

        let monitor = Monitor::start(&node);
        let mut port = Port::start(&node, setup(1));
        // The kernel does not know what stands in for a next hop.
        let expected: BTreeSet<Route> = routes(20, first.into()).into_iter().collect();
        let adopted: BTreeSet<Route> = port.adopted().into_iter().collect();
        assert_eq!(adopted, expected);
        port.configure(&base(1));
        port.set(&set);
        assert_eq!(
            monitor.lines(),
            [] as [&str; 0],
            "they are as they should be"
        );
        assert_eq!(all(&node), before);

        port.set(&routes(20, second.into()));
        assert_eq!(objects(&node).len(), 1);
        assert!(node.run("ip nexthop").contains("via fe80::2 dev mesh1"));
    }
}

fn adopted_without() {
    let (node, _other) = two_ways();
    let mut port = Port::start(&node, setup(1));
    port.configure(&base(1));
    let source = setup(1).mesh_ipv6();
    node.run(&format!(
        "ip route add 100.64.1.0/32 via inet6 fe80::1 dev mesh0 src 100.64.0.1 \
             table 5525 metric 1024 proto 155
         ip -6 route add fd12::/128 via fe80::1 dev mesh0 src {source} \
             table 5525 metric 1024 proto 155"
    ));
    port.kill();
    let monitor = Monitor::start(&node);
    let mut port = Port::start(&node, setup(1));
    let expected = routes(1, target(node.ifindex("mesh0"), "fe80::1").into());
    let adopted: BTreeSet<Route> = port.adopted().into_iter().collect();
    assert_eq!(adopted, expected.iter().copied().collect());
    port.configure(&base(1));
    let seen = monitor.lines();
    assert!(
        !seen.iter().any(|line| line.contains("Deleted")),
        "{seen:?}"
    );
    let lines = listed(&node);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("nhid")), "{lines:?}");
    assert_eq!(objects(&node).len(), 1);
}

fn put_back() {
    let (node, other) = two_ways();
    let mut port = Port::start(&node, setup(1));
    port.configure(&base(1));
    let mut both = routes(20, target(node.ifindex("mesh0"), "fe80::1").into());
    both.extend(routes(300, target(node.ifindex("mesh1"), "fe80::2").into()).split_off(40));
    port.set(&both);
    let before = all(&node);
    assert_eq!((before.0.len(), before.1.len()), (600, 2));
    let is_without = || {
        let text = node.run("ip nexthop; ip route show table 5525; ip -6 route show table 5525");
        (!text.contains("mesh0")).then_some(())
    };
    for (namespace, loss, gain) in [
        (&node, "ip link set mesh0 down", "ip link set mesh0 up"),
        (&other, "ip link set mesh0 down", "ip link set mesh0 up"),
    ] {
        namespace.run(loss);
        eventually("what the kernel removes", is_without);
        namespace.run(gain);
        eventually("everything as before", || {
            (all(&node) == before).then_some(())
        });
    }
    node.run("ip nexthop flush");
    eventually("everything as before the flush", || {
        (all(&node) == before).then_some(())
    });
}

/// Objects of others, as close to ours as can be: in our range under another's number, and under
/// ours in no range of ours.
const FOREIGN: &str = "
    ip nexthop add id 0x6d730000 via fe80::9 dev mesh0 proto static
    ip nexthop add id 0x6d730002 blackhole proto 42
    ip nexthop add id 77 via fe80::9 dev mesh0 proto 155";

fn foreign() {
    let (node, _other) = two_ways();
    node.run(FOREIGN);
    let before = node.snapshot();
    let mut port = Port::start(&node, setup(1));
    assert_eq!(port.adopted(), []);
    port.configure(&base(1));
    let mesh0 = node.ifindex("mesh0");
    let mut set = routes(2, target(mesh0, "fe80::1").into());
    set.extend(routes(4, target(mesh0, "fe80::9").into()).split_off(4));
    port.set(&set);
    assert_eq!(objects(&node).len(), 5);
    port.kill();
    let mut port = Port::start(&node, setup(1));
    assert_eq!(port.adopted().len(), 8);
    port.configure(&base(1));
    assert_eq!(objects(&node).len(), 5);
    let warnings = port.shut_down(false);
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(node.snapshot(), before);
}

fn carrier_lost() {
    let (node, other) = two_ways();
    let mut port = Port::start(&node, setup(1));
    port.configure(&base(1));
    let first = target(node.ifindex("mesh0"), "fe80::1");
    let second = target(node.ifindex("mesh1"), "fe80::2");
    port.set(&routes(20, first.into()));
    other.run("ip link set mesh0 down");
    // The kernel has removed object and routes then; nothing was mended yet.
    port.wait("loss of carrier", |event| match event {
        KernelEvent::LinkChanged(link) => (link.up && !link.carrier).then_some(()),
        _ => None,
    });
    port.set(&routes(20, second.into()));
    assert_eq!(listed(&node).len(), 40);
    assert_eq!(objects(&node).len(), 1);
}
