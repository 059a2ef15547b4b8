//! Names of nodes and of the Internet, as a phone finds them through its router's dnsmasq.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::gateways::{has_finding, select};
use mesh_tests::harness::in_lab;
use mesh_tests::internet::{HOST_V4, HOST_V6, Trouble};
use mesh_tests::lab::{Lab, Node, ROUTER_ON_LAN};
use mesh_tests::names::{Dnsmasq, addresses};
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "names_of_nodes_are_found_through_dnsmasq",
            || Topology::line(3),
            nodes,
        ),
        in_lab(
            "names_of_the_internet_are_found_through_the_gateway_in_use",
            || Topology::line(3),
            follow,
        ),
        in_lab(
            "names_are_found_where_nobody_but_the_provider_resolves",
            || Topology::line(2),
            provider,
        ),
        in_lab(
            "names_that_nobody_can_find_are_a_finding",
            || Topology::line(2),
            nowhere,
        ),
    ]
}

const PATIENCE: Duration = Duration::from_secs(30);
/// How long a line that failed may take to be trusted again.
const RECOVERY: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(2);

/// Starts dnsmasq beside a router's meshd, where there has to be a directory to watch.
fn serve(router: &Node) -> Result<Dnsmasq> {
    let hosts = router.files().directory().join("hosts.d/mesh");
    wait_for("the names of nodes", PATIENCE, || {
        ensure!(hosts.exists(), "there are none");
        Ok(())
    })?;
    Dnsmasq::beside_meshd(router)
}

/// Waits until a router's phone finds a name at these addresses and no others.
fn wait_found(router: &Node, name: &str, wanted: &[IpAddr], bound: Duration) -> Result<()> {
    let phone = router.phone()?;
    let resolver = ROUTER_ON_LAN.parse()?;
    wait_for(name, bound, || {
        let found = addresses(phone, resolver, name, ANSWER)?;
        ensure!(found == wanted, "{found:?} instead of {wanted:?}");
        Ok(())
    })
}

/// Waits until a router's dnsmasq is told of these resolvers.
fn wait_resolvers(router: &Node, wanted: &[IpAddr]) -> Result<()> {
    let file = router.files().directory().join("resolv.conf");
    let lines = wanted.iter().map(|it| format!("nameserver {it}\n"));
    let wanted = format!("# Written by meshd.\n{}", lines.collect::<String>());
    wait_for("resolvers", PATIENCE, || {
        let found = fs::read_to_string(&file)?;
        ensure!(found == wanted, "{found}");
        Ok(())
    })
}

/// A node's addresses in the mesh, and the name that it always has.
fn identity(node: &Node) -> Result<(String, [IpAddr; 2])> {
    let status = node.status()?;
    let id = status.originator_id.to_string();
    let id = id.get(..10).context("an id")?;
    let both = [status.mesh_ipv4.into(), status.mesh_ipv6.into()];
    Ok((format!("{id}.mesh"), both))
}

fn nodes(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.start_all()?;
    let _dnsmasq = serve(lab.node("r1")?)?;
    let mut identities = Vec::new();
    for router in ["r1", "r2", "r3"] {
        let (id, both) = identity(lab.node(router)?)?;
        for name in [&format!("{router}.mesh"), &id] {
            wait_found(lab.node("r1")?, name, &both, PATIENCE)?;
        }
        identities.push((id, both));
    }
    let [_, second, third] = identities.as_slice() else {
        anyhow::bail!("three routers");
    };
    // One that has left has no name.
    lab.node_mut("r3")?.take_daemon()?.terminate()?;
    for name in ["r3.mesh", &third.0] {
        wait_found(lab.node("r1")?, name, &[], PATIENCE)?;
    }
    // A name that two have is nobody's.
    lab.node_mut("r3")?.config.name = "r2".to_owned();
    lab.start("r3")?;
    wait_found(lab.node("r1")?, &third.0, &third.1, PATIENCE)?;
    wait_found(lab.node("r1")?, "r2.mesh", &[], PATIENCE)?;
    wait_found(lab.node("r1")?, &second.0, &second.1, PATIENCE)?;
    lab.node_mut("r3")?.take_daemon()?.terminate()?;
    wait_found(lab.node("r1")?, "r2.mesh", &second.1, PATIENCE)?;
    // meshd is stopped and started, and nobody tells dnsmasq.
    lab.node_mut("r1")?.take_daemon()?.terminate()?;
    wait_found(lab.node("r1")?, "r2.mesh", &[], PATIENCE)?;
    lab.start("r1")?;
    wait_found(lab.node("r1")?, "r2.mesh", &second.1, PATIENCE)
}

