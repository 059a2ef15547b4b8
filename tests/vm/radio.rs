//! The 802.11 radios of the laboratory: meeting, range, silence, loss and disappearance, each with
//! `iw` in the place of meshd.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::air::Loss;
use mesh_tests::harness::{in_radio_lab, note};
use mesh_tests::lab::{Lab, MESH};
use mesh_tests::namespace::Namespace;
use mesh_tests::probe::{PORT, Pinger, reachable};
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_radio_lab(
            "radios_meet_in_an_open_mesh",
            || Topology::line(2),
            |lab| meet(lab, Mode::Mesh),
        ),
        in_radio_lab(
            "radios_meet_in_an_ibss",
            || Topology::line(2),
            |lab| meet(lab, Mode::Ibss),
        ),
        in_radio_lab(
            "radios_in_a_line_hear_those_beside_only",
            || Topology::line(3),
            line,
        ),
        in_radio_lab(
            "radios_out_of_range_are_silent_and_keep_their_carrier",
            || Topology::line(2),
            silence,
        ),
        in_radio_lab(
            "radios_lose_what_was_asked_for_in_one_direction",
            || Topology::line(2),
            loss,
        ),
        in_radio_lab(
            "radios_that_were_replugged_are_new_ones",
            || Topology::line(2),
            replug,
        ),
    ]
}

/// What the slower of the two modes takes on a machine that has something else to do.
const MEETING: Duration = Duration::from_secs(10);
/// How long an answer from a neighbor may take.
const PATIENCE: Duration = Duration::from_millis(500);
const INTERVAL: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug)]
enum Mode {
    Mesh,
    Ibss,
}

/// Makes an interface on every radio and joins.
fn join(lab: &mut Lab, mode: Mode) -> Result<()> {
    let names: Vec<String> = lab.nodes().map(|node| node.name().to_owned()).collect();
    for (number, name) in (1..).zip(names) {
        let phy = lab.air().phy(&name).context("no radio")?.to_owned();
        // By its number: names are looked up in /sys, which is that of another namespace.
        let phy = phy.replace("phy", "phy#");
        let router = lab.node(&name)?.namespace();
        let kind = match mode {
            Mode::Mesh => "mp",
            Mode::Ibss => "ibss",
        };
        router.run("iw", &format!("{phy} interface add {MESH} type {kind}"))?;
        router.bring_up(MESH)?;
        let join = match mode {
            // The kernel must not forward: that is what meshd is for.
            Mode::Mesh => "mesh join labmesh freq 2412 mesh_fwding 0 mesh_rssi_threshold 0",
            // Known from the start, the cell needs no merging.
            Mode::Ibss => "ibss join labmesh 2412 fixed-freq 02:ca:fe:ca:ca:40",
        };
        router.run("iw", &format!("dev {MESH} {join}"))?;
        router.ip(&format!("addr add {}/64 dev {MESH} nodad", address(number)))?;
    }
    Ok(())
}

fn address(number: u16) -> IpAddr {
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, number).into()
}

fn router(lab: &Lab, number: u16) -> Result<Namespace> {
    Ok(lab.node(&format!("r{number}"))?.namespace().clone())
}

fn answers(lab: &Lab, from: u16, to: u16) -> Result<()> {
    let answered = reachable(&router(lab, from)?, &[address(to)], PATIENCE)?;
    ensure!(!answered.is_empty(), "r{to} does not answer r{from}");
    Ok(())
}

fn wait_answers(lab: &Lab, from: u16, to: u16) -> Result<()> {
    wait_for(&format!("r{to} to answer r{from}"), MEETING, || {
        answers(lab, from, to)
    })
}

/// Whom a router's radio has heard and not forgotten.
fn heard(router: &Namespace) -> Result<BTreeSet<String>> {
    let text = router.run("iw", &format!("dev {MESH} station dump"))?;
    let stations = text
        .lines()
        .filter_map(|line| line.strip_prefix("Station "));
    let addresses = stations.filter_map(|rest| rest.split_whitespace().next());
    Ok(addresses.map(str::to_owned).collect())
}

fn addresses<const N: usize>(routers: [&Namespace; N]) -> Result<BTreeSet<String>> {
    routers
        .into_iter()
        .map(|router| router.hardware_address(MESH))
        .collect()
}

fn meet(lab: &mut Lab, mode: Mode) -> Result<()> {
    join(lab, mode)?;
    let start = Instant::now();
    wait_answers(lab, 1, 2)?;
    wait_answers(lab, 2, 1)?;
    note(&format!("{mode:?}: met after {:.1?}", start.elapsed()));
    Ok(())
}

