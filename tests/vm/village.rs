//! meshd on radios: it makes the interfaces itself, as its configuration says.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use control_api::{Encryption, Interfaces, Neighbors, Severity, Station};
use libtest_mimic::Trial;
use mesh_tests::air::Loss;
use mesh_tests::command;
use mesh_tests::daemon::{Mode, Radio};
use mesh_tests::harness::in_radio_lab;
use mesh_tests::http::fetch;
use mesh_tests::internet::{HOST_V4, web_at};
use mesh_tests::lab::{Lab, MESH};
use mesh_tests::mesh::{path, wait_all_pairs, wait_online_through};
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_radio_lab(
            "village_meets_in_an_open_mesh",
            || Topology::line(5),
            open_mesh,
        ),
        in_radio_lab("village_meets_in_an_ibss", || Topology::line(5), ibss),
        in_radio_lab(
            "village_meets_in_an_encrypted_mesh",
            || Topology::line(5),
            sae,
        ),
        in_radio_lab(
            "village_keeps_a_wrong_key_out",
            || Topology::line(3),
            wrong_key,
        ),
        in_radio_lab("village_leaves_a_lossy_link", || Topology::ring(3), lossy),
        in_radio_lab(
            "village_survives_radios_that_come_and_go",
            || Topology::line(2),
            comes_and_goes,
        ),
        in_radio_lab(
            "village_uses_radios_of_others",
            || Topology::line(2),
            foreign,
        ),
        in_radio_lab(
            "village_keeps_radios_over_a_handover",
            || Topology::line(2),
            ends,
        ),
    ]
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The arithmetic of SAE takes an emulated processor half a minute for each neighbor.
const HANDSHAKES: Duration = Duration::from_secs(90);
const PASSWORD: &str = "correct horse battery";

/// Five radios in a line, a phone at one end and the Internet at the other.
fn village(lab: &mut Lab, radio: &Radio) -> Result<()> {
    lab.use_radios(radio)?;
    lab.add_phone("r1")?;
    lab.add_uplink("r5")?;
    match radio.password {
        Some(_) => start_in_turn(lab)?,
        None => lab.start_all()?,
    }
    wait_all_pairs(lab, HANDSHAKES)?;
    wait_for("a path along the line", PATIENCE, || {
        let hops = path(lab, "r1", "r5")?;
        ensure!(hops.len() == 5, "the radios are no line: {hops:?}");
        Ok(())
    })?;
    wait_online_through(lab, "r1", "r5", PATIENCE)?;
    let phone = lab.node("r1")?.phone()?;
    wait_for("a page", PATIENCE, || {
        fetch(phone, web_at(HOST_V4), "/", Duration::from_secs(5))
    })?;
    Ok(())
}

/// One after the other: an emulated processor that does five handshakes at once does none in time.
fn start_in_turn(lab: &mut Lab) -> Result<()> {
    let routers: Vec<String> = lab.nodes().map(|node| node.name().to_owned()).collect();
    for (before, router) in routers.iter().enumerate() {
        lab.start(router)?;
        wait_for("a neighbor", HANDSHAKES, || {
            let status = lab.node(router)?.status()?;
            ensure!(before == 0 || status.neighbors > 0, "{router} hears nobody");
            Ok(())
        })?;
    }
    Ok(())
}

fn open_mesh(lab: &mut Lab) -> Result<()> {
    village(lab, &Radio::open(Mode::Mesh))?;
    let radio = radio_of(lab, "r2")?;
    ensure!(
        radio.mode == "802.11s" && radio.encryption == Encryption::Open,
        "{radio:?}"
    );
    ensure!(radio.id.as_deref() == Some("labmesh"), "{radio:?}");
    ensure!(
        (radio.frequency_mhz, radio.channel) == (Some(2412), Some(1)),
        "{radio:?}"
    );
    let peers: Vec<&Station> = radio.stations.iter().filter(|it| it.is_peer()).collect();
    ensure!(peers.len() == 2, "{radio:?}");
    for peer in peers {
        ensure!(peer.signal_dbm.is_some_and(|dbm| dbm < 0), "{peer:?}");
        ensure!(peer.expected_throughput_kbps.is_some(), "{peer:?}");
        ensure!(peer.name.is_some(), "{peer:?}");
    }
    for node in lab.nodes() {
        let doctor = node.doctor()?;
        ensure!(!doctor.has_errors(), "{}: {doctor:?}", node.name());
    }
    weak(lab)?;
    leaves_paths_to_us(lab)
}

