//! Uplinks that are plugged in and do not work, and what is behind those that do.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use control_api::Gateways;
use libtest_mimic::Trial;
use mesh_tests::gateways::{ends_in_every_way, has_finding, used};
use mesh_tests::harness::{in_lab, note};
use mesh_tests::http::fetch;
use mesh_tests::internet::{HOST_V4, HOST_V6, Trouble, echo_at, web_at};
use mesh_tests::lab::Lab;
use mesh_tests::mesh::{wait_comes_from, wait_online_through};
use mesh_tests::namespace::Namespace;
use mesh_tests::probe::{Pinger, reachable};
use mesh_tests::smuggle::{Private, connects};
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "uplink_that_does_not_work_is_left",
            || Topology::grid(2, 2),
            ends_in_every_way,
        ),
        in_lab(
            "uplink_that_is_dead_leaves_nobody_waiting",
            || Topology::line(2),
            alone,
        ),
        in_lab(
            "gateway_that_is_lost_leaves_nobody_waiting",
            || Topology::line(2),
            lost,
        ),
        in_lab(
            "uplink_that_dies_is_left_by_who_hardly_uses_it",
            || Topology::line(3),
            hardly_used,
        ),
        in_lab(
            "uplink_that_is_full_is_offered_as_what_it_carries",
            || Topology::line(2),
            full,
        ),
        in_lab(
            "uplink_that_loses_packets_gives_way_to_a_clean_one",
            || Topology::line(3),
            lossy,
        ),
        in_lab(
            "uplink_that_does_not_work_gives_way_to_the_next",
            || Topology::line(2),
            second,
        ),
        in_lab(
            "uplink_of_a_vpn_client_with_routes_is_used_while_it_works",
            || Topology::line(2),
            |lab| vpn(lab, routes_of_openvpn),
        ),
        in_lab(
            "uplink_of_a_vpn_client_with_rules_is_used_while_it_works",
            || Topology::line(2),
            |lab| vpn(lab, rules_of_wg_quick),
        ),
        in_lab(
            "uplink_into_the_mesh_is_none",
            || Topology::line(3),
            |lab| into_the_mesh(lab, "masquerade"),
        ),
        in_lab(
            "uplink_into_a_routed_network_of_the_mesh_is_none",
            || Topology::line(3),
            |lab| into_the_mesh(lab, "routed, prefixes: [192.168.2.0/24]"),
        ),
        in_lab(
            "uplink_resolvers_and_names_are_handed_on",
            || Topology::line(3),
            names,
        ),
        in_lab(
            "uplink_hides_what_is_private",
            || Topology::line(2),
            private,
        ),
    ]
}

const PATIENCE: Duration = Duration::from_secs(30);
/// How long a line that failed may take to be trusted again.
const RECOVERY: Duration = Duration::from_secs(60);
const FETCH: Duration = Duration::from_secs(5);

/// The only uplink of all dies, and comes back.
fn alone(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_uplink("r1")?;
    lab.start_all()?;
    let phone = lab.node("r1")?.phone()?.clone();
    let online = || fetch(&phone, web_at(HOST_V4), "/", FETCH);
    wait_for("a page", PATIENCE, online)?;
    let line = lab.node("r1")?.line()?.clone();
    lab.internet_mut()?.trouble(&line, Some(Trouble::Silent))?;
    for host in [HOST_V4, HOST_V6] {
        wait_for("the phone to be told", PATIENCE, || {
            let begin = Instant::now();
            let refused = refusal(&phone, web_at(host));
            ensure!(is_told(&refused), "{refused:?}");
            // TCP over IPv6 believes it when it is told the second time, a second later.
            ensure!(begin.elapsed() < FETCH / 2, "after a while");
            Ok(())
        })?;
    }
    // That it is no uplink now opens no door.
    let provider = lab.internet()?.provider().clone();
    provider.ip(&format!("route add 192.168.1.0/24 via {}", line.v4))?;
    let knock = provider.run("ping", "-n -c 2 -i 0.2 -W 1 192.168.1.100");
    ensure!(knock.is_err(), "the provider reaches the phone: {knock:?}");
    let status = lab.node("r1")?.status()?;
    ensure!(!status.internet.online, "{:?}", status.internet);
    ensure!(
        status.internet.last_online_s.is_some(),
        "{:?}",
        status.internet
    );
    has_finding(lab.node("r1")?, "nobody on the Internet answers")?;
    // Whoever lives here can tell the provider what it wants to know.
    lab.internet_mut()?.trouble(&line, Some(Trouble::Portal))?;
    wait_for("the portal", PATIENCE, || {
        let refused = refusal(&phone, web_at(HOST_V4));
        ensure!(refused.is_none(), "{refused:?}");
        Ok(())
    })?;
    let status = lab.node("r1")?.status()?;
    ensure!(!status.internet.online, "{:?}", status.internet);
    lab.internet_mut()?.trouble(&line, None)?;
    wait_for("a page", RECOVERY, online).map(drop)
}

