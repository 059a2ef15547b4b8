//! The tunnel carries packets, and both ends of a hop count them alike.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use mesh_proto::{IfIndex, Route, Table, Target};
use meshd::kernel::{
    Base, Counted, CounterKey, CounterSample, Flow, KernelEvent, Neighbor, Uplinks,
};
use nix::sys::socket::{getsockopt, sockopt::TcpMaxSeg};

use crate::Test;
use crate::lab::{Namespace, Port, base, eventually, masqueraded, mesh_ipv4, routed, setup, vxlan};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        ("the_tunnel_carries_both_families_through_a_relay", carries),
        (
            "connections_are_tracked_only_where_they_are_translated",
            tracks_no_more_than_needed,
        ),
        ("both_ends_of_each_hop_count_the_same_bytes", counts),
        ("a_flush_during_configure_is_noticed", disturbed),
        (
            "counters_outlive_configure_and_their_loss_is_noticed",
            generations,
        ),
        ("tcp_through_the_tunnel_learns_its_mtu", clamped),
        (
            "merged_frames_are_counted_apart_and_alike_at_both_ends",
            merged,
        ),
    ]
}

/// What a UDP datagram through the tunnel has around it: the tunnel, an inner IP header, UDP.
pub(crate) const fn size_in_tunnel(payload: u64, inner_header: u64) -> u64 {
    70 + inner_header + 8 + payload
}

/// `phone` behind node 1, whose mesh neighbor is the relay, node 2, whose other is the gateway,
/// node 3, which has an uplink to the provider's router in `internet`, with a server.
pub(crate) struct Chain {
    pub(crate) phone: Namespace,
    pub(crate) nodes: [Namespace; 3],
    pub(crate) internet: Namespace,
    pub(crate) ports: [Port; 3],
}

impl Chain {
    pub(crate) fn new() -> Self {
        let phone = Namespace::new();
        let internet = Namespace::new();
        let nodes = [Namespace::new(), Namespace::new(), Namespace::new()];
        phone.connect("eth0", &nodes[0], "lan0");
        nodes[0].connect("mesh0", &nodes[1], "mesh0");
        nodes[1].connect("mesh1", &nodes[2], "mesh0");
        nodes[2].connect("wan0", &internet, "eth0");
        nodes[0].run("ip addr add 192.168.1.1/24 dev lan0; ip addr add fd01::1/64 dev lan0 nodad");
        phone.run(
            "ip addr add 192.168.1.2/24 dev eth0; ip addr add fd01::2/64 dev eth0 nodad
             ip route add default via 192.168.1.1; ip -6 route add default via fd01::1",
        );
        nodes[2]
            .run("ip addr add 203.0.113.1/24 dev wan0; ip addr add 2001:db8::1/64 dev wan0 nodad");
        // The provider's router, with a server behind it.
        internet.run(&format!(
            "ip addr add {PROVIDER_V4}/24 dev eth0; ip addr add {PROVIDER_V6}/64 dev eth0 nodad
             ip addr add {SERVER_V4}/32 dev lo; ip addr add {SERVER_V6}/128 dev lo nodad"
        ));
        nodes[2].run(&format!(
            "ip route add default via {PROVIDER_V4}; ip -6 route add default via {PROVIDER_V6}"
        ));
        let ports =
            [1, 2, 3].map(|number| Port::start(&nodes[usize::from(number) - 1], setup(number)));
        let mut chain = Self {
            phone,
            nodes,
            internet,
            ports,
        };
        chain.configure();
        chain.set_routes();
        chain
    }

    pub(crate) fn base(number: u8) -> Base {
        let mut base = base(number);
        match number {
            1 => base.lan.push(masqueraded("lan0")),
            2 => _ = base.mesh.insert("mesh1".to_owned()),
            _ => base.uplinks = Uplinks::over("wan0"),
        }
        base
    }

    fn configure(&mut self) {
        for (port, number) in self.ports.iter_mut().zip(1..) {
            let warnings = port.configure(&Self::base(number));
            assert!(warnings.is_empty(), "{warnings:?}");
            port.set_gateways(BTreeSet::from([setup(3).mesh_ipv6()]));
        }
    }

