//! Gateways are chosen by what the way to the Internet costs, and replaced when they are gone;
//! prefixes that two nodes announce have one owner.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use std::time::Duration;

use common::{mesh, run_until_routed, secs};
use ipnet::IpNet;
use mesh_proto::gateway_policy::uplink_cost;
use mesh_proto::gateway_selection::switch_gain_percent;
use mesh_proto::router::Announcement;
use mesh_proto::{GatewayOffer, Table, Target, Tunnel};
use mesh_sim::report::routed_cost;
use mesh_sim::scenario::Inheritance;
use mesh_sim::{Action, NodeIndex, Simulation, Step, oracle};

fn offer(down_bps: u64) -> GatewayOffer {
    GatewayOffer {
        down_bps,
        up_bps: down_bps / 4,
        ipv4: true,
        ipv6: true,
        dns: Vec::new(),
    }
}

fn announce(simulation: &mut Simulation, at: f64, node: NodeIndex, announcement: Announcement) {
    simulation.schedule(Step::new(secs(at), Action::Announce(node, announcement)));
}

fn share(simulation: &mut Simulation, at: f64, node: NodeIndex, offer: Option<GatewayOffer>) {
    let announcement = Announcement {
        gateway: offer,
        ..Announcement::default()
    };
    announce(simulation, at, node, announcement);
}

fn chosen(simulation: &Simulation, node: NodeIndex) -> Option<NodeIndex> {
    let (id, _) = simulation.router(node)?.gateway()?;
    simulation.nodes().find(|n| simulation.node(*n).id() == id)
}

/// What the way to the Internet through `gateway` costs at best.
fn cost(simulation: &Simulation, node: NodeIndex, gateway: NodeIndex, down_bps: u64) -> f64 {
    let count = simulation.topology().nodes.len();
    let paths = oracle::distances(simulation.radio(), count, gateway, |_| true);
    paths[node.0].unwrap() + f64::from(uplink_cost(&offer(down_bps)).as_us())
}

const FAST: (NodeIndex, u64) = (NodeIndex(0), 20_000_000);
const SLOW: (NodeIndex, u64) = (NodeIndex(24), 10_000_000);

fn grid_with_two_gateways(seed: u64, loss: f64) -> Simulation {
    let mut grid = mesh("grid:5x5", seed, loss);
    share(&mut grid, 0.0, FAST.0, Some(offer(FAST.1)));
    share(&mut grid, 0.0, SLOW.0, Some(offer(SLOW.1)));
    grid
}

#[test]
fn every_node_chooses_the_best_gateway() {
    for seed in 1..=3 {
        let mut grid = mesh("grid:5x5", seed, 0.0);
        share(&mut grid, 0.0, SLOW.0, Some(offer(SLOW.1)));
        // The better one comes later, so that many have to change their choice.
        share(&mut grid, 2.0, FAST.0, Some(offer(FAST.1)));
        run_until_routed(&mut grid, 4.0);
        for node in grid.nodes().filter(|n| ![FAST.0, SLOW.0].contains(n)) {
            let choice = chosen(&grid, node);
            let fast = cost(&grid, node, FAST.0, FAST.1);
            let slow = cost(&grid, node, SLOW.0, SLOW.1);
            // The one heard of first stays unless it is beaten clearly.
            let gain = switch_gain_percent(grid.node(node).id());
            let clearly = 1.0 - f64::from(gain) / 100.0;
            let context = format!("seed {seed}, node {node}: {fast} or {slow}");
            if fast <= slow * clearly {
                assert_eq!(choice, Some(FAST.0), "{context}");
            } else if slow <= fast * clearly {
                assert_eq!(choice, Some(SLOW.0), "{context}");
            } else {
                assert!(choice.is_some(), "{context}");
            }
            let default: IpNet = "::/0".parse().unwrap();
            let route = grid.routes(node).into_iter();
            let route = route.filter(|r| (r.table, r.prefix) == (Table::Tunnel, default));
            let peer = grid.node(choice.unwrap()).id();
            let targets: Vec<_> = route.map(|r| r.target).collect();
            let tunnel = Tunnel::Vxlan;
            assert_eq!(targets, [Target::Tunnel { peer, tunnel }], "{context}");
        }
        assert_eq!(chosen(&grid, FAST.0), None, "a gateway uses no other");
    }
}

#[test]
fn when_a_gateway_dies_the_other_takes_over() {
    for (seed, loss) in [(1, 0.0), (2, 0.1)] {
        let mut grid = grid_with_two_gateways(seed, loss);
        run_until_routed(&mut grid, 8.0);
        let stop = Action::Stop(FAST.0, Inheritance::Cold);
        grid.schedule(Step::new(secs(8.0), stop));
        run_until_routed(&mut grid, 24.0);
        for node in grid.nodes().filter(|n| ![FAST.0, SLOW.0].contains(n)) {
            assert_eq!(
                chosen(&grid, node),
                Some(SLOW.0),
                "seed {seed}, node {node}"
            );
            assert!(routed_cost(&grid, node, SLOW.0).is_some());
        }
    }
}

#[test]
fn a_gateway_whose_uplink_fails_says_so() {
    let mut line = mesh("line:4", 1, 0.0);
    share(&mut line, 0.0, NodeIndex(3), Some(offer(20_000_000)));
    run_until_routed(&mut line, 3.0);
    assert_eq!(chosen(&line, NodeIndex(0)), Some(NodeIndex(3)));
    share(&mut line, 3.0, NodeIndex(3), None);
    run_until_routed(&mut line, 3.5);
    assert_eq!(chosen(&line, NodeIndex(0)), None);
    let routes = line.routes(NodeIndex(0)).into_iter();
    assert_eq!(routes.filter(|r| r.table == Table::Tunnel).count(), 0);
}

#[test]
fn a_prefix_of_two_nodes_is_that_of_the_lower_id() {
    let prefix: IpNet = "10.1.2.0/24".parse().unwrap();
    for seed in 1..=4 {
        let mut line = mesh("line:7", seed, 0.0);
        let ends = [NodeIndex(0), NodeIndex(6)];
        for end in ends {
            let announcement = Announcement {
                prefixes: vec![prefix],
                ..Announcement::default()
            };
            announce(&mut line, 0.0, end, announcement);
        }
        run_until_routed(&mut line, 4.0);
        let owner = ends
            .into_iter()
            .min_by_key(|end| line.node(*end).id())
            .unwrap();
        let owners_address = line.address(owner);
        for node in line.nodes().filter(|node| *node != owner) {
            let next = line.next_hop(prefix, node);
            assert!(next.is_some(), "seed {seed}, node {node}");
            assert_eq!(next, line.next_hop(owners_address, node), "seed {seed}");
        }
        for end in ends {
            let router = line.router(end).unwrap();
            assert_eq!(router.prefix_conflicts().count(), 1, "both are told");
        }
        let stop = Action::Stop(owner, Inheritance::Cold);
        line.schedule(Step::new(line.now() + Duration::from_millis(1), stop));
        run_until_routed(&mut line, 14.0);
        let other = ends.into_iter().find(|end| *end != owner).unwrap();
        let next = line.next_hop(prefix, NodeIndex(3));
        assert_eq!(next, line.next_hop(line.address(other), NodeIndex(3)));
    }
}
