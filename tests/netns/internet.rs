//! The Internet of the laboratory answers translated packets only.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::harness::in_lab;
use mesh_tests::http::{self, fetch};
use mesh_tests::internet::{HOST_V4, HOST_V6, web_at};
use mesh_tests::lab::Lab;
use mesh_tests::probe::reachable;
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "internet_answers_translated_packets_only",
            || Topology::line(1),
            translation,
        ),
        in_lab(
            "internet_line_can_be_unplugged",
            || Topology::line(1),
            unplugged,
        ),
    ]
}

const PATIENCE: Duration = Duration::from_millis(500);

fn home(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_uplink("r1")?;
    lab.settle()?;
    let router = lab.node("r1")?.namespace();
    router.set("net/ipv4/ip_forward", "1")?;
    router.set("net/ipv6/conf/all/forwarding", "1")
}

const MASQUERADE: &str = "table inet test {\n\
    chain post {\n\
    type nat hook postrouting priority srcnat;\n\
    oifname \"wan0\" masquerade\n\
    }\n}\n";

fn translation(lab: &mut Lab) -> Result<()> {
    home(lab)?;
    let node = lab.node("r1")?;
    let phone = node.phone()?;
    let both = [HOST_V4, HOST_V6];
    let answered = reachable(phone, &both, PATIENCE)?;
    ensure!(
        answered.is_empty(),
        "{answered:?} answered an address that nobody routes"
    );

    node.namespace().nft(MASQUERADE)?;
    let answered = reachable(phone, &both, PATIENCE)?;
    ensure!(
        answered.len() == 2,
        "only {answered:?} answered a translated packet"
    );
    let line = node.line()?;
    for (host, outside) in [
        (HOST_V4, IpAddr::V4(line.v4)),
        (HOST_V6, IpAddr::V6(line.v6)),
    ] {
        let page = fetch(phone, web_at(host), "/", Duration::from_secs(5))?;
        ensure!(
            page.client == outside,
            "the request came from {}, not {outside}",
            page.client
        );
        ensure!(
            page.text().starts_with(http::GREETING),
            "the page says {:?}",
            page.text()
        );
    }
    let page = fetch(
        phone,
        web_at(HOST_V4),
        "/bytes/1000000",
        Duration::from_secs(5),
    )?;
    ensure!(
        page.body.len() == 1_000_000,
        "{} bytes came",
        page.body.len()
    );
    Ok(())
}

fn unplugged(lab: &mut Lab) -> Result<()> {
    home(lab)?;
    let (internet, node) = (lab.internet()?, lab.node("r1")?);
    ensure!(node.namespace().has_carrier("wan0")?, "no carrier at first");
    internet.unplug(node.line()?)?;
    ensure!(
        !node.namespace().has_carrier("wan0")?,
        "the line still has its carrier"
    );
    ensure!(
        reachable(node.namespace(), &[HOST_V4], PATIENCE)?.is_empty(),
        "the host answers"
    );
    internet.plug_in(node.line()?)?;
    // The kernel takes its time to announce a carrier, and to ask again who is at its end.
    wait_for("the host to answer again", Duration::from_secs(10), || {
        let answered = reachable(node.namespace(), &[HOST_V4], PATIENCE)?;
        ensure!(answered.len() == 1, "no answer");
        Ok(())
    })
}
