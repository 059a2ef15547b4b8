//! The language of Graphviz, <https://graphviz.org/doc/info/lang.html>.

use super::{Graph, Node, degrees};
use crate::format;

/// Gateways are boxes, paths are dashed, links that only one end names are dotted. Beside a link is how well each end
/// hears the other: the one it points to first.
pub(super) fn document(graph: &Graph) -> String {
    let mut text = format!("graph {} {{\n", quoted(&graph.network));
    for (id, node) in &graph.nodes {
        let label = quoted(&node.label(*id));
        let place = node.position.map_or(String::new(), |it| {
            let (latitude, longitude) = (degrees(it.latitude_udeg), degrees(it.longitude_udeg));
            format!(", comment=\"{latitude}, {longitude}\"")
        });
        text.push_str(&format!(
            "  \"{id}\" [label={label}{}{place}];\n",
            look(node)
        ));
    }
    for link in &graph.links {
        let style = match link.is_one_sided() {
            true => ", style=dotted",
            false => "",
        };
        let (from, to, label) = (link.from, link.to, link.label());
        text.push_str(&format!(
            "  \"{from}\" -- \"{to}\" [label=\"{label}\"{style}];\n"
        ));
    }
    for path in graph.shown_paths() {
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
