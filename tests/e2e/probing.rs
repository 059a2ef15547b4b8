//! `meshctl ping` and `meshctl traceroute`: own probes through a real mesh.

use std::net::{SocketAddrV6, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::air::Loss;
use mesh_tests::daemon::{self, Finished};
use mesh_tests::harness::{in_lab, note};
use mesh_tests::lab::{Lab, MESH};
use mesh_tests::mesh::wait_all_pairs;
use mesh_tests::routing_port::PORT;
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;
use serde_json::Value;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "ping_and_traceroute_cross_firewalls_over_several_hops",
            || Topology::line(4),
            several_hops,
        ),
        in_lab("ping_shows_the_loss_of_a_link", || Topology::line(2), loss),
        in_lab(
            "whom_ping_cannot_ask_is_said_clearly",
            || Topology::line(3),
            nobody,
        ),
        in_lab(
            "forged_probes_are_counted_and_not_answered",
            || Topology::line(2),
            forged,
        ),
    ]
}

const PATIENCE: Duration = Duration::from_secs(30);

/// What many an operator's firewall does.
const NO_ECHO: &str = "table inet firewall { chain input { type filter hook input priority -10; \
    icmpv6 type echo-request drop; icmp type echo-request drop; }; }";

/// `meshctl`, however it ends.
fn meshctl(lab: &Lab, router: &str, arguments: &str) -> Result<Finished> {
    let socket = lab.node(router)?.files().socket();
    daemon::run(
        "meshctl",
        &format!("--socket {} {arguments}", socket.display()),
    )
}

/// What is at a place in an answer; null if there is nothing.
fn at<'a>(answer: &'a Value, place: &str) -> &'a Value {
    answer.pointer(&format!("/{place}")).unwrap_or(&Value::Null)
}

fn several_hops(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    let target = lab.node("r4")?.status()?;
    for router in ["r2", "r3", "r4"] {
        lab.node(router)?.namespace().nft(NO_ECHO)?;
    }
    let address = target.mesh_ipv6;
    let other = lab.node("r1")?.namespace();
    let other = other.run("ping", &format!("-n -c 1 -W 1 {address}"));
    ensure!(other.is_err(), "ping(8) has an answer: {other:?}");

    let node = lab.node("r1")?;
    let names = [
        "r4".to_owned(),
        target.originator_id.short(),
        target.node_id.to_string(),
        address.to_string(),
        target.mesh_ipv4.to_string(),
    ];
    for name in names {
        let answer: Value = node.ctl(&format!("ping {name} --count 3 --interval 0.1"))?;
        ensure!(
            at(&answer, "received") == 3 && at(&answer, "loss_percent") == 0.0,
            "{answer}"
        );
        ensure!(at(&answer, "node/name") == "r4", "{answer}");
        let [min, avg, max] = ["min_us", "avg_us", "max_us"].map(|key| at(&answer, key).as_u64());
        ensure!(min > Some(0) && min <= avg && avg <= max, "{answer}");
    }
    let text = node.ctl_text("ping r4 --count 2 --interval 0.1")?;
    ensure!(text.contains("answer: seq=2 time="), "{text}");
    ensure!(text.contains("2 sent, 2 answered, 0% lost"), "{text}");

    let trace: Value = node.ctl("traceroute r4")?;
    ensure!(at(&trace, "reached") == true, "{trace}");
    ensure!(names_of(&trace) == ["r2", "r3", "r4"], "{trace}");
    for hop in at(&trace, "hops").as_array().into_iter().flatten() {
        let times = at(hop, "rtts_us").as_array().context("no times")?;
        ensure!(times.len() == 3 && times.iter().all(Value::is_u64), "{hop}");
        let qualities = ["rx_quality", "tx_quality"].map(|key| at(hop, key).as_f64());
        ensure!(qualities.iter().all(|it| *it > Some(0.5)), "{hop}");
    }
    let lines = node.ctl_text("--output ndjson traceroute r4")?;
    ensure!(lines.lines().count() == 4, "{lines}");
    let text = node.ctl_text("traceroute r4")?;
    note(&format!("traceroute of r1 to r4:\n{text}"));
    ensure!(
        text.lines()
            .nth(1)
            .is_some_and(|it| it.starts_with(" 1  r2 (")),
        "{text}"
    );
    Ok(())
}

