//! Meshes come up without a loop, in time, and on the shortest paths.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use common::{mesh, run, run_until_routed};

/// A route in use stays until another is 15 % better, so the choice of one node may be worse
/// than the best by this; without loss nothing else comes in between.
const HYSTERESIS: f64 = 1.0 / 0.85;

/// By then every originator has raised its sequence number, so that no better route is infeasible,
/// and what was better for a while is in use.
const SETTLED_S: f64 = 75.0;

/// A cold start: a moment of listening (0.4 s), and then news at 20 ms a hop.
fn comes_up(topology: &str, seed: u64) {
    let mut simulation = mesh(topology, seed, 0.0);
    let report = run_until_routed(&mut simulation, 2.5);
    let context = format!("{topology}, seed {seed}");
    let start = &report.phases[0];
    assert!(start.routed_after_s.unwrap() <= 0.8, "{context}: {start:?}");
    assert_eq!(start.relapses, 0, "{context}");
    let cost = run(&mut simulation, SETTLED_S).path_cost.unwrap();
    assert!(cost.mean_ratio <= 1.02, "{context}: {cost:?}");
    assert!(cost.worst_ratio <= HYSTERESIS * 1.01, "{context}: {cost:?}");
}

/// With loss, every lost broadcast may cost a hop the time to the next hello, and what links are
/// measured to lose swings around the truth.
fn comes_up_with_loss(topology: &str, seed: u64, within: f64) {
    let mut simulation = mesh(topology, seed, 0.1);
    run_until_routed(&mut simulation, within);
    let context = format!("{topology}, seed {seed}");
    let cost = run(&mut simulation, SETTLED_S).path_cost.unwrap();
    assert!(cost.mean_ratio <= 1.1, "{context}: {cost:?}");
}

#[test]
fn lines() {
    for topology in ["line:2", "line:3", "line:5", "line:9", "line:20"] {
        (1..=3).for_each(|seed| comes_up(topology, seed));
    }
}

#[test]
fn rings() {
    for topology in ["ring:3", "ring:4", "ring:7", "ring:12", "ring:16"] {
        (1..=3).for_each(|seed| comes_up(topology, seed));
    }
}

#[test]
fn small_grids() {
    for topology in ["grid:3x3", "grid:4x4", "grid:5x5"] {
        (1..=3).for_each(|seed| comes_up(topology, seed));
    }
}

#[test]
fn large_grids() {
    comes_up("grid:6x6", 1);
    comes_up("grid:7x7", 1);
}

#[test]
fn random_places() {
    (1..=4).for_each(|seed| comes_up("geometric:20", seed));
}

#[test]
fn lines_and_rings_with_loss() {
    for topology in ["line:3", "line:8", "ring:5", "ring:10"] {
        (1..=5).for_each(|seed| comes_up_with_loss(topology, seed, 8.0));
    }
}

#[test]
fn small_grids_with_loss() {
    for topology in ["grid:3x3", "grid:4x4", "grid:5x5"] {
        (1..=3).for_each(|seed| comes_up_with_loss(topology, seed, 6.0));
    }
}

#[test]
fn large_grids_with_loss() {
    comes_up_with_loss("grid:6x6", 1, 6.0);
    comes_up_with_loss("grid:7x7", 1, 6.0);
}

#[test]
fn a_link_that_works_in_one_direction_only_is_not_used() {
    let mut topology = mesh_sim::topology::ring(4);
    topology.links[0].loss_ba = Some(1.0);
    let mut simulation = mesh_sim::Simulation::new(topology, mesh_sim::Options::new(1));
    run_until_routed(&mut simulation, 3.0);
    let (from, to) = (mesh_sim::NodeIndex(0), mesh_sim::NodeIndex(1));
    let next = simulation.next_hop(simulation.address(to), from);
    assert_eq!(next, Some(mesh_sim::NodeIndex(3)), "the long way round");
}
