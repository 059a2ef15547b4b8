//! Which way a packet in a tunnel goes, and to which gateway, its sender says; what that leaves open.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv6Addr, UdpSocket};
use std::time::Duration;

use mesh_proto::{Mark, Table};
use meshd::kernel::{Counted, Flow, NewFlows, TUNNEL_PORT, Uplinks, WIREGUARD_GATEWAY_PORT};

use crate::Test;
use crate::counting::{Chain, PROVIDER_V4, SERVER_V4, Talk, address, route, size_in_tunnel};
use crate::lab::{Namespace, Port, base, mesh_ipv4, setup, vxlan};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        ("two_gateways_at_once_are_counted_apart", two_gateways),
        (
            "a_client_that_announces_a_gateway_pays_for_its_downloads",
            fake_gateway,
        ),
        ("the_ports_of_wireguard_tell_its_direction", wireguard_ports),
        (
            "a_gateway_that_was_withdrawn_is_counted_for_a_while",
            withdrawn,
        ),
        (
            "answers_to_connections_through_a_gateway_are_counted",
            redirected,
        ),
        ("what_nobody_can_account_for_is_slowed_down", unaccounted),
        ("a_full_set_is_noticed_and_makes_room", crowded),
    ]
}

/// A second server behind a second gateway.
const OTHER_SERVER: &str = "198.51.100.10";

fn gateway(number: u8) -> Ipv6Addr {
    setup(number).mesh_ipv6()
}

/// What a node has counted, whatever the neighbors.
fn counted(port: &mut Port) -> BTreeMap<(Flow, Ipv6Addr), Counted> {
    let mut sums = BTreeMap::new();
    for sample in port.counters().samples {
        let sum: &mut Counted = sums
            .entry((sample.key.flow, sample.key.gateway))
            .or_default();
        sum.bytes += sample.all.bytes;
        sum.packets += sample.all.packets;
    }
    sums
}

/// Datagrams there and back through the tunnel with IPv4.
const fn talked(datagrams: u64, size: u64) -> Counted {
    Counted {
        bytes: datagrams * size_in_tunnel(size, 20),
        packets: datagrams,
    }
}

/// The chain, with another gateway behind the relay, node 4.
struct Fork {
    chain: Chain,
    port: Port,
    internet: Namespace,
    _node: Namespace,
}

impl Fork {
    fn new() -> Self {
        let mut chain = Chain::new();
        let (node, internet) = (Namespace::new(), Namespace::new());
        chain.nodes[1].connect("mesh2", &node, "mesh0");
        node.connect("wan0", &internet, "eth0");
        node.run("ip addr add 203.0.113.1/24 dev wan0");
        internet.run(&format!(
            "ip addr add {PROVIDER_V4}/24 dev eth0; ip addr add {OTHER_SERVER}/32 dev lo"
        ));
        node.run(&format!("ip route add default via {PROVIDER_V4}"));
        let mut port = Port::start(&node, setup(4));
        let mut base = base(4);
        base.uplinks = Uplinks::over("wan0");
        port.configure(&base);
        let mut relay = Chain::base(2);
        relay.mesh.insert("mesh2".to_owned());
        chain.ports[1].configure(&relay);

        let prefix = |number| format!("{}/128", gateway(number));
        let next_hop = |ifindex, via| mesh_proto::Target::NextHop { via, ifindex };
        let to_fourth = next_hop(chain.nodes[1].ifindex("mesh2"), node.link_local("mesh0"));
        let back = next_hop(node.ifindex("mesh0"), chain.nodes[1].link_local("mesh2"));
        let to_relay = chain.link(0, "mesh0", 1, "mesh0");
        chain.ports[1].set(&[route(Table::Mesh, &prefix(4), to_fourth)]);
        chain.ports[0].set(&[route(Table::Mesh, &prefix(4), to_relay)]);
        port.set(&[
            route(Table::Mesh, &prefix(1), back),
            route(Table::Tunnel, &prefix(1), vxlan(1)),
            route(Table::Tunnel, &format!("{}/32", mesh_ipv4(1)), vxlan(1)),
        ]);
        let gateways = BTreeSet::from([gateway(3), gateway(4)]);
        for port in chain.ports.iter_mut().chain([&mut port]) {
            port.set_gateways(gateways.clone());
        }
        Self {
            chain,
            port,
            internet,
            _node: node,
        }
    }
}

