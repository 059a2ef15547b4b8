//! Finding each other, and ways around what breaks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use control_api::Neighbors;
use libtest_mimic::Trial;
use mesh_tests::harness::{in_lab, note};
use mesh_tests::lab::Lab;
use mesh_tests::mesh::{Addresses, path, wait_all_pairs, wait_pairs};
use mesh_tests::probe::Pinger;
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;
use mesh_tests::{air::Loss, probe};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "grid_reaches_all_pairs_from_a_cold_start",
            || Topology::grid(3, 3),
            cold_start,
        ),
        in_lab(
            "grid_heals_after_a_cut_on_the_path",
            || Topology::grid(3, 3),
            heals,
        ),
        in_lab(
            "lossy_link_still_carries_a_mesh",
            || Topology::line(3),
            lossy,
        ),
        in_lab("router_joins_a_running_mesh", || Topology::line(2), joins),
        in_lab(
            "meshctl_answers_every_question",
            || Topology::line(2),
            questions,
        ),
        in_lab(
            "interface_that_goes_down_comes_back",
            || Topology::line(3),
            down_and_up,
        ),
        in_lab(
            "interface_that_is_made_anew_is_used",
            || Topology::line(3),
            made_anew,
        ),
        in_lab(
            "start_does_not_wait_for_addresses",
            || Topology::line(2),
            tentative,
        ),
    ]
}

const PATIENCE: Duration = Duration::from_secs(30);

fn cold_start(lab: &mut Lab) -> Result<()> {
    // Far more than it takes, on a machine that does something else as well.
    let limit = Duration::from_secs(6);
    lab.settle()?;
    let start = Instant::now();
    lab.start_all()?;
    let addresses = Addresses::ask(lab)?;
    wait_pairs(lab, &addresses, PATIENCE)?;
    let taken = start.elapsed();
    note(&format!(
        "all pairs of a 3x3 grid reach each other after {taken:.1?}"
    ));
    ensure!(taken <= limit, "it took {taken:?}");
    Ok(())
}

fn heals(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    let addresses = Addresses::ask(lab)?;
    let before = path(lab, "r1", "r9")?;
    ensure!(before.len() == 5, "r1 reaches r9 over {before:?}");
    let target = (addresses.v6("r9")?, probe::PORT).into();
    let pinger = Pinger::start(
        lab.node("r1")?.namespace(),
        target,
        Duration::from_millis(10),
    )?;
    wait_for("answers", PATIENCE, || {
        ensure!(pinger.answered() >= 20, "{}", pinger.answered());
        Ok(())
    })?;

    let [_, a, b, ..] = before.as_slice() else {
        unreachable!("five routers")
    };
    lab.air().cut(a, b)?;
    let answered = pinger.answered();
    wait_for("an answer around the cut", PATIENCE, || {
        // Those under way at the moment of the cut may still come back.
        ensure!(
            pinger.answered() > answered + 20,
            "{} answers",
            pinger.answered() - answered
        );
        Ok(())
    })?;
    let report = pinger.stop();
    note(&format!("link {a}-{b} cut: {report}"));
    let after = path(lab, "r1", "r9")?;
    let crosses = |(x, y): (&String, &String)| (x, y) == (a, b) || (x, y) == (b, a);
    ensure!(
        !after.iter().zip(after.iter().skip(1)).any(crosses),
        "still over {after:?}"
    );

    lab.air().heal(a, b)?;
    wait_for(
        "the healed link to be used by its two ends",
        PATIENCE,
        || {
            let path = path(lab, a, b)?;
            ensure!(path.len() == 2, "{path:?}");
            Ok(())
        },
    )
}

fn lossy(lab: &mut Lab) -> Result<()> {
    for (a, b) in [("r1", "r2"), ("r2", "r3")] {
        lab.air().connect(a, b, Loss::percent(20))?;
    }
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    wait_for("the loss of the link to be seen", PATIENCE, || {
        let answer: Neighbors = lab.node("r1")?.ctl("neighbors")?;
        let link = answer.neighbors.first().context("no neighbor")?;
        ensure!(link.tq < 250 && link.cost_us.is_some(), "{link:?}");
        Ok(())
    })
}

fn joins(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    lab.add_router("r3")?;
    lab.air().connect("r2", "r3", Loss::NONE)?;
    lab.start("r3")?;
    wait_all_pairs(lab, PATIENCE)
}

fn wait_alone(lab: &Lab, router: &str) -> Result<()> {
    wait_for(
        &format!("{router} to notice that it is alone"),
        PATIENCE,
        || {
            let status = lab.node(router)?.status()?;
            ensure!(
                (status.neighbors, status.originators) == (0, 0),
                "{status:?}"
            );
            Ok(())
        },
    )
}

fn down_and_up(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    lab.node("r2")?.namespace().ip("link set mesh0 down")?;
    wait_alone(lab, "r2")?;
    lab.node("r2")?.namespace().bring_up("mesh0")?;
    wait_all_pairs(lab, PATIENCE)
}

/// What happens when a router's wireless settings are changed: the interface goes away, and
/// another one of the same name appears.
fn made_anew(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    let namespace = lab.node("r2")?.namespace().clone();
    namespace.ip("link delete mesh0")?;
    wait_alone(lab, "r2")?;
    lab.air().attach("r2-again", &namespace, "mesh0")?;
    for other in ["r1", "r3"] {
        lab.air().connect("r2-again", other, Loss::NONE)?;
    }
    wait_all_pairs(lab, PATIENCE)
}

/// At boot the daemon starts while the kernel still looks for duplicates of its addresses.
fn tentative(lab: &mut Lab) -> Result<()> {
    let namespace = lab.node("r1")?.namespace().clone();
    namespace.ip("link set mesh0 down")?;
    namespace.set("net/ipv6/conf/mesh0/dad_transmits", "2")?;
    namespace.ip("link set mesh0 up")?;
    lab.node_mut("r1")?.launch()?;
    lab.node_mut("r2")?.launch()?;
    for router in ["r1", "r2"] {
        lab.node_mut(router)?.daemon()?.wait_ready()?;
    }
    wait_all_pairs(lab, PATIENCE)
}

fn questions(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    let node = lab.node("r1")?;
    for (question, expected) in [
        ("status", "r1"),
        ("neighbors", "mesh0"),
        ("originators", "r2"),
        ("routes", "r2"),
        ("routes r2", "r2"),
        ("gateways", ""),
        ("receipts list", ""),
    ] {
        let text = node.ctl_text(question)?;
        ensure!(text.contains(expected), "meshctl {question} says {text}");
        let answer: serde_json::Value = node.ctl(question)?;
        ensure!(
            answer.get("schema").is_some(),
            "meshctl --json {question} says {answer}"
        );
    }
    let status = node.ctl_text("status")?;
    let first = status.lines().next().unwrap_or_default();
    ensure!(
        first.starts_with("Internet: no"),
        "the first line is {first:?}"
    );
    Ok(())
}
