//! What an operator may send to a helper far away.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::daemon::Finished;
use mesh_tests::harness::in_lab;
use mesh_tests::lab::{Lab, Node};
use mesh_tests::mesh::wait_all_pairs;
use mesh_tests::topology::Topology;
use mesh_tests::{binaries, command};

pub(crate) fn tests() -> Vec<Trial> {
    vec![in_lab(
        "bugreport_says_what_helps_and_no_secret",
        || Topology::line(2),
        report,
    )]
}

const PATIENCE: Duration = Duration::from_secs(30);
/// A secret of each kind, where it would be on a router.
const NETWORK_KEY: &str = "planted-network-key-4711";
const PASSWORD: &str = "planted sae password";
const IN_ENVIRONMENT: &str = "planted-environment";
const IN_LOG: &str = "planted-in-log";
const IN_URL: &str = "planted-login";
const IN_WALLET: &str = "planted-wallet";

/// What must be in the report of a daemon that runs.
const HELPFUL: [&str; 14] = [
    "Internet: no",
    "meshctl neighbors",
    "\"neighbors\":[",
    "meshctl doctor",
    "meshctl gateways",
    "meshctl originators",
    "meshctl routes",
    "  - interface: mesh0",
    "ip -d link",
    "ip -6 rule",
    "table inet meshd",
    "net/ipv4/ip_forward = 1",
    "dmesg, of radios",
    "this line of the log stays",
];

fn report(lab: &mut Lab) -> Result<()> {
    let directory = lab.node("r1")?.files().directory().to_owned();
    let network_key = directory.join("network.key");
    write_private(&network_key, NETWORK_KEY)?;
    for name in ["r1", "r2"] {
        // With the key in a line of its own behind it.
        let network = format!("laboratory\nnetwork_key: {}", network_key.display());
        lab.node_mut(name)?.config.network = network;
    }
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    plant(&directory)?;
    let node = lab.node_mut("r1")?;
    let identity = fs::read_to_string(directory.join("identity.key"))?;
    let secrets = [
        identity.trim(),
        NETWORK_KEY,
        PASSWORD,
        IN_ENVIRONMENT,
        IN_LOG,
        IN_URL,
        IN_WALLET,
    ];

    let (finished, text) = make(node, &directory)?;
    ensure!(finished.code == 0, "{finished:?}");
    for words in HELPFUL {
        ensure!(text.contains(words), "no {words:?} in:\n{text}");
    }
    must_hide(&secrets, &text)?;

    node.take_daemon()?.crash()?;
    let (finished, text) = make(node, &directory)?;
    ensure!(finished.code == 7, "{finished:?}");
    ensure!(
        finished.out.contains("meshd did not answer"),
        "{finished:?}"
    );
    for words in [
        "DOES NOT ANSWER",
        "configuration file",
        "frequency_mhz: 2412",
        "ip -d link",
    ] {
        ensure!(text.contains(words), "no {words:?} in:\n{text}");
    }
    must_hide(&secrets, &text)
}

fn must_hide(secrets: &[&str], text: &str) -> Result<()> {
    for secret in secrets {
        ensure!(!text.contains(secret), "{secret:?} is in:\n{text}");
    }
    ensure!(text.len() < 1024 * 1024, "{} bytes", text.len());
    Ok(())
}

/// Files that a router may have, and a log that somebody has made of all of them.
fn plant(directory: &Path) -> Result<()> {
    let identity = fs::read_to_string(directory.join("identity.key"))?;
    let config = format!(
        "network: laboratory\nidentity: {0}/identity.key\nnetwork_key: {0}/network.key\n\
         mesh: [{{interface: mesh0, radio: {{id: v, frequency_mhz: 2412, key: {{sae: {PASSWORD}}}}}}}]\n",
        directory.display()
    );
    write_private(&directory.join("other.yaml"), &config)?;
    let home = directory.join("home/.config/meshd");
    fs::create_dir_all(&home)?;
    write_private(
        &home.join("wallet.yaml"),
        &format!("rpc: https://{IN_WALLET}@node.example"),
    )?;
    let log = format!(
        "this line of the log stays\\n\
         identity is {} and network key {NETWORK_KEY}\\n\
         wpa_supplicant: passphrase {PASSWORD}\\n\
         wpa_supplicant: sae_password={IN_LOG}\\n\
         asking https://{IN_URL}@node.example/\\n",
        identity.trim()
    );
    let programs = directory.join("bin");
    fs::create_dir_all(&programs)?;
    let journal = programs.join("journalctl");
    fs::write(&journal, format!("#!/bin/sh\nprintf '{log}'\n"))?;
    Ok(fs::set_permissions(
        journal,
        fs::Permissions::from_mode(0o755),
    )?)
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(
        path,
        fs::Permissions::from_mode(0o600),
    )?)
}

/// Runs `meshctl bugreport` with all that is planted in reach, and reads what it wrote.
fn make(node: &Node, directory: &Path) -> Result<(Finished, String)> {
    let file = directory.join("report.txt");
    let path = std::env::var("PATH").context("PATH")?;
    let mut meshctl = Command::new(binaries::find("meshctl")?);
    meshctl
        .arg("--socket")
        .arg(node.files().socket())
        .args(["bugreport", "--config"])
        .arg(directory.join("other.yaml"))
        .arg("--output-file")
        .arg(&file)
        .env(
            "PATH",
            format!("{}:{path}", directory.join("bin").display()),
        )
        .env("HOME", directory.join("home"))
        .env("MESHCTL_PASSPHRASE", IN_ENVIRONMENT);
    let output = node
        .namespace()
        .within(|| command::output(&mut meshctl, None))?;
    let finished = Finished {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    let mode = fs::metadata(&file)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "mode {mode:o}");
    Ok((finished, fs::read_to_string(&file)?))
}
