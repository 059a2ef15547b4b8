//! A daemon that dies or is replaced: the kernel goes on forwarding, and the next one takes over.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use control_api::{Gateways, Originators};
use libtest_mimic::Trial;
use mesh_tests::harness::{in_lab, note};
use mesh_tests::internet::{HOST_V4, Trouble, echo_at};
use mesh_tests::lab::Lab;
use mesh_tests::mesh::{Addresses, wait_all_pairs, wait_online_through};
use mesh_tests::monitor::Monitor;
use mesh_tests::namespace::Namespace;
use mesh_tests::probe::{self, Pinger};
use mesh_tests::snapshot::Snapshot;
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;
use nix::sys::signal::Signal;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab("killed_relay_loses_no_packet", || Topology::line(3), killed),
        in_lab(
            "handed_over_relay_loses_no_packet",
            || Topology::line(3),
            handed_over,
        ),
        in_lab(
            "handed_over_gateway_loses_no_packet",
            || Topology::line(3),
            gateway,
        ),
        in_lab(
            "handed_over_uplink_that_is_dead_stays_dead",
            || Topology::line(2),
            dead_uplink,
        ),
        in_lab(
            "reload_applies_without_dropping_a_route",
            || Topology::line(3),
            reload,
        ),
        in_lab(
            "reload_of_nonsense_changes_nothing",
            || Topology::line(2),
            bad_reload,
        ),
    ]
}

const PATIENCE: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_millis(5);

fn killed(lab: &mut Lab) -> Result<()> {
    replace(lab, "r2", |lab| {
        lab.node_mut("r2")?.take_daemon()?.crash()?;
        // As long as systemd/meshd.service has the next one wait.
        std::thread::sleep(Duration::from_millis(200));
        lab.start("r2")
    })
}

fn handed_over(lab: &mut Lab) -> Result<()> {
    replace(lab, "r2", |lab| {
        lab.node_mut("r2")?.take_daemon()?.hand_over()?;
        lab.start("r2")
    })
}

fn gateway(lab: &mut Lab) -> Result<()> {
    replace(lab, "r3", |lab| {
        lab.node_mut("r3")?.take_daemon()?.hand_over()?;
        lab.start("r3")
    })
}

/// What a predecessor knew to be dead is not offered until the successor knows it too.
fn dead_uplink(lab: &mut Lab) -> Result<()> {
    lab.add_uplink("r2")?;
    lab.start_all()?;
    wait_online_through(lab, "r1", "r2", PATIENCE)?;
    let line = lab.node("r2")?.line()?.clone();
    lab.internet_mut()?.trouble(&line, Some(Trouble::Silent))?;
    let offline = || {
        let internet = lab.node("r1")?.status()?.internet;
        ensure!(!internet.online, "{internet:?}");
        Ok(())
    };
    wait_for("r1 to know it", PATIENCE, offline)?;
    lab.node_mut("r2")?.take_daemon()?.hand_over()?;
    lab.start("r2")?;
    let mut offered = 0;
    wait_for("the successor to know", PATIENCE, || {
        let gateways: Gateways = lab.node("r1")?.ctl("gateways")?;
        offered += gateways.gateways.len();
        let uptime = lab.node("r2")?.status()?.uptime_s;
        ensure!(uptime > 4, "{uptime}");
        Ok(())
    })?;
    ensure!(offered == 0, "r2 offered what is dead");
    Ok(())
}

/// Traffic of all kinds through `router`, while `change` replaces its daemon: nothing is lost,
/// and no route, rule or address of ours goes away for a moment.
fn replace(lab: &mut Lab, router: &str, change: impl FnOnce(&mut Lab) -> Result<()>) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_uplink("r3")?;
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    wait_online_through(lab, "r1", "r3", PATIENCE)?;
    let addresses = Addresses::ask(lab)?;
    let r1 = lab.node("r1")?;
    let pingers = [
        (
            "IPv6 in the mesh",
            start(r1.namespace(), (addresses.v6("r3")?, probe::PORT).into())?,
        ),
        (
            "IPv4 in the mesh",
            start(r1.namespace(), (addresses.v4("r3")?, probe::PORT).into())?,
        ),
        (
            "phone to the Internet",
            start(r1.phone()?, echo_at(HOST_V4))?,
        ),
    ];
    let namespace = lab.node(router)?.namespace().clone();
    wait_stable(&namespace)?;
    let directory = lab.node(router)?.files().directory().to_owned();
    let before = Snapshot::take(&namespace)?;
    let monitor = Monitor::start(&namespace, &directory)?;
    // Nor do others hear that anything was gone.
    let r1 = lab.node("r1")?;
    let far_monitor = Monitor::start(r1.namespace(), r1.files().directory())?;

    change(lab)?;
    // Its own routes are back in its books once it names the others as reachable.
    wait_for("the new daemon to know the mesh", PATIENCE, || {
        let status = lab.node(router)?.status()?;
        ensure!(status.originators == 2, "{status:?}");
        Ok(())
    })?;
    // A late clean-up would come once it believes to know everything.
    let seen: Vec<usize> = pingers
        .iter()
        .map(|(_, pinger)| pinger.answered())
        .collect();
    wait_for("three more seconds of traffic", PATIENCE, || {
        for ((what, pinger), seen) in pingers.iter().zip(&seen) {
            ensure!(
                pinger.answered() >= seen + 600,
                "{what}: {}",
                pinger.answered() - seen
            );
        }
        Ok(())
    })?;

    for (of, monitor) in [(router, monitor), ("r1", far_monitor)] {
        let mut changes = monitor.stop()?;
        changes.retain(|line| is_ours_deleted(line));
        ensure!(changes.is_empty(), "the kernel of {of} lost {changes:?}");
    }
    before
        .must_equal(&Snapshot::take(&namespace)?)
        .context("the same routes before and after")?;
    for (what, pinger) in pingers {
        let report = pinger.stop();
        note(&format!("{what}: {report}"));
        ensure!(report.lost == 0, "{what}: {report}");
    }
    Ok(())
}

