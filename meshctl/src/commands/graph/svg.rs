//! A drawing: this node in the middle, a ring for each hop, and each neighbor with those behind it in a sector.
//!
//! Places depend on nothing but the graph, in whole pixels, so the same mesh gives the same drawing.

use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::TAU;

use control_api::OriginatorId;

use super::{Graph, Node, degrees};
use crate::format;

/// Between rings, at least.
const RING: f64 = 120.0;
/// Room for a name on a ring.
const NAME: f64 = 130.0;
/// Around everything.
const MARGIN: f64 = 90.0;
/// Half a node's size.
const SIZE: i64 = 9;

type Places = BTreeMap<OriginatorId, (i64, i64)>;

pub(super) fn document(graph: &Graph) -> String {
    let (places, side) = places(graph);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" \
         font-family=\"sans-serif\" font-size=\"12\" text-anchor=\"middle\">\n\
         <title>{}</title>\n\
         <rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/>\n",
        escaped(&graph.network)
    );
    for path in graph.shown_paths() {
        let look = "stroke=\"#999\" stroke-dasharray=\"4 4\"";
        let label = format::metric(path.cost_us);
        text.push_str(&line(&places, path.first_hop, path.to, look, &label));
    }
    for link in &graph.links {
        let look = match link.is_one_sided() {
            true => "stroke=\"#c60\" stroke-width=\"2\" stroke-dasharray=\"1 4\"",
            false => "stroke=\"#333\" stroke-width=\"2\"",
        };
        text.push_str(&line(&places, link.from, link.to, look, &link.label()));
    }
    for (id, node) in &graph.nodes {
        if let Some(place) = places.get(id) {
            text.push_str(&self::node(*place, *id, node));
        }
    }
    text.push_str(&format!(
        "<text x=\"{}\" y=\"{}\">square: gateway; hollow: out of reach; dashed: hops between are not \
         known; dotted: only one end speaks of it</text>\n</svg>\n",
        side / 2,
        side - 12
    ));
    text
}

fn line(places: &Places, from: OriginatorId, to: OriginatorId, look: &str, label: &str) -> String {
    let (Some((x1, y1)), Some((x2, y2))) = (places.get(&from), places.get(&to)) else {
        return String::new();
    };
    format!(
        "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" {look}/>\n\
         <text x=\"{}\" y=\"{}\" fill=\"#555\" font-size=\"10\">{}</text>\n",
        (x1 + x2) / 2,
        (y1 + y2) / 2,
        label
    )
}

fn node((x, y): (i64, i64), id: OriginatorId, node: &Node) -> String {
    let fill = match node.reachable {
        true => "#06c",
        false => "#fff",
    };
    let look = format!("fill=\"{fill}\" stroke=\"#06c\" stroke-width=\"2\"");
    let shape = match node.gateway {
        true => format!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" {look}/>",
            x - SIZE,
            y - SIZE,
            2 * SIZE,
            2 * SIZE
        ),
        false => format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{SIZE}\" {look}/>"),
    };
    let label = escaped(&node.label(id));
    let place = node.position.map_or(String::new(), |it| {
        let (latitude, longitude) = (degrees(it.latitude_udeg), degrees(it.longitude_udeg));
        format!(" at {latitude}, {longitude}")
    });
    let below = y + SIZE + 14;
    format!(
        "<g><title>{id}{place}</title>{shape}<text x=\"{x}\" y=\"{below}\">{label}</text></g>\n"
    )
}

/// Where each node is, and how wide the square is that holds them.
fn places(graph: &Graph) -> (Places, i64) {
    let slots = slots(graph);
    let rings = slots.iter().map(|(_, ring)| *ring).max().unwrap_or(0);
    let count = slots.len().max(1) as f64;
    // Names on the first ring are the closest to each other.
    let ring = RING.max(NAME * count / TAU / f64::from(rings.max(1)));
    let centre = (ring * f64::from(rings) + MARGIN).round();
    let mut places = Places::from([(graph.own, (centre as i64, centre as i64))]);
    for (index, (id, hops)) in slots.into_iter().enumerate() {
        let angle = TAU * index as f64 / count - TAU / 4.0;
        let radius = ring * f64::from(hops);
        let x = (centre + radius * angle.cos()).round() as i64;
        let y = (centre + radius * angle.sin()).round() as i64;
        places.insert(id, (x, y));
    }
    (places, 2 * centre as i64)
}

/// All but this node in the order of their angles, and on which ring: each neighbor amid those behind it, and
/// those to whom no way is known on the outermost ring.
fn slots(graph: &Graph) -> Vec<(OriginatorId, u32)> {
    let mut behind: BTreeMap<OriginatorId, Vec<(OriginatorId, u32)>> = BTreeMap::new();
    for (link, _) in graph.own_links() {
        behind.entry(link.to).or_default();
    }
    for path in graph
        .paths
        .iter()
        .filter(|path| !is_neighbor(graph, path.to))
    {
        let ring = path
            .hops
            .unwrap_or(1)
            .saturating_add(1)
            .clamp(2, MOST_RINGS);
        behind
            .entry(path.first_hop)
            .or_default()
            .push((path.to, ring));
    }
    let mut slots = Vec::new();
    for (neighbor, mut nodes) in behind {
        nodes.insert(nodes.len() / 2, (neighbor, 1));
        slots.append(&mut nodes);
    }
    let outermost = slots.iter().map(|(_, ring)| *ring).max().unwrap_or(1);
    let placed: BTreeSet<OriginatorId> = slots.iter().map(|(id, _)| *id).collect();
    let others = graph
        .nodes
        .keys()
        .filter(|id| **id != graph.own && !placed.contains(id));
    slots.extend(others.map(|id| (*id, outermost)));
    slots
}

/// Hops are what others say; a drawing is not to grow without bounds for them.
const MOST_RINGS: u32 = 16;

fn is_neighbor(graph: &Graph, id: OriginatorId) -> bool {
    graph.own_links().any(|(link, _)| link.to == id)
}

/// As XML 1.0 takes it, which knows no U+FFFE and U+FFFF.
fn escaped(text: &str) -> String {
    let text = format::harmless(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}");
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}
