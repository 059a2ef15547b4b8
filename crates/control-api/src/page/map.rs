//! The map of the page: who is in the mesh, and who hears whom.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    MeshMap, Neighbor, Neighbors, NodeRef, Originator, OriginatorId, Originators, Position,
    Quality, Status,
};

/// Nodes, and lines between them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Map {
    /// This node first, then the others ordered by id.
    pub nodes: Vec<MapNode>,
    /// Each pair of nodes once.
    pub lines: Vec<MapLine>,
}

/// A node on the map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapNode {
    /// The node.
    #[serde(flatten)]
    pub node: NodeRef,
    /// Hops to it; `null` when unreachable or not known.
    pub hops: Option<u32>,
    /// Whether it offers an uplink.
    pub gateway: bool,
    /// Where it is; `null` while that is not known.
    pub position: Option<Position>,
}

/// A line between two nodes of the map, which are given by their place in [`Map::nodes`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapLine {
    /// One end.
    pub from: usize,
    /// The other.
    pub to: usize,
    /// 1 for a link; more for a way over nodes that are not known to be on it; 0 if it is not known how many.
    pub hops: u32,
    /// How good a link is, 0 to 255; `null` for a way.
    pub tq: Option<u8>,
}

impl Map {
    /// Of what the nodes themselves say; of those that say nothing there is only the way to them.
    pub(super) fn new(
        status: &Status,
        neighbors: &Neighbors,
        originators: &Originators,
        mesh: &MeshMap,
    ) -> Self {
        let links = usable_links(neighbors);
        let mut nodes = nodes(status, &links, originators);
        let place = places(&nodes);
        for told in &mesh.nodes {
            let at = place.get(&told.node.originator_id);
            if let Some(node) = at.and_then(|at| nodes.get_mut(*at)) {
                node.position = told.position;
            }
        }
        let own = links.iter().filter_map(|(id, (_, tq))| {
            Some(MapLine {
                from: 0,
                to: *place.get(id)?,
                hops: 1,
                tq: Some(*tq),
            })
        });
        let others = links_of_others(mesh, &place);
        let linked: BTreeSet<usize> = others.iter().flat_map(|it| [it.from, it.to]).collect();
        let ways = originators.originators.iter();
        let ways = ways.filter_map(|it| way(it, &place));
        let ways = ways.filter(|way| !linked.contains(&way.to));
        let lines = own.chain(others.iter().cloned()).chain(ways).collect();
        Self { nodes, lines }
    }
}

/// This node, and all that it knows.
fn nodes(
    status: &Status,
    links: &BTreeMap<OriginatorId, (&Neighbor, u8)>,
    originators: &Originators,
) -> Vec<MapNode> {
    let mut others: BTreeMap<OriginatorId, MapNode> = BTreeMap::new();
    for (id, (neighbor, _)) in links {
        others.insert(*id, map_node(*id, neighbor.name.clone(), Some(1)));
    }
    for originator in &originators.originators {
        let id = originator.originator_id;
        let mut node = map_node(id, originator.name.clone(), originator.hops);
        node.gateway = originator.gateway;
        others.insert(id, node);
    }
    others.remove(&status.originator_id);
    let mut this = map_node(status.originator_id, Some(status.name.clone()), Some(0));
    this.gateway = status.internet.own_uplink.is_some();
    std::iter::once(this).chain(others.into_values()).collect()
}

/// The links that do not end here. As good as both ends say together; nobody knows how good one is that
/// only one of them names.
fn links_of_others(mesh: &MeshMap, place: &BTreeMap<OriginatorId, usize>) -> Vec<MapLine> {
    let mut heard: BTreeMap<(usize, usize), Quality> = BTreeMap::new();
    for told in &mesh.nodes {
        let Some(&at) = place.get(&told.node.originator_id) else {
            continue;
        };
        for link in &told.links {
            if let Some(&to) = place.get(&link.to.originator_id) {
                heard.insert((at, to), link.rx_quality);
            }
        }
    }
    let pairs: BTreeSet<(usize, usize)> = heard
        .keys()
        .map(|&(at, to)| (at.min(to), at.max(to)))
        .collect();
    let others = pairs.into_iter().filter(|(from, _)| *from != 0);
    let line = |(from, to)| {
        let there = heard.get(&(from, to)).zip(heard.get(&(to, from)));
        let both = there.map(|(one, other)| one.share() * other.share());
        MapLine {
            from,
            to,
            hops: 1,
            // From 0 to 255: qualities are from 0 to 1.
            tq: both.map(|both| (both * 255.0).round() as u8),
        }
    };
    others.map(line).collect()
}

fn places(nodes: &[MapNode]) -> BTreeMap<OriginatorId, usize> {
    let nodes = nodes.iter().enumerate();
    nodes.map(|(at, it)| (it.node.originator_id, at)).collect()
}

/// Of each neighbor the best link, and how good that is.
fn usable_links(neighbors: &Neighbors) -> BTreeMap<OriginatorId, (&Neighbor, u8)> {
    let mut links: BTreeMap<OriginatorId, (&Neighbor, u8)> = BTreeMap::new();
    let usable = neighbors.neighbors.iter().filter(|it| it.cost_us.is_some());
    for neighbor in usable {
        let best = links
            .entry(neighbor.originator_id)
            .or_insert((neighbor, neighbor.tq));
        best.1 = best.1.max(neighbor.tq);
    }
    links
}

fn map_node(originator_id: OriginatorId, name: Option<String>, hops: Option<u32>) -> MapNode {
    MapNode {
        node: NodeRef {
            originator_id,
            name,
        },
        hops,
        gateway: false,
        position: None,
    }
}

/// From the neighbor that packets go to, to a node behind it.
fn way(originator: &Originator, place: &BTreeMap<OriginatorId, usize>) -> Option<MapLine> {
    let first_hop = originator.next_hop.as_ref()?.originator_id;
    (first_hop != originator.originator_id).then_some(())?;
    let hops = originator.hops.map_or(0, |hops| hops.saturating_sub(1));
    Some(MapLine {
        from: *place.get(&first_hop)?,
        to: *place.get(&originator.originator_id)?,
        hops,
        tq: None,
    })
}
