//! What the status page shows, made of the other golden answers.

use control_api::{
    Accounts, Neighbors, Originators, PageSources, Stats, Status, StatusPage, page::MapLine,
};
use serde::de::DeserializeOwned;

use super::assert_golden;

fn golden<T: DeserializeOwned>(name: &str) -> T {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/").to_owned() + name;
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn page(status: &str) -> StatusPage {
    StatusPage::new(PageSources {
        status: &golden::<Status>(status),
        neighbors: &golden::<Neighbors>("neighbors.json"),
        originators: &golden::<Originators>("originators.json"),
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