fn names_of(trace: &Value) -> Vec<&str> {
    let hops = at(trace, "hops").as_array().into_iter().flatten();
    hops.filter_map(|hop| at(hop, "node/name").as_str())
        .collect()
}

fn loss(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    lab.air().connect("r1", "r2", Loss::percent(60))?;
    let (mut sent, mut received) = (0, 0);
    // A unicast frame is repeated: with 60 % loss, three of four questions are answered.
    wait_for("answers and losses", PATIENCE, || {
        let finished = meshctl(lab, "r1", "--json ping r2 --count 5 --interval 0.1")?;
        ensure!([0, 6].contains(&finished.code), "{finished:?}");
        let answer: Value = serde_json::from_str(&finished.out).context(finished.out)?;
        let figure = |key: &str| at(&answer, key).as_u64().unwrap_or_default();
        sent += figure("sent");
        received += figure("received");
        ensure!(
            received >= 5 && sent - received >= 5,
            "{received} of {sent}"
        );
        Ok(())
    })?;
    note(&format!(
        "over a link of 60 % loss, {received} of {sent} were answered"
    ));
    Ok(())
}

fn nobody(lab: &mut Lab) -> Result<()> {
    lab.node_mut("r3")?.config.name = "r2".to_owned();
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    for (arguments, code, said) in [
        ("ping nobody", 4, "no node \"nobody\" is known"),
        ("traceroute nobody", 4, "no node \"nobody\" is known"),
        ("ping r2", 1, "may be several nodes"),
        ("ping r1 --interval 0.01", 2, "0.1"),
        ("ping r1 --count 0", 2, "count"),
    ] {
        let finished = meshctl(lab, "r1", arguments)?;
        ensure!(finished.code == code, "{arguments}: {finished:?}");
        ensure!(finished.err.contains(said), "{arguments}: {finished:?}");
    }
    let far = lab.node("r3")?.status()?.originator_id.to_string();
    lab.air().cut("r2", "r3")?;
    for command in [format!("ping {far} --count 1"), format!("traceroute {far}")] {
        wait_for("it to be said that there is no way", PATIENCE, || {
            let finished = meshctl(lab, "r1", &command)?;
            ensure!(finished.code == 4, "{finished:?}");
            ensure!(finished.err.contains("no way to r2"), "{finished:?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// Somebody in the air who has no key, and says what others could have said.
fn forged(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    lab.add_router("attacker")?;
    lab.air().connect("attacker", "r1", Loss::NONE)?;
    lab.settle()?;
    let target = lab.node("r1")?.status()?.mesh_ipv6;
    let victim = lab.node("r2")?.status()?.mesh_ipv6;
    let via = lab.node("r1")?.namespace().link_local(MESH)?;
    let attacker = lab.node("attacker")?.namespace();
    attacker.ip_batch(&format!(
        "addr add {victim}/128 dev {MESH} nodad\nroute add {target}/128 via {via} dev {MESH}\n"
    ))?;
    let counted = || -> Result<u64> {
        let drops = lab.node("r1")?.status()?.counters.drops;
        Ok(drops.values().sum())
    };
    let before = counted()?;
    let packets = forgeries();
    attacker.within(|| {
        let socket = UdpSocket::bind(SocketAddrV6::new(victim, PORT, 0, 0))?;
        for packet in &packets {
            socket.send_to(packet, SocketAddrV6::new(target, PORT, 0, 0))?;
        }
        Ok(())
    })?;
    wait_for("the forgeries to be counted", PATIENCE, || {
        let dropped = counted()? - before;
        ensure!(dropped >= packets.len() as u64, "{dropped}");
        Ok(())
    })?;
    let answer: Value = lab.node("r2")?.ctl("ping r1 --count 1")?;
    ensure!(at(&answer, "received") == 1, "{answer}");
    Ok(())
}

/// Packets of version 3 with every type of part there is, and some that there is not, and codes of zeros.
fn forgeries() -> Vec<Vec<u8>> {
    let of_kind = |kind: u8| {
        let mut packet = vec![0x6d, 3, 0, 64];
        packet.resize(29, 1);
        packet.extend([kind, 0, 18]);
        packet.resize(64, 0);
        packet
    };
    (0..32).map(of_kind).collect()
}
