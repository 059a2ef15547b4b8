//! `meshctl graph`: maps in every format, and names that cannot leave their place in them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::{Daemon, Reaction, assert_golden, sample, stdout_of};
use control_api::{
    ErrorCode, MapLink, MapNode, MeshMap, Method, Neighbors, NodeRef, Originator, OriginatorId,
    Originators, Position, Quality, RpcError, SCHEMA, Status,
};
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
    let map = map_of(&neighbors.neighbors[0].originator_id);
    Daemon::start(move |method| -> Reaction {
        if *method == Method::Map {
            return map.clone().into();
        }
        if *method == Method::Neighbors {
            neighbors.clone().into()
        } else if *method == Method::Originators {
            originators.clone().into()
        } else {
            status.clone().into()
        }
    })
}

/// router-2 and the two behind it: one link that both ends name, one that one end does, and one to a stranger.
fn map_of(neighbor: &OriginatorId) -> MeshMap {
    let node = |originator_id| NodeRef {
        originator_id,
        name: None,
    };
    let id = |digit| OriginatorId::new([digit; 10]);
    let link = |digit, quality| MapLink {
        to: node(id(digit)),
        rx_quality: Quality::new(quality),
    };
    let entry = |id, position, links| MapNode {
        node: node(id),
        position,
        said_s: 60,
        links,
    };
    let position = Position {
        latitude_udeg: -1_286_389,
        longitude_udeg: 36_817_223,
    };
    let hears = vec![
        link(0x11, 1.0),
        link(0x55, 0.9),
        link(0x77, 0.8),
        link(0xee, 1.0),
    ];
    let nodes = vec![
        entry(*neighbor, Some(position), hears),
        entry(id(0x55), None, vec![link(0x22, 0.6), link(0x66, 1.0)]),
    ];
    MeshMap {
        schema: SCHEMA,
        nodes,
    }
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

fn qualities(netjson: &Value, digits: [&str; 2]) -> Option<[Value; 3]> {
    let [from, to] = digits.map(|it| it.repeat(20));
    let links = netjson["links"].as_array().unwrap().iter();
    let mut found = links.filter(|it| it["source"] == *from && it["target"] == *to);
    let link = found.next()?;
    assert!(found.next().is_none(), "{from} and {to} twice");
    let of = |key: &str| link["properties"][key].clone();
    Some([of("rx_quality"), of("tx_quality"), of("one_sided")])
}

#[test]
fn links_of_others_have_both_directions_and_say_if_only_one_end_speaks() {
    let netjson: Value = serde_json::from_str(&map(&mesh("router-4"), "netjson")).unwrap();
    let both = [0.9.into(), 0.6.into(), false.into()];
    assert_eq!(qualities(&netjson, ["2", "5"]), Some(both));
    let one = [0.8.into(), Value::Null, true.into()];
    assert_eq!(qualities(&netjson, ["2", "7"]), Some(one));
    assert_eq!(qualities(&netjson, ["2", "e"]), None, "a stranger");
    assert_eq!(qualities(&netjson, ["5", "6"]), None, "out of reach");
    assert_eq!(netjson["links_left_out"], 2);
    let own = qualities(&netjson, ["1", "2"]).unwrap();
    assert_eq!(
        own[2], false,
        "known from both ends, and better than from afar"
    );
}

#[test]
fn a_daemon_without_a_map_is_drawn_as_before() {
    let answers = [
        sample::<Status>("status-gateway.json").0.into(),
        sample::<Neighbors>("neighbors.json").0.into(),
        sample::<Originators>("originators.json").0.into(),
    ];
    let [status, neighbors, originators]: [control_api::Answer; 3] = answers;
    let daemon = Daemon::start(move |method| {
        let unknown = || RpcError::new(ErrorCode::MethodNotFound, "no method \"map\"");
        let known = [
            (Method::Status, &status),
            (Method::Neighbors, &neighbors),
            (Method::Originators, &originators),
        ];
        let found = known.into_iter().find(|(known, _)| known == method);
        Reaction::Answer(found.map(|(_, answer)| answer.clone()).ok_or_else(unknown))
    });
    let netjson: Value = serde_json::from_str(&map(&daemon, "netjson")).unwrap();
    let kinds = netjson["links"].as_array().unwrap().iter();
    let kinds: Vec<&Value> = kinds.map(|it| &it["properties"]["kind"]).collect();
    assert_eq!(kinds, ["link", "path"]);
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