/// The only gateway of a router without an uplink loses power.
fn lost(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_uplink("r2")?;
    lab.start_all()?;
    let line = lab.node("r2")?.line()?.clone();
    let phone = lab.node("r1")?.phone()?.clone();
    wait_comes_from(&phone, &line, &line, PATIENCE)?;
    let since = Instant::now();
    lab.power_off("r2")?;
    // These begin before anybody knows it.
    let early = [HOST_V4, HOST_V6].map(|host| {
        let phone = phone.clone();
        thread::spawn(move || {
            let begin = Instant::now();
            (host, refusal(&phone, web_at(host)), begin.elapsed())
        })
    });
    wait_for("r1 to know it", PATIENCE, || {
        let internet = lab.node("r1")?.status()?.internet;
        ensure!(!internet.online, "{internet:?}");
        Ok(())
    })?;
    note(&format!("known after {} ms", since.elapsed().as_millis()));
    for host in [HOST_V4, HOST_V6] {
        let begin = Instant::now();
        let refused = [
            refusal_of_udp(&phone, echo_at(host))?,
            refusal(&phone, web_at(host)),
        ];
        ensure!(
            refused.iter().all(is_told),
            "{host}: UDP and TCP: {refused:?}"
        );
        // As in `alone`.
        ensure!(begin.elapsed() < FETCH / 2, "after a while");
    }
    for early in early {
        let joined = early.join().map_err(|_| anyhow!("a connection panics"))?;
        let (host, refused, after) = joined;
        note(&format!("{host}: {refused:?} after {after:.1?}"));
        ensure!(is_told(&refused), "TCP that began before: {refused:?}");
    }
    let text = lab.node("r1")?.ctl_text("status")?;
    let first = text.lines().next().unwrap_or_default();
    let words = ["Internet: no, since ", "s; last through r2"];
    ensure!(words.iter().all(|it| first.contains(it)), "{first}");
    Ok(())
}

/// Whether somebody was told that there is no way.
const fn is_told(refused: &Option<ErrorKind>) -> bool {
    matches!(
        refused,
        Some(ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable)
    )
}

/// Why a datagram is refused, if it is.
fn refusal_of_udp(from: &Namespace, to: SocketAddr) -> Result<Option<ErrorKind>> {
    from.within(|| {
        let any: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        // Or the kernel keeps to itself what may be over soon (ip(7)).
        match to {
            SocketAddr::V4(_) => setsockopt(&socket, Ipv4RecvErr, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, Ipv6RecvErr, &true)?,
        }
        socket.connect(to)?;
        socket.set_read_timeout(Some(FETCH))?;
        let outcome = socket.send(b"?").and_then(|_| socket.recv(&mut [0; 8]));
        Ok(outcome.err().map(|error| error.kind()))
    })
}

