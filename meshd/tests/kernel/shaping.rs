//! Who is slowed down, and who is not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mesh_proto::NodeId;
use meshd::kernel::{Allowance, Credit, Flow, KernelEvent, Shaping, TableChange};

use crate::Test;
use crate::counting::{Chain, SERVER_V4, SERVER_V6, Talk, address};
use crate::lab::setup;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        ("a_neighbor_that_is_held_is_slowed_down_alone", held),
        ("the_kernel_stops_a_burst_where_credit_is_used_up", used_up),
        ("a_limit_below_what_was_used_holds", lowered),
        ("who_cannot_be_billed_is_slowed_down", unknown),
        (
            "local_networks_are_throttled_but_for_dns_and_settlement",
            throttled,
        ),
    ]
}

/// Bytes in a datagram.
const SIZE: usize = 1000;

/// What may pass at once is gone after this time.
const BURST: Duration = Duration::from_millis(1500);

/// How long the rate is measured.
const MEASURED: Duration = Duration::from_secs(3);

/// Sends more datagrams than pass. Returns how many arrived in a second, without the first ones.
fn rate(from: &UdpSocket, to: SocketAddr, at: &UdpSocket) -> f64 {
    let stop = AtomicBool::new(false);
    let limit = Some(Duration::from_millis(50));
    at.set_read_timeout(limit).expect("a timeout");
    let mut arrived = 0_u32;
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                from.send_to(&[1; SIZE], to).expect("send");
                thread::sleep(Duration::from_millis(2));
            }
        });
        let begin = Instant::now();
        while begin.elapsed() < BURST + MEASURED {
            let is_there = at.recv(&mut [0; SIZE]).is_ok();
            arrived += u32::from(is_there && begin.elapsed() >= BURST);
        }
        stop.store(true, Ordering::Relaxed);
    });
    f64::from(arrived) / MEASURED.as_secs_f64()
}

fn assert_is_about(rate: f64, expected: f64) {
    let bounds = expected * 0.85..expected * 1.15;
    assert!(bounds.contains(&rate), "{rate} instead of {expected}");
}

/// Two that have exchanged a datagram, so that each knows where the other is.
fn acquainted(chain: &Chain, server: &str) -> (Talk, [SocketAddr; 2]) {
    let talk = Talk::new(&chain.phone, &chain.internet, address(server));
    talk.client.send(&[1]).expect("send");
    let (_, client) = talk.server.recv_from(&mut [0]).expect("the datagram");
    let server = talk.server.local_addr().expect("its address");
    (talk, [client, server])
}

const NEIGHBOR: NodeId = NodeId::from_bytes([1; 32]);

/// What the relay grants node 1, with whom it has nothing to do but that it is paid.
fn credit(chain: &Chain, limit: u64) -> Credit {
    let link = (
        chain.nodes[1].ifindex("mesh0"),
        chain.nodes[0].link_local("mesh0"),
    );
    let allowance = Allowance {
        links: BTreeSet::from([link]),
        limit,
    };
    Credit {
        charged: BTreeSet::from([setup(3).mesh_ipv6()]),
        neighbors: BTreeMap::from([(NEIGHBOR, allowance)]),
    }
}

fn grant(chain: &mut Chain, credit: Credit) {
    chain.ports[1].change_table(TableChange::Credit(credit));
}

/// Of a datagram of the size that is sent here.
const ON_THE_WIRE: usize = SIZE + 8 + 20 + 70;

/// Sends so many bytes at once from the phone to the Internet, and the same back; says how many arrived.
fn burst(talk: &Talk, client: SocketAddr, bytes: u64) -> [u64; 2] {
    let limit = Some(Duration::from_millis(200));
    let at_once = |from: &UdpSocket, to: Option<SocketAddr>, at: &UdpSocket| {
        at.set_read_timeout(limit).expect("a timeout");
        let mut arrived = 0;
        // Not more than a socket holds.
        for _ in 0..bytes / (20 * ON_THE_WIRE as u64) {
            for _ in 0..20 {
                let sent = match to {
                    Some(to) => from.send_to(&[1; SIZE], to),
                    None => from.send(&[1; SIZE]),
                };
                sent.expect("send");
            }
            let received = (0..20).take_while(|_| at.recv(&mut [0; SIZE]).is_ok());
            let received = received.count();
            arrived += received * ON_THE_WIRE;
            if received < 20 {
                break;
            }
        }
        arrived as u64
    };
    let up = at_once(&talk.client, None, &talk.server);
    [up, at_once(&talk.server, Some(client), &talk.client)]
}