fn leaves_paths_to_us(lab: &Lab) -> Result<()> {
    let namespace = lab.node("r2")?.namespace();
    for (parameter, wanted) in [("mesh_fwding", "0"), ("mesh_nolearn", "1")] {
        wait_for(parameter, PATIENCE, || {
            let found = namespace.run("iw", &format!("dev {MESH} get mesh_param {parameter}"))?;
            ensure!(found.trim() == wanted, "it is {found}");
            Ok(())
        })?;
    }
    Ok(())
}

/// r2 lowers its power, of which no kernel tells.
fn weak(lab: &Lab) -> Result<()> {
    let mac = lab.node("r2")?.namespace().hardware_address(MESH)?;
    let signal = || -> Result<i32> {
        let stations = radio_of(lab, "r1")?.stations;
        let station = stations.iter().find(|station| station.mac == mac);
        let signal = station.and_then(|station| station.signal_dbm);
        signal.with_context(|| format!("{stations:?}"))
    };
    let before = signal()?;
    let power = format!("dev {MESH} set txpower fixed 100");
    lab.node("r2")?.namespace().run("iw", &power)?;
    wait_for("r1 to hear r2 less", PATIENCE, || {
        let now = signal()?;
        ensure!(now < before - 10, "{now} dBm after {before} dBm");
        Ok(())
    })?;
    wait_for("r2 to know its power", PATIENCE * 2, || {
        let power = radio_of(lab, "r2")?.tx_power_mbm;
        ensure!(power == Some(100), "{power:?}");
        Ok(())
    })
}

fn ibss(lab: &mut Lab) -> Result<()> {
    village(lab, &Radio::open(Mode::Ibss))?;
    let radio = radio_of(lab, "r3")?;
    ensure!(
        radio.mode == "IBSS" && radio.id.as_deref() == Some("labmesh"),
        "{radio:?}"
    );
    Ok(())
}

fn sae(lab: &mut Lab) -> Result<()> {
    village(lab, &Radio::open(Mode::Mesh).with_password(PASSWORD))?;
    let radio = radio_of(lab, "r2")?;
    ensure!(radio.encryption == Encryption::Sae, "{radio:?}");
    let node = lab.node("r2")?;
    let stations = node.namespace().run("iw", "dev mesh0 station dump")?;
    ensure!(
        stations.contains("MFP:\t\tyes"),
        "frames are not protected:\n{stations}"
    );
    leaves_paths_to_us(lab)?;
    password_is_nowhere(lab)
}

/// Not in a log, not in a process list, and in no file that others can read.
fn password_is_nowhere(lab: &Lab) -> Result<()> {
    for node in lab.nodes() {
        ensure!(
            !has_password(node.files().log_text().as_bytes()),
            "it is in the log of {}",
            node.name()
        );
        let shown = format!("{}{:?}", node.ctl_text("interfaces")?, node.doctor()?);
        ensure!(!has_password(shown.as_bytes()), "{shown}");
        only_for_us(node.files().directory())?;
    }
    for process in fs::read_dir("/proc")?.flatten() {
        for file in ["cmdline", "environ"] {
            let path = process.path().join(file);
            // It may have ended, or be a file that is no process.
            let text = fs::read(&path).unwrap_or_default();
            ensure!(!has_password(&text), "it is in {}", path.display());
        }
    }
    Ok(())
}

/// Whether the password is in there, as it is or as wpa_supplicant is told it: in hex digits.
fn has_password(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text).to_lowercase();
    let hex: Vec<String> = PASSWORD.bytes().map(|b| format!("{b:02x}")).collect();
    text.contains(PASSWORD) || text.contains(&hex.concat())
}

