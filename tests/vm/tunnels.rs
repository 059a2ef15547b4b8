//! Tunnels of WireGuard, which the kernel in here has: villages with them, beside others that know
//! less.

use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use control_api::{Gateways, RouteTo, Routes, TunnelKind};
use libtest_mimic::Trial;
use mesh_tests::command;
use mesh_tests::flows::{Load, survive};
use mesh_tests::gateways::{ends_in_every_way, select};
use mesh_tests::harness::{in_lab, note};
use mesh_tests::http::{exchange, fetch};
use mesh_tests::internet::{HOST_V4, HOST_V6, echo_at, web_at};
use mesh_tests::lab::{Lab, Node};
use mesh_tests::mesh::{wait_comes_from, wait_online_through};
use mesh_tests::namespace::Namespace;
use mesh_tests::probe::{Pinger, wait_echoes};
use mesh_tests::smuggle::Private;
use mesh_tests::topology::Topology;
use mesh_tests::transfer::{Source, Transfer};
use mesh_tests::wait::wait_for;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "wireguard_is_used_where_both_ends_have_it",
            || Topology::line(3),
            mixed,
        ),
        in_lab(
            "wireguard_drops_a_forged_source_and_remembers_no_way_out",
            || Topology::line(2),
            forged,
        ),
        in_lab(
            "wireguard_begins_anew_when_a_clock_went_back",
            || Topology::line(2),
            earlier,
        ),
        in_lab(
            "wireguard_keeps_flows_over_switches",
            || Topology::grid(2, 2),
            switched,
        ),
        in_lab(
            "wireguard_gateways_end_in_every_way",
            || Topology::grid(2, 2),
            ends_in_every_way,
        ),
    ]
}

const PATIENCE: Duration = Duration::from_secs(30);
const FETCH: Duration = Duration::from_secs(5);
/// As long as a phone may be offline when others remove a device: far less than the 15 s after which
/// WireGuard doubts a session.
const PUT_BACK: Duration = Duration::from_secs(5);
/// Between two blocks of a transfer: more is more than an emulated processor wraps in time.
const INTERVAL: Duration = Duration::from_millis(100);
/// How much comes in a moment.
const BYTES: u64 = 10_000;
/// Between two probes.
const PROBES: Duration = Duration::from_millis(50);
/// WireGuard answers what arrives within ten seconds, if nobody else does.
const SILENCE: Duration = Duration::from_secs(13);
/// A gateway's end of WireGuard, and the first of a node that uses one.
const ENDS: [&str; 2] = ["meshd1", "meshd2"];

/// A phone behind r1 that goes online through r3.
fn village(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    let last = lab.nodes().count();
    let gateway = format!("r{last}");
    lab.add_uplink(&gateway)?;
    lab.start_all()?;
    wait_online_through(lab, "r1", &gateway, PATIENCE)?;
    online(lab, &gateway)
}

fn online(lab: &Lab, gateway: &str) -> Result<()> {
    let line = lab.node(gateway)?.line()?;
    wait_comes_from(lab.node("r1")?.phone()?, line, line, PATIENCE)
}

/// Which tunnel r1 has to its gateway.
fn tunnel_of(lab: &Lab) -> Result<Option<TunnelKind>> {
    let answer: Gateways = lab.node("r1")?.ctl("gateways")?;
    Ok(answer.gateways.first().context("no gateway")?.tunnel)
}

/// The same, and those that the gateway has back.
fn tunnels(lab: &Lab) -> Result<(Option<TunnelKind>, Vec<TunnelKind>)> {
    let there = tunnel_of(lab)?;
    let answer: Routes = lab.node("r3")?.ctl("routes")?;
    let back = answer
        .routes
        .into_iter()
        .filter_map(|route| match route.to {
            RouteTo::Tunnel { node, tunnel, .. } => {
                (node.name.as_deref() == Some("r1")).then_some(tunnel)
            }
            RouteTo::Neighbor { .. } => None,
        });
    Ok((there, back.collect()))
}

