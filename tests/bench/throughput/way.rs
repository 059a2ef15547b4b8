//! The villages whose ways are compared: five routers in a line, a phone at one end, a gateway at the
//! other.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use mesh_tests::lab::{Lab, MESH};
use mesh_tests::mesh::wait_online_through;
use mesh_tests::namespace::Namespace;
use mesh_tests::topology::Topology;
use serde_json::Value;

use crate::kind::Kind;
use crate::report::Figure;

const ROUTERS: [&str; 5] = ["r1", "r2", "r3", "r4", "r5"];
const RELAYS: [&str; 3] = ["r2", "r3", "r4"];
/// How many segments a packet may have to begin with (`GSO_MAX_SEGS` in linux/netdevice.h).
const ANY_SEGMENTS: u32 = 65_535;
const PATIENCE: Duration = Duration::from_secs(30);

/// What meshd's tunnels are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Tunnel {
    /// VXLAN over IPv6.
    Vxlan,
    /// What the kernel of the virtual machine has, and those of most routers.
    Wireguard,
}

impl Tunnel {
    /// As `tunnel` in the configuration says it.
    const fn name(self) -> &'static str {
        match self {
            Self::Vxlan => "vxlan",
            Self::Wireguard => "wireguard",
        }
    }
}

/// How much of TCP a packet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frames {
    /// Up to 64 KB, as virtual wires take: what a wire's hardware would cut into frames.
    Large,
    /// What fits into one frame, as radio drivers of small routers want it.
    Single,
}

impl fmt::Display for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Large => "segments merged",
            Self::Single => "one frame each",
        })
    }
}

/// A village, and who routes in it.
#[derive(Debug)]
pub(super) struct Village {
    pub(super) lab: Lab,
    /// None if routes are made by hand.
    tunnel: Option<Tunnel>,
    /// The processes of the relays' daemons, if there are any.
    pub(super) relays: Vec<u32>,
}

impl Village {
    /// Nobody routes.
    pub(super) fn by_hand() -> Result<Self> {
        let lab = build("plain")?;
        for router in ROUTERS {
            let namespace = lab.node(router)?.namespace();
            namespace.set("net/ipv4/ip_forward", "1")?;
            namespace.set("net/ipv6/conf/all/forwarding", "1")?;
        }
        for (near, far) in ROUTERS.iter().zip(ROUTERS.iter().skip(1)) {
            let (near, far) = (lab.node(near)?.namespace(), lab.node(far)?.namespace());
            let (out, back) = (far.link_local(MESH)?, near.link_local(MESH)?);
            near.ip_batch(&format!(
                "route add 0.0.0.0/0 via inet6 {out} dev {MESH}\n\
                 route add ::/0 via {out} dev {MESH}\n"
            ))?;
            far.ip_batch(&format!(
                "route add 192.168.1.0/24 via inet6 {back} dev {MESH}\n\
                 route add fd00:1::/64 via {back} dev {MESH}\n"
            ))?;
        }
        lab.node("r5")?.namespace().nft(
            "table inet plain {\nchain post {\ntype nat hook postrouting priority 100\n\
             oifname \"wan0\" masquerade\n}\n}\n",
        )?;
        Ok(Self {
            lab,
            tunnel: None,
            relays: Vec::new(),
        })
    }

    /// meshd routes.
    pub(super) fn of_meshd(tunnel: Tunnel) -> Result<Self> {
        let mut lab = build(tunnel.name())?;
        for router in ROUTERS {
            lab.node_mut(router)?.config.tunnel = Some(tunnel.name().to_owned());
        }
        lab.start_all()?;
        wait_online_through(&lab, "r1", "r5", PATIENCE)?;
        let relays = RELAYS.iter();
        let relays = relays.map(|relay| Ok(lab.node_mut(relay)?.daemon()?.id()));
        Ok(Self {
            relays: relays.collect::<Result<_>>()?,
            tunnel: Some(tunnel),
            lab,
        })
    }

    /// The namespaces of the relays.
    pub(super) fn relay_namespaces(&self) -> impl Iterator<Item = Result<&Namespace>> {
        let relays = RELAYS.iter();
        relays.map(|relay| Ok(self.lab.node(relay)?.namespace()))
    }

    /// Has the kernel send packets of this kind, on every wire there is.
    pub(super) fn set_frames(&self, frames: Frames) -> Result<()> {
        let most = match frames {
            Frames::Large => ANY_SEGMENTS,
            Frames::Single => 1,
        };
        let routers = self.lab.nodes().map(|node| node.namespace());
        let internet = self.lab.internet()?;
        let others = [
            self.lab.node("r1")?.phone()?,
            internet.provider(),
            internet.host(),
        ];
        for namespace in routers.chain(others) {
            let lines = wires(namespace)?;
            let lines = lines
                .iter()
                .map(|wire| format!("link set dev {wire} gso_max_segs {most}\n"));
            namespace.ip_batch(&lines.collect::<String>())?;
        }
        Ok(())
    }

    /// Who routes.
    pub(super) fn name(&self) -> String {
        match self.tunnel {
            Some(tunnel) => format!("{} {}", Kind::Meshd, tunnel.name()),
            None => "kernel routes".to_owned(),
        }
    }

    /// A figure of this village.
    pub(super) fn figure(&self, measure: &str, unit: &str) -> Figure {
        let mut figure = Figure::of(measure, Kind::Meshd, "line:5", 0, unit);
        figure.daemon = self.name();
        figure
    }
}

fn build(tag: &str) -> Result<Lab> {
    let mut lab = Lab::with_topology(tag, &Topology::line(ROUTERS.len()))?;
    lab.add_phone("r1")?;
    lab.add_uplink("r5")?;
    lab.settle()?;
    Ok(lab)
}

/// The names of all ends of virtual wires.
fn wires(namespace: &Namespace) -> Result<Vec<String>> {
    let links = namespace.ip("-j link show type veth")?;
    let links: Vec<Value> = serde_json::from_str(&links).context("what ip printed")?;
    let names = links.iter().filter_map(|link| link.get("ifname")?.as_str());
    Ok(names.map(str::to_owned).collect())
}
