//! The map of the mesh: every router comes to have all of it, and who is gone leaves it.

#![allow(clippy::indexing_slicing, reason = "what JSON lacks is null")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::harness::in_lab;
use mesh_tests::lab::Lab;
use mesh_tests::mesh::wait_all_pairs;
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;
use serde_json::Value;

pub(crate) fn tests() -> Vec<Trial> {
    vec![in_lab(
        "every_router_of_a_ring_draws_all_of_it",
        || Topology::ring(5),
        ring,
    )]
}

const PATIENCE: Duration = Duration::from_secs(30);
/// Entries settle, go around with hellos, and are asked for if they got lost; a second one of a node waits a minute.
const LONG: Duration = Duration::from_secs(180);

fn ring(lab: &mut Lab) -> Result<()> {
    lab.node_mut("r3")?.config.position = Some("-1.286389, 36.817223".to_owned());
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    let whole = ["r1-r2", "r1-r5", "r2-r3", "r3-r4", "r4-r5"];
    for router in ["r1", "r2", "r3", "r4", "r5"] {
        wait_for(&format!("the whole map on {router}"), LONG, || {
            let graph = Graph::of(lab, router)?;
            let links = graph.links()?;
            ensure!(links == whole, "{links:?}");
            let place = graph.node("r3")?["properties"]["location"].clone();
            ensure!(
                place["lat"] == -1.286_389 && place["lng"] == 36.817_223,
                "{place}"
            );
            ensure!(graph.node("r2")?["properties"]["location"].is_null());
            Ok(())
        })?;
    }
    let svg = lab.node("r1")?.ctl_text("graph --format svg")?;
    ensure!(svg.matches("100%/100%").count() == 5, "{svg}");

    // r5 loses power: the ring becomes a line.
    lab.node_mut("r5")?.take_daemon()?.crash()?;
    lab.air().power_off("r5")?;
    for router in ["r1", "r3"] {
        wait_for(&format!("r5 to leave the map of {router}"), LONG, || {
            let links = Graph::of(lab, router)?.links()?;
            ensure!(links == ["r1-r2", "r2-r3", "r3-r4"], "{links:?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// What `meshctl graph` prints as NetJSON.
struct Graph(Value);

impl Graph {
    fn of(lab: &Lab, router: &str) -> Result<Self> {
        let text = lab.node(router)?.ctl_text("graph --format netjson")?;
        Ok(Self(serde_json::from_str(&text)?))
    }

    fn list(&self, key: &str) -> impl Iterator<Item = &Value> {
        self.0[key].as_array().into_iter().flatten()
    }

    fn node(&self, name: &str) -> Result<&Value> {
        let mut nodes = self.list("nodes");
        nodes
            .find(|node| node["label"] == name)
            .with_context(|| format!("no {name}"))
    }

    fn label(&self, id: &Value) -> Result<&str> {
        let mut nodes = self.list("nodes");
        let node = nodes.find(|node| node["id"] == *id);
        let label = node.and_then(|node| node["label"].as_str());
        label.with_context(|| format!("no node {id}"))
    }

    /// The links, of which both ends have said how they hear each other.
    fn links(&self) -> Result<Vec<String>> {
        let link = |link: &Value| {
            let qualities = ["rx_quality", "tx_quality"].map(|key| &link["properties"][key]);
            ensure!(qualities.iter().all(|it| it.as_f64() > Some(0.9)), "{link}");
            ensure!(link["properties"]["kind"] == "link", "{link}");
            ensure!(link["properties"]["one_sided"] == false, "{link}");
            let mut ends = [self.label(&link["source"])?, self.label(&link["target"])?];
            ends.sort_unstable();
            Ok(ends.join("-"))
        };
        let mut links: Vec<String> = self.list("links").map(link).collect::<Result<_>>()?;
        links.sort();
        Ok(links)
    }
}
