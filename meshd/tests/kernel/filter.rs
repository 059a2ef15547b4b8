//! Who may reach whom.

use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use mesh_proto::{Mark, RouteChange, Table};
use meshd::kernel::{NewFlows, Uplinks};

use crate::Test;
use crate::counting::{Chain, PROVIDER_V4, PROVIDER_V6, SERVER_V4, SERVER_V6, route};
use crate::lab::{Namespace, eventually, mesh_ipv4, routed, setup, vxlan};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        ("a_masqueraded_lan_is_reached_by_nobody", masqueraded_lan),
        (
            "a_routed_lan_is_reached_under_its_own_prefixes_only",
            routed_lan,
        ),
        ("the_uplink_and_the_tunnel_are_one_way", one_way),
        ("tunnel_packets_are_believed_only_from_the_mesh", injection),
        ("a_lan_with_global_addresses_keeps_them", global_addresses),
        (
            "answers_to_connections_from_outside_find_back",
            answers_from_the_lan,
        ),
        ("traffic_of_others_passes", bystanders),
        ("rules_are_replaced_without_a_gap", replaced),
    ]
}

fn reaches(from: &Namespace, to: &str) -> bool {
    from.try_run(&format!("ping -n -c 1 -W 1 {to}")).0
}

/// The address that a datagram sent to `to` has when it arrives there.
fn source_seen(from: &Namespace, to: &Namespace, address: IpAddr) -> IpAddr {
    let receiver = to.call(move || UdpSocket::bind((address, 0)).expect("a socket"));
    receiver
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a timeout");
    let destination = receiver.local_addr().expect("its address");
    from.call(move || {
        let any: IpAddr = if address.is_ipv4() {
            [0; 4].into()
        } else {
            [0; 16].into()
        };
        let socket = UdpSocket::bind((any, 0)).expect("a socket");
        socket.send_to(&[1], destination).expect("send");
    });
    receiver
        .recv_from(&mut [0; 9])
        .expect("the datagram")
        .1
        .ip()
}

fn masqueraded_lan() {
    let chain = Chain::new();
    let relay = &chain.nodes[1];
    // It may have a route, but the first node lets nothing through.
    let via = chain.nodes[0].link_local("mesh0");
    relay.run(&format!(
        "ip route add 192.168.1.0/24 via inet6 {via} dev mesh0
         ip -6 route add fd01::/64 via {via} dev mesh0"
    ));
    assert!(!reaches(relay, "192.168.1.2"));
    assert!(!reaches(relay, "fd01::2"));
    assert!(
        reaches(&chain.phone, "100.64.0.2"),
        "the other way round it may"
    );
    assert!(reaches(&chain.phone, &setup(2).mesh_ipv6().to_string()));
    assert!(dropped(&chain.nodes[0]) >= 2);
}

fn routed_lan() {
    let mut chain = Chain::new();
    let mut base = Chain::base(1);
    base.lan = vec![routed("lan0", &["192.168.1.0/24"])];
    chain.ports[0].configure(&base);
    let via = chain.nodes[0].link_local("mesh0");
    chain.nodes[1].run(&format!(
        "ip route add 192.168.1.0/24 via inet6 {via} dev mesh0
         ip -6 route add fd01::/64 via {via} dev mesh0"
    ));
    assert!(reaches(&chain.nodes[1], "192.168.1.2"));
    assert!(
        !reaches(&chain.nodes[1], "fd01::2"),
        "that prefix is not announced"
    );
    // Its own addresses are kept in the mesh, the others are masqueraded.
    let seen = |destination: IpAddr| source_seen(&chain.phone, &chain.nodes[1], destination);
    assert_eq!(seen(mesh_ipv4(2).into()).to_string(), "192.168.1.2");
    assert_eq!(seen(setup(2).mesh_ipv6().into()), setup(1).mesh_ipv6());
}