/// What passes beyond a limit: what may pass at once of what is slowed down, in each direction, and what
/// does at that speed meanwhile.
const BEYOND: u64 = 2 * (65536 + 32_000);

fn used_up() {
    const LIMIT: u64 = 1 << 20;
    let mut chain = Chain::new();
    let (talk, [client, _]) = acquainted(&chain, SERVER_V4);
    let granted = credit(&chain, LIMIT);
    grant(&mut chain, granted);

    // Both directions count against one limit, and the kernel tells when half of it is used up.
    let used_up = |event: &mut KernelEvent| {
        let is_it = matches!(event, KernelEvent::CreditUsedUp);
        is_it.then(|| *event = KernelEvent::TableChanged)
    };
    let early = burst(&talk, client, LIMIT * 5 / 16);
    assert!(early.iter().sum::<u64>() >= LIMIT / 2);
    chain.ports[1].wait("half of the credit to be used up", used_up);

    // It keeps the limit without anybody looking.
    let late = burst(&talk, client, LIMIT / 2);
    let passed: u64 = early.iter().chain(&late).sum();
    assert!(passed >= LIMIT - BEYOND, "{passed} of {LIMIT} passed");
    assert!(passed <= LIMIT + BEYOND, "{passed} of {LIMIT} passed");
    chain.ports[1].wait("the credit to be used up", used_up);

    // What has counted goes on counting when the limit is raised.
    let spent = chain.ports[1].counters().spent[&NEIGHBOR];
    assert_eq!(spent, LIMIT, "no more is told");
    let granted = credit(&chain, spent + LIMIT);
    grant(&mut chain, granted.clone());
    let [up, down] = burst(&talk, client, LIMIT / 4);
    let spent_since = chain.ports[1].counters().spent[&NEIGHBOR] - spent;
    assert!(spent_since >= LIMIT * 4 / 10, "{spent_since}");
    assert_eq!(spent_since, up + down);

    // A limit that is made anew is what was left of it.
    chain.nodes[1].run("nft delete table inet meshd");
    chain.ports[1].configure(&Chain::base(2));
    let [up, down] = burst(&talk, client, LIMIT);
    let (passed, left) = (up + down, LIMIT - spent_since);
    assert!(passed <= left + BEYOND, "{passed} of {left} passed");
    assert!(passed >= left - BEYOND, "{passed} of {left} passed");
}

/// What passed since the counters were read is more than the new limit: the kernel would refuse that.
fn lowered() {
    let mut chain = Chain::new();
    let (talk, [client, _]) = acquainted(&chain, SERVER_V4);
    let granted = credit(&chain, 1 << 20);
    grant(&mut chain, granted);
    burst(&talk, client, 1 << 18);
    let before = chain.ports[1].counters();
    let lowered = credit(&chain, 1000);
    grant(&mut chain, lowered);
    let [up, down] = burst(&talk, client, 1 << 20);
    assert!(up + down <= BEYOND, "{up}, {down}");
    let after = chain.ports[1].counters();
    assert_eq!(after.generation, before.generation, "counters are lost");
    assert!(after.spent[&NEIGHBOR] >= before.spent[&NEIGHBOR]);
}

/// Whoever nobody can bill has no credit, but does not stop others.
fn unknown() {
    let mut chain = Chain::new();
    let (talk, [client, _]) = acquainted(&chain, SERVER_V4);
    let mut nobody = credit(&chain, 0);
    let neighbors = std::mem::take(&mut nobody.neighbors);
    grant(&mut chain, nobody.clone());
    let [up, down] = burst(&talk, client, 1 << 20);
    assert!(up + down <= BEYOND, "{up}, {down}");
    // Gateways that cost nothing are free.
    let free = Credit {
        charged: BTreeSet::from([setup(9).mesh_ipv6()]),
        ..Credit::default()
    };
    grant(&mut chain, free);
    talk.echo(500, SIZE);
    let known = Credit {
        neighbors,
        ..nobody
    };
    let mut limited = known.clone();
    for allowance in limited.neighbors.values_mut() {
        allowance.limit = u64::MAX;
    }
    grant(&mut chain, limited);
    talk.echo(500, SIZE);
}