    fn set_routes(&mut self) {
        let first = self.link(0, "mesh0", 1, "mesh0");
        let second = self.link(1, "mesh1", 2, "mesh0");
        let back = self.link(1, "mesh0", 0, "mesh0");
        let back_to_relay = self.link(2, "mesh0", 1, "mesh1");
        for (node, peer, target) in [
            (0, 2, first),
            (0, 3, first),
            (1, 1, back),
            (1, 3, second),
            (2, 1, back_to_relay),
            (2, 2, back_to_relay),
        ] {
            self.ports[node].set(&[
                route(
                    Table::Mesh,
                    &format!("{}/128", setup(peer).mesh_ipv6()),
                    target,
                ),
                route(Table::Mesh, &format!("{}/32", mesh_ipv4(peer)), target),
            ]);
        }
        let to_gateway = vxlan(3);
        for node in [0, 1] {
            self.ports[node].set(&[
                route(Table::Tunnel, "0.0.0.0/0", to_gateway),
                route(Table::Tunnel, "::/0", to_gateway),
            ]);
        }
        for peer in [1, 2] {
            let target = vxlan(peer);
            self.ports[2].set(&[
                route(
                    Table::Tunnel,
                    &format!("{}/128", setup(peer).mesh_ipv6()),
                    target,
                ),
                route(Table::Tunnel, &format!("{}/32", mesh_ipv4(peer)), target),
            ]);
        }
    }

    /// The target that leads from a node's interface to the neighbor at the other end.
    pub(crate) fn link(&self, node: usize, name: &str, peer: usize, peer_name: &str) -> Target {
        let via = self.nodes[peer].link_local(peer_name);
        Target::NextHop {
            via,
            ifindex: self.nodes[node].ifindex(name),
        }
    }

    /// Sends datagrams of `size` bytes from the phone to the Internet, which sends each back.
    pub(crate) fn echo(&self, server: IpAddr, count: usize, size: usize) {
        Talk::new(&self.phone, &self.internet, server).echo(count, size);
    }

    /// What a node has counted of a flow, which must be with one neighbor and gateway.
    pub(crate) fn sample(&mut self, node: usize, flow: Flow) -> Option<CounterSample> {
        let counters = self.ports[node].counters();
        let samples: Vec<_> = counters
            .samples
            .into_iter()
            .filter(|sample| sample.key.flow == flow)
            .collect();
        assert!(samples.len() <= 1, "{samples:?}");
        samples.first().copied()
    }
}

/// Sockets of two that talk to each other.
pub(crate) struct Talk {
    pub(crate) client: UdpSocket,
    pub(crate) server: UdpSocket,
}

impl Talk {
    pub(crate) fn new(client: &Namespace, server: &Namespace, address: IpAddr) -> Self {
        let server = server.call(move || UdpSocket::bind((address, 0)).expect("a socket"));
        let address = server.local_addr().expect("its address");
        let client = client.call(move || {
            let any: IpAddr = if address.is_ipv4() {
                [0; 4].into()
            } else {
                [0; 16].into()
            };
            let socket = UdpSocket::bind((any, 0)).expect("a socket");
            socket.connect(address).expect("a route");
            socket
        });
        for socket in [&client, &server] {
            let limit = Some(Duration::from_secs(5));
            socket.set_read_timeout(limit).expect("a timeout");
        }
        Self { client, server }
    }

    /// Sends datagrams of `size` bytes to the server, which sends each back.
    pub(crate) fn echo(&self, count: usize, size: usize) {
        let Self { client, server } = self;
        let mut buffer = vec![0; size + 1];
        for _ in 0..count {
            client.send(&vec![1; size]).expect("send");
            let (length, from) = server.recv_from(&mut buffer).expect("the datagram");
            assert_eq!(length, size);
            server.send_to(&buffer[..length], from).expect("send back");
            assert_eq!(client.recv(&mut buffer).expect("the answer"), size);
        }
    }
}

