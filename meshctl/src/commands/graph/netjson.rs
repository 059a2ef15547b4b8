//! NetworkGraph of NetJSON, <https://netjson.org/rfc.html>, section 4.

use control_api::{Quality, SCHEMA};
use serde_json::{Value, json};

use super::{Graph, Link, Node, Path, degrees};
use crate::format;

/// `schema` and what is in `properties` are ours.
pub(super) fn document(graph: &Graph) -> Value {
    let links = graph.links.iter().map(link);
    let paths = graph.shown_paths().map(path);
    json!({
        "schema": SCHEMA,
        "type": "NetworkGraph",
        "protocol": "meshd",
        "version": graph.version,
        "revision": null,
        "metric": "airtime",
        "router_id": graph.own,
        "label": graph.network,
        "nodes": graph.nodes.iter().map(|(id, it)| node(id, it)).collect::<Vec<_>>(),
        "links": links.chain(paths).collect::<Vec<_>>(),
        "links_left_out": graph.left_out,
    })
}

fn node(id: &control_api::OriginatorId, node: &Node) -> Value {
    json!({
        "id": id,
        "label": node.label(*id),
        "local_addresses": node.addresses,
        "properties": {
            "gateway": node.gateway,
            "reachable": node.reachable,
            "hops": node.hops,
            "location": node.position.map(|it| json!({
                "lat": degrees(it.latitude_udeg),
                "lng": degrees(it.longitude_udeg),
            })),
        },
    })
}

/// What a link of others costs is their business; NetJSON wants a number, the better the smaller.
fn link(link: &Link) -> Value {
    let transmissions = 1.0 / (share(link.rx) * share(link.tx)).max(0.001);
    let (cost, text, interface) = match &link.own {
        Some(own) => (
            json!(own.cost_us),
            format::metric(own.cost_us),
            Some(&own.interface),
        ),
        None => (
            json!((transmissions * 1000.0).round()),
            link.qualities(),
            None,
        ),
    };
    json!({
        "source": link.from,
        "target": link.to,
        "cost": cost,
        "cost_text": text,
        "properties": {
            "kind": "link",
            "interface": interface,
            "rx_quality": link.rx,
            "tx_quality": link.tx,
            "one_sided": link.is_one_sided(),
        },
    })
}

/// Of an end that says nothing nothing better is known than the other direction.
fn share(quality: Option<Quality>) -> f64 {
    quality.map_or(1.0, Quality::share)
}

fn path(path: &Path) -> Value {
    json!({
        "source": path.first_hop,
        "target": path.to,
        "cost": path.cost_us,
        "cost_text": format::metric(path.cost_us),
        "properties": {
            "kind": "path",
            "hops": path.hops,
        },
    })
}
