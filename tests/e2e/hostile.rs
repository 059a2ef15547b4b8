//! Packets that nobody should have sent.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::air::Loss;
use mesh_tests::harness::{in_lab, note};
use mesh_tests::lab::Lab;
use mesh_tests::mesh::{Addresses, wait_pairs};
use mesh_tests::routing_port::RoutingPort;
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "bad_packets_are_dropped_and_counted",
            || Topology::line(2),
            bad_packets,
        ),
        in_lab(
            "foreign_networks_keep_to_themselves",
            || Topology::line(3),
            foreign_network,
        ),
    ]
}

const PATIENCE: Duration = Duration::from_secs(30);

/// The next packet that a router sends.
fn listen(port: &RoutingPort) -> Result<Vec<u8>> {
    let mut buffer = [0; 2048];
    let heard = port.receive(&mut buffer, PATIENCE)?;
    let (bytes, _) = heard.context("nothing is heard of a router")?;
    Ok(bytes.to_vec())
}

/// Sends packets slowly enough for the receiver's buffer: what the kernel drops there is not
/// seen, and not counted, by anybody.
fn send(port: &RoutingPort, packets: &[Vec<u8>]) -> Result<u64> {
    for (number, packet) in packets.iter().enumerate() {
        port.send(None, packet)?;
        if number % 16 == 15 {
            thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(packets.len() as u64)
}

fn drops(lab: &Lab, router: &str) -> Result<u64> {
    Ok(lab.node(router)?.status()?.counters.drops.values().sum())
}

fn wait_drops(lab: &Lab, router: &str, least: u64) -> Result<u64> {
    wait_for(
        &format!("{least} drops counted by {router}"),
        PATIENCE,
        || {
            let drops = drops(lab, router)?;
            ensure!(drops >= least, "{drops}");
            Ok(drops)
        },
    )
}

/// Numbers that look random and are the same in every run.
fn noise(count: usize) -> Vec<Vec<u8>> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let packet = |length: u64, next: &mut dyn FnMut() -> u64| {
        (0..length).map(|_| next().to_le_bytes()[0]).collect()
    };
    (0..count)
        .map(|_| {
            let length = next() % 1400;
            packet(length, &mut next)
        })
        .collect()
}

fn bit_flips(packet: &[u8]) -> Vec<Vec<u8>> {
    let flip = |bit: usize| {
        let mut copy = packet.to_vec();
        if let Some(byte) = copy.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
        copy
    };
    (0..packet.len() * 8).map(flip).collect()
}

fn bad_packets(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    let addresses = Addresses::ask(lab)?;
    wait_pairs(lab, &addresses, PATIENCE)?;
    lab.add_router("attacker")?;
    lab.air().connect("attacker", "r1", Loss::NONE)?;
    lab.settle()?;
    let attacker = RoutingPort::open(lab.node("attacker")?.namespace())?;
    let log_before = fs::metadata(lab.node("r1")?.files().log())?.len();
    let id = lab.node_mut("r1")?.daemon()?.id();

    let genuine = listen(&attacker)?;
    let truncated: Vec<Vec<u8>> = (0..genuine.len())
        .map(|end| genuine.get(..end).unwrap_or_default().to_vec())
        .collect();
    let before = drops(lab, "r1")?;
    // Nothing of these can mean anything: all are dropped.
    let sent = send(&attacker, &noise(500))? + send(&attacker, &truncated)?;
    wait_drops(lab, "r1", before + sent)?;

    let before = drops(lab, "r1")?;
    let flipped = send(&attacker, &bit_flips(&genuine))?;
    let counted = wait_drops(lab, "r1", before + flipped)? - before;
    note(&format!(
        "{counted} of {flipped} packets with one wrong bit were dropped"
    ));

    ensure!(
        lab.node_mut("r1")?.daemon()?.is_running()?,
        "meshd of r1 has ended"
    );
    ensure!(
        lab.node_mut("r1")?.daemon()?.id() == id,
        "another daemon runs"
    );
    let text = lab.node("r1")?.ctl_text("status")?;
    ensure!(
        text.to_lowercase().contains("drop"),
        "meshctl status says nothing of drops:\n{text}"
    );
    let grown = fs::metadata(lab.node("r1")?.files().log())?.len() - log_before;
    ensure!(
        grown < 16 * 1024,
        "{grown} bytes of log for {} bad packets",
        sent + flipped
    );
    wait_pairs(lab, &addresses, PATIENCE).context("the mesh after the attack")
}

/// r1 and r3 hear r2, which belongs to another network.
fn foreign_network(lab: &mut Lab) -> Result<()> {
    lab.air().connect("r1", "r3", Loss::NONE)?;
    lab.node_mut("r2")?.config.network = "another".to_owned();
    lab.start_all()?;
    for router in ["r1", "r2", "r3"] {
        wait_for(
            "packets of the other network to be counted",
            PATIENCE,
            || {
                let counters = lab.node(router)?.status()?.counters;
                let foreign = counters
                    .drops
                    .get("foreign_network")
                    .copied()
                    .unwrap_or_default();
                ensure!(foreign >= 2, "{counters:?}");
                Ok(())
            },
        )?;
    }
    wait_for("r1 and r3 to find each other", PATIENCE, || {
        let status = lab.node("r1")?.status()?;
        ensure!(status.originators == 1, "{status:?}");
        Ok(())
    })?;
    ensure!(
        lab.node("r2")?.status()?.originators == 0,
        "r2 knows somebody"
    );
    Ok(())
}