/// Between two gateways, a phone that sends a small packet now and then: into a line that is dead, at any
/// moment between two questions of an idle gateway.
fn hardly_used(lab: &mut Lab) -> Result<()> {
    /// From the first packet on.
    const IN_TIME: Duration = Duration::from_secs(5);
    const INTERVAL: Duration = Duration::from_secs(1);
    lab.add_phone("r2")?;
    for gateway in ["r1", "r3"] {
        lab.add_uplink(gateway)?;
    }
    lab.start_all()?;
    wait_for("two gateways", PATIENCE, || both_known(lab))?;
    idle_costs_little(lab.node("r1")?.namespace())?;
    for begin in [200, 1500, 3000].map(Duration::from_millis) {
        wait_for("two gateways", RECOVERY, || both_known(lab))?;
        let gateway = used(lab, "r2")?;
        let line = lab.node(&gateway)?.line()?.clone();
        wait_for_question(lab.node(&gateway)?.namespace())?;
        std::thread::sleep(begin);
        lab.internet_mut()?.trouble(&line, Some(Trouble::Silent))?;
        let since = Instant::now();
        let phone = lab.node("r2")?.phone()?.clone();
        let pinger = Pinger::start(&phone, echo_at(HOST_V4), INTERVAL)?;
        pinger.wait_answers(1, PATIENCE)?;
        let time = since.elapsed();
        note(&format!(
            "{gateway} left {time:.1?} after the first packet, {begin:.1?} after a question"
        ));
        // It notices with its next packet.
        ensure!(time <= IN_TIME + INTERVAL, "after {time:?}");
        lab.internet_mut()?.trouble(&line, None)?;
    }
    Ok(())
}

/// Waits until an idle gateway has asked, and will not again for a while.
fn wait_for_question(gateway: &Namespace) -> Result<()> {
    let before = gateway.sent_packets("wan0")?;
    wait_for("a question", PATIENCE, || {
        ensure!(gateway.sent_packets("wan0")? > before, "nothing sent");
        Ok(())
    })
}

fn both_known(lab: &Lab) -> Result<()> {
    let answer: Gateways = lab.node("r2")?.ctl("gateways")?;
    ensure!(answer.gateways.len() == 2, "{answer:?}");
    used(lab, "r2").map(drop)
}

/// All targets are asked at the beginning, within a few seconds; what they answer to a line that nobody uses is
/// what later answers are compared with.
const FIRST_ROUND: Duration = Duration::from_secs(15);

/// A gateway that nobody uses asks every target of both families about once in 40 s, and sends nothing
/// else.
fn idle_costs_little(gateway: &Namespace) -> Result<()> {
    const ROUND: Duration = Duration::from_secs(40);
    /// Six of the sixteen are pages, which the host of the laboratory sends in twelve pieces.
    const PACKETS: u64 = 200;
    std::thread::sleep(FIRST_ROUND);
    let before = gateway.sent_packets("wan0")?;
    std::thread::sleep(ROUND);
    let sent = gateway.sent_packets("wan0")? - before;
    note(&format!("{sent} packets sent in {ROUND:?}"));
    ensure!(sent <= PACKETS, "{sent} packets in {ROUND:?}");
    Ok(())
}

/// A line of 1 Mbit/s, of which nobody has said so.
fn full(lab: &mut Lab) -> Result<()> {
    const KBIT: u32 = 1000;
    /// It is looked at every ten seconds, and told every thirty; one quick answer has it looked at anew.
    const IN_TIME: Duration = Duration::from_secs(180);
    /// More than comes in that time.
    const BYTES: u32 = 30_000_000;
    lab.add_phone("r1")?;
    lab.add_uplink("r2")?;
    let line = lab.node("r2")?.line()?.clone();
    lab.internet()?.throttle(&line, Some(KBIT))?;
    lab.start_all()?;
    wait_online_through(lab, "r1", "r2", PATIENCE)?;
    let offered = || -> Result<u64> {
        let answer: Gateways = lab.node("r1")?.ctl("gateways")?;
        let down = answer.gateways.first().and_then(|it| it.bandwidth_down_bps);
        down.context("no gateway")
    };
    ensure!(offered()? == 10_000_000, "{}", offered()?);
    std::thread::sleep(FIRST_ROUND);
    let phone = lab.node("r1")?.phone()?.clone();
    std::thread::scope(|scope| {
        let page = format!("/bytes/{BYTES}");
        let download = scope.spawn(move || fetch(&phone, web_at(HOST_V4), &page, IN_TIME * 2));
        let since = Instant::now();
        let seen = wait_for("the line to be known as slow", IN_TIME, || {
            let offered = offered()?;
            ensure!(offered <= u64::from(KBIT) * 1000, "{offered}");
            Ok(offered)
        });
        note(&format!("{seen:?} after {:.1?}", since.elapsed()));
        // The rest comes quickly.
        lab.internet()?.throttle(&line, None)?;
        let page = download.join();
        page.map_err(|_| anyhow!("the download panics"))??;
        seen.map(drop)
    })
}