/// In a node's directory, nobody else reads what has the password, and nothing below `radio`.
fn only_for_us(directory: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let radio = directory.join("radio");
    let mut files = vec![directory.to_owned()];
    let mut secrets = 0;
    while let Some(path) = files.pop() {
        let metadata = fs::symlink_metadata(&path)?;
        let mode = metadata.mode() & 0o777;
        if metadata.is_dir() {
            files.extend(fs::read_dir(&path)?.flatten().map(|entry| entry.path()));
        } else if metadata.is_file() {
            let is_secret = has_password(&fs::read(&path)?);
            secrets += u32::from(is_secret);
            let is_private = mode == 0o600 || !is_secret && !path.starts_with(&radio);
            ensure!(is_private, "{} has mode {mode:o}", path.display());
        }
    }
    // The configuration of the node, and that of wpa_supplicant.
    ensure!(
        secrets >= 2,
        "{secrets} files with the password in {}",
        directory.display()
    );
    let mode = fs::metadata(radio.join(MESH))?.mode() & 0o777;
    ensure!(mode == 0o700, "{} has mode {mode:o}", radio.display());
    Ok(())
}

fn radio_of(lab: &Lab, router: &str) -> Result<control_api::Radio> {
    let interfaces: Interfaces = lab.node(router)?.ctl("interfaces")?;
    let mut interfaces = interfaces.interfaces.into_iter();
    let interface = interfaces.find(|it| it.name == MESH);
    let radio = interface.and_then(|interface| interface.radio);
    radio.with_context(|| format!("{router} has no radio"))
}

pub(crate) fn wait_problem(lab: &Lab, router: &str, words: &[&str]) -> Result<()> {
    wait_for("the doctor to find it", HANDSHAKES, || {
        let doctor = lab.node(router)?.doctor()?;
        let found = doctor.findings.iter().find(|finding| {
            finding.severity == Severity::Error
                && words.iter().all(|word| finding.problem.contains(word))
        });
        let found = found.with_context(|| format!("{doctor:?}"))?;
        ensure!(!found.advice.is_empty(), "no advice: {found:?}");
        Ok(())
    })
}

/// r2 and r3 do not agree; r1 and r2 do.
fn wrong_key(lab: &mut Lab) -> Result<()> {
    for (router, password) in [
        ("r1", PASSWORD),
        ("r2", PASSWORD),
        ("r3", "incorrect horse"),
    ] {
        let radio = Radio::open(Mode::Mesh).with_password(password);
        lab.node_mut(router)?.config.mesh = radio.to_yaml(MESH, "any");
    }
    lab.start_all()?;
    wait_encrypted_pair(lab)?;
    wait_problem(lab, "r3", &["key is probably wrong"])?;
    let answer: Neighbors = lab.node("r3")?.ctl("neighbors")?;
    ensure!(answer.neighbors.is_empty(), "{answer:?}");
    leaves_no_key(lab, "r3")?;
    encrypted_mesh_comes_back(lab)
}