fn one_way() {
    let chain = Chain::new();
    let gateway = chain.nodes[2].link_local("wan0");
    chain.internet.run(&format!(
        "ip route add 100.64.0.0/10 via 203.0.113.1; ip route add 192.168.1.0/24 via 203.0.113.1
         ip -6 route add {}/48 via {gateway} dev eth0",
        setup(1).mesh_prefix.network()
    ));
    for inside in [
        "100.64.0.1",
        "100.64.0.2",
        &setup(1).mesh_ipv6().to_string(),
        // The gateway's own, which mean something in the mesh alone.
        &mesh_ipv4(3).to_string(),
        &setup(3).mesh_ipv6().to_string(),
    ] {
        assert!(!reaches(&chain.internet, inside), "{inside}");
    }
    assert!(reaches(&chain.internet, "203.0.113.1"));
    assert!(reaches(&chain.phone, SERVER_V4) && reaches(&chain.phone, SERVER_V6));
    // What is attached to the uplink may be the gateway's own network, whatever its addresses.
    for attached in [PROVIDER_V4, PROVIDER_V6] {
        assert!(reaches(&chain.nodes[2], attached));
        assert!(!reaches(&chain.phone, attached), "{attached}");
    }
    // Also one that came later.
    chain.internet.run("ip addr add 203.0.114.9/24 dev eth0");
    assert!(reaches(&chain.phone, "203.0.114.9"), "over the router");
    chain.nodes[2].run("ip addr add 203.0.114.1/24 dev wan0");
    eventually("the network to be noticed", || {
        (!reaches(&chain.phone, "203.0.114.9")).then_some(())
    });
    assert!(dropped(&chain.nodes[2]) >= 3);
}

/// A VXLAN packet with an Ethernet frame inside that pings the Internet in node 1's name.
fn forged() -> Vec<u8> {
    let mut packet = vec![8, 0, 0, 0, 0, 0, 7, 0];
    packet.extend(mesh_proto::OriginatorId::tunnel_mac(&crate::lab::id(3)));
    packet.extend([2, 9, 9, 9, 9, 9, 8, 0]);
    // IPv4 to the server, UDP port 9, no checksum; the header's is computed below.
    let mut ip = [
        0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 100, 64, 0, 1, 198, 51, 100, 9, 0, 9, 0, 9, 0, 9,
        0, 0, 1,
    ];
    let words = ip[..20]
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((sum & 0xffff) + (sum >> 16)).expect("folded");
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(ip);
    packet
}

fn injection() {
    let chain = Chain::new();
    let target = chain
        .internet
        .call(|| UdpSocket::bind((SERVER_V4, 9)).expect("a socket"));
    target
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("a timeout");
    let arrived = || target.recv(&mut [0; 9]).is_ok();
    let gateway = setup(3).mesh_ipv6();
    let inject = |from: &Namespace, source: Ipv6Addr, to: String| {
        from.call(move || {
            let socket = UdpSocket::bind((source, 0)).expect("a socket");
            socket.send_to(&forged(), to).expect("send");
        });
    };
    // From a node of the mesh it is what every packet in the tunnel is.
    inject(
        &chain.nodes[1],
        setup(2).mesh_ipv6(),
        format!("[{gateway}]:5526"),
    );
    assert!(arrived());
    // From a local host, though it would be masqueraded as its node.
    inject(
        &chain.phone,
        Ipv6Addr::UNSPECIFIED,
        format!("[{gateway}]:5526"),
    );
    assert!(!arrived());
    // From the Internet, to the address there.
    inject(
        &chain.internet,
        Ipv6Addr::UNSPECIFIED,
        "[2001:db8::1]:5526".to_owned(),
    );
    assert!(!arrived());
    // Over the mesh, but not from an address in it.
    let scope = chain.nodes[1].ifindex("mesh1");
    let link_local = chain.nodes[2].link_local("mesh0");
    inject(
        &chain.nodes[1],
        Ipv6Addr::UNSPECIFIED,
        format!("[{link_local}%{scope}]:5526"),
    );
    assert!(!arrived());
}

fn global_addresses() {
    let mut chain = Chain::new();
    let lan = Namespace::new();
    lan.connect("eth0", &chain.nodes[2], "lan0");
    chain.nodes[2]
        .run("ip addr add 2001:db8:1::1/64 dev lan0 nodad; ip addr add fd03::1/64 dev lan0 nodad");
    let gateway = chain.nodes[2].link_local("wan0");
    chain.internet.run(&format!(
        "ip -6 route add 2001:db8:1::/64 via {gateway} dev eth0"
    ));
    lan.run("ip addr add fd03::2/64 dev eth0 nodad; ip -6 route add default via fd03::1");
    let mut base = Chain::base(3);
    base.lan.push(crate::lab::masqueraded("lan0"));
    chain.ports[2].configure(&base);
    let server = SERVER_V6.parse().expect("an address");
    let seen = || source_seen(&lan, &chain.internet, server).to_string();
    assert_eq!(seen(), "2001:db8::1");
    lan.run("ip addr add 2001:db8:1::2/64 dev eth0 nodad");
    assert_eq!(seen(), "2001:db8:1::2");
}