/// Between two gateways with equal lines, of which that in use begins to lose packets.
fn lossy(lab: &mut Lab) -> Result<()> {
    const STATED: u64 = 2_000_000;
    /// It is asked every 1.5 s, and some twenty questions tell.
    const IN_TIME: Duration = Duration::from_secs(120);
    lab.add_phone("r2")?;
    for gateway in ["r1", "r3"] {
        lab.add_uplink_of(gateway, "2M/2M")?;
    }
    lab.start_all()?;
    wait_for("two gateways", PATIENCE, || both_known(lab))?;
    let bad = used(lab, "r2")?;
    let line = lab.node(&bad)?.line()?.clone();
    let phone = lab.node("r2")?.phone()?.clone();
    let pinger = Pinger::start(&phone, echo_at(HOST_V4), Duration::from_millis(500))?;
    lab.internet_mut()?.trouble(&line, Some(Trouble::Lossy))?;
    let since = Instant::now();
    wait_for("another gateway", IN_TIME, || {
        let answer: Gateways = lab.node("r2")?.ctl("gateways")?;
        // A bad line is better than none.
        let rates = answer.gateways.iter().map(|it| it.bandwidth_down_bps);
        let rates: Vec<u64> = rates.flatten().collect();
        ensure!(rates.len() == 2, "{answer:?}");
        let (least, most) = (rates.iter().min(), rates.iter().max());
        ensure!(most == Some(&STATED), "{rates:?}");
        ensure!(least.is_some_and(|it| *it < STATED), "{rates:?}");
        let gateway = used(lab, "r2")?;
        ensure!(gateway != bad, "still {gateway}: {rates:?}");
        Ok(())
    })?;
    note(&format!(
        "left after {:.1?}; {}",
        since.elapsed(),
        pinger.stop()
    ));
    Ok(())
}

/// Why a connection is refused, if it is.
fn refusal(from: &Namespace, to: SocketAddr) -> Option<ErrorKind> {
    let connect = || Ok(TcpStream::connect_timeout(&to, FETCH).err());
    let error = from.within(connect).ok().flatten()?;
    Some(error.kind())
}

/// One router with two lines, which lose first a family each, and then the better one dies.
fn second(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_uplink("r2")?;
    let gateway = lab.node("r2")?.namespace().clone();
    let first = lab.node("r2")?.line()?.clone();
    // The kernel would go on using the first.
    let second = lab.internet_mut()?.connect_with(&gateway, "wan1", 100)?;
    lab.node_mut("r2")?.config.uplink = Some("{interface: [wan0, wan1]}".to_owned());
    lab.start_all()?;
    let phone = lab.node("r1")?.phone()?.clone();
    let (v4, v6) = (Some(Trouble::NoIpv4), Some(Trouble::NoIpv6));
    for (troubles, line_v4, line_v6) in [
        ((None, None), &first, &first),
        ((v4, v6), &second, &first),
        ((Some(Trouble::Silent), None), &second, &second),
    ] {
        lab.internet_mut()?.trouble(&first, troubles.0)?;
        lab.internet_mut()?.trouble(&second, troubles.1)?;
        wait_comes_from(&phone, line_v4, line_v6, PATIENCE)?;
    }
    lab.internet_mut()?.trouble(&first, None)?;
    wait_comes_from(&phone, &first, &first, RECOVERY)
}