pub(crate) fn route(table: Table, prefix: &str, target: Target) -> Route {
    Route {
        table,
        prefix: prefix.parse().expect("a prefix"),
        target,
        backup: None,
    }
}

pub(crate) const SERVER_V4: &str = "198.51.100.9";
pub(crate) const SERVER_V6: &str = "2001:db8:9::9";
pub(crate) const PROVIDER_V4: &str = "203.0.113.254";
pub(crate) const PROVIDER_V6: &str = "2001:db8::fe";

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn carries() {
    let chain = Chain::new();
    for server in [SERVER_V4, SERVER_V6] {
        chain.echo(address(server), 3, 100);
        // The largest packet that goes through without fragments, and one more.
        let largest = 1430 - 8 - if server == SERVER_V4 { 20 } else { 40 };
        let ping = |size: usize| {
            chain
                .phone
                .try_run(&format!("ping -n -M do -c 1 -W 2 -s {size} {server}"))
        };
        let (fits, text) = ping(largest);
        assert!(fits, "{text}");
        assert!(!ping(largest + 1).0);
    }
    // The nodes themselves go through the tunnel as well, and reach each other without.
    for node in [0, 1] {
        chain.nodes[node].run(&format!(
            "ping -n -c 1 -W 2 {SERVER_V4}; ping -n -c 1 -W 2 {SERVER_V6}"
        ));
    }
    chain.phone.run("ping -n -c 1 -W 2 100.64.0.3");
}

/// Relays keep no entry for what passes between others, in their tunnels or beside.
fn tracks_no_more_than_needed() {
    let mut chain = Chain::new();
    let last = setup(3).mesh_ipv6();
    let talk = |chain: &Chain| {
        chain.echo(address(SERVER_V4), 1, 100);
        chain.phone.run("ping -n -c 1 -W 2 100.64.0.3");
        chain.nodes[0].run(&format!("ping -n -c 1 -W 2 {last}"));
        chain.nodes[1].run(&format!("ping -n -c 1 -W 2 {SERVER_V4}"));
        [0, 1].map(|node: usize| chain.nodes[node].run("cat /proc/net/nf_conntrack"))
    };
    let [first, relay] = talk(&chain);
    assert!(
        first.contains("dst=100.64.0.3"),
        "it has to translate: {first}"
    );
    assert!(relay.is_empty(), "it translates nothing: {relay}");

    // One with a local network has to track its own.
    chain.phone.connect("eth1", &chain.nodes[1], "lan0");
    let mut base = Chain::base(2);
    base.lan.push(masqueraded("lan0"));
    chain.ports[1].configure(&base);
    let [_, relay] = talk(&chain);
    assert!(relay.contains("icmp"), "its own pings it has: {relay}");
    let last = last.segments().map(|segment| format!("{segment:04x}"));
    for passing in ["dport=5526", "dst=100.64.0.3", &last.join(":")] {
        assert!(!relay.contains(passing), "{passing}: {relay}");
    }

    chain.ports[1].configure(&Chain::base(2));
    let table = chain.nodes[1].run("nft list table inet meshd");
    assert!(!table.contains("translate"), "{table}");
}

