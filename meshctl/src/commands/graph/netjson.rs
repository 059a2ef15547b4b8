//! NetworkGraph of NetJSON, <https://netjson.org/rfc.html>, section 4.

use control_api::SCHEMA;
use serde_json::{Value, json};

use super::{Graph, Link, Node, Path};
use crate::format;

/// `schema` and what is in `properties` are ours.
pub(super) fn document(graph: &Graph) -> Value {
    let links = graph.links.iter().map(|it| link(graph, it));
    let paths = graph.paths.iter().map(path);
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
        },
    })
}

fn link(graph: &Graph, link: &Link) -> Value {
    json!({
        "source": graph.own,
        "target": link.to,
        "cost": link.cost_us,
        "cost_text": format::metric(link.cost_us),
        "properties": {
            "kind": "link",
            "interface": link.interface,
            "rx_quality": link.rx,
            "tx_quality": link.tx,
        },
    })
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
