//! Following packets through the tables of a village.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::fib::{NextHop, Village, hop_limit_drops};
use mesh_tests::harness::in_lab;
use mesh_tests::lab::Lab;
use mesh_tests::probe::reachable;
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;
use std::time::Duration;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab("fib_follows_a_path", || Topology::line(3), path),
        in_lab("fib_finds_a_loop", || Topology::line(3), circle),
    ]
}

const TARGET: &str = "fd00:9::3";

/// r1 to r3 by way of r2, by hand; the way through r2 with a next hop object and a rule, as a
/// daemon may do it.
fn route(lab: &Lab) -> Result<Village> {
    let via = |router: &str| -> Result<String> {
        let text = lab
            .node(router)?
            .namespace()
            .ip("-6 -o addr show dev mesh0 scope link")?;
        let address = text
            .split_whitespace()
            .find_map(|word| word.strip_suffix("/64"));
        Ok(address.context("no link-local address")?.to_owned())
    };
    for router in ["r1", "r2"] {
        let namespace = lab.node(router)?.namespace();
        namespace.set("net/ipv6/conf/all/forwarding", "1")?;
    }
    let [r1, r2, r3] = ["r1", "r2", "r3"].map(|router| lab.node(router).map(|n| n.namespace()));
    let (r1, r2, r3) = (r1?, r2?, r3?);
    r1.ip("addr add fd00:9::1/128 dev lo")?;
    r3.ip(&format!("addr add {TARGET}/128 dev lo"))?;
    r1.ip(&format!("route add {TARGET} via {} dev mesh0", via("r2")?))?;
    r2.ip_batch(&format!(
        "nexthop add id 7 via {} dev mesh0\n\
         route add {TARGET} nhid 7 table 77\n",
        via("r3")?
    ))?;
    r2.ip(&format!("-6 rule add to {TARGET} lookup 77"))?;
    let nodes = lab.nodes();
    let namespaces = nodes.map(|n| (n.name().to_owned(), n.namespace().clone()));
    Village::open(&namespaces.collect())
}

fn path(lab: &mut Lab) -> Result<()> {
    let village = route(lab)?;
    let target: IpAddr = TARGET.parse()?;
    let path = village.path("r1", target)?;
    ensure!(path == ["r1", "r2", "r3"], "{path:?}");
    ensure!(village.circles(target)?.is_empty(), "a circle in a line");
    let nowhere: IpAddr = "fd00:9::9".parse()?;
    ensure!(village.next("r1", nowhere)?.is_none(), "a way to nowhere");
    let fib = mesh_tests::fib::Fib::open(lab.node("r3")?.namespace())?;
    let here = fib.next_hop(target)?;
    ensure!(here == NextHop::Here, "r3 is not there but {here:?}");
    Ok(())
}

fn circle(lab: &mut Lab) -> Result<()> {
    let village = route(lab)?;
    let target: IpAddr = TARGET.parse()?;
    let (r1, r2) = (lab.node("r1")?.namespace(), lab.node("r2")?.namespace());
    let before = hop_limit_drops(r1)? + hop_limit_drops(r2)?;
    let text = r1.ip("-6 -o addr show dev mesh0 scope link")?;
    let back = text
        .split_whitespace()
        .find_map(|word| word.strip_suffix("/64"));
    let back = back.context("no link-local address")?;
    r2.ip(&format!("nexthop replace id 7 via {back} dev mesh0"))?;

    let circles = village.circles(target)?;
    let expected = ["r1", "r2"].map(str::to_owned).into();
    ensure!(
        circles.len() == 1 && circles.contains(&expected),
        "{circles:?}"
    );
    let error = village
        .path("r1", target)
        .err()
        .context("a path in a circle")?;
    ensure!(error.to_string().contains("a circle"), "{error:#}");

    let answered = reachable(r1, &[target], Duration::from_millis(100))?;
    ensure!(answered.is_empty(), "an answer out of a circle");
    wait_for(
        "a packet to run out of hops",
        Duration::from_secs(5),
        || {
            let after = hop_limit_drops(r1)? + hop_limit_drops(r2)?;
            ensure!(after > before, "{before} drops before, {after} after");
            Ok(())
        },
    )
}
