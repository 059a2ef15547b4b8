//! What nodes pay is the sum of the fees along their routes.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use std::time::Duration;

use common::{everybody_pays, mesh, run, secs};
use mesh_proto::router::Announcement;
use mesh_proto::{GatewayOffer, NodeId, Price};
use mesh_sim::scenario::Named;
use mesh_sim::{Action, NodeIndex, Simulation, Step};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Everybody has a route to everybody, and links are known well. Not every route is the best by then,
/// but each has its price.
const SETTLED_S: f64 = 15.0;

/// A fee of 0 to 999, so that some are free.
fn any_fee(rng: &mut ChaCha8Rng) -> Price {
    Price::new(u64::from(rng.next_u32() % 1000))
}

fn announcement(fee: Price, is_gateway: bool) -> Announcement {
    let offer = GatewayOffer {
        down_bps: 20_000_000,
        up_bps: 5_000_000,
        ipv4: true,
        ipv6: true,
        dns: Vec::new(),
    };
    Announcement {
        gateway: is_gateway.then_some(offer),
        fee,
        ..Announcement::default()
    }
}

/// What the simulation has of a node's fee and key.
fn fee(simulation: &Simulation, node: NodeIndex) -> Price {
    simulation.node(node).announcement().fee
}

fn key(simulation: &Simulation, node: NodeIndex) -> NodeId {
    let router = simulation.router(node).unwrap();
    router.record(router.id()).unwrap().node()
}

/// Whether what `node` pays for the way to `gateway` is the sum of the fees along it, and what it
/// takes that and its own fee. Nothing is said of a node without a way.
fn is_priced_right(simulation: &Simulation, node: NodeIndex, gateway: NodeIndex) -> bool {
    let path = simulation.path(node, gateway);
    if node == gateway || path.last() != Some(&gateway) {
        return true;
    }
    let fees = path.iter().skip(1).map(|hop| fee(simulation, *hop));
    let sum = fees.fold(Price::FREE, Price::plus);
    let [next, last] = [path[1], gateway].map(|node| key(simulation, node));
    let router = simulation.router(node).unwrap();
    router.price_via(next, last) == Some(sum)
        && router.price_to(last) == Some(sum.plus(fee(simulation, node)))
}

/// Nodes whose price to some gateway is not right, the first few.
fn wrong(simulation: &Simulation) -> Vec<(NodeIndex, NodeIndex)> {
    let running = || simulation.nodes().filter(|it| simulation.node(*it).runs());
    let gateways = || running().filter(|it| simulation.node(*it).is_gateway());
    let pairs = running().flat_map(|node| gateways().map(move |gateway| (node, gateway)));
    let wrong = pairs.filter(|(node, gateway)| !is_priced_right(simulation, *node, *gateway));
    wrong.take(10).collect()
}

/// What a route costs is known within this time; measured costs may move one at any moment.
#[track_caller]
fn assert_priced_right(simulation: &mut Simulation) {
    let seed = simulation.options().seed;
    let end = simulation.now() + secs(2.0);
    while !wrong(simulation).is_empty() && simulation.now() < end {
        let soon = simulation.now() + Duration::from_millis(50);
        simulation.run_until(soon);
    }
    assert_eq!(wrong(simulation), [], "seed {seed}");
}

fn announce(simulation: &mut Simulation, node: NodeIndex, announcement: Announcement) {
    let action = Action::Announce(node, announcement);
    simulation.schedule(Step::new(simulation.now(), action));
}

/// Two gateways, and fees at random.
fn settled(topology: &str, seed: u64, loss: f64) -> (Simulation, ChaCha8Rng) {
    let mut simulation = mesh(topology, seed, loss);
    everybody_pays(&mut simulation);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let nodes: Vec<_> = simulation.nodes().collect();
    let gateways = [0, 1].map(|_| rng.next_u32() as usize % nodes.len());
    for node in nodes {
        let is_gateway = gateways.contains(&node.0);
        announce(
            &mut simulation,
            node,
            announcement(any_fee(&mut rng), is_gateway),
        );
    }
    run(&mut simulation, SETTLED_S);
    (simulation, rng)
}

#[test]
fn the_price_at_each_node_is_the_sum_of_the_fees_along_its_route() {
    for seed in 1..=2 {
        println!("seed {seed}");
        let (mut simulation, mut rng) = settled("geometric:200", seed, 0.0);
        assert_eq!(wrong(&simulation), [], "seed {seed}");
        let gateways = simulation
            .nodes()
            .filter(|it| simulation.node(*it).is_gateway());
        assert!(gateways.count() > 0);
        // A fee that changes, at some node in the middle of something.
        for _ in 0..10 {
            let node = NodeIndex(rng.next_u32() as usize % 200);
            let is_gateway = simulation.node(node).is_gateway();
            announce(
                &mut simulation,
                node,
                announcement(any_fee(&mut rng), is_gateway),
            );
            let until = simulation.now() + secs(0.5);
            simulation.run_until(until);
            assert_eq!(wrong(&simulation), [], "seed {seed}, {node} changed");
        }
    }
}

#[test]
fn prices_are_right_on_links_with_loss() {
    for seed in 1..=3 {
        println!("seed {seed}");
        let (mut simulation, _) = settled("geometric:30", seed, 0.15);
        assert_priced_right(&mut simulation);
    }
}

#[test]
fn prices_are_right_after_anything_happened_to_anybody() {
    let churn = Named::find("churn").unwrap();
    for seed in 1..=4 {
        println!("seed {seed}");
        let mut simulation = mesh("geometric:20", seed, 0.0);
        everybody_pays(&mut simulation);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let duration = Duration::from_secs(churn.seconds);
        let mut plan = churn.plan(simulation.topology(), seed, duration, 0);
        for step in &mut plan.steps {
            if let Action::Announce(_, announcement) = &mut step.action {
                announcement.fee = any_fee(&mut rng);
            }
        }
        simulation.follow(plan);
        run(&mut simulation, duration.as_secs_f64());
        assert_priced_right(&mut simulation);
    }
}