fn mixed(lab: &mut Lab) -> Result<()> {
    village(lab)?;
    let both = |kind| (Some(kind), vec![kind, kind]);
    ensure!(tunnels(lab)? == both(TunnelKind::Wireguard));
    encrypted(lab)?;
    carries_everything(lab)?;
    flow_outlives_its_route(lab)?;
    put_back(lab)?;
    restart(lab, "r1", "vxlan")?;
    online(lab, "r3")?;
    wait_for("tunnels of VXLAN", PATIENCE, || {
        let found = tunnels(lab)?;
        ensure!(found == both(TunnelKind::Vxlan), "{found:?}");
        Ok(())
    })?;
    // The gateway has it for r2.
    let left = ends(lab.node("r1")?)?;
    ensure!(left.is_empty(), "r1 keeps {left}");
    restart(lab, "r3", "wireguard")?;
    wait_for("the reason", PATIENCE, || {
        let answer: Gateways = lab.node("r1")?.ctl("gateways")?;
        let gateway = answer.gateways.first().context("no gateway")?;
        ensure!(gateway.reason == "no tunnel that both know", "{gateway:?}");
        Ok(())
    })?;
    restart(lab, "r1", "wireguard")?;
    wait_online_through(lab, "r1", "r3", PATIENCE)?;
    online(lab, "r3")?;
    for router in ["r1", "r3"] {
        lab.node_mut(router)?.take_daemon()?.terminate()?;
        ensure!(
            ends(lab.node(router)?)?.is_empty(),
            "{router} leaves an end"
        );
    }
    Ok(())
}

fn restart(lab: &mut Lab, router: &str, tunnel: &str) -> Result<()> {
    let node = lab.node_mut(router)?;
    node.config.tunnel = Some(tunnel.to_owned());
    node.take_daemon()?.terminate()?;
    lab.start(router)
}

/// The devices of WireGuard a router has.
fn ends(node: &Node) -> Result<String> {
    node.namespace().ip("-o link show type wireguard")
}

/// The relay sees what the phone says in no packet, and who is there.
fn encrypted(lab: &Lab) -> Result<()> {
    let relay = lab.node("r2")?.namespace();
    let watch = "table inet watch { chain passing { type filter hook forward priority 1000;\n\
                 udp dport 5526-5543 counter comment \"wrapped\"\n\
                 counter comment \"all\"\n}\n}";
    relay.nft(watch)?;
    let phone = lab.node("r1")?.phone()?;
    wait_for("a page", PATIENCE, || {
        fetch(phone, web_at(HOST_V4), "/", FETCH)
    })?;
    let listing = relay.run("nft", "list table inet watch")?;
    let count = |comment: &str| -> Result<u64> {
        let line = listing.lines().find(|line| line.contains(comment));
        let mut words = line.context("no rule")?.split(' ');
        words.find(|word| *word == "packets");
        Ok(words.next().context("no counter")?.parse()?)
    };
    let (wrapped, all) = (count("wrapped")?, count("all")?);
    ensure!(wrapped > 0 && wrapped == all, "{listing}");
    relay.nft("delete table inet watch")
}

/// Datagrams of every size, and a lot of them, both ways.
fn carries_everything(lab: &Lab) -> Result<()> {
    const SIZES: [usize; 6] = [1372, 1400, 1420, 1500, 4000, 9000];
    const BYTES: usize = 10_000_000;
    let phone = lab.node("r1")?.phone()?;
    for host in [HOST_V4, HOST_V6] {
        wait_echoes(phone, echo_at(host), &SIZES, PATIENCE)?;
        let since = Instant::now();
        exchange(phone, web_at(host), BYTES, PATIENCE)?;
        note(&format!(
            "10 MB each way in {} ms",
            since.elapsed().as_millis()
        ));
    }
    Ok(())
}

/// The gateway is out of reach for a moment, and whoever looks for a way forgets everything of it.
fn flow_outlives_its_route(lab: &mut Lab) -> Result<()> {
    let _source = Source::every(lab.internet()?.host(), INTERVAL)?;
    let transfer = Transfer::start(lab.node("r1")?.phone()?, HOST_V4)?;
    transfer.wait_for_bytes(BYTES)?;
    let before = ends(lab.node("r1")?)?;
    lab.air().cut("r1", "r2")?;
    for router in ["r1", "r3"] {
        wait_for("the tunnel to have no route", PATIENCE, || {
            let left = routes_into_tunnel(lab, router)?;
            ensure!(left == 0, "{left} are left");
            Ok(())
        })?;
    }
    lab.air().heal("r1", "r2")?;
    transfer.wait_for_bytes(transfer.bytes() + BYTES)?;
    let ended = transfer.stop().ended;
    ensure!(ended.is_none(), "{ended:?}");
    let after = ends(lab.node("r1")?)?;
    ensure!(before == after, "there was {before}, and is {after}");
    Ok(())
}

