//! The main job: phones online through other people's uplinks, and receipts for it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use control_api::{Account, Accounts, Gateways, Role};
use libtest_mimic::Trial;
use mesh_tests::crowd::Crowd;
use mesh_tests::daemon;
use mesh_tests::harness::{in_lab, note};
use mesh_tests::http::{self, Page, Server, fetch};
use mesh_tests::internet::{HOST_V4, HOST_V6, echo_at, web_at};
use mesh_tests::lab::{Lab, Node};
use mesh_tests::mesh::wait_online_through;
use mesh_tests::namespace::Namespace;
use mesh_tests::probe::{EchoServer, Pinger, reachable};
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "phone_goes_online_through_a_gateway",
            || Topology::line(3),
            phone,
        ),
        in_lab(
            "gateway_serves_its_own_phone",
            || Topology::line(2),
            own_phone,
        ),
        in_lab("lost_gateway_is_replaced", || Topology::line(4), failover),
        in_lab(
            "unplugged_gateway_withdraws_its_offer",
            || Topology::line(2),
            withdraws,
        ),
        in_lab(
            "what_others_flush_is_put_back",
            || Topology::line(2),
            flushed,
        ),
        in_lab(
            "crowd_of_clients_shares_one_gateway",
            || Topology::line(3),
            crowd,
        ),
        in_lab(
            "daemons_do_not_work_for_what_flows",
            || Topology::line(3),
            volume,
        ),
        in_lab(
            "receipts_are_signed_and_survive_a_crash",
            || Topology::line(3),
            receipts,
        ),
        in_lab(
            "homes_with_the_same_addresses_do_not_mix",
            || Topology::line(3),
            same_lans,
        ),
        in_lab(
            "delegated_prefix_is_routed_to_the_router_that_has_it",
            || Topology::line(2),
            delegated,
        ),
        in_lab(
            "routed_lan_is_reached_without_translation",
            || Topology::line(3),
            routed,
        ),
    ]
}

const PATIENCE: Duration = Duration::from_secs(30);
const FETCH: Duration = Duration::from_secs(5);

/// Repeats a fetch until it works: right after a route has changed, the first may fail.
fn eventually_fetch(node: &Node, host: IpAddr, path: &str) -> Result<Page> {
    let phone = node.phone()?;
    wait_for("a page", PATIENCE, || {
        fetch(phone, web_at(host), path, FETCH)
    })
}

fn village(lab: &mut Lab, gateway: &str) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_uplink(gateway)?;
    lab.start_all()?;
    wait_online_through(lab, "r1", gateway, PATIENCE).map(drop)
}

/// A whole village behind one router.
fn crowd(lab: &mut Lab) -> Result<()> {
    village(lab, "r3")?;
    let hosts: Vec<Ipv4Addr> = (101..165)
        .map(|host| Ipv4Addr::new(192, 168, 1, host))
        .collect();
    let phone = lab.node("r1")?.phone()?.clone();
    let crowd = Crowd::gather(&phone, "eth0", &hosts, 157, echo_at(HOST_V4))?;
    for round in 0..3 {
        let lost = crowd.unanswered();
        ensure!(
            lost == 0,
            "{lost} of {} flows in round {round}",
            crowd.flows()
        );
    }
    note(&format!("{} flows of {} hosts", crowd.flows(), hosts.len()));
    Ok(())
}

