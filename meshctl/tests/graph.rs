//! `meshctl graph`: maps in every format, and names that cannot leave their place in them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::{Daemon, Reaction, assert_golden, sample, stdout_of};
use control_api::{Method, Neighbors, Originator, OriginatorId, Originators, SCHEMA, Status};
use serde_json::Value;

/// The mesh of the samples, with more nodes behind router-2 and a second neighbor.
fn mesh(name: &str) -> Daemon {
    let (status, _) = sample::<Status>("status-gateway.json");
    let (mut neighbors, _) = sample::<Neighbors>("neighbors.json");
    let (mut originators, _) = sample::<Originators>("originators.json");
    let mut second = neighbors.neighbors[0].clone();
    second.originator_id = OriginatorId::new([0x44; 10]);
    second.name = Some(name.to_owned());
    second.cost_us = Some(2_000);
    neighbors.neighbors.push(second);
    let behind = |digit: u8, hops, metric_us| Originator {
        originator_id: OriginatorId::new([digit; 10]),
        name: Some(format!("router-{digit:x}")),
        hops: Some(hops),
        metric_us: Some(metric_us),
        gateway: false,
        ..originators.originators[0].clone()
    };
    // The link to its next hop went while the questions were asked.
    let mut lost = behind(0x88, 2, 2_500);
    lost.next_hop.as_mut().unwrap().originator_id = OriginatorId::new([0x99; 10]);
    let more = [behind(0x77, 2, 2_500), behind(0x22, 1, 1_240), lost];
    originators.originators.extend(more);
    Daemon::start(move |method| -> Reaction {
        if *method == Method::Neighbors {
            neighbors.clone().into()
        } else if *method == Method::Originators {
            originators.clone().into()
        } else {
            status.clone().into()
        }
    })
}

fn map(daemon: &Daemon, format: &str) -> String {
    let mut command = daemon.command(&["graph", "--format", format]);
    let command = command.env("SOURCE_DATE_EPOCH", "1798761599");
    stdout_of(&command.output().unwrap())
}

#[test]
fn every_format_is_as_it_was_reviewed() {
    let daemon = mesh("router-4");
    assert_golden("graph-netjson.json", &map(&daemon, "netjson"));
    assert_golden("graph-meshviewer.json", &map(&daemon, "meshviewer"));
    assert_golden("graph.dot", &map(&daemon, "dot"));
    assert_golden("graph.svg", &map(&daemon, "svg"));
}

#[test]
fn every_end_of_a_link_is_a_node_and_every_json_has_its_schema() {
    let daemon = mesh("router-4");
    for (format, id) in [("netjson", "id"), ("meshviewer", "node_id")] {
        let map: Value = serde_json::from_str(&map(&daemon, format)).unwrap();
        assert_eq!(map["schema"], SCHEMA);
        let nodes: Vec<&Value> = map["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| &it[id])
            .collect();
        let links = map["links"].as_array().unwrap();
        assert!(links.len() >= 2, "{format}");
        for link in links {
            assert!(nodes.contains(&&link["source"]), "{link}");
            assert!(nodes.contains(&&link["target"]), "{link}");
        }
    }
}

#[test]
fn a_name_stays_a_name() {
    let daemon = mesh("<&\">\\\"\u{1b}[m");

    let svg = map(&daemon, "svg");
    let dot = map(&daemon, "dot");
    let netjson: Value = serde_json::from_str(&map(&daemon, "netjson")).unwrap();

    assert!(svg.contains(">&lt;&amp;\"&gt;\\\"[m</text>"), "{svg}");
    assert!(dot.contains("[label=\"<&\\\">\\\\\\\"[m\"]"), "{dot}");
    let labels = netjson["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["label"]);
    assert!(labels.into_iter().any(|label| label == "<&\">\\\"[m"));
}

#[test]
fn a_name_that_xml_does_not_know_spoils_no_drawing() {
    let svg = map(&mesh("a\u{ffff}b\u{fffe}"), "svg");
    assert!(svg.contains(">a\u{fffd}b\u{fffd}</text>"), "{svg}");
}

#[test]
fn no_two_nodes_of_a_drawing_are_at_one_place() {
    let svg = map(&mesh("router-4"), "svg");
    let place = |line: &str| {
        line.split_once("<text x=")
            .unwrap()
            .1
            .split_once('>')
            .unwrap()
            .0
            .to_owned()
    };
    let mut places: Vec<String> = svg
        .lines()
        .filter(|it| it.starts_with("<g>"))
        .map(place)
        .collect();
    let count = places.len();
    places.sort();
    places.dedup();
    assert_eq!((places.len(), count), (7, 7), "{svg}");
}
