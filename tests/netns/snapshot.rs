//! A snapshot of a kernel misses nothing and invents nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::harness::in_lab;
use mesh_tests::internet::{HOST_V4, web_at};
use mesh_tests::lab::Lab;
use mesh_tests::monitor::Monitor;
use mesh_tests::snapshot::Snapshot;
use mesh_tests::topology::Topology;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "snapshot_is_stable_under_traffic",
            || Topology::line(1),
            stable,
        ),
        in_lab(
            "snapshot_sees_every_kind_of_change",
            || Topology::line(1),
            sees_changes,
        ),
        in_lab(
            "monitor_hears_what_comes_and_goes",
            || Topology::line(1),
            monitor,
        ),
    ]
}

fn stable(lab: &mut Lab) -> Result<()> {
    lab.add_uplink("r1")?;
    lab.settle()?;
    let router = lab.node("r1")?.namespace();
    router
        .nft("table inet test {\nchain c {\ntype filter hook output priority 0; counter\n}\n}\n")?;
    let before = Snapshot::take(router)?;
    mesh_tests::http::fetch(router, web_at(HOST_V4), "/", Duration::from_secs(5))?;
    before.must_equal(&Snapshot::take(router)?)
}

fn sees_changes(lab: &mut Lab) -> Result<()> {
    let router = lab.node("r1")?.namespace();
    let changes = [
        (
            "link",
            "ip",
            "link add dummy0 type bridge",
            "link delete dummy0",
        ),
        (
            "address",
            "ip",
            "addr add 100.64.1.1/32 dev mesh0",
            "addr del 100.64.1.1/32 dev mesh0",
        ),
        (
            "address",
            "ip",
            "addr add fd77::1/128 dev mesh0",
            "addr del fd77::1/128 dev mesh0",
        ),
        (
            "rule",
            "ip",
            "rule add pref 31100 lookup 5525",
            "rule del pref 31100",
        ),
        (
            "rule6",
            "ip",
            "-6 rule add pref 31100 lookup 5525",
            "-6 rule del pref 31100",
        ),
        (
            "route",
            "ip",
            "route add 100.64.0.2/32 via inet6 fe80::1 dev mesh0 table 5525 proto 155",
            "route flush table 5525",
        ),
        (
            "route6",
            "ip",
            "-6 route add fd77::2/128 via fe80::1 dev mesh0 table 5525 proto 155",
            "-6 route flush table 5525",
        ),
        (
            "nexthop",
            "ip",
            "nexthop add id 7 via fe80::1 dev mesh0",
            "nexthop del id 7",
        ),
        (
            "neighbor6",
            "ip",
            "neigh add fe80::9 lladdr 02:00:00:00:00:09 dev mesh0 nud permanent",
            "neigh del fe80::9 dev mesh0",
        ),
        (
            "nftables",
            "nft",
            "add table inet meshd",
            "delete table inet meshd",
        ),
    ];
    for (kind, program, change, undo) in changes {
        let before = Snapshot::take(router)?;
        router.run(program, change)?;
        let text = match before.must_equal(&Snapshot::take(router)?) {
            Ok(()) => anyhow::bail!("`{program} {change}` goes unnoticed"),
            Err(error) => error.to_string(),
        };
        ensure!(
            text.contains(&format!("new:  {kind} ")),
            "`{program} {change}` shows as {text}"
        );
        router.run(program, undo)?;
        before
            .must_equal(&Snapshot::take(router)?)
            .with_context(|| format!("after {undo}"))?;
    }
    Ok(())
}

fn monitor(lab: &mut Lab) -> Result<()> {
    let node = lab.node("r1")?;
    let monitor = Monitor::start(node.namespace(), node.files().directory())?;
    node.namespace()
        .ip("route add fd77::2/128 via fe80::1 dev mesh0 proto 155")?;
    node.namespace().ip("route del fd77::2/128 proto 155")?;
    node.namespace().ip("rule add pref 31100 lookup 5525")?;
    node.namespace().ip("rule del pref 31100")?;
    let changes = monitor.stop()?;
    for expected in ["fd77::2", "31100:"] {
        let about = changes.iter().filter(|line| line.contains(expected));
        let (gone, come): (Vec<&String>, _) = about.partition(|line| line.starts_with("Deleted"));
        ensure!(
            !gone.is_empty() && !come.is_empty(),
            "{expected} in {changes:?}"
        );
    }
    Ok(())
}