/// One of them is the one in use, the other has flows that began before.
fn two_gateways() {
    let mut fork = Fork::new();
    let marks: Vec<Mark> = Mark::all().take(2).collect();
    let begin_with = |fork: &mut Fork, mark: Mark, gateway: u8| {
        let first = &mut fork.chain.ports[0];
        first.set(&[route(Table::Marked(mark), "0.0.0.0/0", vxlan(gateway))]);
        first.set_new_flows(NewFlows {
            ipv4: Some(mark),
            ipv6: None,
        });
    };
    begin_with(&mut fork, marks[0], 3);
    let (phone, internet) = (&fork.chain.phone, &fork.chain.internet);
    let old = Talk::new(phone, internet, address(SERVER_V4));
    old.echo(10, 100);
    begin_with(&mut fork, marks[1], 4);
    let new = Talk::new(&fork.chain.phone, &fork.internet, address(OTHER_SERVER));
    for _ in 0..5 {
        new.echo(2, 700);
        old.echo(3, 100);
    }
    let [first, relay, third] = fork.chain.ports.each_mut().map(counted);
    let fourth = counted(&mut fork.port);
    for (number, talked) in [(3, talked(25, 100)), (4, talked(10, 700))] {
        let gateway = gateway(number);
        for flow in [Flow::UpRx, Flow::UpTx, Flow::DownRx, Flow::DownTx] {
            assert_eq!(relay[&(flow, gateway)], talked, "{flow:?} {number}");
        }
        for flow in [Flow::UpTx, Flow::DownRx] {
            assert_eq!(first[&(flow, gateway)], talked, "{flow:?} {number}");
        }
        let last = if number == 3 { &third } else { &fourth };
        for flow in [Flow::UpRx, Flow::DownTx] {
            assert_eq!(last[&(flow, gateway)], talked, "{flow:?} {number}");
        }
    }
    let sizes = [first.len(), relay.len(), third.len(), fourth.len()];
    assert_eq!(sizes, [4, 8, 2, 2], "and nothing else");
}

fn fake_gateway() {
    let mut chain = Chain::new();
    let gateways = BTreeSet::from([gateway(1), gateway(3)]);
    for port in &mut chain.ports {
        port.set_gateways(gateways.clone());
    }
    chain.echo(address(SERVER_V4), 20, 500);
    let [first, relay, last] = chain.ports.each_mut().map(counted);
    let (talked, real) = (talked(20, 500), gateway(3));
    let paid = |flows: &[Flow]| flows.iter().map(|flow| ((*flow, real), talked)).collect();
    assert_eq!(first, paid(&[Flow::UpTx, Flow::DownRx]));
    assert_eq!(
        relay,
        paid(&[Flow::UpRx, Flow::UpTx, Flow::DownRx, Flow::DownTx])
    );
    assert_eq!(last, paid(&[Flow::UpRx, Flow::DownTx]));
}

/// A datagram between nodes outside of any device.
fn send(from: (&Namespace, Ipv6Addr, u16), to: (Ipv6Addr, u16), payload: &[u8], count: usize) {
    let (node, source, port) = from;
    let payload = payload.to_vec();
    node.call(move || {
        let socket = UdpSocket::bind((source, port)).expect("a socket");
        for _ in 0..count {
            socket.send_to(&payload, to).expect("send");
        }
    });
}