/// A connection from outside to a local host, which the operator has redirected, while new flows begin to go
/// through a gateway of the mesh.
fn answers_from_the_lan() {
    let mut chain = Chain::new();
    let outside = Namespace::new();
    chain.nodes[0].connect("wan0", &outside, "eth0");
    outside.run("ip addr add 198.51.100.2/24 dev eth0; ip addr add 192.0.2.9/32 dev lo");
    chain.nodes[0].run(
        "ip addr add 198.51.100.1/24 dev wan0; ip route add default via 198.51.100.2
         nft add table ip operator
         nft add chain ip operator in '{ type nat hook prerouting priority -100; }'
         nft add rule ip operator in iifname wan0 udp dport 7000 dnat to 192.168.1.2",
    );
    let mut base = Chain::base(1);
    base.uplinks = Uplinks::over("wan0");
    chain.ports[0].configure(&base);
    let everything = "0.0.0.0/0".parse().expect("a prefix");
    chain.ports[0].change(vec![RouteChange::Remove {
        table: Table::Tunnel,
        prefix: everything,
    }]);
    let bound = |at: &Namespace, address: &'static str| {
        let socket = at.call(move || UdpSocket::bind(address).expect("a socket"));
        let limit = Some(Duration::from_secs(5));
        socket.set_read_timeout(limit).expect("a timeout");
        socket
    };
    let server = bound(&chain.phone, "0.0.0.0:7000");
    let client = bound(&outside, "192.0.2.9:0");
    let mut buffer = [0; 9];
    client.send_to(&[1], "198.51.100.1:7000").expect("send");
    let (_, from) = server.recv_from(&mut buffer).expect("the question");
    server.send_to(&[2], from).expect("send");
    client.recv_from(&mut buffer).expect("the answer");

    let mark = Mark::all().next().expect("a mark");
    chain.ports[0].set(&[route(Table::Marked(mark), "0.0.0.0/0", vxlan(3))]);
    chain.ports[0].set_new_flows(NewFlows {
        ipv4: Some(mark),
        ipv6: None,
    });
    server.send_to(&[3], from).expect("send");
    let answer = client.recv_from(&mut buffer);
    assert!(answer.is_ok(), "it was led into the tunnel: {answer:?}");
}

fn bystanders() {
    let chain = Chain::new();
    // A network on the relay that meshd was not told of, with another beside it.
    let (guest, printer) = (Namespace::new(), Namespace::new());
    let relay = &chain.nodes[1];
    guest.connect("eth0", relay, "guest0");
    printer.connect("eth0", relay, "printer0");
    relay.run("ip addr add 10.7.0.1/24 dev guest0; ip addr add 10.8.0.1/24 dev printer0");
    guest.run("ip addr add 10.7.0.2/24 dev eth0; ip route add default via 10.7.0.1");
    printer.run("ip addr add 10.8.0.2/24 dev eth0; ip route add default via 10.8.0.1");
    assert!(reaches(&guest, "10.8.0.2"), "not our business");
    assert!(
        !reaches(&guest, SERVER_V4),
        "but the mesh is for those it was given to"
    );
    assert!(dropped(relay) >= 1);
}

/// Packets that come while the table is made anew meet either the old rules or the new ones.
fn replaced() {
    let mut chain = Chain::new();
    let gateway = setup(3).mesh_ipv6();
    let socket = chain.nodes[1].call(move || UdpSocket::bind("[::]:0").expect("a socket"));
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let sender = thread::spawn(move || {
        let mut sent = 0_u64;
        while !stopped.load(Ordering::Relaxed) {
            // Nobody listens there; it is the filter that is asked.
            sent += u64::from(socket.send_to(&[1], (gateway, 9)).is_ok());
            thread::sleep(Duration::from_micros(100));
        }
        sent
    });
    for _ in 0..40 {
        chain.ports[2].configure(&Chain::base(3));
    }
    stop.store(true, Ordering::Relaxed);
    let sent = sender.join().expect("the sender");
    assert!(sent >= 1000, "{sent} packets");
    assert_eq!(dropped(&chain.nodes[2]), 0, "of {sent} packets");
}

/// How many packets the node's filter dropped.
fn dropped(node: &Namespace) -> u64 {
    let counter = &node.json("nft -j list counter inet meshd dropped")["nftables"][1]["counter"];
    counter["packets"].as_u64().expect("a counter")
}