/// However busy wpa_supplicant is with those it refuses.
fn leaves_no_key(lab: &mut Lab, router: &str) -> Result<()> {
    let directory = lab.node(router)?.files().directory().join("radio");
    ensure!(directory.join(MESH).exists(), "there was nothing to remove");
    lab.node_mut(router)?.take_daemon()?.terminate()?;
    let left: Vec<_> = fs::read_dir(&directory)?.flatten().collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

/// r1 leaves the mesh behind everybody's back; it is switched off and on; all radios are unplugged
/// and plugged in.
fn encrypted_mesh_comes_back(lab: &mut Lab) -> Result<()> {
    let namespace = lab.node("r1")?.namespace().clone();
    namespace.run("iw", &format!("dev {MESH} mesh leave"))?;
    wait_problem(lab, "r1", &["the mesh is not joined"])?;
    // It may have joined again by now.
    wait_for("status to warn of it", PATIENCE, || {
        let _ = namespace.run("iw", &format!("dev {MESH} mesh leave"));
        let warnings = lab.node("r1")?.status()?.warnings;
        let told = warnings.iter().any(|it| it.contains("is not joined"));
        ensure!(told, "{warnings:?}");
        Ok(())
    })?;
    wait_encrypted_pair(lab)?;

    namespace.ip(&format!("link set {MESH} down"))?;
    wait_problem(lab, "r1", &["switched off"])?;
    namespace.ip(&format!("link set {MESH} up"))?;
    wait_encrypted_pair(lab)?;

    lab.air().replug()?;
    wait_encrypted_pair(lab)
}

fn wait_encrypted_pair(lab: &Lab) -> Result<()> {
    wait_for("r1 and r2 to hear each other", HANDSHAKES, || {
        for router in ["r1", "r2"] {
            let peers = radio_of(lab, router)?.stations;
            ensure!(peers.iter().any(Station::is_peer), "{router}: {peers:?}");
            let answer: Neighbors = lab.node(router)?.ctl("neighbors")?;
            let usable = answer.neighbors.iter().filter(|it| it.cost_us.is_some());
            ensure!(usable.count() == 1, "{router}: {answer:?}");
        }
        Ok(())
    })
}

/// All three hear each other, r1 and r3 badly.
fn lossy(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    wait_for("the short way", PATIENCE, || {
        let before = path(lab, "r1", "r3")?;
        ensure!(before.len() == 2, "{before:?}");
        Ok(())
    })?;
    lab.air().connect("r1", "r3", Loss::percent(70))?;
    wait_for("the way over r2", PATIENCE * 2, || {
        let now = path(lab, "r1", "r3")?;
        ensure!(now.len() == 3, "{now:?}");
        Ok(())
    })
}

/// Unplugged and plugged in, switched off and on, renamed, on another channel, and blocked.
fn comes_and_goes(lab: &mut Lab) -> Result<()> {
    any_radio(lab)?;
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    unload_wireless()?;
    lab.air().replug()?;
    wait_all_pairs(lab, PATIENCE)?;

    // What the operator switches off stays off, and is used again when it is on again.
    let namespace = lab.node("r2")?.namespace().clone();
    namespace.ip("link set mesh0 down")?;
    wait_problem(lab, "r2", &["switched off"])?;
    namespace.ip("link set mesh0 up")?;
    wait_all_pairs(lab, PATIENCE)?;

    namespace.ip("link set mesh0 down")?;
    namespace.ip("link set mesh0 name lost")?;
    wait_for("another mesh0 in the place of the one", PATIENCE, || {
        let has = |name| namespace.interface_index(name).is_ok();
        ensure!(has(MESH) && !has("lost"), "mesh0 is not made anew");
        Ok(())
    })?;
    wait_all_pairs(lab, PATIENCE)?;

    for name in ["r1", "r2"] {
        let node = lab.node_mut(name)?;
        node.config.mesh = format!(
            "[{{interface: {MESH}, radio: {{id: labmesh, frequency_mhz: 2437, width: ht40+, \
             mcast_rate_kbps: 6000, rssi_threshold_dbm: -90}}}}]"
        );
        node.files().write_config(&node.config)?;
        node.ctl_text("reload")?;
    }
    wait_for("r1 and r2 on channel 6", PATIENCE, || {
        for name in ["r1", "r2"] {
            let channel = radio_of(lab, name)?.channel;
            ensure!(channel == Some(6), "{name} is on channel {channel:?}");
        }
        Ok(())
    })?;
    wait_all_pairs(lab, PATIENCE)?;
    for (question, answer) in [
        ("info", "width: 40 MHz, center1: 2447 MHz"),
        ("get mesh_param mesh_rssi_threshold", "-90 dBm"),
    ] {
        let found = namespace.run("iw", &format!("dev {MESH} {question}"))?;
        ensure!(found.contains(answer), "{found}");
    }
    blocked(lab)?;
    for name in ["r1", "r2"] {
        let node = lab.node_mut(name)?;
        ensure!(node.daemon()?.is_running()?, "{name} has ended");
    }
    Ok(())
}

/// Takes the driver away with all that it needs, so that even nl80211 will be a new one.
fn unload_wireless() -> Result<()> {
    // What needs some of that as well may be there from another test.
    let users = ["batman_adv", "mac80211_hwsim", "mac80211", "cfg80211"];
    let module = |name: &str| Path::new("/sys/module").join(name);
    for name in users.into_iter().filter(|name| module(name).exists()) {
        command::run("rmmod", name)?;
    }
    ensure!(!module("cfg80211").exists(), "nl80211 is still there");
    Ok(())
}

/// All radios are switched off by rfkill, which switches off their interfaces, and on again, which
/// leaves the interfaces off.
fn blocked(lab: &Lab) -> Result<()> {
    block_radios(true)?;
    let noticed = wait_problem(lab, "r2", &["switched off (rfkill)"]);
    block_radios(false)?;
    noticed?;
    wait_all_pairs(lab, PATIENCE)
}

/// `struct rfkill_event` of linux/rfkill.h: all devices of type WLAN are to change.
fn block_radios(blocked: bool) -> Result<()> {
    const TYPE_WLAN: u8 = 1;
    const OP_CHANGE_ALL: u8 = 3;
    let event = [0, 0, 0, 0, TYPE_WLAN, OP_CHANGE_ALL, u8::from(blocked), 0];
    let mut device = fs::File::options().write(true).open("/dev/rfkill")?;
    Ok(device.write_all(&event)?)
}

/// Whatever it is called after it was unplugged.
fn any_radio(lab: &mut Lab) -> Result<()> {
    let routers: Vec<String> = lab.nodes().map(|node| node.name().to_owned()).collect();
    for router in routers {
        let mesh = Radio::open(Mode::Mesh).to_yaml(MESH, "any");
        lab.node_mut(&router)?.config.mesh = mesh;
    }
    Ok(())
}

/// As netifd or an operator makes one: without our mark, and with the radios' own forwarding.
fn foreign(lab: &mut Lab) -> Result<()> {
    for router in ["r1", "r2"] {
        let phy = lab.phy(router)?.to_owned();
        let node = lab.node_mut(router)?;
        node.config.mesh = format!("[{{interface: {MESH}}}]");
        let namespace = node.namespace();
        let index = phy.trim_start_matches("phy");
        // By its number: the names are looked up in the /sys of another namespace.
        namespace.run("iw", &format!("phy#{index} interface add {MESH} type mp"))?;
        namespace.ip(&format!("link set {MESH} up"))?;
        namespace.run("iw", &format!("dev {MESH} mesh join theirs freq 2412"))?;
    }
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    wait_for("the doctor to see the radios forward", PATIENCE, || {
        let doctor = lab.node("r1")?.doctor()?;
        let mut findings = doctor.findings.iter();
        let found = findings.any(|it| it.problem.contains("forward for each other"));
        ensure!(found && !doctor.has_errors(), "{doctor:?}");
        Ok(())
    })?;
    let mac = lab.node("r2")?.namespace().hardware_address(MESH)?;
    let namespace = lab.node("r1")?.namespace();
    namespace.run(
        "iw",
        &format!("dev {MESH} station set {mac} plink_action block"),
    )?;
    wait_problem(lab, "r1", &["blocked"])?;
    lab.node_mut("r1")?.take_daemon()?.terminate()?;
    let namespace = lab.node("r1")?.namespace();
    ensure!(
        namespace.interface_index(MESH).is_ok(),
        "what others made is gone"
    );
    Ok(())
}

fn ends(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    let namespace = lab.node("r1")?.namespace().clone();
    let before = namespace.interface_index(MESH)?;
    lab.node_mut("r1")?.take_daemon()?.hand_over()?;
    ensure!(namespace.interface_index(MESH)? == before, "made anew");
    lab.start("r1")?;
    wait_all_pairs(lab, PATIENCE)?;
    ensure!(
        namespace.interface_index(MESH)? == before,
        "the successor made it anew"
    );
    lab.node_mut("r1")?.take_daemon()?.terminate()?;
    ensure!(
        namespace.interface_index(MESH).is_err(),
        "the interface is still there"
    );
    for (settings, words) in [
        (
            "phy: phy99, frequency_mhz: 2412",
            ["there is no radio phy99"],
        ),
        // Where weather radars come first.
        ("phy: any, frequency_mhz: 5500", ["5500 MHz is"]),
    ] {
        let mesh = format!("[{{interface: {MESH}, radio: {{id: x, {settings}}}}}]");
        lab.node_mut("r1")?.config.mesh = mesh;
        lab.start("r1")?;
        wait_problem(lab, "r1", &words)?;
        lab.node_mut("r1")?.take_daemon()?.terminate()?;
    }
    Ok(())
}
