//! The language of Graphviz, <https://graphviz.org/doc/info/lang.html>.

use super::{Graph, Node};
use crate::format;

/// Gateways are boxes, paths are dashed.
pub(super) fn document(graph: &Graph) -> String {
    let mut text = format!("graph {} {{\n", quoted(&graph.network));
    for (id, node) in &graph.nodes {
        let label = quoted(&node.label(*id));
        text.push_str(&format!("  \"{id}\" [label={label}{}];\n", look(node)));
    }
    for link in &graph.links {
        let cost = format::metric(link.cost_us);
        text.push_str(&format!(
            "  \"{}\" -- \"{}\" [label=\"{cost}\"];\n",
            graph.own, link.to
        ));
    }
    for path in &graph.paths {
        let cost = format::metric(path.cost_us);
        let ends = format!("\"{}\" -- \"{}\"", path.first_hop, path.to);
        text.push_str(&format!("  {ends} [label=\"{cost}\", style=dashed];\n"));
    }
    text.push_str("}\n");
    text
}

const fn look(node: &Node) -> &'static str {
    match (node.gateway, node.reachable) {
        (true, true) => ", shape=box",
        (true, false) => ", shape=box, style=dotted",
        (false, true) => "",
        (false, false) => ", style=dotted",
    }
}

/// A backslash begins an escape, whatever follows.
fn quoted(text: &str) -> String {
    let escaped = format::harmless(text).replace('\\', "\\\\");
    format!("\"{}\"", escaped.replace('"', "\\\""))
}