/// How many routes of a router lead into the tunnel between r1 and its gateway.
fn routes_into_tunnel(lab: &Lab, router: &str) -> Result<usize> {
    let answer: Routes = lab.node(router)?.ctl("routes")?;
    let through = answer.routes.iter().filter(|route| match &route.to {
        RouteTo::Tunnel { node, .. } => router == "r1" || node.name.as_deref() == Some("r1"),
        RouteTo::Neighbor { .. } => false,
    });
    Ok(through.count())
}

/// The daemon of r1 is away so long that nobody has a route to it, while what its kernel sends goes on
/// to arrive: WireGuard answers that after ten seconds, and remembers the way that this took.
fn comes_back_after_long(lab: &mut Lab) -> Result<()> {
    let astray = "table inet astray { chain out { type filter hook output priority 1000;\n\
                  oifname wan0 udp sport 5527 counter\n}\n}";
    let gateway = lab.node("r2")?.namespace().clone();
    gateway.nft(astray)?;
    let phone = lab.node("r1")?.phone()?.clone();
    let pinger = Pinger::start(&phone, echo_at(HOST_V4), PROBES)?;
    pinger.wait_answers(20, PATIENCE)?;
    lab.node_mut("r1")?.take_daemon()?.hand_over()?;
    wait_for("the gateway to have no route", PATIENCE, || {
        let left = routes_into_tunnel(lab, "r2")?;
        ensure!(left == 0, "{left} are left");
        Ok(())
    })?;
    let since = Instant::now();
    wait_for("WireGuard to speak by itself", PATIENCE, || {
        let sent = pinger.report_since(since).sent;
        ensure!(PROBES * u32::try_from(sent)? > SILENCE, "{sent} probes");
        Ok(())
    })?;
    lab.start("r1")?;
    let since = Instant::now();
    let back = pinger.wait_answers(20, PATIENCE);
    let listing = gateway.run("nft", "list table inet astray")?;
    ensure!(listing.contains("packets 0 "), "to the provider: {listing}");
    back?;
    let report = pinger.report_since(since);
    note(&format!("after the daemon came back: {report}"));
    online(lab, "r2")
}

/// Others remove the devices.
fn put_back(lab: &Lab) -> Result<()> {
    let phone = lab.node("r1")?.phone()?.clone();
    for (router, device) in [("r1", ENDS[1]), ("r3", ENDS[0])] {
        let pinger = Pinger::start(&phone, echo_at(HOST_V4), PROBES)?;
        pinger.wait_answers(20, PATIENCE)?;
        lab.node(router)?
            .namespace()
            .ip(&format!("link del {device}"))?;
        let since = Instant::now();
        pinger.wait_answers(20, PATIENCE)?;
        let report = pinger.report_since(since);
        note(&format!("{device} of {router} removed: {report}"));
        ensure!(report.longest_outage <= PUT_BACK, "{report}");
        online(lab, "r3")?;
    }
    Ok(())
}

/// Either end loses power, and comes back a day earlier than it went.
fn earlier(lab: &mut Lab) -> Result<()> {
    const DAY: i64 = 24 * 60 * 60;
    village(lab)?;
    let phone = lab.node("r1")?.phone()?.clone();
    for router in ["r1", "r2"] {
        lose_power(lab, router)?;
        // Of everybody, but nobody's kernel has a word to say but the one that begins.
        move_clock(-DAY)?;
        lab.start(router)?;
        let since = Instant::now();
        let pinger = Pinger::start(&phone, echo_at(HOST_V4), PROBES)?;
        let back = pinger.wait_answers(20, PATIENCE);
        note(&format!(
            "{router} is back a day earlier: {}",
            pinger.report_since(since)
        ));
        move_clock(DAY)?;
        back.with_context(|| format!("after {router} came back"))?;
        online(lab, "r2")?;
        ensure!(tunnel_of(lab)? == Some(TunnelKind::Wireguard));
        // A device for the gateway, not for each of its keys.
        let ends = ends(lab.node("r1")?)?;
        ensure!(ends.lines().count() == 1, "{ends}");
    }
    Ok(())
}