/// A VPN client begins on a gateway and takes everything. Then the VPN dies, comes back, and the client ends.
fn vpn(lab: &mut Lab, changes: impl Fn([IpAddr; 2], &str) -> Vec<String>) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_uplink("r2")?;
    lab.node_mut("r2")?.config.uplink = Some("{interface: auto}".to_owned());
    let gateway = lab.node("r2")?.namespace().clone();
    let line = lab.node("r2")?.line()?.clone();
    lab.start_all()?;
    let phone = lab.node("r1")?.phone()?.clone();
    wait_comes_from(&phone, &line, &line, PATIENCE)?;
    let vpn = lab.internet_mut()?.connect_with(&gateway, "tun0", 100)?;
    for router in vpn.routers() {
        gateway.ip(&format!("route del default via {router}"))?;
    }
    let change = |action| {
        let changes = changes(vpn.routers(), action);
        changes.iter().try_for_each(|it| gateway.ip(it).map(drop))
    };
    change("add")?;
    wait_comes_from(&phone, &vpn, &vpn, PATIENCE)?;
    lab.internet_mut()?.trouble(&vpn, Some(Trouble::Silent))?;
    wait_comes_from(&phone, &line, &line, PATIENCE)?;
    has_finding(lab.node("r2")?, "nobody on the Internet answers")?;
    lab.internet_mut()?.trouble(&vpn, None)?;
    wait_comes_from(&phone, &vpn, &vpn, RECOVERY)?;
    change("del")?;
    wait_comes_from(&phone, &line, &line, PATIENCE)
}

/// As OpenVPN does: with routes wider than any network, which leave the default routes alone.
fn routes_of_openvpn(routers: [IpAddr; 2], action: &str) -> Vec<String> {
    let parts = [
        ["0.0.0.0/1", "128.0.0.0/1"].as_slice(),
        &["::/3", "2000::/4", "3000::/4"],
    ];
    let of_router = |(router, parts): (IpAddr, &[&str])| -> Vec<String> {
        let route = |part: &&str| format!("route {action} {part} via {router}");
        parts.iter().map(route).collect()
    };
    let all = routers.into_iter().zip(parts);
    all.flat_map(of_router).collect()
}

/// As wg-quick does: with a table that everything but the client's own packets asks, by rules that come before
/// all others.
fn rules_of_wg_quick(routers: [IpAddr; 2], action: &str) -> Vec<String> {
    let of_family = |(router, family): (IpAddr, &str)| {
        [
            format!("{family} route {action} default via {router} table 51820"),
            format!("{family} rule {action} not fwmark 51820 table 51820"),
            format!("{family} rule {action} table main suppress_prefixlength 0"),
        ]
    };
    let all = routers.into_iter().zip(["-4", "-6"]);
    all.flat_map(of_family).collect()
}