/// Packets are the kernel's business, not the daemons': what these do in some time does not depend on how
/// many there are.
fn volume(lab: &mut Lab) -> Result<()> {
    const MUCH: usize = 200_000_000;
    const LITTLE: usize = 1_000_000;
    /// A daemon that sees packets spends a microsecond on each, at least.
    const PER_PACKET: Duration = Duration::from_nanos(200);
    const PACKET: usize = 1500;
    village(lab, "r3")?;
    let phone = lab.node("r1")?.phone()?.clone();
    let cpu = |lab: &mut Lab| -> Result<Vec<Duration>> {
        let routers = ["r1", "r2", "r3"].into_iter();
        routers
            .map(|it| lab.node_mut(it)?.daemon()?.cpu_time())
            .collect()
    };
    // A connection of so many bytes, and silence until `time` is over.
    let carry = |lab: &mut Lab, bytes: usize, time: Duration| {
        let (before, since) = (cpu(lab)?, Instant::now());
        fetch(
            &phone,
            web_at(HOST_V4),
            &format!("/bytes/{bytes}"),
            PATIENCE,
        )?;
        let carried = since.elapsed();
        std::thread::sleep(time.saturating_sub(carried));
        let spent = cpu(lab)?.into_iter().zip(before);
        let spent: Vec<Duration> = spent
            .map(|(after, before)| after.saturating_sub(before))
            .collect();
        anyhow::Ok((spent, carried))
    };
    carry(lab, LITTLE, Duration::ZERO)?;
    let (much, time) = carry(lab, MUCH, Duration::ZERO)?;
    let (little, _) = carry(lab, LITTLE, time)?;
    note(&format!(
        "in {time:.1?} daemons take {little:?} for {LITTLE} bytes, {much:?} for {MUCH}"
    ));
    let packets = u32::try_from((MUCH - LITTLE) / PACKET)?;
    for (little, much) in little.iter().zip(&much) {
        let more = much.saturating_sub(*little);
        ensure!(
            more <= PER_PACKET * packets,
            "{much:?} instead of {little:?}"
        );
    }
    Ok(())
}

/// As when another firewall starts, which flushes what it finds.
fn flushed(lab: &mut Lab) -> Result<()> {
    const OTHERS: &str = "add table inet others; add chain inet others hers";
    /// What is lost until the rules are back.
    const OUTAGE: Duration = Duration::from_secs(1);
    village(lab, "r2")?;
    let gateway = lab.node("r2")?.namespace().clone();
    let phone = lab.node("r1")?.phone()?.clone();
    for (command, others) in [("flush table inet meshd", true), ("flush ruleset", false)] {
        gateway.nft(OTHERS)?;
        let pinger = Pinger::start(&phone, echo_at(HOST_V4), Duration::from_millis(10))?;
        pinger.wait_answers(50, PATIENCE)?;
        gateway.run("nft", command)?;
        wait_for("the rules to be back", PATIENCE, || {
            let rules = gateway.run("nft", "list table inet meshd")?;
            ensure!(rules.contains("masquerade"), "{rules}");
            ensure!(rules.contains("log group"), "{rules}");
            Ok(())
        })?;
        pinger.wait_answers(50, PATIENCE)?;
        let report = pinger.stop();
        note(&format!("{command}: {report}"));
        ensure!(report.longest_outage <= OUTAGE, "{command}: {report}");
        let tables = gateway.run("nft", "list tables")?;
        ensure!(tables.contains("inet others") == others, "{tables}");
        eventually_fetch(lab.node("r1")?, HOST_V4, "/")?;
    }
    wait_for("no warning", PATIENCE, || {
        let status = lab.node("r2")?.status()?;
        ensure!(status.warnings.is_empty(), "{:?}", status.warnings);
        Ok(())
    })
}

fn phone(lab: &mut Lab) -> Result<()> {
    village(lab, "r3")?;
    let status = lab.node("r1")?.status()?;
    ensure!(status.internet.hops == Some(2), "{:?}", status.internet);
    let next = status.internet.next_hop.and_then(|next| next.name);
    ensure!(next.as_deref() == Some("r2"), "the next hop is {next:?}");

    let line = lab.node("r3")?.line()?;
    for (host, outside) in [
        (HOST_V4, IpAddr::V4(line.v4)),
        (HOST_V6, IpAddr::V6(line.v6)),
    ] {
        let page = eventually_fetch(lab.node("r1")?, host, "/")?;
        ensure!(
            page.text().starts_with(http::GREETING),
            "the page says {:?}",
            page.text()
        );
        ensure!(
            page.client == outside,
            "the request came from {}, not {outside}",
            page.client
        );
        // Larger than any window: segments have to fit through the tunnel.
        let page = fetch(
            lab.node("r1")?.phone()?,
            web_at(host),
            "/bytes/3000000",
            FETCH,
        )?;
        ensure!(
            page.body.len() == 3_000_000,
            "{} bytes came",
            page.body.len()
        );
    }
    let text = lab.node("r1")?.ctl_text("status")?;
    let first = text.lines().next().unwrap_or_default();
    ensure!(
        first.starts_with("Internet: yes") && first.contains("r3"),
        "it says {first:?}"
    );
    Ok(())
}

