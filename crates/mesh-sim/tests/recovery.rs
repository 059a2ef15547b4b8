//! Links are cut and healed, nodes die and are restarted: no loop at any moment, and every pair
//! that can be routed is routed again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use common::{mesh, run_until_routed, secs};
use mesh_sim::scenario::Inheritance::{self, Cold, Warm};
use mesh_sim::{Action, NodeIndex, Report, Simulation, Step};

const fn node(index: usize) -> NodeIndex {
    NodeIndex(index)
}

fn schedule(simulation: &mut Simulation, at: f64, action: Action) {
    simulation.schedule(Step::new(secs(at), action));
}

/// How long an idle mesh takes to route around what died: a hello of 4 s until it is missed, and
/// unanswered probes. Where traffic flows it is far less; the scenarios show that.
const IDLE_RECOVERY_S: f64 = 5.0;

/// How long it took after the last step.
fn recovery(report: &Report) -> f64 {
    let last = report.phases.last().unwrap();
    last.routed_after_s.expect("routed at the end")
}

#[test]
fn a_cut_ring_is_a_line_and_the_other_way_round() {
    for seed in 1..=4 {
        let mut ring = mesh("ring:8", seed, 0.0);
        run_until_routed(&mut ring, 12.0);
        schedule(&mut ring, 12.0, Action::Cut(node(2), node(3)));
        let report = run_until_routed(&mut ring, 21.0);
        assert!(
            recovery(&report) <= IDLE_RECOVERY_S,
            "seed {seed}: {report}"
        );
        schedule(&mut ring, 21.0, Action::Heal(node(2), node(3)));
        // By then all sequence numbers have risen, and the better routes are feasible.
        let report = run_until_routed(&mut ring, 45.0);
        let cost = report.path_cost.unwrap();
        assert!(cost.mean_ratio <= 1.05, "seed {seed}: {cost:?}");
    }
}

#[test]
fn grids_survive_cuts_and_heals_under_loss() {
    for seed in 1..=3 {
        let mut grid = mesh("grid:4x4", seed, 0.1);
        for (i, (a, b)) in [(0, 1), (5, 6), (10, 14), (1, 5), (9, 10)]
            .iter()
            .enumerate()
        {
            let at = 6.0 + i as f64;
            schedule(&mut grid, at, Action::Cut(node(*a), node(*b)));
            schedule(&mut grid, at + 5.5, Action::Heal(node(*a), node(*b)));
        }
        run_until_routed(&mut grid, 24.0);
    }
}

#[test]
fn a_mesh_that_falls_apart_grows_together_again() {
    for seed in 1..=3 {
        let mut line = mesh("line:6", seed, 0.0);
        schedule(&mut line, 4.0, Action::Cut(node(2), node(3)));
        let apart = run_until_routed(&mut line, 14.0);
        assert_eq!(apart.pairs.possible, 12, "two lines of three");
        let gone = line.next_hop(line.address(node(5)), node(0));
        assert_eq!(gone, None, "what cannot be reached has no route");
        schedule(&mut line, 14.0, Action::Heal(node(2), node(3)));
        let report = run_until_routed(&mut line, 20.0);
        // The first hello of either end, and then its introduction.
        assert!(recovery(&report) <= 4.1, "seed {seed}: {report}");
    }
}

/// One node after the other is restarted.
fn restart_all(topology: &str, seed: u64, loss: f64, how: Inheritance) -> Report {
    let mut simulation = mesh(topology, seed, loss);
    let nodes: Vec<_> = simulation.nodes().collect();
    for (i, node) in nodes.iter().enumerate() {
        let at = 4.0 + 1.3 * i as f64;
        schedule(&mut simulation, at, Action::Restart(*node, how));
    }
    run_until_routed(&mut simulation, 12.0 + 1.3 * nodes.len() as f64)
}

#[test]
fn warm_restarts_lose_no_path() {
    for seed in 1..=4 {
        for topology in ["line:5", "grid:3x3", "ring:6"] {
            let report = restart_all(topology, seed, 0.0, Warm);
            let lost: f64 = report.phases[1..].iter().map(|p| p.unrouted_pair_s).sum();
            assert!(lost == 0.0, "{topology}, seed {seed}: {lost} pair seconds");
        }
    }
}

#[test]
fn warm_restarts_under_loss() {
    for seed in 1..=6 {
        restart_all("grid:3x3", seed, 0.1, Warm);
        restart_all("line:5", seed, 0.2, Warm);
    }
}

#[test]
fn cold_restarts() {
    for seed in 1..=4 {
        for topology in ["line:5", "grid:3x3", "ring:6"] {
            let report = restart_all(topology, seed, 0.0, Cold);
            // Listening, then at most one OGM interval until there is a newer number.
            assert!(
                recovery(&report) <= 2.0,
                "{topology}, seed {seed}: {report}"
            );
        }
    }
}

#[test]
fn cold_restarts_under_loss() {
    for seed in 1..=6 {
        restart_all("grid:3x3", seed, 0.1, Cold);
        restart_all("line:5", seed, 0.2, Cold);
    }
}

/// `kill -9` of all daemons at once, as in an upgrade of everything: nobody remembers anything,
/// but every kernel goes on.
#[test]
fn all_daemons_at_once() {
    for seed in 1..=3 {
        let mut line = mesh("line:9", seed, 0.0);
        run_until_routed(&mut line, 4.0);
        for index in 0..9 {
            schedule(&mut line, 4.0, Action::Restart(node(index), Warm));
        }
        let report = run_until_routed(&mut line, 16.0);
        let lost = report.phases[1].unrouted_pair_s;
        assert!(lost == 0.0, "seed {seed}: {lost} pair seconds");
    }
}

#[test]
fn a_relay_that_dies_is_routed_around_and_taken_back() {
    for seed in 1..=3 {
        let mut grid = mesh("grid:3x3", seed, 0.0);
        schedule(&mut grid, 10.0, Action::Stop(node(4), Cold));
        let report = run_until_routed(&mut grid, 19.0);
        assert_eq!(report.pairs.possible, 8 * 7);
        assert!(
            recovery(&report) <= IDLE_RECOVERY_S,
            "seed {seed}: {report}"
        );
        schedule(&mut grid, 19.0, Action::Start(node(4), Cold));
        let report = run_until_routed(&mut grid, 23.0);
        assert_eq!(report.pairs.possible, 9 * 8);
        assert!(recovery(&report) <= 2.0, "seed {seed}: {report}");
    }
}

/// The daemon of a relay is away for so long that its neighbors route around it; its kernel
/// still has the old routes when the next daemon takes them over.
#[test]
fn a_long_dead_daemon_whose_kernel_went_on() {
    for seed in 1..=3 {
        let mut ring = mesh("ring:6", seed, 0.1);
        schedule(&mut ring, 5.0, Action::Stop(node(2), Warm));
        schedule(&mut ring, 15.0, Action::Start(node(2), Warm));
        run_until_routed(&mut ring, 28.0);
    }
}
