//! Flows through gateways that are left.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::flows::{Flows, Load};
use mesh_tests::gateways::{select, used};
use mesh_tests::harness::in_lab;
use mesh_tests::internet::{HOST_V4, HOST_V6, Line, Trouble, echo_at};
use mesh_tests::lab::Lab;
use mesh_tests::mesh::{wait_comes_from, wait_online_through};
use mesh_tests::namespace::Namespace;
use mesh_tests::probe::Pinger;
use mesh_tests::topology::Topology;
use mesh_tests::transfer::{Source, Transfer, wait_all_go_on};
use mesh_tests::wait::wait_for;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "flows_survive_a_switch_of_gateways",
            || Topology::grid(2, 2),
            switched,
        ),
        in_lab(
            "flows_that_began_before_their_mark_keep_their_gateway",
            || Topology::line(3),
            early,
        ),
        in_lab(
            "connections_outlive_a_moment_without_their_gateway",
            || Topology::line(3),
            faded,
        ),
        in_lab(
            "flows_end_with_their_uplink_and_stay_with_their_gateway",
            || Topology::line(2),
            stranded,
        ),
        in_lab(
            "flows_that_lost_their_gateway_stay_where_they_went",
            || Topology::line(3),
            moved,
        ),
        in_lab(
            "flows_stay_with_the_line_of_their_gateway",
            || Topology::line(2),
            lines,
        ),
        in_lab(
            "family_that_an_own_uplink_lost_goes_through_others",
            || Topology::line(2),
            half,
        ),
    ]
}

const PATIENCE: Duration = Duration::from_secs(30);
/// How long an uplink that failed may take to be trusted again.
const RECOVERY: Duration = Duration::from_secs(60);
/// How much comes in a second or two.
const BYTES: u64 = 100_000;

/// Three gateways, of which one after the other is used.
fn switched(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    for gateway in ["r2", "r3", "r4"] {
        lab.add_uplink(gateway)?;
    }
    lab.start_all()?;
    let load = Load {
        through_each: 10,
        interval: Duration::from_millis(10),
        bytes: BYTES,
    };
    let mut flows = Flows::new(lab, "r1", load)?;
    for gateway in ["r2", "r3"] {
        flows.begin(lab, gateway)?;
    }
    flows.switch(lab, "r4")?;
    let phone = lab.node("r1")?.phone()?.clone();
    let pinger = Pinger::start(&phone, echo_at(HOST_V4), Duration::from_millis(20))?;
    pinger.wait_answers(20, PATIENCE)?;
    flows.switch(lab, "r3")?;
    // A successor knows what flows go where.
    lab.node_mut("r1")?.take_daemon()?.hand_over()?;
    lab.start("r1")?;
    wait_for("the successor to have a gateway", PATIENCE, || {
        used(lab, "r1")
    })?;
    flows.go_on()?;
    // What went through a gateway that is gone goes where everything goes.
    lab.power_off("r4")?;
    pinger.wait_answers(50, PATIENCE)?;
    flows.go_on()?;
    let log = lab.node("r1")?.files().log_text();
    ensure!(!log.contains("by somebody else"), "{log}");
    flows.stop()
}

/// Flows that begin while nftables does not know yet which gateway they go through.
fn early(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r2")?;
    for gateway in ["r1", "r3"] {
        lab.add_uplink(gateway)?;
    }
    let phone = lab.node("r2")?.phone()?.clone();
    let _source = Source::start(lab.internet()?.host())?;
    lab.start("r2")?;
    let slowed = lab.node("r2")?.files().slow_nft()?;
    lab.start("r1")?;
    let line = lab.node("r1")?.line()?.clone();
    wait_comes_from(&phone, &line, &line, RECOVERY)?;
    let transfers = [HOST_V4, HOST_V6].map(|host| Transfer::start(&phone, host));
    let transfers: Vec<Transfer> = transfers.into_iter().collect::<Result<_>>()?;
    drop(slowed);
    wait_all_go_on(&transfers, BYTES)?;
    lab.start("r3")?;
    select(lab, "r2", "r3")?;
    wait_all_go_on(&transfers, BYTES)
}