fn wireguard_ports() {
    let mut chain = Chain::new();
    let (client, gateway) = (gateway(1), gateway(3));
    let end = TUNNEL_PORT + 4;
    let [first, _, last] = &chain.nodes;
    let up = (gateway, WIREGUARD_GATEWAY_PORT);
    send((first, client, end), up, &[0; 100], 3);
    let from_gateway = (last, gateway, WIREGUARD_GATEWAY_PORT);
    send(from_gateway, (client, end), &[0; 300], 2);
    // To and from the port of a node that is no gateway, and between ends that belong to none.
    send(
        (last, gateway, end),
        (client, WIREGUARD_GATEWAY_PORT),
        &[0; 50],
        5,
    );
    send((first, client, end), (gateway, end + 1), &[0; 50], 5);
    let of = |datagrams: u64, size: u64| Counted {
        bytes: datagrams * (40 + 8 + size),
        packets: datagrams,
    };
    let [first, relay, last] = chain.ports.each_mut().map(counted);
    let expected = |up: &[Flow], down: &[Flow]| {
        let up = up.iter().map(|flow| ((*flow, gateway), of(3, 100)));
        let down = down.iter().map(|flow| ((*flow, gateway), of(2, 300)));
        up.chain(down).collect()
    };
    assert_eq!(first, expected(&[Flow::UpTx], &[Flow::DownRx]));
    let (up, down) = ([Flow::UpRx, Flow::UpTx], [Flow::DownRx, Flow::DownTx]);
    assert_eq!(relay, expected(&up, &down));
    assert_eq!(last, expected(&[Flow::UpRx], &[Flow::DownTx]));
}

fn withdrawn() {
    let mut chain = Chain::new();
    let talk = Talk::new(&chain.phone, &chain.internet, address(SERVER_V4));
    talk.echo(10, 1000);
    for port in &mut chain.ports {
        port.set_gateways(BTreeSet::new());
    }
    // More than passes unaccounted for.
    talk.echo(300, 1000);
    let up = (Flow::UpRx, gateway(3));
    assert_eq!(counted(&mut chain.ports[1])[&up], talked(310, 1000));

    // A successor does not know yet who is a gateway.
    let [first, relay, last] = chain.ports;
    relay.kill();
    let mut relay = Port::start(&chain.nodes[1], setup(2));
    relay.adopted();
    relay.configure(&Chain::base(2));
    relay.set_gateways(BTreeSet::new());
    talk.echo(300, 1000);
    assert_eq!(counted(&mut relay)[&up], talked(610, 1000));
    drop((first, last));
}

/// The operator of the gateway leads connections from the Internet to a node.
fn redirected() {
    let mut chain = Chain::new();
    chain.nodes[2].run(&format!(
        "nft add table ip operator
         nft add chain ip operator in '{{ type nat hook prerouting priority -100; }}'
         nft add rule ip operator in iifname wan0 udp dport 7000 dnat to {}",
        mesh_ipv4(1)
    ));
    let bound = |at: &Namespace, address: &'static str| {
        let socket = at.call(move || UdpSocket::bind(address).expect("a socket"));
        let limit = Some(Duration::from_secs(5));
        socket.set_read_timeout(limit).expect("a timeout");
        socket
    };
    let server = bound(&chain.nodes[0], "0.0.0.0:7000");
    let client = bound(&chain.internet, "203.0.113.254:0");
    let mut buffer = [0; 1000];
    for _ in 0..300 {
        client
            .send_to(&[1; 1000], "203.0.113.1:7000")
            .expect("send");
        let (_, from) = server.recv_from(&mut buffer).expect("the question");
        server.send_to(&[2; 500], from).expect("send");
        client.recv_from(&mut buffer).expect("the answer");
    }
    let relay = counted(&mut chain.ports[1]);
    let of = |flow| relay[&(flow, gateway(3))];
    assert_eq!(of(Flow::DownTx), talked(300, 1000));
    assert_eq!(of(Flow::UpRx), talked(300, 500));
}