fn own_phone(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_uplink("r1")?;
    lab.start_all()?;
    let page = eventually_fetch(lab.node("r1")?, HOST_V4, "/")?;
    let line = lab.node("r1")?.line()?;
    ensure!(
        page.client == IpAddr::V4(line.v4),
        "the request came from {}",
        page.client
    );
    let status = lab.node("r1")?.status()?;
    ensure!(
        status.internet.own_uplink.as_deref() == Some("wan0"),
        "{:?}",
        status.internet
    );
    Ok(())
}

/// Behind every router the same LAN and the same phone, also behind relay and gateway.
fn same_lans(lab: &mut Lab) -> Result<()> {
    for router in ["r1", "r2", "r3"] {
        lab.add_phone(router)?;
    }
    lab.add_uplink("r3")?;
    lab.start_all()?;
    for router in ["r1", "r2"] {
        wait_online_through(lab, router, "r3", PATIENCE)?;
    }
    let line = lab.node("r3")?.line()?;
    for router in ["r1", "r2", "r3"] {
        for (host, outside) in [
            (HOST_V4, IpAddr::V4(line.v4)),
            (HOST_V6, IpAddr::V6(line.v6)),
        ] {
            let page = eventually_fetch(lab.node(router)?, host, "/")?;
            ensure!(
                page.client == outside,
                "phone of {router}: from {}",
                page.client
            );
        }
    }
    Ok(())
}

/// A LAN with addresses of its own in the mesh: other routers reach its hosts, and it goes
/// online like any other.
fn routed(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_phone("r3")?;
    lab.add_uplink("r2")?;
    let r1 = lab.node_mut("r1")?;
    r1.config.lan = Some(
        "[{interface: lan0, mode: routed, prefixes: [10.1.2.0/24, \"fd12:3456::/64\"]}]".to_owned(),
    );
    let addresses: [IpAddr; 2] = ["10.1.2.100".parse()?, "fd12:3456::100".parse()?];
    r1.namespace().ip_batch(
        "addr flush dev lan0 scope global\n\
         addr add 10.1.2.1/24 dev lan0\n\
         addr add fd12:3456::1/64 dev lan0 nodad\n",
    )?;
    r1.phone()?.ip_batch(
        "addr flush dev eth0 scope global\n\
         addr add 10.1.2.100/24 dev eth0\n\
         addr add fd12:3456::100/64 dev eth0 nodad\n\
         route replace default via 10.1.2.1\n\
         route replace default via fd12:3456::1\n",
    )?;
    lab.start_all()?;
    wait_online_through(lab, "r1", "r2", PATIENCE)?;
    let _echo = EchoServer::start(lab.node("r1")?.phone()?)?;
    let _web = Server::start(lab.node("r1")?.phone()?, http::PORT)?;
    let far = lab.node("r3")?;
    wait_for("the host on the routed LAN to answer r3", PATIENCE, || {
        let answered = reachable(far.namespace(), &addresses, Duration::from_millis(500))?;
        ensure!(answered.len() == 2, "only {answered:?}");
        Ok(())
    })?;
    // A phone behind r3 is translated to r3, and nothing else.
    let status = far.status()?;
    for (host, outside) in addresses
        .into_iter()
        .zip([IpAddr::V4(status.mesh_ipv4), IpAddr::V6(status.mesh_ipv6)])
    {
        let page = wait_for("a page of the routed host", PATIENCE, || {
            fetch(far.phone()?, web_at(host), "/", FETCH)
        })?;
        ensure!(
            page.client == outside,
            "the request came from {}, not {outside}",
            page.client
        );
    }
    for host in [HOST_V4, HOST_V6] {
        eventually_fetch(lab.node("r1")?, host, "/")?;
    }
    Ok(())
}