/// Two gateways with a resolver each.
fn follow(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r2")?;
    let gateways = [
        ("r1", Ipv4Addr::new(192, 0, 2, 53)),
        ("r3", Ipv4Addr::new(192, 0, 2, 54)),
    ];
    for (gateway, resolver) in gateways {
        lab.add_uplink(gateway)?;
        lab.internet_mut()?.add_resolver(resolver)?;
        let uplink = format!("{{interface: wan0, resolvers: [{resolver}]}}");
        lab.node_mut(gateway)?.config.uplink = Some(uplink);
    }
    lab.start_all()?;
    let _dnsmasq = serve(lab.node("r2")?)?;
    for (turn, (gateway, resolver)) in gateways.iter().chain(&gateways).enumerate() {
        select(lab, "r2", gateway)?;
        // Another name each time, as if nobody remembered any.
        let name = format!("page{turn}.example.com");
        wait_found(lab.node("r2")?, &name, &[(*resolver).into()], PATIENCE)?;
    }
    Ok(())
}

/// A provider whose customers get no answer but from its own resolver, which is private first.
fn provider(lab: &mut Lab) -> Result<()> {
    let private = Ipv4Addr::new(10, 64, 0, 53);
    let public = Ipv4Addr::new(192, 0, 2, 53);
    lab.add_phone("r1")?;
    lab.add_uplink("r2")?;
    let line = lab.node("r2")?.line()?.clone();
    for resolver in [private, public] {
        lab.internet_mut()?.add_resolver(resolver)?;
    }
    lab.internet_mut()?.trouble(&line, Some(Trouble::NoDns))?;
    lab.node("r2")?.files().tell_resolvers(&[private.into()])?;
    lab.start_all()?;
    let _dnsmasq = [serve(lab.node("r1")?)?, serve(lab.node("r2")?)?];
    wait_for("the doctor", PATIENCE, || {
        has_finding(lab.node("r2")?, "no resolver answers")
    })?;
    // Whatever is in the way, only this one may know its name.
    wait_resolvers(lab.node("r2")?, &[private.into()])?;
    // The gateway can ask it, so its dnsmasq does for the others.
    configure_uplink(lab, "r2", "{interface: wan0, resolvers: [self]}")?;
    wait_found(
        lab.node("r1")?,
        "a.example.com",
        &[private.into()],
        RECOVERY,
    )?;
    // The lease is renewed, with one that everybody can ask.
    configure_uplink(lab, "r2", "{interface: wan0}")?;
    lab.node("r2")?.files().tell_resolvers(&[public.into()])?;
    wait_found(lab.node("r1")?, "b.example.com", &[public.into()], RECOVERY)
}

/// A gateway that is told to ask nobody who could be offered, and then to ask nobody at all.
fn nowhere(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_uplink("r2")?;
    let uplink =
        "{interface: wan0, check: [\"icmp://8.8.8.8\", \"icmp://[2001:4860:4860::8888]\"]}";
    lab.node_mut("r2")?.config.uplink = Some(uplink.to_owned());
    lab.start_all()?;
    let _dnsmasq = serve(lab.node("r1")?)?;
    for (router, words) in [
        ("r2", "no resolver is offered"),
        ("r1", "offers no resolver"),
    ] {
        wait_for("the doctor", PATIENCE, || {
            has_finding(lab.node(router)?, words)
        })?;
    }
    configure_uplink(lab, "r2", "{interface: wan0, check: off}")?;
    wait_found(
        lab.node("r1")?,
        "example.com",
        &[HOST_V4, HOST_V6],
        PATIENCE,
    )?;
    for router in ["r1", "r2"] {
        ensure!(
            has_finding(lab.node(router)?, "resolver").is_err(),
            "{router} complains still"
        );
    }
    Ok(())
}

fn configure_uplink(lab: &mut Lab, router: &str, uplink: &str) -> Result<()> {
    let node = lab.node_mut(router)?;
    node.config.uplink = Some(uplink.to_owned());
    node.files().write_config(&node.config)?;
    node.ctl_text("reload").map(drop)
}
