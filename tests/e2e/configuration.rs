//! Configurations that cannot be meant: one clear line, exit status 2, and nothing happens.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use control_api::{LogLevelSet, Reloaded, Settings};
use libtest_mimic::Trial;
use mesh_tests::daemon;
use mesh_tests::harness::{in_lab, plain};
use mesh_tests::lab::{Lab, Node};
use mesh_tests::snapshot::Snapshot;
use mesh_tests::topology::Topology;
use serde_json::{Value, json};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "bad_configurations_are_refused_in_one_line",
            || Topology::line(1),
            refused,
        ),
        in_lab(
            "check_accepts_what_start_accepts",
            || Topology::line(1),
            accepted,
        ),
        in_lab(
            "what_a_reload_would_change_is_known_before",
            || Topology::line(1),
            asked_before,
        ),
        in_lab(
            "the_configuration_in_force_is_shown",
            || Topology::line(1),
            shown,
        ),
        in_lab(
            "the_log_level_changes_while_meshd_runs",
            || Topology::line(1),
            log_level,
        ),
        plain("meshctl_exit_statuses_mean_what_they_say", exit_statuses),
    ]
}

/// What is wrong, the lines of the file, and what the complaint must mention.
const WRONG: [(&str, &str, &[&str]); 9] = [
    (
        "an unknown key",
        "mesh: [{interface: mesh0}]\ncolour: red\n",
        &["colour", "meshd.yaml"],
    ),
    (
        "a key that is spelled wrong",
        "mesh: [{interfaces: mesh0}]\n",
        &["interfaces"],
    ),
    ("no interface", "mesh: []\n", &["mesh"]),
    (
        "an interface that is not there",
        "mesh: [{interface: mesh7}]\n",
        &["mesh7"],
    ),
    (
        "overlapping prefixes",
        "mesh: [{interface: mesh0}]\n\
         lan: [{interface: lan0, mode: routed, prefixes: [10.1.0.0/16, 10.1.2.0/24]}]\n",
        &["10.1.2.0/24"],
    ),
    (
        "a mode that does not exist",
        "mesh: [{interface: mesh0}]\nlan: [{interface: lan0, mode: bridged}]\n",
        &["bridged"],
    ),
    (
        "a bandwidth without meaning",
        "mesh: [{interface: mesh0}]\nuplink: {interface: lan0, bandwidth: fast}\n",
        &["fast"],
    ),
    (
        "the same key twice",
        "mesh: [{interface: mesh0}]\nmesh: [{interface: mesh0}]\n",
        &["mesh"],
    ),
    ("no YAML at all", "mesh: [{interface\n", &["meshd.yaml"]),
];

fn refused(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.settle()?;
    for (what, lines, mentioned) in WRONG {
        write(lab, lines)?;
        must_be_refused(lab, what, mentioned)?;
    }
    let good = "mesh: [{interface: mesh0}]\n";
    let key = lab.node("r1")?.files().directory().join("identity.key");

    write(lab, good)?;
    fs::write(&key, "this is no key")?;
    mode(&key, 0o600)?;
    must_be_refused(lab, "a key file without a key", &["identity.key"])?;

    fs::remove_file(&key)?;
    fs::create_dir(&key)?;
    must_be_refused(lab, "a key that cannot be read", &["identity.key"])?;
    fs::remove_dir(&key)?;

    // A real key that others may read.
    lab.node_mut("r1")?.launch()?;
    lab.node_mut("r1")?.daemon()?.wait_ready()?;
    lab.node_mut("r1")?.take_daemon()?.terminate()?;
    let made = fs::metadata(&key)?.permissions().mode() & 0o777;
    ensure!(made == 0o600, "the new key has mode {made:o}");
    mode(&key, 0o644)?;
    write(lab, good)?;
    must_be_refused(lab, "a key that others may read", &["identity.key", "0600"])
}