fn line(lab: &mut Lab) -> Result<()> {
    join(lab, Mode::Mesh)?;
    for (a, b) in [(1, 2), (2, 1), (2, 3), (3, 2)] {
        wait_answers(lab, a, b)?;
    }
    let [r1, r2, r3] = [router(lab, 1)?, router(lab, 2)?, router(lab, 3)?];
    for (router, neighbors) in [
        (&r1, addresses([&r2])?),
        (&r2, addresses([&r1, &r3])?),
        (&r3, addresses([&r2])?),
    ] {
        let heard = heard(router)?;
        ensure!(heard == neighbors, "{} heard {heard:?}", router.name());
    }
    ensure!(
        answers(lab, 1, 3).is_err(),
        "r3 answers r1, out of its range"
    );
    ensure!(
        answers(lab, 3, 1).is_err(),
        "r1 answers r3, out of its range"
    );
    Ok(())
}

fn ping(lab: &Lab, from: u16, to: u16) -> Result<Pinger> {
    Pinger::start(
        &router(lab, from)?,
        SocketAddr::new(address(to), PORT),
        INTERVAL,
    )
}

fn silence(lab: &mut Lab) -> Result<()> {
    join(lab, Mode::Mesh)?;
    wait_answers(lab, 1, 2)?;
    let pinger = ping(lab, 1, 2)?;
    pinger.wait_answers(10, MEETING)?;
    for number in [1, 2] {
        lab.air().cut("r1", "r2")?;
        // What was on its way when the link was cut may still come back.
        let cut = Instant::now();
        wait_for("a second of silence", MEETING, || {
            let silent = Duration::from_secs(1);
            ensure!(cut.elapsed() > silent * 2, "too early to say");
            let report = pinger.report_since(Instant::now() - silent);
            ensure!(report.lost == report.sent, "{report}");
            Ok(())
        })?;
        for router in [router(lab, 1)?, router(lab, 2)?] {
            let carrier = router.has_carrier(MESH)?;
            ensure!(carrier, "{} lost its carrier", router.name());
        }
        lab.air().heal("r1", "r2")?;
        pinger
            .wait_answers(10, MEETING)
            .with_context(|| format!("after cut number {number}"))?;
    }
    lab.air().power_off("r2")?;
    wait_for("r2 to fall silent", MEETING, || {
        ensure!(answers(lab, 1, 2).is_err(), "it answers");
        Ok(())
    })
}

fn loss(lab: &mut Lab) -> Result<()> {
    let early = lab.air().connect("r1", "r2", Loss::percent(10));
    ensure!(early.is_err(), "frames got lost where none could come in");
    join(lab, Mode::Mesh)?;
    wait_answers(lab, 1, 2)?;
    wait_answers(lab, 2, 1)?;

    lab.air().hear("r1", "r2", Loss::percent(100))?;
    ensure!(answers(lab, 1, 2).is_err(), "r2 hears all of nothing");
    lab.air().hear("r1", "r2", Loss::NONE)?;
    wait_answers(lab, 1, 2)?;

    let loss = Loss::percent(80);
    lab.air().hear("r2", "r1", loss)?;
    let start = Instant::now();
    let pinger = ping(lab, 1, 2)?;
    wait_for("enough probes", MEETING, || {
        let report = pinger.report_since(start);
        ensure!(report.sent >= 400, "{report}");
        Ok(())
    })?;
    let report = pinger.stop();
    note(&format!("at 80 % one way: {report}"));
    let fraction = f64::from(loss.after_retries().per_million()) / 1e6;
    let sent = f64::from(u32::try_from(report.sent)?);
    let lost = f64::from(u32::try_from(report.lost)?);
    // Five standard deviations: one false alarm in millions of runs.
    let margin = 5.0 * (sent * fraction * (1.0 - fraction)).sqrt();
    ensure!((lost - sent * fraction).abs() <= margin, "{report}");
    Ok(())
}

fn replug(lab: &mut Lab) -> Result<()> {
    join(lab, Mode::Mesh)?;
    wait_answers(lab, 1, 2)?;
    let own = |lab: &mut Lab| {
        let air = lab.air();
        let phy = air.phy("r1").map(str::to_owned);
        (phy, air.radio_address("r1").map(str::to_owned))
    };
    let (phy, address) = own(lab);
    lab.air().replug()?;
    let (new_phy, new_address) = own(lab);
    ensure!(phy != new_phy, "it is {phy:?} again");
    ensure!(address == new_address, "{address:?} became {new_address:?}");
    let gone = router(lab, 1)?.has_carrier(MESH).is_err();
    ensure!(gone, "{MESH} has outlived its radio");
    join(lab, Mode::Mesh)?;
    wait_answers(lab, 1, 2)
}
