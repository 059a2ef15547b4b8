//! What is private behind a gateway, asked for through the tunnel to it by somebody who puts packets in there by
//! hand, and not through any filter of his own.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::http::Server;
use crate::internet::{HOST_V4, HOST_V6};
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::probe::{EchoServer, reachable};
use crate::wait::wait_for;

/// How long something may take that should not take long.
const PATIENCE: Duration = Duration::from_secs(30);
/// Far more than an answer takes that comes.
const ANSWER: Duration = Duration::from_millis(500);
/// Where somebody listens who must not be reached.
pub const SSH: u16 = 22;

/// What is on the gateway's local network, at its addresses there, and behind its provider.
const LAN: [&str; 2] = ["192.168.9.100", "fd09::100"];
const OWN: [&str; 2] = ["192.168.9.1", "fd09::1"];
const BEHIND: [&str; 2] = ["192.168.88.1", "fd88::1"];

/// A router sends to all of these through its tunnel to a gateway, which has a phone. Nothing gets there, and each
/// packet is counted.
///
/// # Errors
/// Something does, or is not.
pub fn nothing_private_is_reached(lab: &Lab, router: &str, gateway: &str) -> Result<()> {
    let (from, through) = (lab.node(router)?.namespace(), lab.node(gateway)?);
    let line = through.line()?;
    let provider = lab.internet()?.provider();
    let _listeners = furnish(through.namespace(), through.phone()?, provider)?;
    let mut own = parse(&OWN)?;
    own.extend([IpAddr::from(line.v4), IpAddr::from(line.v6)]);
    let mut others = parse(&[LAN, BEHIND].concat())?;
    others.extend(line.routers());

    let open = [HOST_V4, HOST_V6];
    for to in open.iter().chain(&own).chain(&others) {
        smuggle(from, *to)?;
    }
    wait_for("the way through the tunnel", PATIENCE, || {
        let answered = reachable(from, &open, ANSWER)?;
        ensure!(answered.len() == open.len(), "only {answered:?}");
        Ok(())
    })?;
    let mut dropped = dropped(through.namespace())?;
    for targets in [&own, &others] {
        let answered = reachable(from, targets, ANSWER)?;
        ensure!(answered.is_empty(), "{router} reaches {answered:?}");
        dropped = wait_dropped(through.namespace(), dropped + targets.len())?;
    }
    for to in own {
        ensure!(!connects(from, to)?, "{router} connects to {to}");
        dropped = wait_dropped(through.namespace(), dropped + 1)?;
    }
    Ok(())
}

/// Puts addresses and listeners where nobody from the mesh may get. They end with what this returns.
fn furnish(
    gateway: &Namespace,
    phone: &Namespace,
    provider: &Namespace,
) -> Result<(Server, [EchoServer; 2])> {
    let places = [
        (gateway, "lan0", OWN),
        (phone, "eth0", LAN),
        (provider, "lo", BEHIND),
    ];
    for (namespace, interface, [v4, v6]) in places {
        let (v4_length, v6_length) = if interface == "lo" {
            (32, 128)
        } else {
            (24, 64)
        };
        namespace.ip_batch(&format!(
            "addr add {v4}/{v4_length} dev {interface}\n\
             addr add {v6}/{v6_length} dev {interface} nodad\n"
        ))?;
    }
    let echoes = [EchoServer::start(provider)?, EchoServer::start(phone)?];
    let answered = reachable(gateway, &parse(&BEHIND)?, ANSWER)?;
    ensure!(
        answered.len() == 2,
        "the gateway itself reaches {answered:?}"
    );
    Ok((Server::start(gateway, SSH)?, echoes))
}

fn parse(addresses: &[&str]) -> Result<Vec<IpAddr>> {
    let parsed = addresses.iter().map(|it| Ok(it.parse()?));
    parsed.collect()
}

/// Leads packets to an address the way of the default route into the tunnel.
fn smuggle(from: &Namespace, to: IpAddr) -> Result<()> {
    let family = if to.is_ipv4() { "-4" } else { "-6" };
    let default = from.ip(&format!("{family} route show table 5526 default"))?;
    let way = default.trim().strip_prefix("default ");
    let way = way.with_context(|| format!("no way into the tunnel: {default:?}"))?;
    // Nothing of meshd's, or it would be put in order.
    let way = way.replace("proto 155", "proto static");
    let way = way.split(" pref ").next().unwrap_or_default();
    from.ip(&format!("{family} route replace {to} {way}"))
        .map(drop)
}

/// How many packets a gateway has dropped.
fn dropped(gateway: &Namespace) -> Result<usize> {
    let listing = gateway.run("nft", "list counter inet meshd dropped")?;
    let mut words = listing.split_whitespace();
    words.find(|word| *word == "packets");
    let packets = words.next().with_context(|| listing.clone())?;
    Ok(packets.parse()?)
}

/// Waits until it has dropped so many.
fn wait_dropped(gateway: &Namespace, least: usize) -> Result<usize> {
    wait_for("packets to be counted", PATIENCE, || {
        let dropped = dropped(gateway)?;
        ensure!(dropped >= least, "{dropped} of {least}");
        Ok(dropped)
    })
}

/// Whether somebody who listens at [`SSH`] answers.
///
/// # Errors
/// The namespace is gone.
pub fn connects(from: &Namespace, to: IpAddr) -> Result<bool> {
    let to = SocketAddr::new(to, SSH);
    from.within(|| Ok(TcpStream::connect_timeout(&to, ANSWER).is_ok()))
}