/// The only way to the gateway fails for a moment, while there is another gateway.
fn faded(lab: &mut Lab) -> Result<()> {
    let (phone, better, _) = between_two_gateways(lab)?;
    let _source = Source::start(lab.internet()?.host())?;
    wait_comes_from(&phone, &better, &better, PATIENCE)?;
    let transfers = [HOST_V4, HOST_V6].map(|host| Transfer::start(&phone, host));
    let transfers: Vec<Transfer> = transfers.into_iter().collect::<Result<_>>()?;
    wait_all_go_on(&transfers, BYTES)?;
    lab.air().cut("r1", "r2")?;
    wait_online_through(lab, "r2", "r3", PATIENCE)?;
    // By now, packets that had gone to the other gateway would have been answered.
    let pinger = Pinger::start(&phone, echo_at(HOST_V4), Duration::from_millis(20))?;
    pinger.wait_answers(20, PATIENCE)?;
    lab.air().heal("r1", "r2")?;
    wait_all_go_on(&transfers, BYTES)
}

/// A phone at the router between two gateways, of which the first is the better one. Returns the phone and
/// the lines of both.
fn between_two_gateways(lab: &mut Lab) -> Result<(Namespace, Line, Line)> {
    lab.add_phone("r2")?;
    lab.add_uplink_of("r1", "100M/100M")?;
    lab.add_uplink_of("r3", "20M/20M")?;
    lab.start_all()?;
    let phone = lab.node("r2")?.phone()?.clone();
    let better = lab.node("r1")?.line()?.clone();
    let other = lab.node("r3")?.line()?.clone();
    Ok((phone, better, other))
}

/// An own uplink that dies, with a neighbor that has another, and comes back.
fn stranded(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_uplink("r1")?;
    lab.add_uplink("r2")?;
    lab.start_all()?;
    let phone = lab.node("r1")?.phone()?.clone();
    let _source = Source::start(lab.internet()?.host())?;
    let (own, others) = (
        lab.node("r1")?.line()?.clone(),
        lab.node("r2")?.line()?.clone(),
    );
    wait_comes_from(&phone, &own, &own, RECOVERY)?;
    let over_own = [HOST_V4, HOST_V6].map(|host| Transfer::start(&phone, host));
    let over_own: Vec<Transfer> = over_own.into_iter().collect::<Result<_>>()?;
    over_own
        .iter()
        .try_for_each(|it| it.wait_for_bytes(BYTES))?;
    lab.internet_mut()?.trouble(&own, Some(Trouble::Silent))?;
    wait_comes_from(&phone, &others, &others, RECOVERY)?;
    // A connection that can't go on is told, or its user would wait until the phone gives up.
    for transfer in over_own {
        let why = transfer.wait_end()?;
        ensure!(why.contains("reset"), "{why}");
    }
    let kept = [HOST_V4, HOST_V6].map(|host| Transfer::start(&phone, host));
    let kept: Vec<Transfer> = kept.into_iter().collect::<Result<_>>()?;
    let pinger = Pinger::start(&phone, echo_at(HOST_V4), Duration::from_millis(20))?;
    pinger.wait_answers(20, PATIENCE)?;
    lab.internet_mut()?.trouble(&own, None)?;
    wait_comes_from(&phone, &own, &own, RECOVERY)?;
    for transfer in &kept {
        transfer.wait_for_bytes(transfer.bytes() + BYTES)?;
    }
    // Nor does one that has to leave its gateway take the address along that it had there.
    lab.power_off("r2")?;
    for transfer in kept {
        let why = transfer.wait_end()?;
        ensure!(why.contains("reset"), "{why}");
    }
    pinger.wait_answers(20, PATIENCE)
}

