//! `meshctl graph`: what this node knows of the mesh, for programs that draw it, and drawn.
//!
//! A node knows its own links, and those that the other nodes of the mesh name in the map. Where a node names none,
//! as older versions do, it is still known which neighbor packets for it go to, how far it is and what the way
//! costs. So a map has links, and **paths**: from a neighbor to a node behind it, with hops between them that are
//! not known.

mod dot;
mod meshviewer;
mod netjson;
mod svg;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use control_api::{
    Client, ClientError, ErrorCode, MeshMap, Neighbor, Neighbors, Originator, OriginatorId,
    Originators, Position, Quality, SCHEMA, Status,
};

use super::Daemon;
use crate::cli::GraphFormat;
use crate::failure::Failure;
use crate::{format, output};

pub(super) fn run(daemon: &Daemon, format: GraphFormat) -> Result<(), Failure> {
    let mut client = daemon.connect()?;
    let mut graph = Graph::new(
        &client.status()?,
        &client.neighbors()?,
        &client.originators()?,
    );
    graph.add_map(&map(&mut client)?);
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

/// A daemon of an older version knows no map.
fn map(client: &mut Client) -> Result<MeshMap, Failure> {
    match client.map() {
        Err(ClientError::Refused(error)) if error.code == ErrorCode::MethodNotFound => {
            Ok(MeshMap {
                schema: SCHEMA,
                nodes: Vec::new(),
            })
        }
        answer => Ok(answer?),
    }
}

/// The map that this node has.
struct Graph {
    own: OriginatorId,
    network: String,
    version: String,
    uptime_s: u64,
    nodes: BTreeMap<OriginatorId, Node>,
    links: Vec<Link>,
    /// To all that are no neighbors, drawn or not.
    paths: Vec<Path>,
    /// How many links were left out, because one of their ends cannot be reached or is not known.
    left_out: usize,
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
    position: Option<Position>,
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

/// A link: a usable one of this node, or one that others speak of.
struct Link {
    from: OriginatorId,
    to: OriginatorId,
    /// How `from` hears `to`; `None` if `from` does not say.
    rx: Option<Quality>,
    /// How `to` hears `from`.
    tx: Option<Quality>,
    /// What only this node knows of its own links.
    own: Option<OwnLink>,
}

struct OwnLink {
    interface: String,
    cost_us: u64,
}

impl Link {
    /// Whether only one of its ends names it.
    const fn is_one_sided(&self) -> bool {
        self.rx.is_none() || self.tx.is_none()
    }

    /// What is said there of what is sent here, and the other way round.
    fn qualities(&self) -> String {
        let percent = |quality: Option<Quality>| quality.map_or("?".to_owned(), format::percent);
        format!("{}/{}", percent(self.tx), percent(self.rx))
    }

    /// What to write beside it: `from` to `to`, and back.
    fn label(&self) -> String {
        match &self.own {
            Some(own) => format!("{} {}", format::metric(own.cost_us), self.qualities()),
            None => self.qualities(),
        }
    }
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
        let links = neighbors.neighbors.iter();
        let links: Vec<Link> = links
            .filter_map(|it| link(status.originator_id, it))
            .collect();
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
            left_out: 0,
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
        let to_it = self.own_links().filter(|(link, _)| link.to == neighbor);
        to_it.map(|(_, own)| own.cost_us).min()
    }

    /// The links of this node.
    fn own_links(&self) -> impl Iterator<Item = (&Link, &OwnLink)> {
        let links = self.links.iter();
        links.filter_map(|link| link.own.as_ref().map(|own| (link, own)))
    }

    /// Paths to nodes of which no link is known.
    fn shown_paths(&self) -> impl Iterator<Item = &Path> {
        let linked: BTreeSet<_> = self
            .links
            .iter()
            .filter(|link| link.own.is_none())
            .flat_map(|link| [link.from, link.to])
            .collect();
        let paths = self.paths.iter();
        paths.filter(move |path| !linked.contains(&path.to))
    }

    /// Adds what the nodes of the mesh say of themselves. This node's own links are known better already.
    fn add_map(&mut self, map: &MeshMap) {
        let mut said: BTreeMap<(OriginatorId, OriginatorId), [Option<Quality>; 2]> =
            BTreeMap::new();
        for entry in &map.nodes {
            let from = entry.node.originator_id;
            if let Some(node) = self.nodes.get_mut(&from) {
                node.position = entry.position;
            }
            for link in &entry.links {
                let to = link.to.originator_id;
                let [rx, tx] = said.entry((from.min(to), from.max(to))).or_default();
                *(if from < to { rx } else { tx }) = Some(link.rx_quality);
            }
        }
        for ((from, to), [rx, tx]) in said {
            if from == self.own || to == self.own {
                continue;
            }
            if !self.is_reached(from) || !self.is_reached(to) {
                self.left_out += 1;
                continue;
            }
            let own = None;
            self.links.push(Link {
                from,
                to,
                rx,
                tx,
                own,
            });
        }
    }

    fn is_reached(&self, id: OriginatorId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.reachable)
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
        position: None,
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
        position: None,
    };
    (originator.originator_id, node)
}

fn link(own: OriginatorId, neighbor: &Neighbor) -> Option<Link> {
    Some(Link {
        from: own,
        to: neighbor.originator_id,
        rx: Some(neighbor.rx_quality),
        tx: Some(neighbor.tx_quality),
        own: Some(OwnLink {
            interface: neighbor.interface.clone(),
            cost_us: neighbor.cost_us?,
        }),
    })
}

/// Degrees with the six digits that are known.
fn degrees(udeg: i32) -> f64 {
    f64::from(udeg) / 1e6
}
