//! What the status page shows, made of the other golden answers.

use control_api::{
    Accounts, MapLink, MapNode, MeshMap, Neighbors, NodeRef, OriginatorId, Originators,
    PageSources, Quality, Stats, Status, StatusPage, page::MapLine,
};
use serde::de::DeserializeOwned;

use super::assert_golden;

fn golden<T: DeserializeOwned>(name: &str) -> T {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/").to_owned() + name;
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn page(status: &str) -> StatusPage {
    page_with(status, &golden::<MeshMap>("map.json"))
}

fn page_with(status: &str, map: &MeshMap) -> StatusPage {
    StatusPage::new(PageSources {
        status: &golden::<Status>(status),
        neighbors: &golden::<Neighbors>("neighbors.json"),
        originators: &golden::<Originators>("originators.json"),
        map,
        accounts: &golden::<Accounts>("receipts-list.json"),
        stats: &golden::<Stats>("receipts-stats.json"),
    })
}

#[test]
fn a_page_of_a_node_that_is_online() {
    assert_golden("status-page.json", &page("status-gateway.json"));
}

#[test]
fn a_page_of_a_node_that_is_offline() {
    let page = page("status-offline.json");
    assert!(page.path.is_empty(), "{:?}", page.path);
    assert_golden("status-page-offline.json", &page);
}

#[test]
fn a_node_with_an_uplink_is_all_of_its_way() {
    let page = page("status-uplink.json");
    let hops: Vec<u32> = page.path.iter().map(|step| step.hops).collect();
    assert_eq!(hops, [0]);
    assert!(page.map.nodes.first().unwrap().gateway);
}

/// A neighbor is on the map before anything is known of it but a link, and ways begin at neighbors.
#[test]
fn every_line_of_the_map_has_two_ends() {
    let map = page("status-gateway.json").map;
    for MapLine { from, to, .. } in &map.lines {
        assert!(*from < map.nodes.len() && *to < map.nodes.len() && from != to);
    }
    assert!(map.lines.iter().any(|line| line.tq.is_some()));
}

/// Who says whom it hears is drawn with its links, who says nothing with the way to it.
#[test]
fn the_map_shows_links_of_others() {
    // Router 5 is behind router 2.
    let (relay, far) = (id("22222222222222222222"), id("55555555555555555555"));
    for (links, hops, tq) in [
        (&[][..], 3, None),
        (&[(relay, far, 0.5)], 1, None),
        (&[(relay, far, 0.5), (far, relay, 0.8)], 1, Some(102)),
    ] {
        let map = page_with("status-gateway.json", &map_of(links)).map;
        let at = |id| map.nodes.iter().position(|it| it.node.originator_id == id);
        let line = MapLine {
            from: at(relay).unwrap(),
            to: at(far).unwrap(),
            hops,
            tq,
        };
        let between = map
            .lines
            .iter()
            .filter(|it| it.from == line.from && it.to == line.to);
        assert_eq!(between.collect::<Vec<_>>(), [&line], "{links:?}");
    }
}

fn id(text: &str) -> OriginatorId {
    text.parse().unwrap()
}

/// Who hears whom, and how well.
fn map_of(links: &[(OriginatorId, OriginatorId, f64)]) -> MeshMap {
    let node = |originator_id| NodeRef {
        originator_id,
        name: None,
    };
    let nodes = links.iter().map(|(at, to, rx)| MapNode {
        node: node(*at),
        position: None,
        said_s: 1,
        links: vec![MapLink {
            to: node(*to),
            rx_quality: Quality::new(*rx),
        }],
    });
    MeshMap {
        schema: 1,
        nodes: nodes.collect(),
    }
}
