//! Topologies from files: NetJSON `NetworkGraph` (<https://netjson.org/rfc.html#name-networkgraph>)
//! and what looks like it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::{Link, Topology, TopologyError};
use crate::NodeIndex;

pub(super) fn read(path: &Path) -> Result<Topology, TopologyError> {
    let shown = || path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| TopologyError::Read {
        path: shown(),
        source,
    })?;
    parse(&text).map_err(|reason| TopologyError::Form {
        path: shown(),
        reason,
    })
}

/// A link as it is listed, in one direction.
struct Listed {
    source: NodeIndex,
    target: NodeIndex,
    loss: Option<f64>,
    cost: Option<f64>,
}

#[derive(Default)]
struct Names {
    indices: BTreeMap<String, NodeIndex>,
    in_order: Vec<String>,
}

impl Names {
    fn index(&mut self, name: String) -> NodeIndex {
        let next = NodeIndex(self.in_order.len());
        *self.indices.entry(name.clone()).or_insert_with(|| {
            self.in_order.push(name);
            next
        })
    }
}

pub(super) fn parse(text: &str) -> Result<Topology, String> {
    let json: Value = serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?;
    let links = json.get("links").and_then(Value::as_array).ok_or(
        "no \"links\": expected an object with \"links\": [{\"source\": …, \"target\": …}]",
    )?;
    let mut names = Names::default();
    let nodes = json.get("nodes").and_then(Value::as_array);
    for (i, node) in nodes.into_iter().flatten().enumerate() {
        let id = node.get("id").unwrap_or(node);
        names.index(name(id).ok_or_else(|| format!("nodes[{i}]: no \"id\""))?);
    }
    let listed = links
        .iter()
        .enumerate()
        .map(|(i, link)| parse_link(link, &mut names).map_err(|e| format!("links[{i}]: {e}")))
        .collect::<Result<Vec<_>, _>>()?;
    if listed.is_empty() {
        return Err("\"links\" is empty".to_owned());
    }
    Ok(Topology {
        nodes: names.in_order,
        links: merge(&listed),
    })
}

fn parse_link(link: &Value, names: &mut Names) -> Result<Listed, String> {
    let mut end = |key: &str| {
        let value = link.get(key).ok_or_else(|| format!("no \"{key}\""))?;
        let name = name(value).ok_or_else(|| format!("\"{key}\" is neither text nor a number"))?;
        Ok::<_, String>(names.index(name))
    };
    let (source, target) = (end("source")?, end("target")?);
    if source == target {
        return Err("\"source\" and \"target\" are the same node".to_owned());
    }
    let loss = number(link, "loss")?;
    if loss.is_some_and(|loss| !(0.0..=1.0).contains(&loss)) {
        return Err("\"loss\" is a share from 0 to 1".to_owned());
    }
    let cost = number(link, "cost")?;
    if cost.is_some_and(|cost| !(cost > 0.0 && cost.is_finite())) {
        return Err("\"cost\" is above 0".to_owned());
    }
    Ok(Listed {
        source,
        target,
        loss,
        cost,
    })
}

fn name(value: &Value) -> Option<String> {
    let text = value.as_str().map(str::to_owned);
    text.or_else(|| value.as_number().map(ToString::to_string))
}

fn number(link: &Value, key: &str) -> Result<Option<f64>, String> {
    match link.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(number) => Ok(Some(number)),
            None => Err(format!("\"{key}\" is not a number")),
        },
    }
}

/// Joins the two directions of each link. What is listed once counts for both.
fn merge(listed: &[Listed]) -> Vec<Link> {
    let cheapest = listed
        .iter()
        .filter_map(|link| link.cost)
        .fold(f64::INFINITY, f64::min);
    let mut merged: BTreeMap<(NodeIndex, NodeIndex), (Option<f64>, Option<f64>)> = BTreeMap::new();
    for link in listed {
        let loss = link
            .loss
            .or_else(|| link.cost.map(|cost| loss_of_cost(cost / cheapest)));
        let forward = link.source < link.target;
        let key = if forward {
            (link.source, link.target)
        } else {
            (link.target, link.source)
        };
        let known = merged.entry(key).or_insert((None, None));
        let (this, other) = if forward {
            (&mut known.0, &mut known.1)
        } else {
            (&mut known.1, &mut known.0)
        };
        *this = loss;
        *other = other.or(loss);
    }
    let link = |((a, b), (loss_ab, loss_ba))| Link {
        a,
        b,
        loss_ab,
        loss_ba,
    };
    merged.into_iter().map(link).collect()
}

/// The loss in each direction that makes a link cost `etx` transmissions. Protocols scale their
/// costs differently, but all have their cheapest link without loss.
fn loss_of_cost(etx: f64) -> f64 {
    1.0 - etx.sqrt().recip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netjson_is_understood() {
        let topology = parse(
            r#"{"type": "NetworkGraph", "protocol": "OLSR", "version": "0.6", "metric": "ETX",
                "nodes": [{"id": "10.0.0.1", "label": "one"}, {"id": "10.0.0.2"}, {"id": "x"}],
                "links": [{"source": "10.0.0.1", "target": "10.0.0.2", "cost": 1.0},
                          {"source": "10.0.0.2", "target": "x", "cost": 4.0}]}"#,
        )
        .unwrap();
        assert_eq!(topology.nodes, ["10.0.0.1", "10.0.0.2", "x"]);
        assert_eq!(topology.links[0].loss_ab, Some(0.0));
        assert_eq!(topology.links[1].loss_ab, Some(0.5), "ETX 4 = 1 / (½ · ½)");
        assert_eq!(topology.links[1].loss_ba, Some(0.5));
    }

    #[test]
    fn nodes_need_not_be_listed_and_directions_may_differ() {
        let topology = parse(
            r#"{"links": [{"source": 1, "target": 2, "loss": 0.1},
                          {"source": 2, "target": 1, "loss": 0.4},
                          {"source": 2, "target": 7}]}"#,
        )
        .unwrap();
        assert_eq!(topology.nodes, ["1", "2", "7"]);
        assert_eq!(topology.links.len(), 2);
        assert_eq!(topology.links[0].loss_ab, Some(0.1));
        assert_eq!(topology.links[0].loss_ba, Some(0.4));
        assert_eq!(topology.links[1].loss_ab, None);
    }

    #[test]
    fn errors_say_what_is_wrong_and_where() {
        for (text, part) in [
            ("{", "not JSON"),
            ("{}", "no \"links\""),
            (r#"{"links": []}"#, "empty"),
            (r#"{"links": [{"source": 1}]}"#, "links[0]: no \"target\""),
            (r#"{"links": [{"source": 1, "target": 1}]}"#, "same node"),
            (r#"{"links": [{"source": 1, "target": [2]}]}"#, "neither"),
            (
                r#"{"links": [{"source": 1, "target": 2, "loss": 2}]}"#,
                "0 to 1",
            ),
            (
                r#"{"links": [{"source": 1, "target": 2, "cost": "x"}]}"#,
                "not a number",
            ),
            (
                r#"{"nodes": [{}], "links": [{"source": 1, "target": 2}]}"#,
                "nodes[0]",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