/// A provider that delegates a prefix to the gateway, of which a router behind that has a network.
fn delegated(lab: &mut Lab) -> Result<()> {
    const DELEGATED: &str = "2001:db8:7700::/56";
    lab.add_uplink("r2")?;
    let mut phones = Vec::new();
    for (router, network) in [("r1", "2001:db8:7700:10:"), ("r2", "2001:db8:7700:1:")] {
        lab.add_phone(router)?;
        let node = lab.node(router)?;
        node.namespace()
            .ip(&format!("addr add {network}:1/64 dev lan0 nodad"))?;
        let phone = node.phone()?.clone();
        phone.ip_batch(&format!(
            "addr del fd00:1::100/64 dev eth0\n\
             addr add {network}:100/64 dev eth0 nodad\n\
             route replace default via {network}:1\n"
        ))?;
        phones.push((phone, format!("{network}:100").parse::<IpAddr>()?));
    }
    // One of them is another's.
    let lan = "[{interface: lan0, mode: routed, \
               prefixes: [\"2001:db8:7700:10::/64\", \"2001:db8:7700:1::/64\"]}]";
    lab.node_mut("r1")?.config.lan = Some(lan.to_owned());
    let gateway = lab.node("r2")?.namespace().clone();
    let line = lab.node("r2")?.line()?.clone();
    let [_, router] = line.routers();
    lab.internet()?
        .provider()
        .ip(&format!("route add {DELEGATED} via {}", line.v6))?;
    // As DHCP clients set it up: some for these sources only, some in general.
    let default = format!("via {router} dev wan0 metric 512");
    gateway.ip(&format!("route add default from {DELEGATED} {default}"))?;
    gateway.ip(&format!("route add unreachable {DELEGATED} dev lo"))?;
    lab.start_all()?;
    let comes_from = |phone: &Namespace, address: IpAddr| {
        wait_for(&format!("to come from {address}"), PATIENCE, || {
            let page = fetch(phone, web_at(HOST_V6), "/", FETCH)?;
            ensure!(page.client == address, "it comes from {}", page.client);
            Ok(())
        })
    };
    let all_come = || {
        let mut phones = phones.iter();
        phones.try_for_each(|(phone, address)| comes_from(phone, *address))
    };
    all_come()?;
    // Nobody comes in that was not asked.
    let (phone, address) = phones.first().context("a phone")?;
    let _echo = EchoServer::start(phone)?;
    let host = lab.internet()?.host();
    let from_outside = reachable(host, &[*address], Duration::from_secs(1))?;
    ensure!(from_outside.is_empty(), "{from_outside:?}");
    gateway.ip(&format!("-6 route del default from {DELEGATED}"))?;
    all_come()?;
    // What this provider did not delegate it would not answer.
    gateway.ip(&format!("-6 route del unreachable {DELEGATED}"))?;
    comes_from(phone, line.v6.into())
}

/// r1 – r2 – r3 – r4 with gateways r3 and r4: the nearer and faster one is used.
fn failover(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_uplink_of("r3", "50M/10M")?;
    lab.add_uplink_of("r4", "5M/1M")?;
    // r4 must be reachable once r3 is gone.
    lab.air()
        .connect("r2", "r4", mesh_tests::air::Loss::percent(30))?;
    lab.start_all()?;
    wait_online_through(lab, "r1", "r3", PATIENCE)?;
    wait_for("both gateways", PATIENCE, || {
        let answer: Gateways = lab.node("r1")?.ctl("gateways")?;
        ensure!(answer.gateways.len() == 2, "{:?}", answer.gateways);
        Ok(())
    })?;
    eventually_fetch(lab.node("r1")?, HOST_V4, "/")?;

    let interval = Duration::from_millis(10);
    let pinger = Pinger::start(lab.node("r1")?.phone()?, echo_at(HOST_V4), interval)?;
    pinger.wait_answers(20, PATIENCE)?;
    lab.power_off("r3")?;
    pinger.wait_answers(50, PATIENCE)?;
    wait_online_through(lab, "r1", "r4", PATIENCE)?;
    note(&format!("gateway lost power: {}", pinger.stop()));
    let page = eventually_fetch(lab.node("r1")?, HOST_V4, "/")?;
    let line = lab.node("r4")?.line()?;
    ensure!(
        page.client == IpAddr::V4(line.v4),
        "the request came from {}",
        page.client
    );
    Ok(())
}

fn withdraws(lab: &mut Lab) -> Result<()> {
    village(lab, "r2")?;
    lab.internet()?.unplug(lab.node("r2")?.line()?)?;
    let waited_for = |online| {
        wait_for("r1 to notice the state of the line", PATIENCE, || {
            let status = lab.node("r1")?.status()?;
            ensure!(status.internet.online == online, "{:?}", status.internet);
            Ok(())
        })
    };
    waited_for(false)?;
    lab.internet()?.plug_in(lab.node("r2")?.line()?)?;
    // The provider's router announces nothing: the default routes went with the carrier.
    let line = lab.node("r2")?.namespace();
    line.ip("route replace default via 198.51.100.1 dev wan0")?;
    waited_for(true)
}