/// A router whose uplink is plugged into a local network of another: it would be a gateway with what that one
/// has from a third, and hold it up when the third is lost.
fn into_the_mesh(lab: &mut Lab, mode: &str) -> Result<()> {
    const FINDING: &str = "leads back into this mesh";
    lab.add_phone("r3")?;
    lab.add_uplink("r1")?;
    let line = lab.node("r1")?.line()?.clone();
    let router = lab.node("r2")?.namespace().clone();
    let plugged = lab.node("r3")?.namespace().clone();
    router.ip_batch(&format!(
        "link add lan0 type veth peer name wan0 netns {}\n\
         addr add 192.168.2.1/24 dev lan0\n\
         addr add fd00:2::1/64 dev lan0 nodad\n",
        plugged.name()
    ))?;
    router.bring_up("lan0")?;
    plugged.bring_up("wan0")?;
    plugged.ip_batch(
        "addr add 192.168.2.2/24 dev wan0\n\
         addr add fd00:2::2/64 dev wan0 nodad\n\
         route add default via 192.168.2.1\n\
         route add default via fd00:2::1\n",
    )?;
    lab.node_mut("r2")?.config.lan = Some(format!("[{{interface: lan0, mode: {mode}}}]"));
    lab.start_all()?;
    let phone = lab.node("r3")?.phone()?.clone();
    let is_found = || has_finding(lab.node("r3")?, FINDING);
    wait_for("the circle to be found", PATIENCE, is_found)?;
    wait_comes_from(&phone, &line, &line, PATIENCE)?;
    wait_online_through(lab, "r3", "r1", PATIENCE)?;
    wait_online_through(lab, "r2", "r1", PATIENCE)?;
    let offered: Gateways = lab.node("r2")?.ctl("gateways")?;
    ensure!(offered.gateways.len() == 1, "{offered:?}");
    // Nobody holds anybody up.
    lab.internet_mut()?.trouble(&line, Some(Trouble::Silent))?;
    for router in ["r1", "r2", "r3"] {
        wait_for("nobody to be online", PATIENCE, || {
            let internet = lab.node(router)?.status()?.internet;
            ensure!(!internet.online, "{router}: {internet:?}");
            Ok(())
        })?;
    }
    lab.internet_mut()?.trouble(&line, None)?;
    wait_comes_from(&phone, &line, &line, RECOVERY)?;
    // Where the mesh does not reach, the same line is one as any other.
    lab.air().cut("r2", "r3")?;
    wait_for("r3 to use its uplink", RECOVERY, || {
        let internet = lab.node("r3")?.status()?.internet;
        ensure!(internet.online && internet.via.is_none(), "{internet:?}");
        Ok(())
    })?;
    lab.air().heal("r2", "r3")?;
    let is_found = || has_finding(lab.node("r3")?, FINDING);
    wait_for("the circle to be found again", PATIENCE, is_found)
}

/// What a router hands on to its dnsmasq: the resolvers that answer at the gateway, and names.
fn names(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r2")?;
    lab.add_uplink("r1")?;
    lab.add_uplink("r3")?;
    let line = lab.node("r1")?.line()?.clone();
    lab.node_mut("r1")?.config.uplink = Some("{interface: wan0, bandwidth: 100M/100M}".to_owned());
    lab.start_all()?;
    wait_online_through(lab, "r2", "r1", PATIENCE)?;
    let directory = lab.node("r2")?.files().directory().to_owned();
    let read = |name: &str| -> Result<String> {
        let text = fs::read_to_string(directory.join(name)).context(name.to_owned())?;
        Ok(text.trim_start_matches("# Written by meshd.\n").to_owned())
    };
    let all = "nameserver 9.9.9.9\nnameserver 223.5.5.5\nnameserver 1.1.1.1\n\
               nameserver 2620:fe::fe\n";
    wait_for("the resolvers of r1", PATIENCE, || {
        let found = read("resolv.conf")?;
        ensure!(found == all, "{found}");
        Ok(())
    })?;
    let resolve = |name: &str| -> Result<Vec<IpAddr>> {
        let hosts = read("hosts.d/mesh")?;
        let wanted = format!("{name}.mesh");
        let of_it = hosts
            .lines()
            .filter(|line| line.split(' ').any(|word| word == wanted));
        let addresses = of_it.filter_map(|line| line.split(' ').next()?.parse::<IpAddr>().ok());
        Ok(addresses.collect())
    };
    for name in ["r1", "r2", "r3"] {
        let address = lab.node(name)?.status()?.mesh_ipv6;
        wait_for(name, PATIENCE, || {
            let found = resolve(name)?;
            ensure!(
                found.contains(&address.into()) && found.len() == 2,
                "{found:?}"
            );
            Ok(())
        })?;
    }
    // They are known all the time while a daemon is replaced, here or there.
    for router in ["r2", "r1"] {
        let seen = seen_through_handover(lab, router, || read("resolv.conf"))?;
        ensure!(seen.iter().eq([all]), "{router}: {seen:?}");
    }
    // Those of one that does not work any more are of no use.
    lab.internet_mut()?.trouble(&line, Some(Trouble::Silent))?;
    wait_online_through(lab, "r2", "r3", PATIENCE)?;
    lab.node_mut("r3")?.take_daemon()?.terminate()?;
    wait_for("no resolver", PATIENCE, || {
        let found = read("resolv.conf")?;
        ensure!(found.is_empty(), "{found}");
        ensure!(resolve("r3")?.is_empty(), "r3 has a name still");
        Ok(())
    })?;
    lab.node_mut("r2")?.take_daemon()?.terminate()?;
    ensure!(
        read("hosts.d/mesh").is_err() && read("resolv.conf").is_err(),
        "files are left"
    );
    Ok(())
}