fn counts() {
    let mut chain = Chain::new();
    let neighbors = [
        chain.nodes[1].link_local("mesh0"),
        chain.nodes[0].link_local("mesh0"),
        chain.nodes[2].link_local("mesh0"),
        chain.nodes[1].link_local("mesh1"),
    ];
    let [relay, first, gateway, relay_too] = neighbors;
    let interface = |node: usize, name: &str| chain.nodes[node].ifindex(name);
    let interfaces: [IfIndex; 4] = [
        interface(0, "mesh0"),
        interface(1, "mesh0"),
        interface(1, "mesh1"),
        interface(2, "mesh0"),
    ];
    let mut packets = 0;
    let mut bytes = 0;
    for (server, header) in [(SERVER_V4, 20), (SERVER_V6, 40)] {
        for (count, size) in [(1, 1), (50, 333), (7, 1300)] {
            chain.echo(address(server), count, size);
            packets += count as u64;
            bytes += count as u64 * size_in_tunnel(size as u64, header);
        }
        let [at_first, at_relay, at_relay_too, at_gateway] = interfaces;
        for (node, flow, ifindex, neighbor) in [
            (0, Flow::UpTx, at_first, relay),
            (1, Flow::UpRx, at_relay, first),
            (1, Flow::UpTx, at_relay_too, gateway),
            (2, Flow::UpRx, at_gateway, relay_too),
            (2, Flow::DownTx, at_gateway, relay_too),
            (1, Flow::DownRx, at_relay_too, gateway),
            (1, Flow::DownTx, at_relay, first),
            (0, Flow::DownRx, at_first, relay),
        ] {
            let Some(sample) = chain.sample(node, flow) else {
                panic!("node {} counted nothing of {flow:?}", node + 1);
            };
            let expected = CounterSample {
                key: CounterKey {
                    flow,
                    ifindex,
                    neighbor: sample.key.neighbor,
                    gateway: setup(3).mesh_ipv6(),
                },
                address: Some(neighbor),
                all: Counted { bytes, packets },
                merged: [Counted::default(); 2],
            };
            assert_eq!(sample, expected, "node {}", node + 1);
            let is_received = matches!(sample.key.neighbor, Neighbor::Mac(_));
            assert_eq!(is_received, matches!(flow, Flow::UpRx | Flow::DownRx));
        }
    }
    // Nothing that does not belong there: the first has nobody behind it, the gateway nobody
    // before it; and what stays in the mesh is not counted.
    for (node, flow) in [
        (0, Flow::UpRx),
        (0, Flow::DownTx),
        (2, Flow::UpTx),
        (2, Flow::DownRx),
    ] {
        assert_eq!(chain.sample(node, flow), None);
    }
    chain.phone.run("ping -n -c 3 -i 0.1 100.64.0.3");
    assert_eq!(
        chain.sample(0, Flow::UpTx).map(|sample| sample.all.packets),
        Some(packets)
    );
}

/// Somebody flushes the table while it is made: it is made again.
fn disturbed() {
    let mut chain = Chain::new();
    for round in 0..40 {
        let (node, port) = (&chain.nodes[1], &mut chain.ports[1]);
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(2 * (round % 20)));
                node.run("nft flush table inet meshd");
            });
            port.configure(&Chain::base(2));
        });
        let rules = chain.nodes[1].run("nft list table inet meshd");
        if !rules.contains("goto from_mesh") {
            wait_for_damage(&mut chain.ports[1]);
        }
    }
}

/// Waits until the port tells that somebody else has changed its table.
fn wait_for_damage(port: &mut Port) {
    port.wait("word of the damage", |event| {
        matches!(event, KernelEvent::TableDamaged).then_some(())
    });
}

fn generations() {
    let mut chain = Chain::new();
    chain.echo(address(SERVER_V4), 10, 100);
    let before = chain.ports[1].counters();
    let mut other = Chain::base(2);
    other.lan.push(routed("lan9", &["10.9.0.0/16"]));
    other.uplinks = Uplinks::over("wan9");
    chain.ports[1].configure(&other);
    assert_eq!(
        chain.ports[1].counters(),
        before,
        "configuring loses no count"
    );
    chain.echo(address(SERVER_V4), 10, 100);
    let packets = chain.sample(1, Flow::UpRx).map(|sample| sample.all.packets);
    assert_eq!(packets, Some(20), "and counting goes on");

    let damaged = |event: &KernelEvent| matches!(event, KernelEvent::TableDamaged);
    assert!(!chain.ports[1].saw(damaged), "by ourselves");
    for damage in [
        "nft flush set inet meshd gateways",
        "nft flush table inet meshd",
        "nft flush ruleset",
    ] {
        chain.nodes[1].run(damage);
        wait_for_damage(&mut chain.ports[1]);
        chain.ports[1].configure(&other);
    }
    chain.echo(address(SERVER_V4), 10, 100);
    let after = chain.ports[1].counters();
    assert_ne!(after.generation, before.generation);
    assert!(after.from_zero, "the new table is ours");
    let packets: Vec<u64> = after
        .samples
        .iter()
        .map(|sample| sample.all.packets)
        .collect();
    assert_eq!(packets, [10; 4], "the gateways are known again");

    // A table that can't be changed to ours is replaced, and that is said.
    chain.nodes[1].run(
        "nft delete table inet meshd; nft add table inet meshd
         nft add set inet meshd up_rx '{ type ipv4_addr; flags dynamic; }'",
    );
    wait_for_damage(&mut chain.ports[1]);
    let warnings = chain.ports[1].configure(&Chain::base(2));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].to_string().contains("counters began again"),
        "{}",
        warnings[0]
    );
    chain.echo(address(SERVER_V4), 10, 100);
    assert_eq!(
        chain.sample(1, Flow::UpRx).map(|sample| sample.all.packets),
        Some(10)
    );
    assert_ne!(chain.ports[1].counters().generation, after.generation);
}