/// A gateway with two lines, of which the better one comes back. The other's default routes are in a table
/// that is asked for its own address only, as network managers set it up for several lines.
fn lines(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_phone("r2")?;
    lab.add_uplink("r2")?;
    let gateway = lab.node("r2")?.namespace().clone();
    let better = lab.node("r2")?.line()?.clone();
    let other = lab.internet_mut()?.connect_with(&gateway, "wan1", 100)?;
    lab.node_mut("r2")?.config.uplink = Some("{interface: [wan0, wan1]}".to_owned());
    defaults(&gateway, "del", &other, "wan1")?;
    defaults(&gateway, "add", &other, "wan1 table 100")?;
    gateway.ip(&format!("rule add from {} lookup 100", other.v4))?;
    gateway.ip(&format!("-6 rule add from {} lookup 100", other.v6))?;
    lab.start_all()?;
    // As a firewall of the router's own has it that was started again.
    gateway.nft(
        "table inet other { chain srcnat {
            type nat hook postrouting priority srcnat
            oifname { wan0, wan1 } masquerade
        }\n}",
    )?;
    let phones = ["r1", "r2"].map(|router| lab.node(router)?.phone().cloned());
    let phones: Vec<Namespace> = phones.into_iter().collect::<Result<_>>()?;
    let _source = Source::start(lab.internet()?.host())?;
    let come_from = |line: &Line| {
        let mut phones = phones.iter();
        phones.try_for_each(|phone| wait_comes_from(phone, line, line, RECOVERY))
    };
    come_from(&better)?;
    lab.internet_mut()?
        .trouble(&better, Some(Trouble::Silent))?;
    come_from(&other)?;
    let transfers = phones
        .iter()
        .flat_map(|phone| [HOST_V4, HOST_V6].map(|host| Transfer::start(phone, host)));
    let transfers: Vec<Transfer> = transfers.collect::<Result<_>>()?;
    wait_all_go_on(&transfers, BYTES)?;
    lab.internet_mut()?.trouble(&better, None)?;
    come_from(&better)?;
    wait_all_go_on(&transfers, BYTES)?;
    // A successor knows them too.
    lab.node_mut("r2")?.take_daemon()?.hand_over()?;
    lab.start("r2")?;
    come_from(&better)?;
    wait_all_go_on(&transfers, BYTES)?;
    // A lease of the better line ends and begins: the kernel prefers another at once.
    defaults(&gateway, "add", &other, "wan1 metric 100")?;
    defaults(&gateway, "del", &better, "wan0")?;
    come_from(&other)?;
    defaults(&gateway, "add", &better, "wan0")?;
    come_from(&better)?;
    wait_all_go_on(&transfers, BYTES)?;
    // Until their line is gone.
    lab.internet()?.unplug(&other)?;
    for transfer in transfers {
        let why = transfer.wait_end()?;
        ensure!(why.contains("reset"), "{why}");
    }
    come_from(&better)
}

/// Adds or deletes a gateway's default routes over a line, of both families.
fn defaults(gateway: &Namespace, action: &str, line: &Line, device: &str) -> Result<()> {
    for (family, router) in ["-4", "-6"].into_iter().zip(line.routers()) {
        gateway.ip(&format!(
            "{family} route {action} default via {router} dev {device}"
        ))?;
    }
    Ok(())
}

/// The better of two gateways fails and comes back.
fn moved(lab: &mut Lab) -> Result<()> {
    /// How many packets of the flow are looked at.
    const PACKETS: usize = 100;
    let (phone, better, other) = between_two_gateways(lab)?;
    wait_comes_from(&phone, &better, &better, PATIENCE)?;
    let pinger = Pinger::start(&phone, echo_at(HOST_V4), Duration::from_millis(20))?;
    pinger.wait_answers(PACKETS, PATIENCE)?;
    lab.internet_mut()?
        .trouble(&better, Some(Trouble::Silent))?;
    wait_comes_from(&phone, &other, &other, PATIENCE)?;
    pinger.wait_answers(PACKETS, PATIENCE)?;
    lab.internet_mut()?.trouble(&better, None)?;
    wait_comes_from(&phone, &better, &better, RECOVERY)?;
    let gateway = lab.node("r3")?.namespace();
    let before = gateway.sent_packets("wan0")?;
    pinger.wait_answers(PACKETS, PATIENCE)?;
    let sent = gateway.sent_packets("wan0")? - before;
    ensure!(
        sent >= u64::try_from(PACKETS)?,
        "the flow went back: r3 sent {sent} of {PACKETS} packets"
    );
    Ok(())
}

/// An own uplink that carries one family, with a neighbor whose carries both.
fn half(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_uplink("r1")?;
    lab.add_uplink("r2")?;
    lab.start_all()?;
    let phone = lab.node("r1")?.phone()?.clone();
    let (own, others) = (
        lab.node("r1")?.line()?.clone(),
        lab.node("r2")?.line()?.clone(),
    );
    wait_comes_from(&phone, &own, &own, RECOVERY)?;
    for (trouble, v4, v6) in [
        (Trouble::NoIpv4, &others, &own),
        (Trouble::NoIpv6, &own, &others),
    ] {
        lab.internet_mut()?.trouble(&own, Some(trouble))?;
        wait_comes_from(&phone, v4, v6, RECOVERY)?;
        lab.internet_mut()?.trouble(&own, None)?;
        wait_comes_from(&phone, &own, &own, RECOVERY)?;
    }
    Ok(())
}
