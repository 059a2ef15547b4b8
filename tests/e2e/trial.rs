//! `meshctl reload --confirm`: a configuration that cuts its operator off goes again.

use std::time::Duration;

use anyhow::{Result, ensure};
use control_api::Reloaded;
use libtest_mimic::Trial;
use mesh_tests::daemon;
use mesh_tests::harness::in_lab;
use mesh_tests::lab::Lab;
use mesh_tests::mesh::{Addresses, wait_all_pairs};
use mesh_tests::monitor::Monitor;
use mesh_tests::probe::{self, Pinger, reachable};
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "a_configuration_that_nobody_confirms_goes_again",
            || Topology::line(2),
            unconfirmed,
        ),
        in_lab(
            "of_several_trials_the_last_confirmed_comes_back",
            || Topology::line(1),
            several,
        ),
    ]
}

const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until the phone of r1 reaches r2, or does not.
fn wait_phone(lab: &Lab, addresses: &Addresses, reaches: bool) -> Result<()> {
    let target = addresses.v6("r2")?;
    let what = format!("the phone to reach the mesh: {reaches}");
    wait_for(&what, PATIENCE, || {
        let phone = lab.node("r1")?.phone()?;
        let found = reachable(phone, &[target], Duration::from_millis(300))?;
        ensure!(found.contains(&target) == reaches, "{found:?}");
        Ok(())
    })
}

fn warnings(lab: &Lab) -> Result<String> {
    Ok(lab.node("r1")?.status()?.warnings.join("\n"))
}

/// The operator is on the local network that the new configuration forgets.
fn unconfirmed(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    let addresses = Addresses::ask(lab)?;
    wait_phone(lab, &addresses, true)?;
    let node = lab.node("r1")?;
    let monitor = Monitor::start(node.namespace(), node.files().directory())?;
    let to_r2 = (addresses.v6("r2")?, probe::PORT).into();
    let pinger = Pinger::start(node.namespace(), to_r2, Duration::from_millis(10))?;

    let with_lan = node.config.clone();
    lab.node_mut("r1")?.config.lan = None;
    let node = lab.node("r1")?;
    node.files().write_config(&node.config)?;
    let lan = vec!["lan".to_owned()];
    let tried: Reloaded = node.ctl("reload --confirm 4")?;
    ensure!(tried.changed == lan, "{tried:?}");
    wait_phone(lab, &addresses, false)?;
    let said = warnings(lab)?;
    ensure!(said.contains("on trial for"), "{said}");
    wait_phone(lab, &addresses, true)?;
    let said = warnings(lab)?;
    ensure!(said.contains("not confirmed and is not in force"), "{said}");

    let report = pinger.stop();
    ensure!(report.lost == 0, "what both have in common: {report}");
    let changes = monitor.stop()?;
    let deleted = changes
        .iter()
        .filter(|it| it.contains("Deleted") && it.contains("table 5525"));
    let deleted: Vec<_> = deleted.collect();
    ensure!(deleted.is_empty(), "{deleted:?}");

    // Confirmed, it stays.
    let node = lab.node("r1")?;
    let _: Reloaded = node.ctl("reload --confirm 3")?;
    let kept: Reloaded = node.ctl("reload --confirmed")?;
    ensure!(kept.changed == lan, "{kept:?}");
    let before = node.status()?.uptime_s;
    wait_for("the time to confirm to be over", PATIENCE, || {
        let uptime = node.status()?.uptime_s;
        ensure!(uptime > before + 4, "{uptime}");
        Ok(())
    })?;
    ensure!(warnings(lab)?.is_empty(), "{}", warnings(lab)?);
    wait_phone(lab, &addresses, false)?;

    // There is nothing left to decide.
    for option in ["--confirmed", "--revert"] {
        let socket = node.files().socket();
        let arguments = format!("--socket {} reload {option}", socket.display());
        let finished = daemon::run("meshctl", &arguments)?;
        ensure!(finished.code == 4, "{option}: {finished:?}");
    }
    // Of two trials in a row, taking back ends both.
    node.files().write_config(&with_lan)?;
    let _: Reloaded = node.ctl("reload --confirm 60")?;
    let _: Reloaded = node.ctl("reload --confirm 60")?;
    wait_phone(lab, &addresses, true)?;
    let back: Reloaded = node.ctl("reload --revert")?;
    ensure!(back.changed == lan, "{back:?}");
    wait_phone(lab, &addresses, false)
}

/// Has r1 read a configuration with this name.
fn rename(lab: &mut Lab, name: &str, command: &str) -> Result<()> {
    lab.node_mut("r1")?.config.name = name.to_owned();
    let node = lab.node("r1")?;
    node.files().write_config(&node.config)?;
    let _: Reloaded = node.ctl(command)?;
    is_called(lab, name)
}

fn is_called(lab: &Lab, name: &str) -> Result<()> {
    let called = lab.node("r1")?.status()?.name;
    ensure!(called == name, "it is called {called}, not {name}");
    Ok(())
}

/// Each configuration is known by the name that it gives the node.
fn several(lab: &mut Lab) -> Result<()> {
    lab.start("r1")?;
    rename(lab, "one", "reload --confirm 60")?;
    let _: Reloaded = lab.node("r1")?.ctl("reload --confirmed")?;
    rename(lab, "two", "reload --confirm 60")?;
    rename(lab, "three", "reload --confirm 60")?;
    let back: Reloaded = lab.node("r1")?.ctl("reload --revert")?;
    ensure!(back.changed == ["name"], "{back:?}");
    is_called(lab, "one")?;

    // By itself, too; and the time is that of the last.
    rename(lab, "two", "reload --confirm 3600")?;
    rename(lab, "three", "reload --confirm 2")?;
    wait_for("the time to confirm to be over", PATIENCE, || {
        is_called(lab, "one")
    })?;

    // Of a trial that follows a failed one, what is in force is what comes back.
    rename(lab, "four", "reload --confirm 60")?;
    let _: Reloaded = lab.node("r1")?.ctl("reload --revert")?;
    is_called(lab, "one")?;

    // A reload without a trial ends one, and stays.
    rename(lab, "two", "reload --confirm 60")?;
    rename(lab, "three", "reload")?;
    let socket = lab.node("r1")?.files().socket();
    let arguments = format!("--socket {} reload --revert", socket.display());
    let finished = daemon::run("meshctl", &arguments)?;
    ensure!(finished.code == 4, "{finished:?}");
    is_called(lab, "three")
}
