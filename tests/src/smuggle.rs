//! What is private behind a gateway, asked for through the tunnel to it by somebody who puts packets in there by
//! hand, and not through any filter of his own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::http::Server;
use crate::internet::{HOST_V4, HOST_V6};
use crate::lab::{Lab, PHONE, PHONE_V6};
use crate::namespace::Namespace;
use crate::probe::{EchoServer, reachable};
use crate::wait::wait_for;

/// How long something may take that should not take long.
const PATIENCE: Duration = Duration::from_secs(30);
/// Far more than an answer takes that comes.
const ANSWER: Duration = Duration::from_millis(500);
/// Where somebody listens who must not be reached.
pub const SSH: u16 = 22;

/// Addresses of a gateway on its local network, and of a host behind its provider.
const OWN: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 168, 9, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1)),
];
const BEHIND: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 168, 88, 2)),
    IpAddr::V6(Ipv6Addr::new(0xfd88, 0, 0, 0, 0, 0, 0, 2)),
];

/// What nobody may reach over the mesh, with somebody who listens at each.
#[derive(Debug)]
pub struct Private {
    gateway: String,
    /// Addresses of the gateway itself.
    pub own: [IpAddr; 4],
    /// Those behind its provider.
    pub behind: [IpAddr; 2],
    /// Those attached to it: a phone, and its provider.
    pub attached: [IpAddr; 4],
    _echoes: [EchoServer; 3],
    _service: Server,
    _behind: Namespace,
}

impl Private {
    /// Puts it there for a gateway that has a phone.
    ///
    /// # Errors
    /// It cannot be, or the gateway itself does not reach it.
    pub fn around(lab: &Lab, gateway: &str) -> Result<Self> {
        let node = lab.node(gateway)?;
        let (line, provider) = (node.line()?, lab.internet()?.provider());
        let router = node.namespace();
        let [v4, v6] = OWN;
        router.ip_batch(&format!(
            "addr add {v4}/24 dev lan0\naddr add {v6}/64 dev lan0 nodad\n"
        ))?;
        let behind = furnish(provider)?;
        let [provider_v4, provider_v6] = line.routers();
        let private = Self {
            gateway: gateway.to_owned(),
            own: [v4, v6, line.v4.into(), line.v6.into()],
            behind: BEHIND,
            attached: [PHONE.parse()?, PHONE_V6.parse()?, provider_v4, provider_v6],
            _echoes: [
                EchoServer::start(provider)?,
                EchoServer::start(node.phone()?)?,
                EchoServer::start(&behind)?,
            ],
            _service: Server::start(router, SSH)?,
            _behind: behind,
        };
        let all = [&private.behind[..], &private.attached].concat();
        wait_reachable(router, &all)?;
        Ok(private)
    }

    /// A router sends to all of these through its tunnel to the gateway. Nothing gets there, and each packet is
    /// counted.
    ///
    /// # Errors
    /// Something does, or is not.
    pub fn is_kept_from(&self, lab: &Lab, router: &str) -> Result<()> {
        let from = lab.node(router)?.namespace();
        let gateway = lab.node(&self.gateway)?.namespace();
        let open = [HOST_V4, HOST_V6];
        let private: [&[IpAddr]; 3] = [&self.own, &self.behind, &self.attached];
        let all = [&open[..], &private.concat()].concat();
        for &to in &all {
            smuggle(from, to)?;
        }
        wait_reachable(from, &open).context("through the tunnel")?;
        let mut dropped = dropped(gateway)?;
        for targets in private {
            let answered = reachable(from, targets, ANSWER)?;
            ensure!(answered.is_empty(), "{router} reaches {answered:?}");
            dropped = wait_dropped(gateway, dropped + targets.len())?;
        }
        for &to in &self.own {
            ensure!(!connects(from, to)?, "{router} connects to {to}");
            dropped = wait_dropped(gateway, dropped + 1)?;
        }
        // Among them is an address of its own phone.
        all.into_iter()
            .try_for_each(|to| from.ip(&format!("{} route del {to}", family(to))).map(drop))
    }
}

/// A host behind the provider.
fn furnish(provider: &Namespace) -> Result<Namespace> {
    let behind = Namespace::new(&format!("{}-nas", provider.name()))?;
    provider.ip_batch(&format!(
        "link add nas0 type veth peer name eth0 netns {}\n\
         addr add 192.168.88.1/24 dev nas0\n\
         addr add fd88::1/64 dev nas0 nodad\n",
        behind.name()
    ))?;
    provider.bring_up("nas0")?;
    behind.bring_up("eth0")?;
    let [v4, v6] = BEHIND;
    behind.ip_batch(&format!(
        "addr add {v4}/24 dev eth0\n\
         addr add {v6}/64 dev eth0 nodad\n\
         route add default via 192.168.88.1\n\
         route add default via fd88::1\n"
    ))?;
    Ok(behind)
}

fn wait_reachable(from: &Namespace, targets: &[IpAddr]) -> Result<()> {
    let what = format!("answers to {}", from.name());
    wait_for(&what, PATIENCE, || {
        let answered = reachable(from, targets, ANSWER)?;
        ensure!(answered.len() == targets.len(), "only {answered:?}");
        Ok(())
    })
}

/// Leads packets to an address the way of the default route into the tunnel.
fn smuggle(from: &Namespace, to: IpAddr) -> Result<()> {
    let family = family(to);
    let default = from.ip(&format!("{family} route show table 5526 default"))?;
    let way = default.trim().strip_prefix("default ");
    let way = way.with_context(|| format!("no way into the tunnel: {default:?}"))?;
    // Nothing of meshd's, or it would be put in order.
    let way = way.replace("proto 155", "proto static");
    let way = way.split(" pref ").next().unwrap_or_default();
    from.ip(&format!("{family} route replace {to} {way}"))
        .map(drop)
}

/// What `ip` calls the family of an address.
const fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "-4" } else { "-6" }
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