fn held() {
    let mut chain = Chain::new();
    let (talk, [client, server]) = acquainted(&chain, SERVER_V4);
    let nothing = credit(&chain, 0);
    grant(&mut chain, nothing);
    // While the table is made anew, nobody gets away.
    chain.ports[1].configure(&Chain::base(2));
    let (up, down) = thread::scope(|scope| {
        let up = scope.spawn(|| rate(&talk.client, server, &talk.server));
        let (other, [client, _]) = acquainted(&chain, SERVER_V4);
        let down = scope.spawn(move || rate(&other.server, client, &other.client));
        // The relay's own traffic passes, and what stays in the mesh.
        let own = Talk::new(&chain.nodes[1], &chain.internet, address(SERVER_V4));
        own.echo(300, SIZE);
        chain.nodes[0]
            .run("ping -n -q -c 300 -i 0.002 -s 1000 -W 1 100.64.0.3 | grep ' 0% packet loss'");
        (up.join().expect("a rate"), down.join().expect("a rate"))
    });
    let free = f64::from(Shaping::default().free) / ON_THE_WIRE as f64;
    assert_is_about(up, free);
    assert_is_about(down, free);

    // What was dropped has not been carried.
    let bytes = |chain: &mut Chain, node, flow| chain.sample(node, flow).expect("a count").all;
    assert_eq!(
        bytes(&mut chain, 1, Flow::DownTx),
        bytes(&mut chain, 0, Flow::DownRx)
    );
    let claimed = bytes(&mut chain, 1, Flow::UpRx);
    assert!(claimed.bytes < bytes(&mut chain, 0, Flow::UpTx).bytes / 2);

    grant(&mut chain, Credit::default());
    Talk::new(&chain.phone, &chain.internet, address(SERVER_V4)).echo(500, SIZE);
    assert!(client.is_ipv4());
}

fn throttled() {
    const SETTLEMENT: &str = "198.51.100.77";
    let mut chain = Chain::new();
    chain
        .internet
        .run(&format!("ip addr add {SETTLEMENT}/32 dev lo"));
    let mut base = Chain::base(1);
    base.shaping.settlement = BTreeSet::from([SETTLEMENT, SERVER_V6].map(address));
    chain.ports[0].configure(&base);
    let (talk, [_, server]) = acquainted(&chain, SERVER_V4);
    chain.ports[0].change_table(TableChange::Throttle(true));
    let resolver: IpAddr = address(SERVER_V4);
    let resolver = chain
        .internet
        .call(move || UdpSocket::bind((resolver, 53)).expect("a socket"));
    let (up, down) = thread::scope(|scope| {
        let up = scope.spawn(|| rate(&talk.client, server, &talk.server));
        let (other, [client, _]) = acquainted(&chain, SERVER_V4);
        let down = scope.spawn(move || rate(&other.server, client, &other.client));
        for passes in [SETTLEMENT, SERVER_V6] {
            Talk::new(&chain.phone, &chain.internet, address(passes)).echo(300, SIZE);
        }
        let client = chain
            .phone
            .call(|| UdpSocket::bind("0.0.0.0:0").expect("a socket"));
        let server = resolver.local_addr().expect("its address");
        client.connect(server).expect("a route");
        let (client, server) = (client, resolver);
        for socket in [&client, &server] {
            let limit = Some(Duration::from_secs(5));
            socket.set_read_timeout(limit).expect("a timeout");
        }
        Talk { client, server }.echo(300, SIZE);
        (up.join().expect("a rate"), down.join().expect("a rate"))
    });
    let inside = (SIZE + 8 + 20) as f64;
    let throttled = f64::from(Shaping::default().free) * 0.75 / inside;
    assert_is_about(up, throttled);
    assert_is_about(down, throttled);

    chain.ports[0].change_table(TableChange::Throttle(false));
    Talk::new(&chain.phone, &chain.internet, address(SERVER_V4)).echo(500, SIZE);
}
