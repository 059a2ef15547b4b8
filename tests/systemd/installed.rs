//! The relay in the middle is this machine, with the package installed; its neighbors are routers of the laboratory.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use control_api::{Doctor, Status};
use libtest_mimic::Trial;
use mesh_tests::command;
use mesh_tests::harness::{in_lab, note, plain};
use mesh_tests::lab::{Lab, MESH};
use mesh_tests::probe::{PORT, Pinger};
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, User};

use crate::package::{install, purge, remove};
use crate::unit::{log, pid, property, systemctl};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "package_is_installed_and_works_hardened",
            || Topology::line(3),
            life_of_a_package,
        ),
        plain("package_of_redeemd_waits_for_its_configuration", redeemd),
    ]
}

const PATIENCE: Duration = Duration::from_secs(30);
const CONFIG: &str = "/etc/meshd/meshd.yaml";
const INTERVAL: Duration = Duration::from_millis(5);

fn life_of_a_package(lab: &mut Lab) -> Result<()> {
    take_interface(lab)?;
    fresh().context("installed, and not configured")?;
    configure(lab)?;
    systemctl("start")?;
    sandboxed().context("started")?;
    lab.start("r1")?;
    lab.start("r3")?;
    let relayed = relayed(lab).context("the mesh")?;
    healthy().context("asked")?;

    let changes: [Change; 3] = [
        ("systemctl restart", restart),
        ("upgrade of the package", upgrade),
        ("start of systemd-networkd", networkd),
    ];
    for (what, change) in changes {
        undisturbed(lab, relayed, what, change).with_context(|| format!("{what}:\n{}", log()))?;
    }
    reload(lab)?;
    watched(lab, relayed).with_context(|| format!("a loop that is stuck:\n{}", log()))?;
    gone().context("removed")
}

