//! Who is slowed down, and who is not.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use meshd::kernel::{Flow, Held, KernelRequest, Shaping};

use crate::Test;
use crate::counting::{Chain, SERVER_V4, SERVER_V6, Talk, address};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        ("a_neighbor_that_is_held_is_slowed_down_alone", held),
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

fn hold(chain: &mut Chain) {
    let link = chain.nodes[0].json("ip -j link show mesh0");
    let text = link[0]["address"].as_str().expect("an Ethernet address");
    let mut mac = [0; 6];
    for (byte, text) in mac.iter_mut().zip(text.split(':')) {
        *byte = u8::from_str_radix(text, 16).expect("hexadecimal digits");
    }
    let ifindex = chain.nodes[1].ifindex("mesh0");
    let held = Held {
        senders: BTreeSet::from([(ifindex, mac)]),
        receivers: BTreeSet::from([(ifindex, chain.nodes[0].link_local("mesh0"))]),
    };
    chain.ports[1].shape(KernelRequest::SetHeld(held));
}

fn held() {
    let mut chain = Chain::new();
    let (talk, [client, server]) = acquainted(&chain, SERVER_V4);
    hold(&mut chain);
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
    let on_the_wire = (SIZE + 8 + 20 + 70) as f64;
    let free = f64::from(Shaping::default().free) / on_the_wire;
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

    chain.ports[1].shape(KernelRequest::SetHeld(Held::default()));
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
    chain.ports[0].shape(KernelRequest::SetThrottle(true));
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

    chain.ports[0].shape(KernelRequest::SetThrottle(false));
    Talk::new(&chain.phone, &chain.internet, address(SERVER_V4)).echo(500, SIZE);
}
