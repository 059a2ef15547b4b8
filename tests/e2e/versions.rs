//! A daemon of another version of the routing protocol beside this one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use control_api::Severity;
use libtest_mimic::Trial;
use mesh_tests::air::Loss;
use mesh_tests::harness::in_lab;
use mesh_tests::lab::Lab;
use mesh_tests::mesh::{Addresses, wait_pairs};
use mesh_tests::routing_port::RoutingPort;
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;

pub(crate) fn tests() -> Vec<Trial> {
    vec![in_lab(
        "another_version_is_told_of_and_harms_nothing",
        || Topology::line(2),
        another_version,
    )]
}

const PATIENCE: Duration = Duration::from_secs(30);

/// The other daemon is played: what a router says, under another version number, as it is and cut short.
fn another_version(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    let addresses = Addresses::ask(lab)?;
    wait_pairs(lab, &addresses, PATIENCE)?;
    lab.add_router("other")?;
    lab.air().connect("other", "r1", Loss::NONE)?;
    lab.settle()?;
    let other = RoutingPort::open(lab.node("other")?.namespace())?;
    let mut buffer = [0; 2048];
    let heard = other.receive(&mut buffer, PATIENCE)?;
    let mut packet = heard.context("nothing is heard of r1")?.0.to_vec();
    ensure!(packet.get(1) == Some(&3), "not version 3: {packet:?}");
    let id = lab.node_mut("r1")?.daemon()?.id();
    // Its first two bytes, parts of the header, without the parts, without the code, and all of it.
    let lengths = [2, 3, 4, 28, 29, packet.len() - 16, packet.len()];
    for version in [2, 4, 255] {
        if let Some(byte) = packet.get_mut(1) {
            *byte = version;
        }
        for length in lengths {
            other.send(None, packet.get(..length).unwrap_or_default())?;
        }
    }
    let sent = 3 * lengths.len() as u64;
    wait_for("all of them to be counted", PATIENCE, || {
        let drops = lab.node("r1")?.status()?.counters.drops;
        let counted = drops.get("unknown_version").copied().unwrap_or_default();
        ensure!(counted == sent, "{counted} of {sent}");
        Ok(())
    })?;
    let said = format!("({sent} packets, the last");
    let text = lab.node("r1")?.ctl_text("status")?.replace('\n', " ");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(
        text.contains("mesh0: a node nearby speaks version 255"),
        "{text}"
    );
    ensure!(text.contains(&said), "{text}");
    let found = lab.node("r1")?.doctor()?.findings;
    let finding = found.iter().find(|it| it.problem.contains("version 255"));
    let finding = finding.with_context(|| format!("{found:?}"))?;
    ensure!(
        finding.severity == Severity::Warning && finding.subject == "mesh0",
        "{finding:?}"
    );
    ensure!(finding.advice.contains("upgrade"), "{finding:?}");

    let r2 = lab.node("r2")?.status()?;
    ensure!(
        r2.warnings.is_empty(),
        "r2 hears nothing of it: {:?}",
        r2.warnings
    );
    ensure!(
        lab.node_mut("r1")?.daemon()?.id() == id,
        "another daemon runs"
    );
    ensure!(
        lab.node_mut("r1")?.daemon()?.is_running()?,
        "meshd of r1 has ended"
    );
    ensure!(
        lab.node("r1")?.status()?.neighbors == 1,
        "it has a neighbor more"
    );
    wait_pairs(lab, &addresses, PATIENCE)
}
