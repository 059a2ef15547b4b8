//! `meshctl graph`: what this node knows of the mesh, for programs that draw it, and drawn.
//!
//! A node knows its own links, and for everybody else which neighbor packets go to, how far it is and what the
//! way costs. So a map has links, and **paths**: from a neighbor to a node behind it, with hops between them
//! that are not known. Links of other nodes are not known either.

mod dot;
mod meshviewer;
mod netjson;
mod svg;

use std::collections::BTreeMap;
use std::net::IpAddr;

use control_api::{Neighbor, Neighbors, Originator, OriginatorId, Originators, Quality, Status};

use super::Daemon;
use crate::cli::GraphFormat;
use crate::failure::Failure;
use crate::{format, output};

pub(super) fn run(daemon: &Daemon, format: GraphFormat) -> Result<(), Failure> {
    let mut client = daemon.connect()?;
    let graph = Graph::new(
        &client.status()?,
        &client.neighbors()?,
        &client.originators()?,
    );
    let text = match format {
        GraphFormat::Netjson => output::json(&netjson::document(&graph))?,
        GraphFormat::Meshviewer => {
            output::json(&meshviewer::document(&graph, meshviewer::now_s()))?
        }
        GraphFormat::Dot => dot::document(&graph),
        GraphFormat::Svg => svg::document(&graph),
    };
    output::write_all(&text)
}

/// The map that this node has.
struct Graph {
    own: OriginatorId,
    network: String,
    version: String,
    uptime_s: u64,
    nodes: BTreeMap<OriginatorId, Node>,
    links: Vec<Link>,
    paths: Vec<Path>,
}

#[derive(Default)]
struct Node {
    name: Option<String>,
    addresses: Vec<IpAddr>,
    gateway: bool,
    /// `None` if it cannot be reached, or is not known.
    hops: Option<u32>,
    reachable: bool,
    last_heard_ms: u64,
}

impl Node {
    /// Its name or the first digits of its id; harmless.
    fn label(&self, id: OriginatorId) -> String {
        match format::name(self.name.as_deref()) {
            unknown if unknown == format::UNKNOWN => id.short(),
            known => known,
        }
    }
}

/// A usable link of this node.
struct Link {
    to: OriginatorId,
    interface: String,
    rx: Quality,
    tx: Quality,
    cost_us: u64,
}

/// The rest of the way to a node that is not a neighbor.
struct Path {
    first_hop: OriginatorId,
    to: OriginatorId,
    hops: Option<u32>,
    cost_us: u64,
}

impl Graph {
    fn new(status: &Status, neighbors: &Neighbors, originators: &Originators) -> Self {
        let mut nodes: BTreeMap<_, _> = originators.originators.iter().map(originator).collect();
        nodes.insert(status.originator_id, own(status));
        let links: Vec<Link> = neighbors.neighbors.iter().filter_map(link).collect();
        for neighbor in &neighbors.neighbors {
            if neighbor.cost_us.is_some() {
                let node = nodes.entry(neighbor.originator_id).or_default();
                node.name = node.name.take().or_else(|| neighbor.name.clone());
                (node.hops, node.reachable) = (Some(1), true);
            }
        }
        let mut graph = Self {
            own: status.originator_id,
            network: status.network.clone(),
            version: status.version.clone(),
            uptime_s: status.uptime_s,
            nodes,
            links,
            paths: Vec::new(),
        };
        let paths = originators
            .originators
            .iter()
            .filter_map(|it| graph.path(it));
        graph.paths = paths.collect();
        graph
    }

    /// A neighbor that is reached through another one has both a link and a path.
    fn path(&self, originator: &Originator) -> Option<Path> {
        let first_hop = originator.next_hop.as_ref()?.originator_id;
        let to_first_hop = self.cost_us(first_hop)?;
        (first_hop != originator.originator_id).then(|| Path {
            first_hop,
            to: originator.originator_id,
            hops: originator.hops.map(|hops| hops.saturating_sub(1)),
            cost_us: originator
                .metric_us
                .unwrap_or(0)
                .saturating_sub(to_first_hop),
        })
    }

    /// That of the best link to a neighbor.
    fn cost_us(&self, neighbor: OriginatorId) -> Option<u64> {
        let to_it = self.links.iter().filter(|link| link.to == neighbor);
        to_it.map(|link| link.cost_us).min()
    }
}

fn own(status: &Status) -> Node {
    Node {
        name: Some(status.name.clone()),
        addresses: vec![status.mesh_ipv6.into(), status.mesh_ipv4.into()],
        gateway: status.internet.own_uplink.is_some(),
        hops: Some(0),
        reachable: true,
        last_heard_ms: 0,
    }
}

fn originator(originator: &Originator) -> (OriginatorId, Node) {
    let ipv4 = originator.mesh_ipv4.map(IpAddr::from);
    let node = Node {
        name: originator.name.clone(),
        addresses: std::iter::once(originator.mesh_ipv6.into())
            .chain(ipv4)
            .collect(),
        gateway: originator.gateway,
        hops: originator.hops,
        reachable: originator.next_hop.is_some(),
        last_heard_ms: originator.last_heard_ms,
    };
    (originator.originator_id, node)
}

fn link(neighbor: &Neighbor) -> Option<Link> {
    Some(Link {
        to: neighbor.originator_id,
        interface: neighbor.interface.clone(),
        rx: neighbor.rx_quality,
        tx: neighbor.tx_quality,
        cost_us: neighbor.cost_us?,
    })
}
