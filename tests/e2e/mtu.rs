//! Links that take packets of different sizes.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::harness::in_lab;
use mesh_tests::http::fetch;
use mesh_tests::internet::{HOST_V4, HOST_V6, web_at};
use mesh_tests::lab::Lab;
use mesh_tests::mesh::{path, wait_online_through};
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;

pub(crate) fn tests() -> Vec<Trial> {
    vec![in_lab(
        "narrow_link_in_the_middle_is_seen_and_carries_downloads",
        || Topology::line(4),
        narrow,
    )]
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
        let page = lab.node("r1")?.phone()?;
        let page = fetch(page, web_at(host), &format!("/bytes/{BYTES}"), PATIENCE)?;
        ensure!(page.body.len() == BYTES, "{} bytes came", page.body.len());
    }
    Ok(())
}