/// Everything that is read while the daemon of a router is replaced, and until the successor goes by
/// what it found out itself.
fn seen_through_handover(
    lab: &mut Lab,
    router: &str,
    read: impl Fn() -> Result<String>,
) -> Result<BTreeSet<String>> {
    lab.node_mut(router)?.take_daemon()?.hand_over()?;
    lab.start(router)?;
    let mut seen = BTreeSet::new();
    wait_for("the successor's own word", PATIENCE, || {
        seen.insert(read()?);
        let status = lab.node(router)?.status()?;
        ensure!(status.internet.online && status.uptime_s > 3, "{status:?}");
        Ok(())
    })?;
    Ok(seen)
}

/// The gateway's local network, its own services, and what is private behind its provider.
fn private(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_phone("r2")?;
    lab.add_uplink("r2")?;
    lab.start_all()?;
    let (r1, line) = (lab.node("r1")?, lab.node("r2")?.line()?);
    wait_comes_from(r1.phone()?, line, line, PATIENCE)?;
    let private = Private::around(lab, "r2")?;
    let patience = Duration::from_millis(500);
    // With a route that nobody announced, from next door.
    let mac = "mesh0";
    let via = lab.node("r2")?.namespace().link_local(mac)?;
    let [behind, _] = private.behind;
    for to in [line.v4.to_string(), behind.to_string()] {
        r1.namespace().ip(&format!(
            "route add {to} via inet6 {via} dev {mac} table 77"
        ))?;
    }
    for from in [r1.namespace(), r1.phone()?] {
        ensure!(
            reachable(from, &private.behind, patience)?.is_empty(),
            "{}",
            from.name()
        );
        for to in [IpAddr::V4(line.v4), IpAddr::V6(line.v6)] {
            ensure!(!connects(from, to)?, "{} reaches {to}", from.name());
        }
    }
    r1.namespace().ip("rule add priority 100 lookup 77")?;
    ensure!(reachable(r1.namespace(), &private.behind, patience)?.is_empty());
    let reaches = connects(r1.namespace(), line.v4.into())?;
    ensure!(!reaches, "r1 reaches {} next door", line.v4);
    for router in ["r1", "r2"] {
        let nobody = Ipv6Addr::from_bits(lab.node(router)?.status()?.mesh_ipv6.to_bits() ^ 1);
        keeps_from_others(lab.node(router)?.namespace(), nobody)?;
    }
    // What the mesh is for.
    let mesh = lab.node("r2")?.status()?.mesh_ipv6;
    ensure!(connects(r1.namespace(), mesh.into())?, "no way to {mesh}");
    r1.namespace().ip("rule del priority 100 lookup 77")?;
    private.is_kept_from(lab, "r1")
}

/// What is for a node of the mesh that is out of reach goes nowhere else: not to the provider, nor into a
/// tunnel.
fn keeps_from_others(router: &Namespace, nobody: Ipv6Addr) -> Result<()> {
    let way = router.ip(&format!("-6 route get {nobody}"));
    ensure!(way.is_err(), "{} sends it {way:?}", router.name());
    Ok(())
}
