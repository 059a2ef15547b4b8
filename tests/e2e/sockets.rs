//! The two control sockets: who may use which, and for what.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use control_api::read_only_socket;
use libtest_mimic::Trial;
use mesh_tests::binaries;
use mesh_tests::daemon::{self, Finished};
use mesh_tests::harness::in_lab;
use mesh_tests::lab::Lab;
use mesh_tests::topology::Topology;

pub(crate) fn tests() -> Vec<Trial> {
    vec![in_lab(
        "who_may_only_ask_changes_nothing",
        || Topology::line(1),
        two_sockets,
    )]
}

/// `meshctl` without the capabilities of root, to whom modes mean something then.
fn meshctl(arguments: &str) -> Result<Finished> {
    let mut command = Command::new("setpriv");
    command
        .args(["--bounding-set=-all", "--inh-caps=-all"])
        .arg(binaries::find("meshctl")?)
        .args(arguments.split(' '));
    let output = command.output().context("setpriv")?;
    Ok(Finished {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

fn expect(arguments: &str, code: i32, words: &str) -> Result<()> {
    let finished = meshctl(arguments)?;
    let said = format!("{}{}", finished.out, finished.err);
    ensure!(
        finished.code == code && said.contains(words),
        "{arguments}: {finished:?}, not {code} {words:?}"
    );
    Ok(())
}

fn mode(path: &PathBuf) -> Result<u32> {
    let found = fs::symlink_metadata(path);
    Ok(found.with_context(|| path.display().to_string())?.mode() & 0o777)
}

fn two_sockets(lab: &mut Lab) -> Result<()> {
    lab.start("r1")?;
    let socket = lab.node("r1")?.files().socket();
    let beside = read_only_socket(&socket);
    ensure!(mode(&socket)? == 0o660 && mode(&beside)? == 0o666);
    // Where meshctl looks by default is in the laboratory.
    symlink(lab.node("r1")?.files().directory(), "/run/meshd")?;
    expect("reload", 0, "nothing changed")?;

    // The laboratory has one user. That it is not for him has to be said of the owner.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o060))?;
    for question in [
        "status",
        "doctor",
        "interfaces",
        "neighbors",
        "originators",
        "gateways",
        "receipts list",
        "receipts stats",
        "config show",
        "metrics",
        "graph",
    ] {
        let finished = meshctl(question)?;
        ensure!([0, 7].contains(&finished.code), "{question}: {finished:?}");
    }
    for (order, method) in [
        ("reload", "reload has effects"),
        ("reload --revert", "reload.revert has effects"),
        ("log-level debug", "log_level has effects"),
        ("gateways select off", "gateways.select has effects"),
        ("ping r1 --count 1", "probe has effects"),
        ("throughput r1", "throughput has effects"),
        ("receipts export /run/none", "receipts.export has effects"),
    ] {
        expect(order, 5, method)?;
    }
    expect(
        &format!("--socket {} status", socket.display()),
        5,
        "no permission",
    )?;
    expect(&format!("--socket {} status", beside.display()), 0, "r1")?;
    listeners(lab)?;

    let node = lab.node_mut("r1")?;
    node.take_daemon()?.terminate()?;
    ensure!(!beside.exists() && !socket.exists(), "sockets are left");
    node.config.control_read_only = Some("off".to_owned());
    lab.start("r1")?;
    ensure!(!beside.exists(), "there is one for questions");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o060))?;
    expect("status", 5, "no permission to use /run/meshd/control.sock")?;

    let node = lab.node_mut("r1")?;
    node.config.control_read_only = Some("nobody-is-called-so".to_owned());
    node.files().write_config(&node.config)?;
    let config = node.files().config();
    let arguments = format!("--check --config {}", config.display());
    let checked = (node.namespace()).within(|| daemon::run("meshd", &arguments))?;
    ensure!(checked.code == 2, "{checked:?}");
    ensure!(checked.err.contains("there is no group"), "{checked:?}");
    Ok(())
}

/// Of eight places four are for those who may do more.
fn listeners(lab: &Lab) -> Result<()> {
    use control_api::{Client, Monitor};
    let beside = read_only_socket(&lab.node("r1")?.files().socket());
    let limit = std::time::Duration::from_secs(10);
    let listen = || Monitor::begin(Client::connect(&beside, limit)?);
    let mended = Client::connect(&beside, limit)?.mend();
    ensure!(mended.is_err(), "doctor mends");
    let four = [listen()?, listen()?, listen()?, listen()?];
    let fifth = listen();
    ensure!(fifth.is_err(), "a fifth listens");
    drop(four);
    Ok(())
}
