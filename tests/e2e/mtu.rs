//! Links that take packets of different sizes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use control_api::Gateways;
use libtest_mimic::Trial;
use mesh_tests::harness::in_lab;
use mesh_tests::http::exchange;
use mesh_tests::internet::{HOST_V4, HOST_V6, web_at};
use mesh_tests::lab::Lab;
use mesh_tests::mesh::{path, wait_comes_from, wait_online_through};
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "narrow_link_in_the_middle_is_seen_and_carries_downloads",
            || Topology::line(4),
            narrow,
        ),
        in_lab(
            "everything_fits_through_every_uplink",
            || Topology::line(4),
            uplinks,
        ),
    ]
}

const PATIENCE: Duration = Duration::from_secs(30);
const BYTES: usize = 10_000_000;

/// Between r2 and r3 is a cable with something that takes 1400 bytes, of which one of them does not
/// know at first.
fn narrow(lab: &mut Lab) -> Result<()> {
    lab.air().cut("r2", "r3")?;
    let other_end = lab.node("r3")?.namespace().name().to_owned();
    lab.node("r2")?.namespace().ip_batch(&format!(
        "link add cable0 mtu 1500 type veth peer name cable0 mtu 1400 netns {other_end}\n"
    ))?;
    for router in ["r2", "r3"] {
        let node = lab.node_mut(router)?;
        node.config.mesh = "[{interface: mesh0}, {interface: cable0}]".to_owned();
        node.namespace().bring_up("cable0")?;
    }
    lab.add_phone("r1")?;
    lab.add_uplink("r4")?;
    lab.start_all()?;
    wait_for("the doctor to say it", PATIENCE, || {
        let doctor = lab.node("r2")?.doctor()?;
        let mut findings = doctor.findings.iter();
        let found = findings.any(|it| {
            it.subject == "cable0" && it.problem.contains("packets of 1500 bytes, its MTU")
        });
        ensure!(found, "{doctor:?}");
        Ok(())
    })?;
    ensure!(path(lab, "r1", "r4").is_err(), "the link is used");
    lab.node("r2")?.namespace().ip("link set cable0 mtu 1400")?;
    wait_online_through(lab, "r1", "r4", PATIENCE)?;
    let doctor = lab.node("r2")?.doctor()?;
    ensure!(!doctor.has_errors(), "{doctor:?}");
    // The ends have links with 1500 bytes only: they have to be told.
    for host in [HOST_V4, HOST_V6] {
        exchange(lab.node("r1")?.phone()?, web_at(host), BYTES, PATIENCE)?;
    }
    Ok(())
}

/// Uplinks of one family each: of Ethernet, of PPPoE, behind another tunnel, and of the smallest packets that
/// IPv6 allows. Their provider tells nobody when a packet is too large (RFC 2923 §2.1).
fn uplinks(lab: &mut Lab) -> Result<()> {
    const BLACK_HOLE: &str = "table inet black_hole { chain output {
        type filter hook output priority 0
        icmp type destination-unreachable counter drop
        icmpv6 type packet-too-big counter drop
    }\n}";
    for router in ["r1", "r3", "r4"] {
        lab.add_phone(router)?;
    }
    let gateways = ["r3", "r4"];
    for (gateway, lacks) in gateways.into_iter().zip(["-6", "-4"]) {
        lab.add_uplink(gateway)?;
        let router = lab.node(gateway)?.namespace();
        router.ip(&format!("{lacks} route del default dev wan0"))?;
    }
    let lines = [
        lab.node("r3")?.line()?.clone(),
        lab.node("r4")?.line()?.clone(),
    ];
    lab.start_all()?;
    lab.internet()?.provider().nft(BLACK_HOLE)?;
    let [v4, v6] = &lines;
    for router in ["r1", "r3", "r4"] {
        wait_comes_from(lab.node(router)?.phone()?, v4, v6, PATIENCE)?;
    }
    for mtu in [1500, 1492, 1420, 1280] {
        for (gateway, line) in gateways.into_iter().zip(&lines) {
            lab.internet()?.set_mtu(line, mtu)?;
            lab.node(gateway)?
                .namespace()
                .ip(&format!("link set wan0 mtu {mtu}"))?;
        }
        for (router, bytes) in [("r1", BYTES), ("r3", BYTES / 10), ("r4", BYTES / 10)] {
            everything_fits(lab, router, bytes).with_context(|| format!("through {mtu} bytes"))?;
        }
    }
    // Nobody said how much the uplink carries, but it was seen.
    wait_for("what it carries", PATIENCE, || {
        let answer: Gateways = lab.node("r1")?.ctl("gateways")?;
        let down = answer.gateways.first().and_then(|it| it.bandwidth_down_bps);
        ensure!(down > Some(10_000_000), "{down:?}");
        Ok(())
    })
}

/// Both ways, of both families, for the phone of a router.
fn everything_fits(lab: &Lab, router: &str, bytes: usize) -> Result<()> {
    for host in [HOST_V4, HOST_V6] {
        // What was learnt from the others is not known to everybody.
        for family in ["-4", "-6"] {
            lab.internet()?
                .host()
                .ip(&format!("{family} route flush cache"))?;
        }
        let phone = lab.node(router)?.phone()?;
        exchange(phone, web_at(host), bytes, PATIENCE)
            .with_context(|| format!("phone of {router}"))?;
    }
    Ok(())
}