/// Nothing is left of a router but its files.
fn lose_power(lab: &mut Lab, router: &str) -> Result<()> {
    let node = lab.node_mut(router)?;
    node.take_daemon()?.crash()?;
    let kernel = node.namespace();
    for number in 0..=17 {
        // Most of them are not there.
        let _ = kernel.ip(&format!("link del meshd{number}"));
    }
    kernel.ip("nexthop flush proto 155")?;
    kernel.run("nft", "delete table inet meshd").map(drop)
}

fn move_clock(seconds: i64) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let then = i64::try_from(now.as_secs())? + seconds;
    command::run("date", &format!("--set @{then}")).map(drop)
}

/// A router that sends through its tunnel in another's name.
fn forged(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r2")?;
    village(lab)?;
    Private::around(lab, "r2")?.is_kept_from(lab, "r1")?;
    let gateway = lab.node("r2")?.namespace().clone();
    let forged = ["100.64.200.1", "fd00:dead::1"];
    let arriving = "table inet watch { chain arriving { type filter hook prerouting priority -400;\n\
                    iifname \"meshd*\" ip saddr 100.64.200.1 counter comment \"forged\"\n\
                    iifname \"meshd*\" ip6 saddr fd00:dead::1 counter comment \"forged\"\n\
                    iifname \"meshd*\" ip daddr 203.0.113.99 counter comment \"own\"\n}\n}";
    gateway.nft(arriving)?;
    let router = lab.node("r1")?.namespace().clone();
    let device = ENDS[1];
    for (source, length) in forged.into_iter().zip([32, 128]) {
        router.ip(&format!("addr add {source}/{length} dev lo"))?;
    }
    router.ip(&format!(
        "route add 203.0.113.99 dev {device} src {}",
        forged[0]
    ))?;
    router.ip(&format!(
        "route add 2001:db8:f::99 dev {device} src {}",
        forged[1]
    ))?;
    let listing = || gateway.run("nft", "list table inet watch");
    let send = |to: &str| send(&router, to);
    send("203.0.113.99")?;
    send("2001:db8:f::99")?;
    // With the address that is its own, packets arrive: those before must have had their time.
    let own = lab.node("r1")?.status()?.mesh_ipv4;
    router.ip(&format!(
        "route replace 203.0.113.99 dev {device} src {own}"
    ))?;
    let text = wait_for("packets in its own name", PATIENCE, || {
        send("203.0.113.99")?;
        let text = listing()?;
        let own = text.lines().find(|line| line.contains("own"));
        ensure!(
            own.is_some_and(|line| !line.contains("packets 0 ")),
            "{text}"
        );
        Ok(text)
    })?;
    let forged: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("forged"))
        .collect();
    ensure!(forged.len() == 2, "{text}");
    ensure!(
        forged.iter().all(|line| line.contains("packets 0 ")),
        "{text}"
    );
    comes_back_after_long(lab)
}

/// A few datagrams.
fn send(from: &Namespace, to: &str) -> Result<()> {
    let to: IpAddr = to.parse()?;
    from.within(|| {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = std::net::UdpSocket::bind(any)?;
        for _ in 0..10 {
            socket.send_to(b"who is there", (to, 9))?;
        }
        Ok(())
    })
}

/// Three gateways, of which one after the other is used.
fn switched(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    for gateway in ["r2", "r3", "r4"] {
        lab.add_uplink(gateway)?;
    }
    lab.start_all()?;
    let load = Load {
        through_each: 5,
        interval: INTERVAL,
        bytes: BYTES,
    };
    survive(lab, "r1", load, |flows| {
        for gateway in ["r2", "r3"] {
            flows.begin(lab, gateway)?;
        }
        flows.switch(lab, "r4")
    })?;
    let ends = ends(lab.node("r1")?)?;
    ensure!(
        ends.lines().count() >= 3,
        "not an end for each gateway: {ends}"
    );
    handed_over(lab)
}

/// Successors at both ends take what is there.
fn handed_over(lab: &mut Lab) -> Result<()> {
    for router in ["r1", "r2"] {
        let before = ends(lab.node(router)?)?;
        lab.node_mut(router)?.take_daemon()?.hand_over()?;
        lab.start(router)?;
        select(lab, "r1", "r2")?;
        let after = ends(lab.node(router)?)?;
        let kept = after.lines().filter(|end| before.contains(*end)).count();
        let is_same = match router {
            // A gateway whose lines are slow to answer goes through others first, and has ends for these.
            "r2" => kept == before.lines().count(),
            _ => before == after,
        };
        ensure!(is_same, "{router} had {before}, and has {after}");
    }
    Ok(())
}