/// What is done to the package, and how.
type Change = (&'static str, fn() -> Result<()>);

/// What r2 has of the mesh is this machine's.
fn take_interface(lab: &Lab) -> Result<()> {
    let r2 = lab.node("r2")?.namespace();
    // The network of the first process is that of this machine.
    r2.ip(&format!("link set {MESH} netns 1"))?;
    command::run("ip", &format!("link set {MESH} up")).map(drop)
}

fn fresh() -> Result<()> {
    // Where packages are only built, as outside perhaps, it forbids them to start services.
    let _ = fs::remove_file("/usr/sbin/policy-rc.d");
    install("meshd")?;
    waits("meshd")?;
    let user = User::from_name("meshd")?.context("no user meshd")?;
    let place = fs::metadata("/etc/meshd")?;
    let (owner, group) = (place.uid(), place.gid());
    ensure!((owner, group) == (0, user.gid.as_raw()), "{owner}:{group}");
    let mode = place.permissions().mode() & 0o7777;
    ensure!(mode == 0o1770, "{mode:o}");
    for file in [
        "/usr/bin/meshctl",
        "/usr/share/man/man8/meshd.8.gz",
        "/usr/share/man/man1/meshctl-status.1.gz",
        "/usr/share/bash-completion/completions/meshctl",
        "/usr/lib/NetworkManager/conf.d/meshd.conf",
        "/usr/lib/sysctl.d/60-meshd.conf",
    ] {
        ensure!(Path::new(file).is_file(), "no {file}");
    }
    let conffiles = command::run("dpkg-query", "-W -f ${Conffiles} meshd")?;
    ensure!(conffiles.contains("/etc/default/meshd "), "{conffiles}");
    Ok(())
}

fn configure(lab: &Lab) -> Result<()> {
    let config = &lab.node("r2")?.config;
    let text = format!(
        "network: {}\nname: r2\nmesh: {}\n",
        config.network, config.mesh
    );
    write_config(&text)
}

fn write_config(text: &str) -> Result<()> {
    let user = User::from_name("meshd")?.context("no user meshd")?;
    fs::write(CONFIG, text)?;
    // As it has to be where there is a password in it.
    fs::set_permissions(CONFIG, fs::Permissions::from_mode(0o600))?;
    chown(CONFIG, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    Ok(())
}

/// systemd says that it runs, and the kernel that it may do little.
fn sandboxed() -> Result<()> {
    let said = format!("{} {}", property("ActiveState")?, property("StatusText")?);
    ensure!(said == "active speaks on the mesh", "{said}\n{}", log());
    let status = fs::read_to_string(format!("/proc/{}/status", pid()?))?;
    let user = User::from_name("meshd")?.context("no user meshd")?;
    let uid = user.uid;
    for line in [
        format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}"),
        // CAP_NET_BIND_SERVICE, CAP_NET_ADMIN and CAP_NET_RAW.
        "CapEff:\t0000000000003400".to_owned(),
        "CapBnd:\t0000000000003400".to_owned(),
        "NoNewPrivs:\t1".to_owned(),
        "Seccomp:\t2".to_owned(),
    ] {
        ensure!(
            status.lines().any(|it| it == line),
            "no {line} in\n{status}"
        );
    }
    let key = fs::metadata("/etc/meshd/identity.key")?;
    ensure!(key.uid() == uid.as_raw() && key.mode() & 0o777 == 0o600);
    Ok(())
}

/// Waits until r1 reaches r3, which only this machine can make possible, and returns where that is.
fn relayed(lab: &Lab) -> Result<SocketAddr> {
    let far = lab.node("r3")?.status()?;
    let target = SocketAddr::new(IpAddr::V6(far.mesh_ipv6), PORT);
    let pinger = Pinger::start(lab.node("r1")?.namespace(), target, INTERVAL)?;
    pinger.wait_answers(50, PATIENCE).with_context(log)?;
    Ok(target)
}

/// What is wrong under the sandbox is said, and nothing is.
fn healthy() -> Result<()> {
    let status: Status = serde_json::from_str(&command::run("meshctl", "--json status")?)?;
    ensure!(status.warnings.is_empty(), "{:?}", status.warnings);
    ensure!(status.originators == 2, "{status:?}");
    let doctor: Doctor = serde_json::from_str(&command::run("meshctl", "--json doctor")?)?;
    ensure!(doctor.findings.is_empty(), "{:?}", doctor.findings);
    for (setting, value) in [
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
    ] {
        let found = fs::read_to_string(Path::new("/proc/sys").join(setting))?;
        ensure!(found.trim() == value, "{setting} is {found}");
    }
    Ok(())
}

fn restart() -> Result<()> {
    let before = pid()?;
    systemctl("restart")?;
    ensure!(pid()? != before, "it is still the same process");
    Ok(())
}

fn upgrade() -> Result<()> {
    let before = pid()?;
    install("meshd")?;
    ensure!(pid()? != before, "it is still the same process");
    Ok(())
}

/// It takes what its files match, and removes what it takes for leftovers.
fn networkd() -> Result<()> {
    let all = "[Match]\nName=*\n\n[Network]\nAddress=10.77.0.1/24\n";
    fs::write("/etc/systemd/network/50-all.network", all)?;
    command::run("systemctl", "start systemd-networkd")?;
    wait_for("networkd to take all interfaces but ours", PATIENCE, || {
        let said = command::run("networkctl", "--no-pager --no-legend list")?;
        let state = |name: &str| {
            let mut lines = said.lines().map(|line| line.split_whitespace());
            let mut line = lines.find(|line| line.clone().nth(1) == Some(name))?;
            line.next_back()
        };
        let states = ["lo", MESH, "meshd0"].map(state);
        let wanted = [Some("configured"), Some("unmanaged"), Some("unmanaged")];
        ensure!(states == wanted, "{said}");
        Ok(())
    })?;
    command::run("systemctl", "stop systemd-networkd.socket systemd-networkd").map(drop)
}

/// Traffic through this machine, while `change` is made: nothing is lost.
fn undisturbed(
    lab: &Lab,
    target: SocketAddr,
    what: &str,
    change: fn() -> Result<()>,
) -> Result<()> {
    let rules = command::run("ip", "rule")?;
    let pinger = Pinger::start(lab.node("r1")?.namespace(), target, INTERVAL)?;
    pinger.wait_answers(50, PATIENCE)?;
    change()?;
    wait_for("the mesh to be known again", PATIENCE, || {
        let status: Status = serde_json::from_str(&command::run("meshctl", "--json status")?)?;
        ensure!(status.originators == 2, "{status:?}");
        Ok(())
    })?;
    // A late clean-up would come once it believes to know everything.
    pinger.wait_answers(250, PATIENCE)?;
    let report = pinger.stop();
    note(&format!("{what}: {report}"));
    ensure!(report.lost == 0, "{report}");
    let said = format!("{} {}", property("ActiveState")?, property("StatusText")?);
    ensure!(said == "active speaks on the mesh", "{said}");
    let now = command::run("ip", "rule")?;
    ensure!(rules == now, "{rules}\nbecame\n{now}");
    Ok(())
}

/// A mistake is the answer of `systemctl reload`, and the daemon is left alone.
fn reload(lab: &Lab) -> Result<()> {
    let before = pid()?;
    write_config("network: [")?;
    ensure!(systemctl("reload").is_err(), "a mistake was not told");
    configure(lab)?;
    systemctl("reload")?;
    ensure!(pid()? == before, "another process");
    wait_for("the configuration to be read", PATIENCE, || {
        let log = log();
        ensure!(log.contains("configuration read again"), "{log}");
        ensure!(property("ActiveState")? == "active");
        Ok(())
    })
}

/// A loop that does not go on is replaced, and the mesh is whole again.
fn watched(lab: &Lab, target: SocketAddr) -> Result<()> {
    let place = Path::new("/run/systemd/system/meshd.service.d");
    fs::create_dir_all(place)?;
    fs::write(place.join("soon.conf"), "[Service]\nWatchdogSec=10\n")?;
    command::run("systemctl", "daemon-reload")?;
    systemctl("restart")?;
    let (before, restarts) = (pid()?, property("NRestarts")?);
    let thread = Pid::from_raw(before);
    ptrace::attach(thread).context("hold the loop")?;
    waitpid(thread, Some(WaitPidFlag::__WALL))?;
    let replaced = wait_for("systemd to start another one", PATIENCE, || {
        // It ends only when whoever holds it has seen that.
        let _ = waitpid(thread, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG));
        ensure!(property("NRestarts")? != restarts, "not yet");
        ensure!(property("ActiveState")? == "active" && pid()? != before);
        Ok(())
    });
    if replaced.is_err() {
        let _ = ptrace::detach(thread, None);
    }
    replaced?;
    let pinger = Pinger::start(lab.node("r1")?.namespace(), target, INTERVAL)?;
    pinger.wait_answers(50, PATIENCE)?;
    Ok(())
}