/// A receipt is due after so many bytes; what is below it may wait for a minute.
const RECEIPT_DUE: u64 = 2 * 1024 * 1024;

fn account(node: &Node, role: Role, peer: &str) -> Result<Account> {
    let accounts: Accounts = node.ctl("receipts list")?;
    let mut matching = accounts
        .accounts
        .into_iter()
        .filter(|account| account.role == role && account.name.as_deref() == Some(peer));
    matching
        .next_back()
        .with_context(|| format!("{} has no such account", node.name()))
}

/// Waits until a receipt covers at least `bytes` in one direction.
fn receipted(node: &Node, role: Role, peer: &str, bytes: u64) -> Result<Account> {
    let what = format!(
        "a receipt for {bytes} bytes between {} and {peer}",
        node.name()
    );
    wait_for(&what, PATIENCE, || {
        let account = account(node, role, peer)?;
        ensure!(
            account.bytes_down >= bytes && account.seq > 0,
            "{account:?}"
        );
        Ok(account)
    })
}

fn export_and_verify(node: &Node) -> Result<()> {
    let file = node.files().directory().join("receipts.export");
    node.ctl_text(&format!("receipts export {}", file.display()))?;
    let verified = daemon::run("meshctl", &format!("receipts verify {}", file.display()))?;
    ensure!(verified.code == 0, "{verified:?}");

    // A single wrong byte must not pass.
    let mut bytes = std::fs::read(&file)?;
    let middle = bytes.len() / 2;
    let byte = bytes.get_mut(middle).context("the export is empty")?;
    *byte ^= 1;
    std::fs::write(&file, bytes)?;
    let verified = daemon::run("meshctl", &format!("receipts verify {}", file.display()))?;
    ensure!(verified.code == 8, "a falsified log: {verified:?}");
    Ok(())
}

fn receipts(lab: &mut Lab) -> Result<()> {
    lab.node_mut("r2")?.config.sharing = Some("{fee: 1000}".to_owned());
    lab.node_mut("r1")?.config.pay_any_price();
    village(lab, "r3")?;
    let download = format!("/bytes/{}", RECEIPT_DUE * 3 / 2);
    eventually_fetch(lab.node("r1")?, HOST_V4, &download)?;
    let provider = receipted(lab.node("r2")?, Role::Provider, "r1", RECEIPT_DUE)?;
    let consumer = receipted(lab.node("r1")?, Role::Consumer, "r2", RECEIPT_DUE)?;
    receipted(lab.node("r3")?, Role::Provider, "r2", RECEIPT_DUE)?;
    ensure!(
        consumer.node_id != provider.node_id,
        "both ends have the same key"
    );
    ensure!(
        provider.amount_atto.to_string() != "0",
        "r2 has a price and earned nothing"
    );
    for router in ["r2", "r3"] {
        export_and_verify(lab.node(router)?).with_context(|| format!("log of {router}"))?;
    }

    // What was not written yet comes back with the neighbor's copy, once there is something to ask for.
    let before = account(lab.node("r2")?, Role::Provider, "r1")?;
    lab.node_mut("r2")?.take_daemon()?.crash()?;
    lab.start("r2")?;
    // And it goes on: what is forwarded now is receipted as well.
    eventually_fetch(lab.node("r1")?, HOST_V4, &download)?;
    wait_for("a receipt for what came after the crash", PATIENCE, || {
        let accounts: Accounts = lab.node("r2")?.ctl("receipts list")?;
        let all = accounts.accounts.iter();
        let of_r1 = all.filter(|a| a.node_id == before.node_id && a.role == Role::Provider);
        let total: u128 = of_r1
            .map(|it| it.amount_atto.atto() + it.earlier_amount_atto.atto())
            .sum();
        ensure!(
            total > before.amount_atto.atto() + 1000,
            "{total} after {before:?}: {accounts:?}"
        );
        Ok(())
    })?;
    export_and_verify(lab.node("r2")?).context("the log after the crash")
}