/// Sends `length` bytes from one to the other end of a connection.
fn transfer(mut from: &TcpStream, mut to: &TcpStream, length: usize) {
    let data = vec![7; length];
    let mut received = vec![0; length];
    std::thread::scope(|scope| {
        scope.spawn(|| from.write_all(&data).expect("send"));
        to.read_exact(&mut received).expect("all of it");
    });
    assert_eq!(received, data);
}

/// Connects the phone with the Internet. Returns the phone's end, and the other.
fn connect(chain: &Chain, server: IpAddr) -> (TcpStream, TcpStream) {
    let listener = chain
        .internet
        .call(move || TcpListener::bind((server, 0)).expect("a socket"));
    let server = listener.local_addr().expect("its address");
    let client = chain
        .phone
        .call(move || TcpStream::connect(server).expect("a connection"));
    let (accepted, _) = listener.accept().expect("the connection");
    for stream in [&client, &accepted] {
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a timeout");
    }
    (client, accepted)
}

fn clamped() {
    let chain = Chain::new();
    for (server, header) in [(SERVER_V4, 20), (SERVER_V6, 40)] {
        let (client, accepted) = connect(&chain, address(server));
        for stream in [&client, &accepted] {
            let limit = 1430 - header - 20;
            let size = getsockopt(stream, TcpMaxSeg).expect("the segment size");
            assert!(
                size <= limit && size > limit - 40,
                "{size} is not just below {limit}"
            );
        }
        transfer(&client, &accepted, 300_000);
        transfer(&accepted, &client, 300_000);
    }
}

fn merged() {
    let mut chain = Chain::new();
    for (server, family) in [(SERVER_V4, 0), (SERVER_V6, 1)] {
        let (client, accepted) = connect(&chain, address(server));
        transfer(&client, &accepted, 3_000_000);
        transfer(&accepted, &client, 3_000_000);
        // Late acknowledgements may still be on their way.
        for (sender, receiver) in [
            ((0, Flow::UpTx), (1, Flow::UpRx)),
            ((1, Flow::UpTx), (2, Flow::UpRx)),
            ((2, Flow::DownTx), (1, Flow::DownRx)),
            ((1, Flow::DownTx), (0, Flow::DownRx)),
        ] {
            let sent = eventually("equal counts", || {
                let sent = chain.sample(sender.0, sender.1)?;
                let received = chain.sample(receiver.0, receiver.1)?;
                let is_equal = sent.all == received.all && sent.merged == received.merged;
                is_equal.then_some(sent)
            });
            let merged = sent.merged[family];
            assert!(merged.bytes > 1_000_000, "{sent:?}");
            assert!(merged.bytes > 1500 * merged.packets, "{sent:?}");
            let single = Counted {
                bytes: sent.all.bytes - sent.merged[0].bytes - sent.merged[1].bytes,
                packets: sent.all.packets - sent.merged[0].packets - sent.merged[1].packets,
            };
            assert!(single.bytes <= 1500 * single.packets, "{sent:?}");
        }
    }
}