/// The header of VXLAN with a network identifier, and something behind it.
fn with_vni(vni: u8) -> Vec<u8> {
    let mut packet = vec![0; 1300];
    packet[0] = 8;
    packet[6] = vni;
    packet
}

fn unaccounted() {
    const SENT: usize = 2000;
    let (client, real, end) = (gateway(1), gateway(3), TUNNEL_PORT + 4);
    for (from, source, to, payload) in [
        // On its way to a gateway that is none.
        (2, (real, 0), (client, TUNNEL_PORT), with_vni(7)),
        // From one that is none.
        (0, (client, 0), (real, TUNNEL_PORT), with_vni(8)),
        // Without a direction.
        (0, (client, 0), (real, TUNNEL_PORT), with_vni(9)),
        (0, (client, end), (real, end), vec![0; 1300]),
    ] {
        let mut chain = Chain::new();
        let receiver = &chain.nodes[2 - from];
        receiver.run(
            "nft add table inet watch; nft add counter inet watch arrived
             nft add chain inet watch in '{ type filter hook prerouting priority 0; }'
             nft add rule inet watch in udp dport 5526-5543 counter name arrived",
        );
        // The sender's own rules are not what is tested.
        chain.nodes[from].run("nft delete chain inet meshd sent");
        send((&chain.nodes[from], source.0, source.1), to, &payload, SENT);
        let counter = receiver.json("nft -j list counter inet watch arrived");
        let arrived = counter["nftables"][1]["counter"]["packets"].as_u64();
        let arrived = arrived.expect("a counter");
        assert!((20..300).contains(&arrived), "{arrived} of {SENT}: {to:?}");
        assert_eq!(counted(&mut chain.ports[1]), BTreeMap::new());
    }
}

fn crowded() {
    let mut chain = Chain::new();
    let relay = &chain.nodes[1];
    let ifindex = relay.ifindex("mesh0");
    let gateway = gateway(3);
    // As if packets had come from so many Ethernet addresses.
    let elements: Vec<String> = (0..2048_u16)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            format!("{ifindex} . 02:ff:00:00:{high:02x}:{low:02x} . {gateway}")
        })
        .collect();
    let commands = tempfile::NamedTempFile::new().expect("a file");
    let text = format!("add element inet meshd up_rx {{ {} }}", elements.join(", "));
    std::fs::write(commands.path(), text).expect("write it");
    relay.run(&format!("nft -f {}", commands.path().display()));
    chain.echo(address(SERVER_V4), 5, 100);
    let counters = chain.ports[1].counters();
    assert!(counters.is_full);
    let counted_flows: BTreeSet<Flow> = counters
        .samples
        .iter()
        .filter(|sample| sample.all.packets > 0)
        .map(|sample| sample.key.flow)
        .collect();
    let down = BTreeSet::from([Flow::DownRx, Flow::DownTx]);
    assert_eq!(counted_flows, down, "there is no room for the others");

    // Another that takes what does not count at all for forgotten.
    let [first, before, last] = chain.ports;
    before.kill();
    let mut hasty = setup(2);
    hasty.counter_idle_time = Duration::ZERO;
    let mut relay = Port::start(&chain.nodes[1], hasty);
    relay.adopted();
    relay.configure(&Chain::base(2));
    relay.set_gateways(BTreeSet::from([gateway]));
    let counters = relay.counters();
    assert_eq!(counters.removed.len(), 2048);
    Talk::new(&chain.phone, &chain.internet, address(SERVER_V4)).echo(5, 100);
    let counters = relay.counters();
    assert!(!counters.is_full && counters.removed.is_empty());
    assert_eq!(counted(&mut relay)[&(Flow::UpRx, gateway)], talked(5, 100));
    assert_eq!(
        counted(&mut relay)[&(Flow::DownRx, gateway)],
        talked(10, 100)
    );
    drop((first, last));
}
