//! meshd on radios: it makes the interfaces itself, as its configuration says.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use control_api::{Doctor, Encryption, Interfaces, Severity, Station};
use libtest_mimic::Trial;
use mesh_tests::air::Loss;
use mesh_tests::daemon::{self, Mode, Radio};
use mesh_tests::harness::{in_radio_lab, note};
use mesh_tests::http::fetch;
use mesh_tests::internet::{HOST_V4, web_at};
use mesh_tests::lab::{Lab, MESH, Node};
use mesh_tests::mesh::{Addresses, path, wait_all_pairs, wait_online_through};
use mesh_tests::probe::{self, Pinger};
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
            "village_routes_around_a_silent_radio",
            || Topology::ring(4),
            silent,
        ),
        in_radio_lab("village_leaves_a_lossy_link", || Topology::ring(3), lossy),
        in_radio_lab(
            "village_survives_radios_that_come_and_go",
            || Topology::line(2),
            comes_and_goes,
        ),
    ]
}

const PATIENCE: Duration = Duration::from_secs(30);

/// Five radios in a line, a phone at one end and the Internet at the other.
fn village(lab: &mut Lab, radio: &Radio) -> Result<()> {
    lab.use_radios(radio)?;
    lab.add_phone("r1")?;
    lab.add_uplink("r5")?;
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
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
        let doctor = doctor(node)?;
        ensure!(!doctor.has_errors(), "{}: {doctor:?}", node.name());
    }
    let config = lab
        .node("r2")?
        .namespace()
        .run("iw", "dev mesh0 get mesh_param mesh_fwding")?;
    ensure!(config.trim() == "0", "the radios forward: {config}");
    Ok(())
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

fn radio_of(lab: &Lab, router: &str) -> Result<control_api::Radio> {
    let interfaces: Interfaces = lab.node(router)?.ctl("interfaces")?;
    let mut interfaces = interfaces.interfaces.into_iter();
    let interface = interfaces.find(|it| it.name == MESH);
    let radio = interface.and_then(|interface| interface.radio);
    radio.with_context(|| format!("{router} has no radio"))
}

/// What meshctl finds, whose exit status says whether that is an error.
fn doctor(node: &Node) -> Result<Doctor> {
    let socket = node.files().socket();
    let arguments = format!("--socket {} --json doctor", socket.display());
    let finished = daemon::run("meshctl", &arguments)?;
    serde_json::from_str(&finished.out).with_context(|| finished.err)
}

fn wait_problem(lab: &Lab, router: &str, words: &[&str]) -> Result<()> {
    wait_for("the doctor to find it", PATIENCE, || {
        let doctor = doctor(lab.node(router)?)?;
        let found = doctor.findings.iter().find(|finding| {
            finding.severity == Severity::Error
                && words.iter().all(|word| finding.problem.contains(word))
        });
        let found = found.with_context(|| format!("{doctor:?}"))?;
        ensure!(!found.advice.is_empty(), "no advice: {found:?}");
        Ok(())
    })
}

/// A circle of four: one of the two ways from r1 to r3 falls silent.
fn silent(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    let addresses = Addresses::ask(lab)?;
    let before = wait_for("a way", PATIENCE, || path(lab, "r1", "r3"))?;
    let [_, relay, _] = before.as_slice() else {
        anyhow::bail!("r1 reaches r3 over {before:?}");
    };
    let target = (addresses.v6("r3")?, probe::PORT).into();
    let namespace = lab.node("r1")?.namespace().clone();
    let pinger = Pinger::start(&namespace, target, Duration::from_millis(50))?;
    pinger.wait_answers(40, PATIENCE)?;
    lab.air().cut("r1", relay)?;
    wait_for("another way", PATIENCE, || {
        let now = path(lab, "r1", "r3")?;
        ensure!(now.len() == 3 && now != before, "{now:?}");
        Ok(())
    })?;
    pinger.wait_answers(40, PATIENCE)?;
    note(&format!("link r1-{relay} cut: {}", pinger.stop()));
    ensure!(
        lab.node("r1")?.namespace().has_carrier(MESH)?,
        "silence is no loss of carrier"
    );
    Ok(())
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

/// Unplugged and plugged in, switched off and on.
fn comes_and_goes(lab: &mut Lab) -> Result<()> {
    any_radio(lab)?;
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    lab.air().replug()?;
    wait_all_pairs(lab, PATIENCE)?;

    // What the operator switches off stays off, and is used again when it is on again.
    let namespace = lab.node("r2")?.namespace().clone();
    namespace.ip("link set mesh0 down")?;
    wait_problem(lab, "r2", &["switched off"])?;
    namespace.ip("link set mesh0 up")?;
    wait_all_pairs(lab, PATIENCE)?;
    for name in ["r1", "r2"] {
        let node = lab.node_mut(name)?;
        ensure!(node.daemon()?.is_running()?, "{name} has ended");
    }
    Ok(())
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