fn gone() -> Result<()> {
    remove("meshd")?;
    let rules = command::run("ip", "rule")?;
    ensure!(!rules.contains("5525"), "{rules}");
    let tables = command::run("nft", "list tables")?;
    ensure!(!tables.contains("meshd"), "{tables}");
    let links = command::run("ip", "-o link")?;
    ensure!(!links.contains("meshd"), "{links}");
    ensure!(
        Path::new(CONFIG).exists(),
        "the configuration is gone already"
    );
    ensure!(!Path::new("/usr/sbin/meshd").exists());

    let said = purge("meshd")?;
    ensure!(
        said.contains("keys and receipts stay in /etc/meshd"),
        "{said}"
    );
    for (path, stays) in [
        (CONFIG, false),
        ("/etc/default/meshd", false),
        ("/run/meshd", false),
        ("/etc/meshd/identity.key", true),
    ] {
        ensure!(
            Path::new(path).exists() == stays,
            "{path} should stay: {stays}"
        );
    }
    Ok(())
}

/// Enabled, and not started: nobody has said yet what to do.
fn waits(service: &str) -> Result<()> {
    let state = command::run("systemctl", &format!("is-enabled {service}"))?;
    ensure!(state.trim() == "enabled", "{service}: {state}");
    let state = command::run(
        "systemctl",
        &format!("show --value -p ActiveState {service}"),
    )?;
    ensure!(state.trim() == "inactive", "{service}: {state}");
    Ok(())
}

fn redeemd() -> Result<()> {
    install("redeemd")?;
    waits("redeemd")?;
    let place = fs::metadata("/etc/redeemd")?;
    ensure!(place.mode() & 0o7777 == 0o700, "{:o}", place.mode());
    let said = purge("redeemd")?;
    ensure!(!said.contains("stay in"), "{said}");
    ensure!(!Path::new("/etc/redeemd").exists());
    Ok(())
}