fn is_ours_deleted(line: &str) -> bool {
    let ours = [
        "proto 155",
        "meshd0",
        "lookup 5525",
        "lookup 5526",
        "lookup main suppress",
    ];
    line.starts_with("Deleted") && ours.iter().any(|mark| line.contains(mark))
}

fn start(namespace: &Namespace, target: SocketAddr) -> Result<Pinger> {
    let pinger = Pinger::start(namespace, target, INTERVAL)?;
    wait_for(&format!("answers from {target}"), PATIENCE, || {
        ensure!(pinger.answered() >= 20, "{} answers", pinger.answered());
        Ok(())
    })?;
    Ok(pinger)
}

/// Waits until two snapshots a second apart are the same, and no address is still being checked
/// for duplicates: the kernel may take two seconds for that, and changes the address then.
fn wait_stable(namespace: &Namespace) -> Result<()> {
    let mut last = Snapshot::take(namespace)?;
    wait_for("settings that stay as they are", PATIENCE, || {
        std::thread::sleep(Duration::from_secs(1));
        let now = Snapshot::take(namespace)?;
        let tentative: Vec<&str> = now.matching(r#""tentative":true"#).collect();
        ensure!(tentative.is_empty(), "{tentative:?}");
        let result = last.must_equal(&now);
        last = now;
        result
    })
}

fn reload(lab: &mut Lab) -> Result<()> {
    for payer in ["r1", "r2"] {
        lab.node_mut(payer)?.config.pay_any_price();
    }
    lab.add_phone("r1")?;
    lab.add_uplink("r3")?;
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    wait_online_through(lab, "r1", "r3", PATIENCE)?;
    let addresses = Addresses::ask(lab)?;
    let r1 = lab.node("r1")?;
    let inside = start(r1.namespace(), (addresses.v6("r3")?, probe::PORT).into())?;
    let outside = start(r1.phone()?, echo_at(HOST_V4))?;
    let namespace = lab.node("r3")?.namespace().clone();
    let monitor = Monitor::start(&namespace, lab.node("r3")?.files().directory())?;

    let r3 = lab.node_mut("r3")?;
    r3.config.name = "renamed".to_owned();
    r3.config.sharing = Some("{fee: 77}".to_owned());
    r3.files().write_config(&r3.config)?;
    r3.daemon()?.signal(Signal::SIGHUP)?;
    wait_for("r1 to hear of the new name and price", PATIENCE, || {
        let answer: Gateways = lab.node("r1")?.ctl("gateways")?;
        let gateway = answer.gateways.first().context("no gateway")?;
        let price = gateway.price_atto_per_mib;
        ensure!(
            (gateway.name.as_str(), price) == ("renamed", Some(77.into())),
            "{gateway:?}"
        );
        Ok(())
    })?;
    let deleted: Vec<String> = monitor
        .stop()?
        .into_iter()
        .filter(|line| is_ours_deleted(line))
        .collect();
    ensure!(deleted.is_empty(), "the kernel of r3 lost {deleted:?}");
    for (what, pinger) in [("in the mesh", inside), ("to the Internet", outside)] {
        let report = pinger.stop();
        ensure!(report.lost == 0, "{what}: {report}");
    }

    let r3 = lab.node_mut("r3")?;
    r3.config.uplink = Some("{interface: off}".to_owned());
    r3.files().write_config(&r3.config)?;
    r3.daemon()?.signal(Signal::SIGHUP)?;
    wait_for(
        "r1 to be told that the uplink is not shared any more",
        PATIENCE,
        || {
            let status = lab.node("r1")?.status()?;
            ensure!(!status.internet.online, "{:?}", status.internet);
            Ok(())
        },
    )?;
    wait_all_pairs(lab, PATIENCE)
}

fn bad_reload(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    let r1 = lab.node_mut("r1")?;
    let before = r1.files().log_text();
    fs::write(
        r1.files().config(),
        "network: laboratory\nmesh: [{interface: mesh0}]\nprise: 3\n",
    )?;
    r1.daemon()?.signal(Signal::SIGHUP)?;
    let r1 = lab.node("r1")?;
    wait_for("a word about it in the log", PATIENCE, || {
        let log = r1.files().log_text();
        let new = log.strip_prefix(before.as_str()).unwrap_or(&log);
        ensure!(new.contains("prise"), "the log says {new:?}");
        Ok(())
    })?;
    ensure!(
        r1.ctl_text("reload").is_err(),
        "meshctl reload reports success"
    );
    let originators: Originators = lab.node("r2")?.ctl("originators")?;
    ensure!(originators.originators.len() == 1, "{originators:?}");
    ensure!(
        lab.node("r1")?.status()?.name == "r1",
        "the name has changed"
    );
    wait_all_pairs(lab, PATIENCE)
}