fn mode(path: &Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

fn write(lab: &Lab, lines: &str) -> Result<()> {
    let files = lab.node("r1")?.files();
    let directory = files.directory().display();
    let text = format!(
        "network: laboratory\n\
         identity: {directory}/identity.key\n\
         state: {directory}/state\n\
         control: {directory}/control.sock\n\
         {lines}"
    );
    Ok(fs::write(files.config(), text)?)
}

fn must_be_refused(lab: &Lab, what: &str, mentioned: &[&str]) -> Result<()> {
    let node = lab.node("r1")?;
    let before = Snapshot::take(node.namespace())?;
    let file = node.files().config().display().to_string();
    let finished = node
        .namespace()
        .within(|| daemon::run("meshd", &format!("--config {file}")))?;
    ensure!(finished.code == 2, "{what}: {finished:?}");
    let lines: Vec<&str> = finished
        .err
        .lines()
        .filter(|line| !line.is_empty())
        .collect();
    ensure!(
        lines.len() == 1,
        "{what}: {} lines: {:?}",
        lines.len(),
        finished.err
    );
    for word in mentioned {
        ensure!(
            finished.err.contains(word),
            "{what}: no {word} in {:?}",
            finished.err
        );
    }
    before.must_equal(&Snapshot::take(node.namespace())?)
}

fn accepted(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_uplink("r1")?;
    lab.settle()?;
    let node = lab.node_mut("r1")?;
    node.config.uplink = Some("{interface: wan0, bandwidth: 20M/5M}".to_owned());
    node.config.sharing = Some("{fee: 5, credit: 4MiB}".to_owned());
    node.files().write_config(&node.config)?;
    let before = Snapshot::take(node.namespace())?;
    let file = node.files().config().display().to_string();
    let arguments = [
        ("meshd", format!("--check --config {file}")),
        ("meshctl", format!("config check {file}")),
    ];
    for (program, arguments) in arguments {
        let finished = node
            .namespace()
            .within(|| daemon::run(program, &arguments))?;
        ensure!(finished.code == 0, "{program} {arguments}: {finished:?}");
    }
    before.must_equal(&Snapshot::take(node.namespace())?)?;
    ensure!(
        !node.files().directory().join("identity.key").exists(),
        "a check made a key"
    );
    lab.start("r1")
}

/// What was read last and waits for a restart is not in force.
fn shown(lab: &mut Lab) -> Result<()> {
    lab.start("r1")?;
    let node = lab.node_mut("r1")?;
    let value = |node: &Node, key: &str| -> Result<(Value, bool)> {
        let Settings { settings, .. } = node.ctl("config show")?;
        let setting = settings.into_iter().find(|it| it.key == key);
        let setting = setting.with_context(|| format!("no {key}"))?;
        Ok((setting.value, setting.is_set))
    };
    ensure!(value(node, "sharing.fee")? == (json!("0"), false));
    ensure!(value(node, "mesh[0].interface")? == (json!("mesh0"), true));

    node.config.sharing = Some("{fee: 5}".to_owned());
    let directory = node.files().directory().to_owned();
    let text = node.config.to_yaml(&directory);
    fs::write(
        node.files().config(),
        text.replacen("network: ", "network: other-", 1),
    )?;
    let network = value(node, "network")?;
    let _: Reloaded = node.ctl("reload")?;
    ensure!(value(node, "sharing.fee")? == (json!("5"), true));
    ensure!(value(node, "network")? == network);

    let yaml = node.ctl_text("config show --only-set")?;
    let copy = directory.join("copy.yaml");
    fs::write(&copy, &yaml)?;
    let Reloaded {
        changed,
        needs_restart,
        ..
    } = node.ctl(&format!("config diff {}", copy.display()))?;
    ensure!(
        changed.is_empty() && needs_restart.is_empty(),
        "{changed:?} {needs_restart:?} in:\n{yaml}"
    );
    Ok(())
}

fn asked_before(lab: &mut Lab) -> Result<()> {
    lab.start("r1")?;
    let node = lab.node_mut("r1")?;
    node.config.sharing = Some("{fee: 5}".to_owned());
    let directory = node.files().directory().to_owned();
    let next = directory.join("next.yaml");
    let text = node.config.to_yaml(&directory);
    let elsewhere = text.replacen("network: ", "network: other-", 1);
    let diff = |text: &str| -> Result<(Vec<String>, Vec<String>)> {
        fs::write(&next, text)?;
        let Reloaded {
            changed,
            needs_restart,
            ..
        } = node.ctl(&format!("config diff {}", next.display()))?;
        Ok((changed, needs_restart))
    };
    let sharing = || vec!["sharing".to_owned()];

    // Twice, because asking changes nothing.
    for _ in 0..2 {
        let found = diff(&text)?;
        ensure!(found == (sharing(), vec![]), "{found:?}");
    }
    let found = diff(&elsewhere)?;
    let restart = vec!["network".to_owned()];
    ensure!(found == (sharing(), restart), "{found:?}");

    node.files().write_config(&node.config)?;
    let reloaded: Reloaded = node.ctl("reload")?;
    ensure!(reloaded.changed == sharing(), "{reloaded:?}");
    let found = diff(&text)?;
    ensure!(found == (vec![], vec![]), "after the reload: {found:?}");
    Ok(())
}

/// The line that says so is of level INFO.
fn log_level(lab: &mut Lab) -> Result<()> {
    lab.start("r1")?;
    let node = lab.node("r1")?;
    for (level, said) in [("error", 0), ("info", 1), ("warn", 1), ("trace", 2)] {
        let set: LogLevelSet = node.ctl(&format!("log-level {level}"))?;
        ensure!(set.level.to_string() == level, "{set:?}");
        let count = node.files().log_text().matches("log level set").count();
        ensure!(count == said, "{level}: {count} lines and not {said}");
    }
    Ok(())
}

fn exit_statuses() -> Result<()> {
    let cases = [
        ("meshd", "--no-such-option", 2),
        ("meshd", "--version", 0),
        ("meshd", "--config /nowhere/meshd.yaml", 2),
        ("meshctl", "--socket /nowhere/control.sock status", 3),
        ("meshctl", "no-such-command", 2),
        ("meshctl", "--version", 0),
    ];
    for (program, arguments, code) in cases {
        let finished = daemon::run(program, arguments)?;
        ensure!(finished.code == code, "{program} {arguments}: {finished:?}");
    }
    Ok(())
}
